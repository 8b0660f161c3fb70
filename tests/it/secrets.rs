//! Secret values: where they come from, and that they end up nowhere else.

use std::path::{Path, PathBuf};

use rmx::local::{LocalOptions, Running};
use serde_json::{Value, json};

use crate::plan::{CONFIG, apply, changes, project};
use crate::support::signed::call;
use crate::support::{Output, TestProject};

const PLANTED: &str = "planted-9f2c-secret-value";
const FROM_SSM: &str = "planted-77aa-parameter-value";
const NEXT: &str = "planted-31d0-rotated-value";

/// The embedded cloud of a folder, as `rmx local serve` offers it.
async fn serve(directory: &Path) -> Running {
    let options = LocalOptions {
        directory: directory.join(".rmx/local"),
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        faults: Default::default(),
        worker_environment: Default::default(),
        isolation: None,
        node: None,
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
    rmx::local::start(options, listener.unwrap()).await.unwrap()
}

/// Calls an operation of Systems Manager; status and answer.
async fn ssm(running: &Running, operation: &str, input: &Value) -> (u16, Value) {
    call(running, "ssm", &format!("AmazonSSM.{operation}"), input).await
}

#[tokio::test]
async fn parameters_are_kept_and_refused_as_aws_does() {
    let folder = tempfile::tempdir().unwrap();
    let running = serve(folder.path()).await;
    let ssm = async |operation, input| ssm(&running, operation, &input).await;
    let put = |value: &str, overwrite: bool| json!({ "Name": "/farm/token", "Value": value, "Type": "SecureString", "Overwrite": overwrite });
    let (status, made) = ssm("PutParameter", put("one", false)).await;
    assert_eq!(
        (status, &made),
        (200, &json!({ "Version": 1, "Tier": "Standard" }))
    );
    let (status, refused) = ssm("PutParameter", put("two", false)).await;
    assert_eq!(
        (status, &refused["__type"]),
        (400, &json!("ParameterAlreadyExists"))
    );
    assert_eq!(ssm("PutParameter", put("two", true)).await.1["Version"], 2);

    let read = json!({ "Name": "/farm/token", "WithDecryption": true });
    let found = ssm("GetParameter", read).await.1;
    let found = &found["Parameter"];
    assert_eq!(
        (&found["Value"], &found["Version"]),
        (&json!("two"), &json!(2))
    );
    assert_eq!(
        found["ARN"],
        "arn:aws:ssm:us-east-1:000000000000:parameter/farm/token"
    );
    let veiled = ssm("GetParameter", json!({ "Name": "/farm/token" }))
        .await
        .1;
    assert_ne!(veiled["Parameter"]["Value"], "two");
    let (_, many) = ssm(
        "GetParameters",
        json!({ "Names": ["/farm/token:1", "/none"], "WithDecryption": true }),
    )
    .await;
    assert_eq!(many["Parameters"][0]["Value"], "one");
    assert_eq!(many["Parameters"][0]["Selector"], ":1");
    assert_eq!(many["InvalidParameters"], json!(["/none"]));

    for (operation, input, code) in [
        (
            "GetParameter",
            json!({ "Name": "/none" }),
            "ParameterNotFound",
        ),
        (
            "GetParameter",
            json!({ "Name": "/farm/token:7" }),
            "ParameterVersionNotFound",
        ),
        (
            "DeleteParameter",
            json!({ "Name": "/none" }),
            "ParameterNotFound",
        ),
        (
            "PutParameter",
            json!({ "Name": "a/b", "Value": "x", "Type": "String" }),
            "ValidationException",
        ),
        (
            "PutParameter",
            json!({ "Name": "/aws/b", "Value": "x", "Type": "String" }),
            "ValidationException",
        ),
        (
            "PutParameter",
            json!({ "Name": "/new", "Value": "x" }),
            "ValidationException",
        ),
        (
            "PutParameter",
            json!({ "Name": "/new", "Value": "x".repeat(5_000), "Type": "String" }),
            "ValidationException",
        ),
        (
            "PutParameter",
            json!({ "Name": "/new" }),
            "SerializationException",
        ),
        (
            "GetParameters",
            json!({ "Names": [] }),
            "ValidationException",
        ),
        (
            "AddTagsToResource",
            json!({ "ResourceType": "Parameter", "ResourceId": "/none", "Tags": [] }),
            "InvalidResourceId",
        ),
    ] {
        let (status, refused) = ssm(operation, input).await;
        assert_eq!(
            (status, &refused["__type"]),
            (400, &json!(code)),
            "{operation}: {refused}"
        );
    }
    let (status, refused) = ssm("GetParameterHistory", json!({ "Name": "/farm/token" })).await;
    assert_eq!(
        (status, &refused["__type"]),
        (501, &json!("NotImplemented"))
    );

    let resource = json!({ "ResourceType": "Parameter", "ResourceId": "/farm/token" });
    let mut tags = resource.clone();
    tags["Tags"] = json!([{ "Key": "team", "Value": "video" }]);
    assert_eq!(ssm("AddTagsToResource", tags).await, (200, json!({})));
    let listed = ssm("ListTagsForResource", resource).await.1;
    assert_eq!(
        listed["TagList"],
        json!([{ "Key": "team", "Value": "video" }])
    );
    assert_eq!(
        ssm("DeleteParameter", json!({ "Name": "/farm/token" })).await,
        (200, json!({}))
    );
    assert_eq!(
        ssm("GetParameter", json!({ "Name": "/farm/token" }))
            .await
            .0,
        400
    );
    running.shutdown().await;
}

fn put(project: &TestProject, value: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let running = serve(project.path()).await;
        let input = json!({ "Name": "/farm/token", "Value": value, "Type": "SecureString", "Overwrite": true });
        assert_eq!(ssm(&running, "PutParameter", &input).await.0, 200);
        running.shutdown().await;
    });
}

/// Files below `folder` that hold `needle`, but for those in which the embedded cloud keeps what AWS would keep:
/// functions with their environment, and parameters.
fn holding(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let stands_in_for_aws = path.parent().is_some_and(|at| at.ends_with(".rmx/local"))
                && ["lambda-us-east-1.json", "ssm-us-east-1.json"].contains(&name);
            if path.is_dir() {
                folders.push(path);
            } else if !stands_in_for_aws {
                let bytes = std::fs::read(&path).unwrap();
                if bytes
                    .windows(needle.len())
                    .any(|window| window == needle.as_bytes())
                {
                    found.push(path);
                }
            }
        }
    }
    found
}

#[test]
fn a_parameter_is_missed_by_name_and_its_change_is_seen() {
    let mut project = project();
    project.write(
        "remotion.toml",
        &CONFIG.replace("env:FARM_TOKEN", "ssm:/farm/token"),
    );
    let output = project.rmx(&["plan"]).expect_status(1);
    for words in [
        "`function.environment.TOKEN` is taken from the parameter `/farm/token`, which is not there in the region us-east-1",
        "aws ssm put-parameter",
    ] {
        assert!(
            output.stderr.contains(words),
            "{words} is missing in\n{output}"
        );
    }
    put(&project, FROM_SSM);
    apply(&project);
    put(&project, NEXT);
    let plan = changes(&project);
    assert!(
        plan.contains("      ~ environment.TOKEN = (sensitive value)\n"),
        "{plan}"
    );
    let planned = project.rmx(&["plan", "--json"]).expect_status(0).stdout;
    let planned: Value = serde_json::from_str(&planned).unwrap();
    let changed = planned["resource_changes"].as_array().unwrap().iter();
    let changed = changed.flat_map(|change| change["change"]["changed_paths"].as_array());
    assert!(
        changed
            .flatten()
            .any(|path| *path == json!(["environment", "TOKEN"])),
        "{planned}"
    );
    apply(&project);
    // The same value from elsewhere is no change.
    project.set_variable("FARM_TOKEN", NEXT);
    project.write("remotion.toml", CONFIG);
    let same = project.rmx(&["plan", "--detailed-exitcode"]);
    drop(same.expect_status(0));
    let config = CONFIG.replace("env:FARM_TOKEN", "ssm:farm/token");
    project.write("remotion.toml", &config);
    let output = project.rmx(&["validate"]).expect_status(1);
    assert!(
        output
            .stderr
            .contains("`ssm:farm/token` is not a reference"),
        "{output}"
    );
}

/// A planted secret is in nothing that rmx writes or says, whatever it is asked to do and however that ends, with the
/// log turned up as far as it goes. Only the embedded cloud, which is AWS here, has it.
#[test]
fn a_planted_secret_is_found_nowhere() {
    let mut project = project();
    project.set_variable(
        "RMX_LOG",
        "trace,aws_smithy_runtime::client::orchestrator=trace",
    );
    project.set_variable("FARM_TOKEN", PLANTED);
    let environment = "environment = { ONE = { secret = \"env:FARM_TOKEN\" }, TWO = { secret = \"ssm:/farm/token\" } }";
    let declare = |project: &TestProject, more: &str| {
        let config = format!(
            "project = \"hello\"\n[function]\npackage = \"function\"\n{more}\n{environment}\n\
             [[site]]\nname = \"page\"\nfolder = \"page\"\n"
        );
        project.write("remotion.toml", &config);
    };
    let said = std::cell::RefCell::new(Vec::<(String, Output)>::new());
    let run = |project: &TestProject, arguments: &[&str], status: i32| {
        let output = project.rmx(arguments).expect_status(status);
        said.borrow_mut().push((arguments.join(" "), output));
    };
    declare(&project, "");
    run(&project, &["plan"], 1);
    put(&project, FROM_SSM);
    run(&project, &["plan", "--out", "saved"], 0);
    run(&project, &["plan", "--json"], 0);
    run(&project, &["plan", "--format", "markdown"], 0);
    run(&project, &["show", "saved"], 0);
    run(&project, &["show", "saved", "--json"], 0);
    run(&project, &["apply", "saved", "--json"], 0);
    // A version that cannot render, and a function that Lambda refuses.
    declare(&project, "memory_mb = 1024");
    run(&project, &["apply", "--auto-approve", "--smoke"], 15);
    declare(
        &project,
        "layers = [\"arn:aws:lambda:us-east-1:000000000000:layer:none:1\"]",
    );
    said.borrow_mut().push((
        "apply with a layer that is not there".to_owned(),
        project.rmx(&["apply", "--auto-approve"]),
    ));
    // What follows a version that did not pass would have to pass.
    run(&project, &["state", "rm", "function.worker"], 0);
    declare(&project, "memory_mb = 1024");
    run(&project, &["apply", "--auto-approve"], 0);
    // Another value: the saved plan is stale, and says so without either.
    // The smoke render left log lines, which nobody has agreed to lose.
    run(
        &project,
        &["plan", "--out", "again", "--replace", "log_group.main"],
        13,
    );
    put(&project, NEXT);
    run(&project, &["apply", "again"], 10);
    run(&project, &["apply", "--auto-approve", "--json"], 0);
    run(&project, &["rollback", "--auto-approve"], 0);
    run(&project, &["versions", "--json"], 0);
    run(&project, &["show", "--json"], 0);
    run(&project, &["state", "show", "function.worker"], 0);
    run(&project, &["apply", "--refresh-only", "--auto-approve"], 0);
    let replace = ["apply", "--auto-approve", "--replace", "log_group.main"];
    run(&project, &replace, 13);
    run(&project, &["destroy", "--auto-approve"], 13);
    let last = said.borrow().last().unwrap().1.clone();
    let lost = last
        .stderr
        .lines()
        .find(|line| line.contains("log_group.main holds"));
    assert!(
        lost.is_some_and(|line| line.contains(" log stream") && line.contains("B)")),
        "{lost:?}"
    );
    let destroy = ["destroy", "--auto-approve", "--delete-data", "--json"];
    run(&project, &destroy, 0);

    let mut lines = 0;
    for needle in [PLANTED, FROM_SSM, NEXT] {
        let files = holding(project.path(), needle);
        assert!(files.is_empty(), "{needle} is in {files:?}");
        for (arguments, output) in said.borrow().iter() {
            lines += output.stderr.lines().count();
            for text in [&output.stdout, &output.stderr] {
                let leak = text.lines().find(|line| line.contains(needle));
                assert_eq!(leak, None, "rmx {arguments}");
            }
        }
    }
    assert!(lines > 1_000, "{lines} lines: is anything logged?");
    assert!(project.path().join(".rmx/state/backups").is_dir());
}
