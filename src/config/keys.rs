//! Every key of `remotion.toml`, once: what it may hold, what holds without it, and what it means.
//!
//! The check, the file that `rmx init` writes, the JSON Schema and `docs/configuration.md` are all made from this
//! table, so they cannot disagree.

use super::local::LOCAL;
use super::names::FUNCTION_LENGTH_MAX;
use super::policy::POLICY;
use super::rule::{Default, FOLDER, Key, Kind, TableRule, TextRule, arn};
use super::state::STATE;
use super::vpc::VPC;
use crate::media::{Codec, ImageFormat, PixelFormat, X264Preset};
use crate::names::{AccountId, BucketName, FunctionName, ProjectName, Region, RoleName, SiteName};

/// The whole file.
pub(super) static ROOT: TableRule = TableRule {
    groups: &[PROJECT, SHARED, STAGES],
    exclusive: &[],
};

/// `[stage.NAME]`.
pub(super) static STAGE: TableRule = TableRule {
    groups: &[SHARED],
    exclusive: &[],
};

static PROJECT: &[Key] = &[Key {
    name: "project",
    kind: Kind::Text(&TextRule {
        what: "a project name",
        rule: ProjectName::RULE,
        valid: |text| text.parse::<ProjectName>().is_ok(),
    }),
    default: Default::Required("\"hello\""),
    doc: "The project's name. Everything rmx makes is named after it.",
}];

static STAGES: &[Key] = &[Key {
    name: "stage",
    kind: Kind::Stages,
    default: Default::Words("no stages", ""),
    doc: "Overlays by name: `[stage.NAME]` may hold every other key but `project`, and `--stage NAME` lays it over \
          the rest. Tables merge key by key, sites by name. A stage is a deployment of its own, with its own names \
          and its own state.",
}];

static SHARED: &[Key] = &[
    Key {
        name: "target",
        kind: Kind::Word(|| vec!["local", "aws"]),
        default: Default::Value("\"local\""),
        doc: "Which cloud: `local` is the embedded one, which needs no account and keeps its data below \
              `.rmx/local/`; `aws` is Amazon Web Services.",
    },
    Key {
        name: "region",
        kind: Kind::Text(&TextRule {
            what: "a region",
            rule: Region::RULE,
            valid: |text| text.parse::<Region>().is_ok(),
        }),
        default: Default::Value("\"us-east-1\""),
        doc: "The AWS region.",
    },
    Key {
        name: "account",
        kind: Kind::Text(&TextRule {
            what: "an AWS account id",
            rule: AccountId::RULE,
            valid: |text| text.parse::<AccountId>().is_ok(),
        }),
        default: Default::Words("any account", "\"123456789012\""),
        doc: "A guard: rmx refuses to touch any other account than this one.",
    },
    Key {
        name: "function",
        kind: Kind::Table(&FUNCTION),
        default: Default::Words("every default", ""),
        doc: "The Lambda function that renders.",
    },
    Key {
        name: "role",
        kind: Kind::Table(&ROLE),
        default: Default::Words("a role that rmx owns", ""),
        doc: "The IAM role the function runs as. rmx owns it, unless `arn` names one of your own.",
    },
    Key {
        name: "bucket",
        kind: Kind::Table(&BUCKET),
        default: Default::Words("every default", ""),
        doc: "The S3 bucket for sites, segments and outputs.",
    },
    Key {
        name: "logs",
        kind: Kind::Table(&LOGS),
        default: Default::Words("every default", ""),
        doc: "The CloudWatch log group of the function.",
    },
    Key {
        name: "policy",
        kind: Kind::Table(&POLICY),
        default: Default::Words("nothing is denied", ""),
        doc: "What a plan may not do. A plan that does it is shown and refused with exit code 16.",
    },
    Key {
        name: "state",
        kind: Kind::Table(&STATE),
        default: Default::Words("a file below `.rmx/state/`", ""),
        doc: "Where rmx keeps what it recorded: on this machine, or in a bucket of S3 that all machines share, with a \
              lock. `rmx state migrate` moves it. docs/STATE.md says more.",
    },
    Key {
        name: "local",
        kind: Kind::Table(&LOCAL),
        default: Default::Words("every default", ""),
        doc: "How the embedded cloud runs the function. Has no meaning on AWS.",
    },
    Key {
        name: "site",
        kind: Kind::Tables(&SITE),
        default: Default::Words("no sites", ""),
        doc: "A site: a folder with an `index.html` that can draw frames. One `[[site]]` each.",
    },
    Key {
        name: "render",
        kind: Kind::Table(&RENDER),
        default: Default::Words("every default", ""),
        doc: "What `rmx render` and `rmx still` use where their flags are silent.",
    },
];

static FUNCTION: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "worker",
            kind: Kind::Word(|| vec!["rmx", "remotion"]),
            default: Default::Value("\"rmx\""),
            doc: "Whose worker it is: rmx's, or Remotion's own function as it is in the nearest `node_modules/@remotion/lambda`, \
                  of the version `remotion_version`. Names of function, role and bucket follow Remotion's then, and everybody \
                  may read the bucket, as docs/WIRE.md says.",
        },
        Key {
            name: "name",
            kind: Kind::Text(&TextRule {
                what: "a function's name",
                rule: "1 to 61 letters, digits, `-` and `_`",
                valid: |text| {
                    text.len() <= FUNCTION_LENGTH_MAX && text.parse::<FunctionName>().is_ok()
                },
            }),
            default: Default::Words("derived from project and stage", "\"my-renderer\""),
            doc: "The function's name; further replicas have `_2`, `_3` and so on behind it. Remotion Lambda's own tools find \
                  functions that are called as they call them, see docs/WIRE.md.",
        },
        Key {
            name: "memory_mb",
            kind: Kind::Whole {
                min: 512,
                max: 10_240,
            },
            default: Default::Value("2048"),
            doc: "Memory in MB. Lambda gives processor time in proportion: one whole processor at 1769 MB. Chromium \
                  does not start below 512 MB.",
        },
        Key {
            name: "timeout_s",
            kind: Kind::Whole { min: 1, max: 900 },
            default: Default::Value("240"),
            doc: "Longest run of one invocation, in seconds.",
        },
        Key {
            name: "disk_mb",
            kind: Kind::Whole {
                min: 512,
                max: 10_240,
            },
            default: Default::Value("2048"),
            doc: "Size of `/tmp` in MB.",
        },
        Key {
            name: "architecture",
            kind: Kind::Word(|| vec!["arm64", "x86_64"]),
            default: Default::Words(
                "`arm64` on AWS, this machine's own on the local target",
                "\"arm64\"",
            ),
            doc: "Instruction set. The worker's binary must have been built for it.",
        },
        Key {
            name: "replicas",
            kind: Kind::Whole { min: 1, max: 32 },
            default: Default::Value("1"),
            doc: "How many identical functions.",
        },
        Key {
            name: "environment",
            kind: Kind::Environment,
            default: Default::Words(
                "no variables",
                "{ LOG_LEVEL = \"debug\", TOKEN = { secret = \"env:TOKEN\" } }",
            ),
            doc: "Environment variables of the function: `NAME = \"text\"`, or `NAME = { secret = \"env:OTHER\" }` to \
                  take the value from the variable `OTHER` that rmx itself finds when it applies. `\"ssm:/path/name\"` \
                  in place of `\"env:OTHER\"` takes it from a parameter of AWS Systems Manager, decrypted. Secret \
                  values are never recorded, only their digests. Names that Lambda reserves (`AWS_...`, `LAMBDA_...`) \
                  are refused.",
        },
        Key {
            name: "layers",
            kind: Kind::Texts {
                rule: &TextRule {
                    what: "the ARN of a layer version",
                    rule: "arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION",
                    valid: |text| {
                        arn(text, "lambda", |rest| {
                            let parts: Vec<_> = rest.split(':').collect();
                            matches!(parts[..], ["layer", name, version]
                            if !name.is_empty() && version.parse::<u32>().is_ok())
                        })
                    },
                },
                count_min: 0,
                count_max: 5,
            },
            default: Default::Value("[]"),
            doc: "ARNs of layer versions, in the order in which Lambda lays them over each other.",
        },
        Key {
            name: "vpc",
            kind: Kind::Table(&VPC),
            default: Default::Words(
                "no network of yours",
                "{ subnet_ids = [\"subnet-0123456789abcdef0\"], security_group_ids = [\"sg-0123456789abcdef0\"] }",
            ),
            doc: "The network the function is attached to.",
        },
        Key {
            name: "package",
            kind: Kind::Text(&FOLDER),
            default: Default::Words("the worker found next to `rmx`", "\"build/function\""),
            doc: "A folder whose content is packed as the function's code instead of the worker; it must hold a \
                  `bootstrap`.",
        },
        Key {
            name: "remotion_version",
            kind: Kind::Text(&TextRule {
                what: "a version of Remotion",
                rule: "three numbers joined by points, such as 4.0.527",
                valid: |text| {
                    let parts: Vec<_> = text.split('.').collect();
                    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
                },
            }),
            default: Default::Value("\"4.0.527\""),
            doc: "The version of Remotion that the function claims to be of. Remotion Lambda's clients talk to functions \
                  of their own version only: set it to that of the client.",
        },
        Key {
            name: "keep_versions",
            kind: Kind::Whole { min: 1, max: 100 },
            default: Default::Value("5"),
            doc: "How many old versions are kept besides the live one, for `rmx rollback`. Older ones are deleted by \
                  `rmx apply`, as its plan shows, but for those that a running render or another alias uses.",
        },
        Key {
            name: "smoke",
            kind: Kind::Switch,
            default: Default::Value("false"),
            doc: "Whether each new version has to render a built-in second of video, which is looked at frame by frame, \
                  before `live` moves to it. If it does not pass, `live` stays where it is and `rmx apply` ends with 15. \
                  `rmx apply --smoke` asks for it once; what follows a version that did not pass has to pass in any case.",
        },
        Key {
            name: "protect",
            kind: Kind::Switch,
            default: Default::Words("what is recorded; `false` at first", "true"),
            doc: PROTECT,
        },
    ]],
    exclusive: &[],
};

static ROLE: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "arn",
            kind: Kind::Text(&TextRule {
                what: "the ARN of a role",
                rule: "arn:aws:iam::ACCOUNT:role/NAME",
                valid: |text| {
                    arn(text, "iam", |rest| {
                        rest.strip_prefix("role/")
                            .is_some_and(|name| !name.is_empty() && !name.ends_with('/'))
                    })
                },
            }),
            default: Default::Words(
                "rmx makes a role with just the permissions the worker needs",
                "\"arn:aws:iam::123456789012:role/renderer\"",
            ),
            doc: "A role of your own. rmx uses it and never changes it.",
        },
        Key {
            name: "name",
            kind: Kind::Text(&TextRule {
                what: "a role's name",
                rule: RoleName::RULE,
                valid: |text| text.parse::<RoleName>().is_ok(),
            }),
            default: Default::Words(
                "derived from project, stage and region; `remotion-lambda-role` for Remotion's function",
                "\"my-renderer\"",
            ),
            doc: "The name of the role rmx makes. Another name is another role: the function has none while a plan replaces it.",
        },
        Key {
            name: "permissions_boundary",
            kind: Kind::Text(&TextRule {
                what: "the ARN of a policy",
                rule: "arn:aws:iam::ACCOUNT:policy/NAME",
                valid: |text| {
                    arn(text, "iam", |rest| {
                        rest.strip_prefix("policy/")
                            .is_some_and(|name| !name.is_empty())
                    })
                },
            }),
            default: Default::Words("none", "\"arn:aws:iam::123456789012:policy/boundary\""),
            doc: "The policy that bounds the role rmx makes.",
        },
        Key {
            name: "path",
            kind: Kind::Text(&TextRule {
                what: "an IAM path",
                rule: "at most 512 visible ASCII characters, beginning and ending with `/`",
                valid: |text| {
                    (1..=512).contains(&text.len())
                        && text.starts_with('/')
                        && text.ends_with('/')
                        && text.bytes().all(|byte| byte.is_ascii_graphic())
                },
            }),
            default: Default::Value("\"/\""),
            doc: "The IAM path of the role rmx makes.",
        },
        Key {
            name: "protect",
            kind: Kind::Switch,
            default: Default::Words("what is recorded; `false` at first", "true"),
            doc: PROTECT,
        },
    ]],
    exclusive: &[
        ("arn", "name"),
        ("arn", "permissions_boundary"),
        ("arn", "path"),
        ("arn", "protect"),
    ],
};

static BUCKET: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "name",
            kind: Kind::Text(&TextRule {
                what: "a bucket name",
                rule: BucketName::RULE,
                valid: |text| text.parse::<BucketName>().is_ok(),
            }),
            default: Default::Words(
                "derived from project, stage, account and region",
                "\"my-renders\"",
            ),
            doc: "The bucket's name.",
        },
        Key {
            name: "expire_renders_days",
            kind: Kind::Whole { min: 1, max: 3_650 },
            default: Default::Words("kept for ever", "30"),
            doc: "Objects below `renders/` are deleted after so many days; sooner where a client of Remotion Lambda says so by \
                  `deleteAfter`.",
        },
        Key {
            name: "force_destroy",
            kind: Kind::Switch,
            default: Default::Value("false"),
            doc: "Whether `rmx destroy` may delete the bucket while it still holds objects that rmx did not put there \
                  as a site, renders for instance.",
        },
        Key {
            name: "protect",
            kind: Kind::Switch,
            default: Default::Words("what is recorded; `false` at first", "true"),
            doc: PROTECT,
        },
    ]],
    exclusive: &[],
};

static LOGS: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "retention_days",
            // The values that PutRetentionPolicy takes, CloudWatch Logs API reference.
            kind: Kind::WholeOf(&[
                1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192,
                2557, 2922, 3288, 3653,
            ]),
            default: Default::Value("14"),
            doc: "Log events are deleted after so many days.",
        },
        Key {
            name: "managed",
            kind: Kind::Switch,
            default: Default::Value("true"),
            doc: "`false`: Lambda makes the log group when it first writes to it, and rmx leaves it alone.",
        },
        Key {
            name: "protect",
            kind: Kind::Switch,
            default: Default::Words("what is recorded; `false` at first", "true"),
            doc: PROTECT,
        },
    ]],
    exclusive: &[("managed", "retention_days"), ("managed", "protect")],
};

static SITE: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "name",
            kind: Kind::Text(&TextRule {
                what: "a site name",
                rule: SiteName::RULE,
                valid: |text| text.parse::<SiteName>().is_ok(),
            }),
            default: Default::Required("\"hello\""),
            doc: "The site's name; no two sites share one.",
        },
        Key {
            name: "folder",
            kind: Kind::Text(&FOLDER),
            default: Default::Required("\"bundles/hello\""),
            doc: "The folder that is uploaded. It must hold an `index.html`.",
        },
        Key {
            name: "build",
            kind: Kind::Text(&TextRule {
                what: "a shell command",
                rule: "a command such as `npx remotion bundle`",
                valid: |text| !text.trim().is_empty(),
            }),
            default: Default::Words("the folder is taken as it is", "\"npx remotion bundle\""),
            doc: "A shell command that makes the folder, run next to `remotion.toml` before `plan` and `apply` read it.",
        },
        Key {
            name: "protect",
            kind: Kind::Switch,
            default: Default::Words("what is recorded; `false` at first", "true"),
            doc: PROTECT,
        },
    ]],
    exclusive: &[],
};

static RENDER: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "site",
            kind: Kind::Text(&TextRule {
                what: "a site name",
                rule: SiteName::RULE,
                valid: |text| text.parse::<SiteName>().is_ok(),
            }),
            default: Default::Words("the only site there is", "\"hello\""),
            doc: "The site to render from.",
        },
        Key {
            name: "codec",
            kind: Kind::Word(|| Codec::ALL.iter().map(|word| word.as_str()).collect()),
            default: Default::Words(
                "what the output file's ending means, else `h264`",
                "\"vp9\"",
            ),
            doc: "The codec. `crf`, `x264_preset` and `pixel_format` count for it alone.",
        },
        Key {
            name: "crf",
            kind: Kind::Whole { min: 0, max: 63 },
            default: Default::Words(
                "16, or 18 if `x264_preset` is set; of other codecs Remotion's",
                "18",
            ),
            doc: "Constant rate factor: less is better and larger. 0 to 51 for `h264` and `h265`, 4 to 63 for `vp8`, 0 to 63 for `vp9`.",
        },
        Key {
            name: "x264_preset",
            kind: Kind::Word(|| X264Preset::ALL.iter().map(|word| word.as_str()).collect()),
            default: Default::Words(
                "`veryfast`, at a `crf` that makes it as good as Remotion's `medium` at 18",
                "\"medium\"",
            ),
            doc: "How much work libx264 puts into making the file small. With neither this nor `crf`, `veryfast`.",
        },
        Key {
            name: "pixel_format",
            kind: Kind::Word(|| PixelFormat::ALL.iter().map(|word| word.as_str()).collect()),
            default: Default::Words("`yuv420p`; `yuv422p10le` for `prores`", "\"yuv444p\""),
            doc: "The pixel format of the video. `yuva420p` and `yuva444p10le` are transparent.",
        },
        Key {
            name: "image_format",
            kind: Kind::Word(|| ImageFormat::ALL.iter().map(|word| word.as_str()).collect()),
            default: Default::Words("what the composition wants, else `jpeg`", "\"png\""),
            doc: "Format of screenshots. With `jpeg`, frames are read from the framebuffer instead where that is possible.",
        },
        Key {
            name: "jpeg_quality",
            kind: Kind::Whole { min: 0, max: 100 },
            default: Default::Value("80"),
            doc: "Quality of JPEG screenshots.",
        },
        Key {
            name: "scale",
            kind: Kind::Number {
                min: 0.001,
                max: 16.0,
            },
            default: Default::Value("1"),
            doc: "Device scale factor: the output is this many times as wide and high as the composition.",
        },
        Key {
            name: "frames_per_lambda",
            kind: Kind::Whole {
                min: 1,
                max: 1_000_000,
            },
            default: Default::Words(
                "Remotion's rule, from the number of frames; on the local target longer, a chunk for each worker",
                "20",
            ),
            doc: "Frames a chunk.",
        },
        Key {
            name: "concurrency",
            kind: Kind::Whole { min: 1, max: 200 },
            default: Default::Words(
                "Remotion's rule, from the number of frames; on the local target a chunk for each worker",
                "50",
            ),
            doc: "How many chunks are rendered at the same time.",
        },
        Key {
            name: "worker_seconds_per_minute",
            kind: Kind::Whole {
                min: 1,
                max: 100_000,
            },
            default: Default::Words("an assumption: 240", "90"),
            doc: "How many seconds all workers together take for a minute of your video. `plan` estimates the cost with it.",
        },
        Key {
            name: "timeout_ms",
            kind: Kind::Whole {
                min: 2_001,
                max: 900_000,
            },
            default: Default::Value("30000"),
            doc: "How long one `delayRender` of a page may take, in milliseconds; Remotion takes 2000 off it.",
        },
        Key {
            name: "max_retries",
            kind: Kind::Whole { min: 0, max: 10 },
            default: Default::Value("1"),
            doc: "How often a failed chunk is tried again.",
        },
    ]],
    exclusive: &[("frames_per_lambda", "concurrency")],
};

/// What `protect` means, wherever it stands.
const PROTECT: &str = "Whether a plan that would delete or replace it is refused (exit code 16). Once applied, this is \
                       recorded and also holds when the key or the whole block is gone; only `false` that is \
                       applied lifts it.";
