//! The table of what changes call (`plan::calls`) against what `apply` really calls, as the embedded cloud sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use rmx::digest::Digest;
use rmx::plan::calls::Surroundings;
use rmx::plan::preflight::{Need, needs};
use rmx::resource::{Address, Resource, ResourceKind};

use crate::support::farm::Farm;

/// Something that is done to a farm.
struct Scenario {
    name: &'static str,
    /// What happens before the apply that is looked at; `None`: nothing is there yet.
    before: Option<fn(&mut Farm)>,
    change: fn(&mut Farm),
}

fn nothing(_: &mut Farm) {}

fn new_code(farm: &mut Farm) {
    let code_sha256 = farm.write_code("another");
    farm.function().code_sha256 = code_sha256;
}

/// The code is too large for a request, whatever it is.
fn through_the_bucket(farm: &mut Farm) {
    farm.inline_code_bytes_max = 1;
}

fn edit(farm: &mut Farm, address: &str, edit: impl FnOnce(&mut Resource)) {
    let address: Address = address.parse().unwrap();
    edit(farm.desired.resources.get_mut(&address).unwrap());
}

const SCENARIOS: [Scenario; 16] = [
    Scenario {
        name: "first deploy",
        before: None,
        change: nothing,
    },
    Scenario {
        name: "first deploy, code through the bucket",
        before: None,
        change: through_the_bucket,
    },
    Scenario {
        name: "change memory",
        before: Some(nothing),
        change: |farm| farm.function().memory_mb = 3008,
    },
    Scenario {
        name: "layers and a network",
        before: Some(nothing),
        change: |farm| {
            let function = farm.function();
            function.layers = vec!["arn:aws:lambda:eu-central-1:111122223333:layer:l:1".to_owned()];
            function.subnet_ids = vec!["subnet-0123456789abcdef0".to_owned()];
            function.security_group_ids = vec!["sg-0123456789abcdef0".to_owned()];
        },
    },
    Scenario {
        name: "new code",
        before: Some(nothing),
        change: new_code,
    },
    Scenario {
        name: "new code through the bucket",
        before: Some(nothing),
        change: |farm| {
            through_the_bucket(farm);
            new_code(farm);
        },
    },
    Scenario {
        name: "other retention",
        before: Some(nothing),
        change: |farm| {
            edit(farm, "log_group.main", |resource| match resource {
                Resource::LogGroup(spec) => spec.retention_days = Some(30),
                _ => unreachable!(),
            });
        },
    },
    Scenario {
        name: "logs and renders are kept",
        before: Some(nothing),
        change: |farm| {
            edit(farm, "log_group.main", |resource| match resource {
                Resource::LogGroup(spec) => spec.retention_days = None,
                _ => unreachable!(),
            });
            edit(farm, "bucket.main", |resource| match resource {
                Resource::Bucket(spec) => {
                    spec.expire_renders_days = None;
                    spec.expire_days.clear();
                    spec.block_public_access = false;
                    spec.owner_enforced = false;
                }
                _ => unreachable!(),
            });
        },
    },
    Scenario {
        name: "another role policy",
        before: Some(nothing),
        change: |farm| {
            edit(farm, "role.main", |resource| match resource {
                Resource::Role(spec) => {
                    let statements = spec.policy["Statement"].as_array_mut().unwrap();
                    statements.pop();
                    spec.trust_policy["Statement"][0]["Sid"] = "Lambda".into();
                    let more = serde_json::json!({ "Effect": "Allow", "Action": "sts:AssumeRole",
                        "Principal": { "Service": "edgelambda.amazonaws.com" } });
                    let statements = spec.trust_policy["Statement"].as_array_mut().unwrap();
                    statements.push(more);
                }
                _ => unreachable!(),
            });
        },
    },
    Scenario {
        name: "other site",
        before: Some(nothing),
        change: |farm| farm.want_site(&[("index.html", "<h1>two</h1>"), ("c.js", "3")]),
    },
    Scenario {
        name: "a log group of another name",
        before: Some(nothing),
        change: |farm| {
            let name = || "/aws/lambda/rmx-other".parse().unwrap();
            edit(farm, "log_group.main", |resource| match resource {
                Resource::LogGroup(spec) => spec.name = name(),
                _ => unreachable!(),
            });
            farm.function().log_group = name();
        },
    },
    Scenario {
        name: "remove site",
        before: Some(nothing),
        change: |farm| {
            let site: Address = "site.hello".parse().unwrap();
            farm.desired.resources.remove(&site);
        },
    },
    Scenario {
        name: "first deploy of Remotion's worker",
        before: None,
        change: Farm::want_remotions,
    },
    Scenario {
        name: "to Remotion's worker",
        before: Some(Farm::named_for_remotion),
        change: Farm::want_remotions,
    },
    Scenario {
        name: "from Remotion's worker",
        before: Some(Farm::want_remotions),
        change: Farm::named_for_remotion,
    },
    Scenario {
        name: "destroy",
        before: Some(through_the_bucket),
        change: |farm| farm.desired.resources.clear(),
    },
];

/// Which entry of the table a call is: the kind of the change, and the action.
type Entry = (ResourceKind, String);

/// What the table says and what was called, entry by entry.
#[derive(Default)]
struct Seen {
    listed: BTreeSet<Entry>,
    called: BTreeSet<Entry>,
}

impl Seen {
    /// Applies, and compares what was called with what the table says.
    async fn apply(&mut self, name: &str, farm: &mut Farm) {
        let plan = farm.plan().await;
        let bucket = (farm.inline_code_bytes_max == 1).then(|| farm.bucket());
        let surroundings = Surroundings {
            identity: &plan.identity,
            code_bucket: bucket.as_ref(),
            smoke: false,
        };
        let needs = needs(&plan, surroundings);
        for Need { call, addresses } in &needs {
            let kinds = addresses.iter().map(|address| address.kind);
            self.listed
                .extend(kinds.map(|kind| (kind, call.action.to_owned())));
        }
        let trace = farm.test_cloud.faults().trace().clone();
        trace.begin(Duration::ZERO);
        farm.apply_plan(&plan, usize::MAX).await.unwrap();
        let called = trace.end();
        assert!(!called.is_empty(), "{name}: nothing was called");
        for made in called.iter().flat_map(|call| &call.permissions) {
            let listed = |need: &&Need| {
                let resource = &need.call.resource;
                let matches = match resource.strip_suffix('*') {
                    Some(prefix) => made.resource.starts_with(prefix),
                    None => *resource == made.resource,
                };
                need.call.action == made.action && matches
            };
            let found: Vec<&Need> = needs.iter().filter(listed).collect();
            assert!(
                !found.is_empty(),
                "{name}: {made:?} is called and not listed"
            );
            for need in found {
                let kinds = need.addresses.iter().map(|address| address.kind);
                self.called
                    .extend(kinds.map(|kind| (kind, need.call.action.to_owned())));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apply_calls_is_what_the_table_lists() {
    let mut seen = Seen::default();
    for Scenario {
        name,
        before,
        change,
    } in SCENARIOS
    {
        let mut farm = Farm::new().await;
        if let Some(before) = before {
            before(&mut farm);
            farm.apply().await;
        }
        change(&mut farm);
        seen.apply(name, &mut farm).await;
    }

    // What others granted the role is taken away from it, and goes with it.
    for destroyed in [false, true] {
        let mut farm = Farm::new().await;
        farm.apply().await;
        farm.test_cloud.grant_more("rmx-test-role").await;
        if destroyed {
            farm.desired.resources.clear();
        }
        seen.apply("a role with more policies", &mut farm).await;
    }

    // Old versions are cleared away once there are more than some.
    let mut farm = Farm::new().await;
    farm.desired.keep_versions = Some(2);
    farm.apply().await;
    let running = serde_json::json!({ "running": { "functions": {}, "may_run_until_ms": 0 } });
    let (bucket, body) = (farm.bucket(), running.to_string().into());
    let key = "renders/one/render.json";
    let options = rmx::cloud::PutOptions::default();
    let put = farm.cloud.put_object(&bucket, key, body, &options).await;
    put.unwrap();
    for number in 0..5 {
        let code_sha256: Digest = farm.write_code(&format!("code {number}"));
        farm.function().code_sha256 = code_sha256;
        seen.apply("many versions", &mut farm).await;
    }

    let superfluous: Vec<&Entry> = seen.listed.difference(&seen.called).collect();
    assert!(
        superfluous.is_empty(),
        "listed and never called: {superfluous:?}"
    );
}

/// Lambda unzips 250 MB of code and layers together: at no moment are there more of both than before or after.
#[tokio::test(flavor = "multi_thread")]
async fn layers_go_before_other_code_comes_and_come_after_it() {
    let layer = |name: &str| format!("arn:aws:lambda:eu-central-1:111122223333:layer:{name}:1");
    const CODE: &str = "lambda:UpdateFunctionCode";
    const CONFIGURATION: &str = "lambda:UpdateFunctionConfiguration";
    let mut farm = Farm::new().await;
    farm.apply().await;
    let trace = farm.test_cloud.faults().trace().clone();
    let steps: [(&[&str], &str, &[&str]); 5] = [
        // More of them.
        (&["a", "b"], "two", &[CONFIGURATION, CODE, CONFIGURATION]),
        // Others.
        (&["b", "c"], "three", &[CONFIGURATION, CODE, CONFIGURATION]),
        // Fewer.
        (&["c"], "four", &[CONFIGURATION, CODE]),
        (&["c"], "five", &[CODE]),
        (&["d"], "five", &[CONFIGURATION]),
    ];
    for (layers, code, expected) in steps {
        let code_sha256 = farm.write_code(code);
        let function = farm.function();
        function.code_sha256 = code_sha256;
        function.layers = layers.iter().map(|name| layer(name)).collect();
        // So that there is something to be written before the layers, too.
        function.memory_mb += u32::from(code != "five");
        let plan = farm.plan().await;
        trace.begin(Duration::ZERO);
        farm.apply_plan(&plan, usize::MAX).await.unwrap();
        let called = trace.end();
        let called = called.iter().flat_map(|call| &call.permissions);
        let called = called.map(|made| made.action.as_str());
        let called: Vec<&str> = called
            .filter(|action| [CODE, CONFIGURATION].contains(action))
            .collect();
        assert_eq!(called, expected, "{layers:?} {code}");
    }
}
