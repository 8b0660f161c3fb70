//! Functions that see what they would see on Lambda: their code, `/tmp`, loopback, and limits that hold.

use std::collections::BTreeSet;
use std::path::PathBuf;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{EphemeralStorage, FunctionCode, LogType};
use base64::Engine as _;
use rmx::local::Isolation;
use serde_json::Value;

use crate::local_lambda::{Cloud, start_isolating, zip};
use crate::support::TestProject;

pub(crate) fn isolation() -> Isolation {
    Isolation {
        launcher: PathBuf::from(env!("CARGO_BIN_EXE_rmx")),
    }
}

/// What a package may rely on is what an isolated function finds, which has nothing beside it but what its shell needs.
#[test]
fn a_package_is_verified_against_what_an_isolated_function_finds() {
    let found = BTreeSet::from(rmx::local::ISOLATED_LIBRARIES);
    let relied_on = BTreeSet::from(rmx::bundle::package::SYSTEM_LIBRARIES);
    assert!(found.is_superset(&relied_on), "{found:?} {relied_on:?}");
    let more: Vec<_> = found.difference(&relied_on).copied().collect();
    assert_eq!(
        more,
        ["libnss_dns.so.2", "libnss_files.so.2", "libtinfo.so.6"]
    );
}

/// How `script` ends as an isolated function of 256 MB with a disk of 512 MB, and what it wrote until then.
async fn end_of(script: &str) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let cloud: Cloud = start_isolating(folder.path(), Some(isolation())).await;
    cloud.create_role().await;
    let script = format!("#!/bin/sh\n{script}\nexit 7\n");
    let code = FunctionCode::builder().zip_file(Blob::new(zip(&script)));
    let disk = EphemeralStorage::builder().size(512).build().unwrap();
    // A busy machine fills a disk slowly.
    let create = cloud.create(code.build()).memory_size(256).timeout(300);
    drop(create.ephemeral_storage(disk).send().await.unwrap());
    cloud.settled().await;
    let invocation = cloud.lambda.invoke().function_name("f");
    let answer = invocation.log_type(LogType::Tail).send().await.unwrap();
    let log = base64::engine::general_purpose::STANDARD.decode(answer.log_result().unwrap());
    let log = String::from_utf8(log.unwrap()).unwrap();
    cloud.running.shutdown().await;
    let failure = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
    (failure, log)
}

/// Whoever runs the tests where namespaces are forbidden says so by this variable: a test that quietly does nothing proves nothing.
const MAY_BE_FORBIDDEN: &str = "RMX_TEST_WITHOUT_ISOLATION";

/// Whether this system lets anything be isolated. Where it does not, the tests fail, unless [`MAY_BE_FORBIDDEN`] is set.
pub(crate) async fn possible() -> bool {
    let Err(error) = isolation().check().await else {
        return true;
    };
    let surroundings = rmx::env::Env::read().unwrap();
    assert!(
        surroundings.variable(MAY_BE_FORBIDDEN).is_some(),
        "this system does not let functions be isolated ({error}), so this test would prove nothing: run it where namespaces are \
         allowed, or set {MAY_BE_FORBIDDEN}=1"
    );
    #[expect(clippy::print_stderr, reason = "whoever runs the tests sees it")]
    {
        eprintln!("skipped: this system does not let functions be isolated ({error})");
    }
    false
}

/// What a script says that comes to its end, which no function may: that is its failure.
async fn said_to_its_end(script: &str) -> String {
    let (failure, log) = end_of(script).await;
    let told = failure["errorMessage"].as_str().unwrap();
    assert!(told.ends_with("exit status 7"), "{failure} {log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_function_sees_its_code_and_nothing_of_this_machine() {
    if !possible().await {
        return;
    }
    let log = said_to_its_end(
        "echo root /*\necho task $PWD *\necho home /home/* $HOME $TMPDIR\n\
         echo x > /var/task/x || echo code is read-only\necho x > /x || echo root is read-only\necho x > /tmp/x && echo tmp is not\n\
         while read -r line; do case $line in *:*) echo interface ${line%%:*};; esac; done < /proc/net/dev",
    )
    .await;
    for told in [
        "task /var/task bootstrap\n",
        "home /home/* /tmp /tmp\n",
        "code is read-only\n",
        "root is read-only\n",
        "tmp is not\n",
        "interface lo\n",
    ] {
        assert!(log.contains(told), "{told} is missing in\n{log}");
    }
    assert_eq!(log.matches("interface ").count(), 1, "{log}");
    let root = log.lines().find(|line| line.starts_with("root ")).unwrap();
    assert!(
        !root.contains("/home") && !root.contains("/root") && !root.contains("/sbin"),
        "{root}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_disk_of_an_isolated_function_end_where_they_do_on_lambda() {
    if !possible().await {
        return;
    }
    let log = said_to_its_end(
        "block=$(printf '%8388608s' x)\nwritten=0\n\
         while printf '%s' \"$block\" >> /tmp/file; do written=$((written + 1)); done\necho wrote $written",
    )
    .await;
    let written = log.lines().find_map(|line| line.strip_prefix("wrote "));
    let written: u32 = written.unwrap_or_else(|| panic!("{log}")).parse().unwrap();
    // 64 times 8 MiB.
    assert_eq!(written, 64, "{log}");

    let (failure, log) =
        end_of("text=$(printf '%1000000s' x)\nwhile true; do text=$text$text; done").await;
    assert_eq!(failure["errorType"], "Runtime.ExitError", "{failure} {log}");
    assert!(
        failure["errorMessage"]
            .as_str()
            .unwrap()
            .ends_with("Runtime exited with error: signal: killed"),
        "{failure} {log}"
    );
    assert!(
        log.contains("Memory Size: 256 MB\tMax Memory Used: 256 MB"),
        "{log}"
    );
}

/// The real worker reaches the Runtime API, its site and nothing else: Chromium is on the machine and not in the package.
#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_worker_has_what_its_package_brings() {
    let project = TestProject::new();
    project.write("site/index.html", "<p>1</p>");
    std::fs::create_dir(project.path().join("package")).unwrap();
    let worker = project.path().join("package/bootstrap");
    std::fs::copy(env!("CARGO_BIN_EXE_rmx-worker"), worker).unwrap();
    project.write(
        "remotion.toml",
        "project = \"hello\"\n[function]\npackage = \"package\"\n[local]\nisolate = true\n\
         [[site]]\nname = \"site\"\nfolder = \"site\"\n",
    );
    let applied = project.rmx(&["apply", "--auto-approve"]);
    if !possible().await {
        let refused = applied.expect_status(13);
        assert!(refused.stderr.contains("cannot be isolated"), "{refused}");
        assert!(refused.stderr.contains("isolate = false"), "{refused}");
        return;
    }
    drop(applied.expect_status(0));
    let missing = project.rmx(&["compositions"]).expect_status(1);
    assert!(
        missing.stderr.contains("no headless Chromium was found"),
        "{missing}"
    );
}
