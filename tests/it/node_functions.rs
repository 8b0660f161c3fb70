//! Functions with a Node.js runtime on the embedded cloud: what AWS's runtime gives them, in a root of their own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_sdk_lambda::error::ProvideErrorMetadata as _;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, FunctionCode, InvokeWithResponseStreamResponseEvent as Event, LogType, Runtime,
};
use base64::Engine as _;
use rmx::env::Env;
use rmx::local::{Isolation, NodeRuntime};
use serde_json::{Value, json};

use crate::isolation::{isolation, possible};
use crate::local_lambda::{Cloud, start_with};
use crate::local_serve::Serve;
use crate::support::TestProject;

fn node(opt: &[(&str, &Path)], programs: Option<PathBuf>) -> Option<(Isolation, NodeRuntime)> {
    let node = Env::read().unwrap().find_in_path("node").unwrap();
    let opt: BTreeMap<_, _> = opt
        .iter()
        .map(|(path, target)| ((*path).to_owned(), (*target).to_owned()))
        .collect();
    Some((
        isolation(),
        NodeRuntime {
            node,
            opt,
            programs,
        },
    ))
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

async fn deploy<R>(cloud: &Cloud<R>, handler: &str, files: &[(&str, &[u8])]) {
    let role = cloud.create_role().await;
    let code = FunctionCode::builder().zip_file(Blob::new(zip(files)));
    let created = cloud
        .create(code.build())
        .runtime(Runtime::from("nodejs24.x"))
        .handler(handler)
        .role(role)
        // Scripts run on either.
        .architectures(Architecture::Arm64)
        .timeout(60);
    created.send().await.unwrap();
    cloud.settled().await;
}

/// What the function answers, whether that is an error, and what it has logged.
async fn invoke<R>(cloud: &Cloud<R>, event: Value) -> (Value, Option<String>, String) {
    let invocation = cloud.lambda.invoke().function_name("f");
    let payload = Blob::new(event.to_string());
    let invocation = invocation.payload(payload).log_type(LogType::Tail);
    let answer = invocation.send().await.unwrap();
    let log = base64::engine::general_purpose::STANDARD.decode(answer.log_result().unwrap());
    (
        serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap(),
        answer.function_error().map(str::to_owned),
        String::from_utf8(log.unwrap()).unwrap(),
    )
}

const SCRIPT: &[u8] = br#"
const fs = require("node:fs");
const attempt = (work) => { try { return work() ?? "done"; } catch (error) { return error.code; } };
exports.look = async (event, context) => {
  console.log("asked", event.what);
  if (event.what === "fail") throw new TypeError("as it was told");
  return {
    left: context.getRemainingTimeInMillis(),
    function: context.functionName,
    arn: context.invokedFunctionArn,
    id: context.awsRequestId.length,
    found: fs.readdirSync("/tmp"),
    tmp: attempt(() => fs.writeFileSync(`/tmp/${event.own}`, "")),
    code: attempt(() => fs.writeFileSync("/var/task/index.js", "")),
    machine: attempt(() => fs.writeFileSync(event.beside, "")),
    layer: attempt(() => fs.readFileSync("/opt/bin/tool", "utf8")),
    program: fs.readFileSync("/var/task/program", "latin1"),
    environment: process.env,
  };
};
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_for_node_has_a_tmp_of_its_own_and_writes_nowhere_else() {
    if !possible().await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // What it is to see of this machine cannot lie below `/tmp`.
    let beside = tempfile::tempdir_in("/var/tmp").unwrap();
    let programs = beside.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let program = b"\x7fELF for this machine";
    std::fs::write(programs.join("program"), program).unwrap();
    std::fs::write(programs.join("index.js"), "throw 'not this one'").unwrap();
    std::fs::write(beside.path().join("tool"), "from a layer").unwrap();
    let runtime = node(&[("bin/tool", &beside.path().join("tool"))], Some(programs));
    let cloud = start_with(folder.path(), None, runtime).await;
    let code: &[(&str, &[u8])] = &[("index.js", SCRIPT), ("program", b"\x7fELF for arm64")];
    deploy(&cloud, "index.look", code).await;

    let bystander = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let own = "written-by-a-function-for-node";
    // Not below `/tmp`, where the tests' own folders may lie.
    let victim = Path::new("/var/tmp").join(own);
    let (seen, error, log) = invoke(
        &cloud,
        json!({ "what": "look", "own": own, "beside": victim }),
    )
    .await;
    assert_eq!(error, None, "{seen} {log}");
    assert_eq!(
        seen["found"],
        json!([]),
        "{} is beside it",
        bystander.path().display()
    );
    assert!(!Path::new("/tmp").join(own).exists());
    assert!(!victim.exists());
    assert!(seen["left"].as_f64().unwrap() > 30_000.0, "{seen}");
    assert_eq!(
        [&seen["tmp"], &seen["code"], &seen["machine"]],
        ["done", "EROFS", "EROFS"]
    );
    assert_eq!(
        (&seen["function"], &seen["layer"], &seen["id"]),
        (&json!("f"), &json!("from a layer"), &json!(36))
    );
    assert_eq!(seen["program"].as_str().unwrap().as_bytes(), program);
    let environment = &seen["environment"];
    for (name, value) in [
        ("AWS_EXECUTION_ENV", "AWS_Lambda_nodejs24.x"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("HOME", "/tmp"),
        ("_HANDLER", "index.look"),
    ] {
        assert_eq!(environment[name], value, "{name}");
    }
    assert!(log.contains("\tINFO\tasked look\n"), "{log}");

    let (failure, error, _) = invoke(&cloud, json!({ "what": "fail" })).await;
    assert_eq!(error.as_deref(), Some("Unhandled"));
    assert_eq!(
        (&failure["errorType"], &failure["errorMessage"]),
        (&json!("TypeError"), &json!("as it was told"))
    );
    assert!(failure["trace"][1].as_str().unwrap().contains("index.js"));
    cloud.running.shutdown().await;
}

/// What a streamed answer is, and why it ended, if that was an error.
async fn stream(cloud: &Cloud, event: Value) -> (String, Option<String>) {
    let invocation = cloud.lambda.invoke_with_response_stream();
    let invocation = invocation.function_name("f");
    let mut answer = invocation
        .payload(Blob::new(event.to_string()))
        .send()
        .await
        .unwrap();
    let (mut text, mut error) = (Vec::new(), None);
    while let Some(event) = answer.event_stream.recv().await.unwrap() {
        match event {
            Event::PayloadChunk(chunk) => text.extend(chunk.payload.unwrap().into_inner()),
            Event::InvokeComplete(end) => error = end.error_code,
            _ => {}
        }
    }
    (String::from_utf8(text).unwrap(), error)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_for_node_streams_its_answer() {
    if !possible().await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cloud = start_with(folder.path(), None, node(&[], None)).await;
    let script = br#"
        const answer = async (event, stream) => {
          if (event.early) throw new Error("before anything");
          stream.setContentType("text/plain");
          stream.write("one ");
          if (event.late) { await new Promise((over) => setTimeout(over, 50)); throw new Error("behind it"); }
          stream.write("two");
          stream.end();
        };
        exports.handler = awslambda.streamifyResponse(answer);
    "#;
    deploy(&cloud, "index.handler", &[("index.js", script)]).await;
    assert_eq!(
        stream(&cloud, json!({})).await,
        ("one two".to_owned(), None)
    );
    let (text, error) = stream(&cloud, json!({ "late": true })).await;
    assert_eq!((text.as_str(), error.as_deref()), ("one ", Some("Error")));
    let (_, error) = stream(&cloud, json!({ "early": true })).await;
    assert_eq!(error.as_deref(), Some("Unhandled"));
    // What is not listened to comes at once.
    let answer = cloud.lambda.invoke().function_name("f").send().await;
    assert_eq!(answer.unwrap().payload().unwrap().as_ref(), b"one two");
    cloud.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_loaded_and_what_cannot_be_run_are_told() {
    let folder = tempfile::tempdir().unwrap();
    if possible().await {
        let cloud = start_with(folder.path(), None, node(&[], None)).await;
        deploy(&cloud, "index.nothing", &[("index.js", SCRIPT)]).await;
        let (failure, error, _) = invoke(&cloud, json!({})).await;
        assert_eq!(error.as_deref(), Some("Unhandled"));
        assert_eq!(failure["errorType"], "Runtime.HandlerNotFound");
        cloud.running.shutdown().await;
    }
    // A machine without `node` says so, and nothing is run.
    let folder = tempfile::tempdir().unwrap();
    let cloud = start_with(folder.path(), None, None).await;
    deploy(&cloud, "index.look", &[("index.js", SCRIPT)]).await;
    let refused = cloud.lambda.invoke().function_name("f").send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("InvalidRuntimeException"));
    let told = refused.message().unwrap();
    assert!(told.contains("this machine's `node`"), "{told}");
    cloud.running.shutdown().await;
}

/// Namespaces are forbidden by the kernel itself: to whoever is in a user namespace that may have no mount namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_root_of_its_own_is_forbidden_a_function_for_node_is_not_run() {
    if !possible().await {
        return;
    }
    let project = TestProject::new();
    let forbid = r#"echo 0 > /proc/sys/user/max_mnt_namespaces && exec "$0" "$@""#;
    let mut rmx = Command::new("unshare");
    rmx.args(["--user", "--map-root-user", "--", "sh", "-c", forbid])
        .arg(env!("CARGO_BIN_EXE_rmx"));
    let (serve, variables) = Serve::by(&mut rmx, &project);
    let cloud = Cloud::at(
        &variables["AWS_ENDPOINT_URL"],
        &variables["AWS_ACCESS_KEY_ID"],
        &variables["AWS_SECRET_ACCESS_KEY"],
        serve,
    );
    let trace = project.path().join("it-ran");
    let script =
        format!("require('node:fs').writeFileSync({trace:?}, ''); exports.look = async () => 1;");
    deploy(&cloud, "index.look", &[("index.js", script.as_bytes())]).await;
    let (failure, error, _) = invoke(&cloud, json!({})).await;
    assert_eq!(error.as_deref(), Some("Unhandled"), "{failure}");
    let told = failure["errorMessage"].as_str().unwrap();
    assert!(told.contains("only in a root of their own"), "{told}");
    assert!(told.contains("unshare failed"), "{told}");
    assert!(!trace.exists());
}
