//! `rmx policies` against what rmx calls: on an embedded cloud that enforces policies, a role with nothing but the printed policy
//! gets everything done, and each line of the policy is needed for something.

use std::time::Duration;

use rmx::cloud::PutOptions;
use rmx::local::{Quotas, TracedCall};
use serde_json::{Value, json};

use crate::support::TestProject;
use crate::support::aws::{ACCOUNT, AwsProject, allow};

const WORKER: &str = include_str!("render/worker.py");
const ROLE: &str = "rmx-hello-eu-central-1";
const BUCKET: &str = "rmx-hello-123456789012-eu-central-1";
const STATE: &str = "[state]\nbucket = \"my-states\"\n";

/// The pairs of action and resource that a printed policy allows.
fn pairs(policy: &Value) -> Vec<(String, String)> {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().unwrap().iter();
        list.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut pairs = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        for action in texts(&statement["Action"]) {
            assert!(!action.contains('*'), "{action}");
            let resources = texts(&statement["Resource"]);
            pairs.extend(
                resources
                    .into_iter()
                    .map(|resource| (action.clone(), resource)),
            );
        }
    }
    pairs
}

fn matches(pattern: &str, resource: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => resource.starts_with(prefix),
        None => pattern == resource,
    }
}

/// Everything that `role` called is allowed, and everything that is allowed was called by it.
#[track_caller]
fn exactly(pairs: &[(String, String)], calls: &[TracedCall], role: &str) {
    let own = calls
        .iter()
        .filter(|call| call.role.as_deref() == Some(role));
    let made: Vec<_> = own.flat_map(|call| &call.permissions).collect();
    assert!(made.len() > 20, "{}", made.len());
    for one in &made {
        let mut allowing = pairs.iter();
        let allowed = allowing
            .any(|(action, resource)| *action == one.action && matches(resource, &one.resource));
        assert!(allowed, "called and not allowed: {one:?}");
    }
    let superfluous: Vec<_> = pairs
        .iter()
        .filter(|(action, resource)| {
            let mut made = made.iter();
            !made.any(|one| *action == one.action && matches(resource, &one.resource))
        })
        .collect();
    assert!(
        superfluous.is_empty(),
        "allowed and never called: {superfluous:#?}"
    );
}

fn policy(aws: &AwsProject, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["policies"].iter().chain(arguments).copied().collect();
    let printed = aws.rmx(&arguments).expect_status(0);
    serde_json::from_str(&printed.stdout).unwrap_or_else(|_| panic!("{printed}"))
}

/// A farm with a worker that renders without a browser, and a state in S3.
async fn farm() -> AwsProject {
    let aws = AwsProject::start(STATE).await;
    aws.project.write("function/bootstrap", WORKER);
    declare(&aws, 2048, "");
    drop(aws.rmx(&["state", "create-bucket"]).expect_status(0));
    aws
}

fn declare(aws: &AwsProject, memory_mb: u32, more: &str) {
    aws.configure(&format!(
        "memory_mb = {memory_mb}\nkeep_versions = 1\n{more}\n{STATE}"
    ));
}

/// The document of a render that may be running.
async fn put_render(aws: &AwsProject) {
    let running = json!({ "running": { "functions": {}, "may_run_until_ms": 0 } });
    let (bucket, body) = (BUCKET.parse().unwrap(), running.to_string().into());
    let options = PutOptions::default();
    let cloud = aws.test_cloud.connect().await;
    let put = cloud.put_object(&bucket, "renders/one/render.json", body, &options);
    let _ = put.await.unwrap();
}

/// Becomes a role that may do what `policy` says and nothing else.
async fn become_allowed(aws: &mut AwsProject, name: &str, policy: &Value) {
    aws.allow(name, policy["Statement"].clone()).await;
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/ci/{name}");
    aws.become_role(&arn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployers_policy_is_what_deploying_calls() {
    let mut aws = farm().await;
    let arn = aws
        .role("deploy", "/ci/", json!([allow(&["sts:GetCallerIdentity"])]))
        .await;
    let policy = policy(&aws, &["deployer", "--principal", &arn]);
    // Small enough for one managed policy of IAM.
    assert!(
        policy.to_string().len() < 6144,
        "{}",
        policy.to_string().len()
    );
    become_allowed(&mut aws, "deploy", &policy).await;
    let trace = aws.test_cloud.faults().trace().clone();
    let mut calls = Vec::new();
    let mut run = |aws: &AwsProject, arguments: &[&str]| {
        trace.begin(Duration::ZERO);
        let output = aws.rmx(arguments).expect_status(0);
        calls.extend(trace.end());
        output
    };
    const APPLY: &[&str] = &["apply", "--auto-approve"];

    let first = run(&aws, APPLY);
    assert!(first.stdout.contains("ok          permissions"), "{first}");
    // A render that may be running is looked at before a version goes.
    put_render(&aws).await;
    // Versions come and go, and `live` moves back.
    for memory_mb in [1024, 3008, 2048] {
        declare(&aws, memory_mb, "");
        drop(run(&aws, APPLY));
    }
    drop(run(&aws, &["rollback", "--auto-approve"]));
    drop(run(&aws, &["versions"]));
    drop(run(&aws, APPLY));
    // New code, too large for a request.
    let small = Quotas {
        code_size_zipped_bytes: 10,
        ..Quotas::default()
    };
    aws.test_cloud.faults().set_quotas(small);
    aws.project.write("function/more", "code");
    drop(run(&aws, APPLY));
    // Another page.
    aws.project.write("page/index.html", "<p>2</p>");
    aws.project.write("page/more.js", "2");
    drop(run(&aws, APPLY));
    std::fs::remove_file(aws.project.path().join("page/more.js")).unwrap();
    drop(run(&aws, APPLY));
    // What somebody changed is mended.
    aws.test_cloud.grant_more(ROLE).await;
    aws.test_cloud.bend_role(ROLE).await;
    drop(run(&aws, APPLY));
    // The state is lost, and its objects are taken over again.
    for address in [
        "bucket.main",
        "role.main",
        "log_group.main",
        "function.worker",
    ] {
        let name = match address {
            "bucket.main" => BUCKET,
            "role.main" => ROLE,
            "log_group.main" => "/aws/lambda/rmx-hello",
            _ => "rmx-hello",
        };
        drop(run(&aws, &["state", "rm", address]));
        drop(run(&aws, &["import", address, name]));
    }
    drop(run(&aws, APPLY));
    aws.test_cloud.grant_more(ROLE).await;
    drop(run(&aws, &["destroy", "--auto-approve", "--delete-data"]));
    // Who finds the state locked reads by whom.
    trace.begin(Duration::ZERO);
    let unlocked = aws.rmx(&["state", "unlock", "nobody"]);
    assert_ne!(unlocked.expect_status(1).stderr, "");
    calls.extend(trace.end());
    exactly(&pairs(&policy), &calls, "deploy");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_planners_policy_is_what_planning_calls() {
    let mut aws = farm().await;
    let nothing = json!([allow(&["sts:GetCallerIdentity"])]);
    drop(aws.role("plan", "/ci/", nothing).await);
    let deploy = aws.role("deploy", "/ci/", json!([allow(&["*"])])).await;
    let preflight_as = ["--preflight-as", deploy.as_str()];
    let plan = |more: &[&'static str]| [&["plan"], more, &preflight_as].concat();
    for memory_mb in [1024, 3008, 2048] {
        declare(&aws, memory_mb, "");
        drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    }
    put_render(&aws).await;
    // A change that did not come to its end may be somebody's who is at it: the lock is looked at.
    aws.project
        .write("function/bootstrap", "#!/bin/sh\nexit 1\n");
    drop(
        aws.rmx(&["apply", "--auto-approve", "--smoke"])
            .expect_status(15),
    );
    aws.test_cloud.grant_more(ROLE).await;

    let policy = policy(&aws, &["planner", "--principal", &deploy]);
    become_allowed(&mut aws, "plan", &policy).await;
    declare(&aws, 4096, "");
    let trace = aws.test_cloud.faults().trace().clone();
    trace.begin(Duration::ZERO);
    let planned = aws.rmx(&plan(&[])).expect_status(0);
    assert!(
        planned.stdout.contains("ok          permissions"),
        "{planned}"
    );
    drop(aws.rmx(&plan(&["--refresh-only"])).expect_status(0));
    // What would be lost is told, and nobody agreed.
    drop(aws.rmx(&plan(&["--destroy"])).expect_status(13));
    drop(aws.rmx(&["versions"]).expect_status(0));
    let mut pairs = pairs(&policy);
    let all = pairs.len();
    // Without it S3 answers 403 and not 404 where there is no state yet.
    pairs.retain(|(action, resource)| {
        action != "s3:ListBucket" || !resource.ends_with(":my-states")
    });
    assert_eq!(pairs.len(), all - 1);
    exactly(&pairs, &trace.end(), "plan");
    // It changes nothing.
    let refused = aws.rmx(&["apply", "--auto-approve", "--skip-preflight"]);
    assert!(refused.expect_status(1).stderr.contains("s3:PutObject"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_renderers_policy_is_what_rendering_calls() {
    let mut aws = farm().await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    drop(
        aws.role("render", "/ci/", json!([allow(&["sts:GetCallerIdentity"])]))
            .await,
    );
    let policy = policy(&aws, &["renderer"]);
    become_allowed(&mut aws, "render", &policy).await;
    let trace = aws.test_cloud.faults().trace().clone();
    trace.begin(Duration::ZERO);
    let render = ["render", "Title", "--frames-per-lambda", "10"];
    drop(aws.rmx(&render).expect_status(0));
    drop(aws.rmx(&["compositions"]).expect_status(0));
    let resolved = aws.rmx(&["render", "Title", "--json"]).expect_status(0);
    let begun: Value = serde_json::from_str(resolved.stdout.lines().next().unwrap()).unwrap();
    let id = begun["render_id"].as_str().unwrap();
    let logged = aws.rmx(&["logs", "--render", id, "--chunk", "0"]);
    let logged = logged.expect_status(0).stdout;
    assert!(
        logged.contains(&format!("renderId={id},chunk=0,")),
        "{logged}"
    );
    // This worker is no orchestrator: the props are there by then.
    let props = json!({ "text": "a".repeat(200_000) }).to_string();
    aws.project.write("props.json", &props);
    let detached = aws.rmx(&["render", "Title", "--detach", "--props", "props.json"]);
    let detached = detached.expect_status(1).stderr;
    assert!(detached.contains("The function refused"), "{detached}");
    exactly(&pairs(&policy), &trace.end(), "render");
    // It changes nothing of the farm.
    drop(aws.rmx(&["destroy", "--auto-approve"]).expect_status(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_follow_the_configuration() {
    let mut aws = farm().await;
    let plain = pairs(&policy(&aws, &["deployer"]));
    let has = |pairs: &[(String, String)], action: &str, resource: &str| {
        pairs.contains(&(action.to_owned(), resource.to_owned()))
    };
    assert!(
        !plain
            .iter()
            .any(|(action, _)| action.starts_with("ssm:") || action.starts_with("ec2:"))
    );
    let parameter = format!("arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/farm/token");
    let boundary = format!("arn:aws:iam::{ACCOUNT}:policy/boundary");
    declare(
        &aws,
        2048,
        &format!(
            "smoke = true\nenvironment = {{ TOKEN = {{ secret = \"ssm:/farm/token:3\" }} }}\n\
             vpc = {{ subnet_ids = [\"subnet-0123456789abcdef0\"], security_group_ids = [\"sg-0123456789abcdef0\"] }}\n\
             [role]\npermissions_boundary = \"{boundary}\"\n"
        ),
    );
    let printed = policy(&aws, &["deployer"]);
    let pairs = pairs(&printed);
    let role = format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}");
    let function = format!("arn:aws:lambda:eu-central-1:{ACCOUNT}:function:rmx-hello");
    for (action, resource) in [
        ("ssm:GetParameters", parameter.as_str()),
        ("ec2:DescribeSubnets", "*"),
        ("iam:PutRolePermissionsBoundary", &role),
        ("iam:GetPolicyVersion", &boundary),
        ("lambda:InvokeFunction", &format!("{function}:*")),
    ] {
        assert!(
            has(&pairs, action, resource),
            "{action} {resource}: {printed:#}"
        );
        assert!(!has(&plain, action, resource), "{action} {resource}");
    }
    // A boundary that is configured is never taken away.
    assert!(has(&plain, "iam:DeleteRolePermissionsBoundary", &role));
    assert!(!has(&pairs, "iam:DeleteRolePermissionsBoundary", &role));

    // The parameter may be read: what is missing is the parameter itself.
    drop(
        aws.role("deploy", "/ci/", json!([allow(&["sts:GetCallerIdentity"])]))
            .await,
    );
    become_allowed(&mut aws, "deploy", &printed).await;
    let missing = aws.rmx(&["plan"]).expect_status(1);
    assert!(missing.stderr.contains("which is not there"), "{missing}");

    let worker = policy(&aws, &["worker"]);
    let statements = worker["Statement"].as_array().unwrap();
    assert!(
        statements
            .iter()
            .any(|statement| statement["Sid"] == "Network"),
        "{worker:#}"
    );
    for wrong in [
        &["worker", "--principal", &boundary][..],
        &["planner", "--smoke"],
        &["deployer", "--principal", "me"],
    ] {
        let usage = aws.rmx(&[&["policies"], wrong].concat()).expect_status(64);
        assert!(usage.stderr.contains("deployer"), "{usage}");
    }
    // The flag of `apply` stands for the key.
    declare(&aws, 2048, "");
    let smoke = self::pairs(&policy(&aws, &["deployer", "--smoke"]));
    let invoked = has(&smoke, "lambda:InvokeFunction", &format!("{function}:*"));
    assert!(invoked, "{smoke:?}");
}

#[test]
fn policies_of_a_configured_account_need_no_credentials() {
    let project = TestProject::new();
    for (text, account) in [
        ("project = \"hello\"\n", "000000000000"),
        (
            "project = \"hello\"\ntarget = \"aws\"\naccount = \"123456789012\"\n",
            ACCOUNT,
        ),
    ] {
        project.write("remotion.toml", text);
        for whose in ["deployer", "planner", "renderer", "worker"] {
            let printed = project.rmx(&["policies", whose]).expect_status(0);
            assert!(printed.stdout.contains(account), "{printed}");
        }
    }
}
