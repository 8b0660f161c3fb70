//! What a user reads when `remotion.toml` is wrong, and that the files we hand out are right.

use insta::assert_snapshot;

use crate::support::TestProject;

/// What `rmx validate` says about this file.
fn validate(text: &str) -> String {
    let project = TestProject::new();
    project.write("remotion.toml", text);
    let output = project.rmx(&["validate"]).expect_status(1);
    assert_eq!(output.stdout, "");
    without_path(&project, &output.stderr)
}

fn without_path(project: &TestProject, text: &str) -> String {
    let root = project.path().canonicalize().unwrap();
    text.replace(root.to_str().unwrap(), "$PROJECT")
}

#[test]
fn unknown_key() {
    assert_snapshot!(validate("project = \"hello\"\n\n[function]\nmemori_mb = 2048\n"), @r#"
    Error: The configuration is not valid

    error: unknown key `memori_mb` in `[function]`
     --> remotion.toml:4:1
      |
    4 | memori_mb = 2048
      | ^^^^^^^^^ not known
      |
      = help: did you mean `memory_mb`?
    "#);
}

#[test]
fn key_of_another_table() {
    assert_snapshot!(validate("project = \"hello\"\nmemory_mb = 2048\n"), @r#"
    Error: The configuration is not valid

    error: unknown key `memory_mb` in the file
     --> remotion.toml:2:1
      |
    2 | memory_mb = 2048
      | ^^^^^^^^^ not known
      |
      = help: `memory_mb` is a key of `[function]`
    "#);
}

#[test]
fn memory_out_of_range() {
    assert_snapshot!(validate("project = \"hello\"\n[function]\nmemory_mb = 64\n"), @r#"
    Error: The configuration is not valid

    error: `memory_mb` is out of range
     --> remotion.toml:3:13
      |
    3 | memory_mb = 64
      |             ^^ 64 is not allowed
      |
      = help: allowed: 512 to 10240
    "#);
}

#[test]
fn wrong_type() {
    assert_snapshot!(validate("project = \"hello\"\naccount = 123456789012\n[function]\ntimeout_s = \"4m\"\n"), @r#"
    Error: The configuration is not valid: 2 problems

    error: `account` must be an AWS account id
     --> remotion.toml:2:11
      |
    2 | account = 123456789012
      |           ^^^^^^^^^^^^ this is a whole number
      |
      = help: write it in quotes: "123456789012"

    error: `timeout_s` must be a whole number
     --> remotion.toml:4:13
      |
    4 | timeout_s = "4m"
      |             ^^^^ this is a string
      |
      = help: allowed: 1 to 900
    "#);
}

#[test]
fn not_toml_and_wrong_elsewhere() {
    assert_snapshot!(validate("project = \"hello\"\n[function\nmemory_mb = 1024\n[logs]\nretention_days = 2\n"), @r#"
    Error: The configuration is not valid: 2 problems

    error: this is not TOML
     --> remotion.toml:2:10
      |
    2 | [function
      |          ^ unclosed table, expected `]`

    error: `retention_days` is out of range
     --> remotion.toml:5:18
      |
    5 | retention_days = 2
      |                  ^ 2 is not allowed
      |
      = help: allowed: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
    "#);
}

#[test]
fn several_problems_at_once() {
    assert_snapshot!(validate(r#"target = "awss"
region = "europe"

[function.environment]
AWS_REGION = "eu-central-1"
TOKEN = { secret = "ssm:token/" }

[[site]]
name = "hello"
folder = "bundles/hello"

[[site]]
name = "hello"

[render]
frames_per_lambda = 20
concurrency = 10
site = "helo"
"#), @r#"
    Error: The configuration is not valid: 10 problems

    error: `project` is missing in the file
    --> remotion.toml
     = help: add `project = ...`: 1 to 32 lower-case letters, digits and `-`, beginning and ending with a letter or digit, without `--`

    error: `target` must be one of a few words
     --> remotion.toml:1:10
      |
    1 | target = "awss"
      |          ^^^^^^ `awss` is not one of them
      |
      = help: did you mean `aws`? allowed: "local", "aws"

    error: `region` must be a region
     --> remotion.toml:2:10
      |
    2 | region = "europe"
      |          ^^^^^^^^ `europe` is not a region
      |
      = help: allowed: 2 or more lower-case words and a number, joined by `-`, such as `eu-central-1`, at most 20 characters

    error: an environment variable has a name that Lambda keeps for itself
     --> remotion.toml:5:1
      |
    5 | AWS_REGION = "eu-central-1"
      | ^^^^^^^^^^ `AWS_REGION` is reserved
      |
      = help: use a name that does not begin with `AWS_`, `LAMBDA_` or `_`

    error: the variable `TOKEN` is not a valid secret
     --> remotion.toml:6:20
      |
    6 | TOKEN = { secret = "ssm:token/" }
      |                    ^^^^^^^^^^^^ `ssm:token/` is not a reference
      |
      = help: allowed: `env:` and the name of a variable that rmx finds when it applies, or `ssm:` and the name of a parameter such as /renders/token

    error: `folder` is not a folder
      --> remotion.toml:10:10
       |
    10 | folder = "bundles/hello"
       |          ^^^^^^^^^^^^^^^ $PROJECT/bundles/hello is missing
       |
       = help: name the folder of a built bundle, or add `build` with the command that makes it

    error: `folder` is missing in `[[site]]`
      --> remotion.toml:12:1
       |
    12 | [[site]]
       | ^^^^^^^^ this table
       |
       = help: add `folder = ...`: a path, relative to the folder of this file

    error: two sites have the same name
      --> remotion.toml:13:8
       |
     9 | name = "hello"
       |        ------- first here
    ...
    13 | name = "hello"
       |        ^^^^^^^ `hello` again
       |
       = help: give each `[[site]]` a name of its own

    error: `frames_per_lambda` and `concurrency` in `[render]` exclude each other
      --> remotion.toml:17:1
       |
    16 | frames_per_lambda = 20
       | ----------------- this one
    17 | concurrency = 10
       | ^^^^^^^^^^^ not together with the other one
       |
       = help: remove one of them

    error: `site` in `[render]` names no site
      --> remotion.toml:18:8
       |
    18 | site = "helo"
       |        ^^^^^^ there is no site `helo`
       |
       = help: did you mean `hello`?
    "#);
}

#[test]
fn stage_that_is_not_there() {
    let project = TestProject::new();
    project.write(
        "remotion.toml",
        "project = \"hello\"\n[stage.production]\ntarget = \"aws\"\n",
    );
    let output = project
        .rmx(&["validate", "--stage", "prodction"])
        .expect_status(1);
    assert_snapshot!(output.stderr, @r#"
    Error: The configuration is not valid

    error: remotion.toml declares no stage `prodction`
    --> remotion.toml
     = help: did you mean `production`?
    "#);
}

#[test]
fn mistake_in_a_stage_that_is_not_chosen() {
    assert_snapshot!(validate("project = \"hello\"\n[stage.production.function]\nmemory_mb = 99999\n"), @r#"
    Error: The configuration is not valid

    error: `memory_mb` is out of range
     --> remotion.toml:3:13
      |
    3 | memory_mb = 99999
      |             ^^^^^ 99999 is not allowed
      |
      = help: allowed: 512 to 10240
    "#);
}

#[test]
fn folders_are_looked_at() {
    let project = TestProject::new();
    project.write("empty/readme.txt", "no page");
    project.write(
        "remotion.toml",
        r#"project = "hello"
site = [
    { name = "gone", folder = "nowhere" },
    { name = "bare", folder = "empty" },
    { name = "made-later", folder = "dist", build = "make" },
]
"#,
    );
    let output = project.rmx(&["validate"]).expect_status(1);
    assert_snapshot!(without_path(&project, &output.stderr), @r#"
    Error: The configuration is not valid: 2 problems

    error: `folder` is not a folder
     --> remotion.toml:3:31
      |
    3 |     { name = "gone", folder = "nowhere" },
      |                               ^^^^^^^^^ $PROJECT/nowhere is missing
      |
      = help: name the folder of a built bundle, or add `build` with the command that makes it

    error: a folder holds no `index.html`
     --> remotion.toml:4:31
      |
    4 |     { name = "bare", folder = "empty" },
      |                               ^^^^^^^ $PROJECT/empty holds none
      |
      = help: name the folder of a built bundle, or add `build` with the command that makes it
    "#);
}

#[test]
fn no_file_at_all() {
    let output = TestProject::new().rmx(&["validate"]).expect_status(1);
    assert!(output.stderr.contains("hint: run `rmx init`"), "{output}");
}

#[test]
fn problems_are_told_as_json_too() {
    let project = TestProject::new();
    project.write(
        "remotion.toml",
        "project = \"hello\"\n[function]\nmemory_mb = 64\n",
    );
    let output = project.rmx(&["validate", "--json"]).expect_status(1);
    assert_eq!(output.stderr, "");
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["error_count"], 1);
    let problem = &report["diagnostics"][0];
    assert_eq!(problem["range"]["filename"], "remotion.toml");
    assert_eq!(problem["range"]["start"]["line"], 3);
    assert_eq!(problem["range"]["start"]["column"], 13);
    assert_eq!(problem["snippet"]["code"], "memory_mb = 64");
}

#[test]
fn what_init_writes_is_valid_and_never_lost() {
    let project = TestProject::new();
    project.write(".gitignore", "target");
    let arguments = ["init", "--project", "hello"];
    assert_eq!(project.rmx(&arguments).expect_status(0).stdout, "");
    let written = project.read("remotion.toml");
    assert_eq!(project.read(".gitignore"), "target\n.rmx/\n");
    let output = project.rmx(&["validate"]).expect_status(0);
    assert_eq!(output.stdout, "Success! The configuration is valid.\n");

    project.write("remotion.toml", "project = \"mine\"");
    let refused = project.rmx(&arguments).expect_status(1);
    assert!(refused.stderr.contains("hint: pass --force"), "{refused}");
    assert_eq!(project.read("remotion.toml"), "project = \"mine\"");
    let forced = project.rmx(&["init", "--project", "hello", "--force"]);
    assert_eq!(forced.expect_status(0).stdout, "");
    assert_eq!(project.read("remotion.toml"), written);
    assert_eq!(project.read(".gitignore"), "target\n.rmx/\n");
}

/// Every line that `init` writes as a comment with a key is valid as it stands once the `#` is removed.
#[test]
fn what_init_shows_can_be_uncommented() {
    let project = TestProject::new();
    let output = project.rmx(&["init", "--project", "hello", "--site", "hello"]);
    assert_eq!(output.expect_status(0).stdout, "");
    project.write("hello/index.html", "");
    let text = project.read("remotion.toml");
    let is_key = |line: &str| {
        line.strip_prefix("# ").is_some_and(|rest| {
            rest.split_once(" = ").is_some_and(|(name, _)| {
                name.bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            })
        })
    };
    let mut count = 0;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| is_key(line)) {
        // A package must hold a `bootstrap`; the stage's lines only stand behind their header.
        if line.starts_with("# package") || line == "# target = \"aws\"" {
            continue;
        }
        let changed: Vec<_> = text
            .lines()
            .enumerate()
            .map(|(at, other)| if at == number { &line[2..] } else { other })
            .collect();
        project.write("remotion.toml", &changed.join("\n"));
        let output = project.rmx(&["validate"]);
        assert_eq!(output.status, Some(0), "{line}: {output}");
        count += 1;
    }
    assert!(count > 25, "{count} keys found");
}

/// The file at the root of the repository is what `init` writes for the sample site.
#[test]
fn the_sample_project_is_valid_and_what_init_writes() {
    let root = env!("CARGO_MANIFEST_DIR");
    let outside = TestProject::new();
    for arguments in [
        &["-C", root, "validate"][..],
        &["-C", root, "fmt", "--check"],
    ] {
        assert_eq!(outside.rmx(arguments).expect_status(0).stderr, "");
    }
    let project = TestProject::new();
    let arguments = ["init", "--project", "hello", "--site", "bundles/hello"];
    assert_eq!(project.rmx(&arguments).expect_status(0).stdout, "");
    let sample = std::fs::read_to_string(format!("{root}/remotion.toml")).unwrap();
    assert_eq!(sample, project.read("remotion.toml"));
}

#[test]
fn fmt_changes_the_layout_and_check_only_tells() {
    let project = TestProject::new();
    let untidy = "project=\"hello\"  # mine\n";
    project.write("remotion.toml", untidy);
    let checked = project.rmx(&["fmt", "--check"]).expect_status(3);
    assert_eq!(checked.stdout, "remotion.toml\n");
    assert_eq!(project.read("remotion.toml"), untidy);
    let changed = project.rmx(&["fmt"]).expect_status(0);
    assert_eq!(changed.stdout, "remotion.toml\n");
    assert_eq!(
        project.read("remotion.toml"),
        "project = \"hello\" # mine\n"
    );
    assert_eq!(project.rmx(&["fmt", "--check"]).expect_status(0).stdout, "");
    project.write("remotion.toml", "project =\n");
    let refused = project.rmx(&["fmt"]).expect_status(1);
    assert!(refused.stderr.contains("remotion.toml:1:"), "{refused}");
    assert_eq!(project.read("remotion.toml"), "project =\n");
}
