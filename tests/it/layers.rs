//! Layers: published on the embedded cloud, named by functions, found by what runs there, and told of by plans.

use std::io::Write as _;

use aws_sdk_lambda::error::ProvideErrorMetadata as _;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, FunctionCode, LayerVersionContentInput};
use base64::Engine as _;
use rmx::local::Quotas;
use serde_json::{Value, json};

use crate::isolation::{isolation, possible};
use crate::local_lambda::{Cloud, start_isolating, zip};
use crate::support::TestProject;
use crate::support::aws::{ACCOUNT, AwsProject, READING, allow};

/// A zip of programs.
fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    for (name, text) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Publishes a layer for x86_64 and returns its version's ARN.
async fn publish(lambda: &aws_sdk_lambda::Client, name: &str, zip: &[u8]) -> String {
    let content = LayerVersionContentInput::builder().zip_file(Blob::new(zip));
    let answer = lambda
        .publish_layer_version()
        .layer_name(name)
        .content(content.build())
        .compatible_architectures(Architecture::X8664)
        .send()
        .await
        .unwrap();
    answer.layer_version_arn.unwrap()
}

fn code(script: &str) -> FunctionCode {
    FunctionCode::builder()
        .zip_file(Blob::new(zip(script)))
        .build()
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_published_in_versions_and_functions_have_those_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let cloud: Cloud = start_isolating(folder.path(), None).await;
    cloud.create_role().await;
    let first = zip_of(&[("bin/a", "1")]);
    let arn = format!("arn:aws:lambda:eu-central-1:{ACCOUNT}:layer:tools");
    assert_eq!(
        publish(&cloud.lambda, "tools", &first).await,
        format!("{arn}:1")
    );
    let second = zip_of(&[("bin/a", "2"), ("bin/b", "2")]);
    assert_eq!(
        publish(&cloud.lambda, &arn, &second).await,
        format!("{arn}:2")
    );
    let told = cloud.lambda.get_layer_version_by_arn();
    let told = told.arn(format!("{arn}:1")).send().await.unwrap();
    let content = told.content().unwrap();
    assert_eq!(content.code_size, i64::try_from(first.len()).unwrap());
    assert_eq!(
        content.code_sha256().unwrap(),
        rmx::digest::Digest::of(&first).base64()
    );
    assert_eq!(told.compatible_architectures(), [Architecture::X8664]);
    let told = cloud.lambda.get_layer_version().layer_name("tools");
    let told = told.version_number(2).send().await.unwrap();
    assert_eq!(told.layer_version_arn(), Some(format!("{arn}:2").as_str()));

    // What is not there, and what is another account's.
    let read = |arn: String| cloud.lambda.get_layer_version_by_arn().arn(arn).send();
    let missing = read(format!("{arn}:3")).await.unwrap_err();
    assert_eq!(missing.code(), Some("ResourceNotFoundException"));
    let foreign = "arn:aws:lambda:eu-central-1:111122223333:layer:tools:1".to_owned();
    let denied = read(foreign.clone()).await.unwrap_err();
    assert_eq!(denied.code(), Some("AccessDeniedException"));
    let refused = cloud.create(code("#!/bin/sh\n")).layers(format!("{arn}:3"));
    let refused = refused.send().await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Some("InvalidParameterValueException"),
            Some(format!("Layer version {arn}:3 does not exist.").as_str())
        )
    );
    let made = cloud.create(code("#!/bin/sh\n"));
    let made = made.layers(format!("{arn}:2")).layers(foreign);
    let made = made.send().await.unwrap();
    let sizes: Vec<i64> = made.layers().iter().map(|layer| layer.code_size).collect();
    assert_eq!(sizes, [i64::try_from(second.len()).unwrap(), 0]);
    cloud.settled().await;
    let update = cloud.lambda.update_function_configuration();
    let update = update.function_name("f").layers(format!("{arn}:4"));
    let refused = update.send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidParameterValueException"));
    cloud.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_function_finds_its_layers_one_over_the_other() {
    if !possible().await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cloud: Cloud = start_isolating(folder.path(), Some(isolation())).await;
    cloud.create_role().await;
    let below = zip_of(&[("share/both", "below"), ("share/below", "below")]);
    let above = zip_of(&[
        ("share/both", "above"),
        ("bin/tool", "#!/bin/sh\necho ran\n"),
    ]);
    let below = publish(&cloud.lambda, "below", &below).await;
    let above = publish(&cloud.lambda, "above", &above).await;
    let script = "#!/bin/sh\nread -r both < /opt/share/both\nread -r below < /opt/share/below\n\
                  echo found $both $below $(/opt/bin/tool)\necho x > /opt/x || echo layers are read-only\nexit 7\n";
    let create = cloud.create(code(script)).layers(below).layers(above);
    drop(create.send().await.unwrap());
    cloud.settled().await;
    let invocation = cloud.lambda.invoke().function_name("f");
    let answer = invocation
        .log_type(aws_sdk_lambda::types::LogType::Tail)
        .send()
        .await
        .unwrap();
    let log = base64::engine::general_purpose::STANDARD.decode(answer.log_result().unwrap());
    let log = String::from_utf8(log.unwrap()).unwrap();
    assert!(log.contains("found above below ran\n"), "{log}");
    assert!(log.contains("layers are read-only\n"), "{log}");
    cloud.running.shutdown().await;
}

/// The real worker, whose package has no browser, starts the one that its layer brings.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_the_browser_that_its_layer_brings() {
    if !possible().await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cloud: Cloud = start_isolating(folder.path(), Some(isolation())).await;
    let browser = "#!/bin/sh\necho this is the browser of the layer >&2\nexit 3\n";
    let ffmpeg = ("bin/ffmpeg", "#!/bin/sh\nexit 0\n");
    let layer = zip_of(&[("bin/headless_shell", browser), ffmpeg]);
    let layer = publish(&cloud.lambda, "chromium", &layer).await;

    let mut project = TestProject::new();
    let keys = cloud.running.credentials().clone();
    project.set_variable("AWS_ENDPOINT_URL", cloud.running.endpoint_url());
    project.set_variable("AWS_ACCESS_KEY_ID", &keys.access_key_id);
    project.set_variable("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
    project.write("site/index.html", "<p>1</p>");
    std::fs::create_dir(project.path().join("package")).unwrap();
    let worker = project.path().join("package/bootstrap");
    std::fs::copy(env!("CARGO_BIN_EXE_rmx-worker"), worker).unwrap();
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    let configure = |layers: &str| {
        let config = format!(
            "project = \"hello\"\ntarget = \"aws\"\nregion = \"eu-central-1\"\n\
             [function]\npackage = \"package\"\narchitecture = \"{architecture}\"\n{layers}\n\
             [[site]]\nname = \"site\"\nfolder = \"site\"\n"
        );
        project.write("remotion.toml", &config);
    };
    let rmx = |arguments: &[&str], status: i32| {
        tokio::task::block_in_place(|| project.rmx(arguments).expect_status(status))
    };
    configure("");
    drop(rmx(&["apply", "--auto-approve"], 0));
    let without = rmx(&["compositions"], 1);
    assert!(
        without.stderr.contains("no headless Chromium was found"),
        "{without}"
    );
    configure(&format!("layers = [{layer:?}]"));
    drop(rmx(&["apply", "--auto-approve"], 0));
    let with = rmx(&["compositions"], 1);
    assert!(
        with.stderr.contains("this is the browser of the layer"),
        "{with}"
    );
    cloud.running.shutdown().await;
}

/// The finding about layers in a plan's document.
#[track_caller]
fn finding(plan: &Value) -> (&str, &str) {
    let checks = plan["preflight"]["checks"].as_array().unwrap();
    let layers = checks.iter().find(|check| check["subject"] == "layers");
    let layers = layers.unwrap_or_else(|| panic!("{plan:#}"));
    let text = |name: &str| layers[name].as_str().unwrap();
    (text("verdict"), text("detail"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_is_known_of_layers() {
    let mut aws = AwsProject::start("").await;
    let lambda = aws.lambda();
    // Nothing of it can be packed.
    let noise: Vec<u8> = (0..40_000u32)
        .flat_map(|n| {
            rmx::digest::Digest::of(n.to_le_bytes())
                .base64()
                .into_bytes()
        })
        .collect();
    let noise = String::from_utf8(noise).unwrap();
    let layer = publish(&lambda, "chromium", &zip_of(&[("bin/noise", &noise)])).await;
    aws.configure(&format!("layers = [{layer:?}]"));
    let plan = aws.plan_json();
    let (verdict, detail) = finding(&plan);
    assert_eq!(verdict, "warning", "{detail}");
    for told in [
        "1 of 1 there",
        "unzipped Lambda does not tell",
        "250.0 MiB are left",
    ] {
        assert!(detail.contains(told), "{told} is missing in {detail}");
    }
    let shown = aws.rmx(&["plan"]).expect_status(0);
    assert!(shown.stdout.contains("layers"), "{shown}");

    // What cannot fit is refused, whatever its zip holds.
    aws.test_cloud.faults().set_quotas(Quotas {
        code_size_unzipped_bytes: 1_000_000,
        ..Quotas::default()
    });
    let refused = aws.rmx(&["plan"]).expect_status(13);
    assert!(
        refused.stderr.contains("layers: the package has"),
        "{refused}"
    );
    // Lambda counts exactly, and says the same.
    let lambda_says = aws.rmx(&["apply", "--auto-approve", "--skip-preflight"]);
    let lambda_says = lambda_says.expect_status(15);
    assert!(
        lambda_says
            .stderr
            .contains("Function code combined with layers exceeds the maximum allowed size"),
        "{lambda_says}"
    );
    aws.test_cloud.faults().set_quotas(Quotas::default());

    // One that is not there, and one that another account has not shared.
    aws.configure(&format!(
        "layers = [{layer:?}, \"arn:aws:lambda:eu-central-1:{ACCOUNT}:layer:none:7\"]"
    ));
    let refused = aws.rmx(&["plan"]).expect_status(13);
    assert!(
        refused
            .stderr
            .contains("there is no arn:aws:lambda:eu-central-1:123456789012:layer:none:7"),
        "{refused}"
    );
    let foreign = "arn:aws:lambda:eu-central-1:111122223333:layer:tools:1";
    aws.configure(&format!("layers = [{layer:?}, {foreign:?}]"));
    let plan = aws.plan_json();
    let (verdict, detail) = finding(&plan);
    assert_eq!(verdict, "not_checked", "{detail}");
    assert!(
        detail.contains("tools:1 was not checked") && detail.contains("1 of 2 there"),
        "{detail}"
    );

    // Whoever may not read layers is told that nobody looked.
    let reading = READING.iter().filter(|action| **action != "lambda:Get*");
    let reading: Vec<&str> = reading
        .copied()
        .chain(["lambda:GetFunction*", "lambda:GetA*"])
        .collect();
    let role = aws.role("reader", "/", json!([allow(&reading)])).await;
    aws.become_role(&role).await;
    aws.configure(&format!("layers = [{layer:?}]"));
    let plan = aws.plan_json();
    let (verdict, detail) = finding(&plan);
    assert_eq!(verdict, "not_checked", "{detail}");
    assert!(detail.contains("may not call"), "{detail}");
}
