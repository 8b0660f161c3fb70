//! Preflight as a user meets it: on the embedded cloud as if it were AWS, with roles whose policies are enforced.

use std::time::Duration;

use rmx::cloud::PutOptions;
use rmx::local::{Fault, FaultKind, Moment, Quotas, TracedCall, longest_chain};
use serde_json::{Value, json};

use crate::support::aws::{ACCOUNT, AwsProject, READING, allow};

/// The denied actions that a failure tells to programs, as policy statements.
fn denied(stderr: &str) -> Vec<Value> {
    let told = stderr.lines().rev().find(|line| line.starts_with('{'));
    let told: Value = serde_json::from_str(told.unwrap_or_default()).unwrap();
    let checks = told["diagnostics"].as_array().unwrap().iter();
    let denied = checks.flat_map(|check| check["denied"].as_array().unwrap());
    denied
        .map(|one| json!({ "Effect": "Allow", "Action": one["action"], "Resource": one["resource"] }))
        .collect()
}

fn writes(calls: &[TracedCall]) -> Vec<&str> {
    let actions = calls.iter().flat_map(|call| &call.permissions);
    let reading = |action: &str| {
        let verb = action.split(':').nth(1).unwrap_or_default();
        ["Get", "List", "Describe", "Simulate"]
            .iter()
            .any(|prefix| verb.starts_with(prefix))
    };
    actions
        .map(|permission| permission.action.as_str())
        .filter(|action| !reading(action))
        .collect()
}

/// The check of a plan's document.
#[track_caller]
fn check<'a>(plan: &'a Value, subject: &str) -> &'a Value {
    let checks = plan["preflight"]["checks"].as_array();
    let mut checks = checks.unwrap_or_else(|| panic!("{plan:#}")).iter();
    let found = checks.find(|check| check["subject"] == subject);
    found.unwrap_or_else(|| panic!("no {subject} in {:#}", plan["preflight"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_told_before_anything_is_touched_and_granting_it_is_enough() {
    let mut aws = AwsProject::start("").await;
    let reading = || vec![allow(&READING), allow(&["iam:Simulate*"])];
    let deployer = aws.role("deploy", "/ci/", json!(reading())).await;
    aws.become_role(&deployer).await;

    let trace = aws.test_cloud.faults().trace().clone();
    trace.begin(Duration::ZERO);
    let planned = aws.rmx(&["plan", "--out", "plan.rmx"]).expect_status(13);
    let role = format!("arn:aws:iam::{ACCOUNT}:role/rmx-hello-eu-central-1");
    let function = format!("arn:aws:lambda:eu-central-1:{ACCOUNT}:function:rmx-hello");
    for told in [
        format!("iam:CreateRole on {role}, needed for role.main: no policy allows it"),
        format!("iam:PassRole on {role}, needed for function.worker"),
        format!("lambda:CreateFunction on {function}, needed for function.worker"),
        "--preflight-as ARN".to_owned(),
    ] {
        assert!(
            planned.stderr.contains(&told),
            "{told} is missing in\n{planned}"
        );
    }
    assert!(planned.stdout.contains("Plan: 5 to add"), "{planned}");
    assert!(
        planned.stdout.contains("refused     permissions"),
        "{planned}"
    );
    // The saved plan tells it as well, and so does what a pull request shows.
    let shown = aws.rmx(&["show", "plan.rmx"]).expect_status(0);
    assert!(shown.stdout.contains("refused     permissions"), "{shown}");
    let shown = aws
        .rmx(&["show", "plan.rmx", "--format", "markdown"])
        .expect_status(0);
    assert!(
        shown
            .stdout
            .contains("> Could not be carried out: permissions:"),
        "{shown}"
    );
    let refused = aws
        .rmx(&["apply", "--auto-approve", "--json"])
        .expect_status(13);
    assert!(
        refused.stdout.contains(r#""type":"preflight""#),
        "{refused}"
    );
    let calls = trace.end();
    assert!(calls.len() > 20, "{}", calls.len());
    assert_eq!(writes(&calls), [""; 0]);
    drop(aws.rmx(&["plan", "--skip-preflight"]).expect_status(0));

    // The embedded cloud holds the role to its policies: what was told is all that was missing.
    let mut granted = reading();
    granted.extend(denied(&refused.stderr));
    aws.allow("deploy", json!(granted)).await;
    let applied = aws.rmx(&["apply", "--auto-approve"]).expect_status(0);
    assert!(
        applied.stdout.contains("ok          permissions"),
        "{applied}"
    );
    let plan = aws.plan_json();
    assert_eq!(plan["applyable"], false, "{plan:#}");
    assert_eq!(
        plan["preflight"],
        Value::Null,
        "nothing is asked where nothing is done"
    );

    let refused = aws
        .rmx(&["destroy", "--auto-approve", "--json"])
        .expect_status(13);
    granted.extend(denied(&refused.stderr));
    aws.allow("deploy", json!(granted)).await;
    drop(aws.rmx(&["destroy", "--auto-approve"]).expect_status(0));
}

/// Whoever applies has to lock and write the state as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_s3_that_could_not_be_written_is_told() {
    let mut aws = AwsProject::start("[state]\nbucket = \"my-states\"\n").await;
    drop(aws.rmx(&["state", "create-bucket"]).expect_status(0));
    let mut granted = vec![allow(&READING), allow(&["iam:Simulate*"])];
    let deployer = aws.role("deploy", "/ci/", json!(granted)).await;
    aws.become_role(&deployer).await;
    let refused = aws.rmx(&["plan", "--json"]).expect_status(13);
    for (action, end) in [
        ("s3:PutObject", ""),
        ("s3:PutObject", ".lock"),
        ("s3:DeleteObject", ".lock"),
    ] {
        let resource = format!("arn:aws:s3:::my-states/rmx/hello/default.json{end}");
        let missing = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
        let denied = denied(&refused.stderr);
        assert!(denied.contains(&missing), "{denied:?}");
    }
    // No more than what is named: the backups have a pattern of their own, and a save without one is a save.
    granted.extend(denied(&refused.stderr));
    aws.allow("deploy", json!(granted)).await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    granted.push(
        json!({ "Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"],
        "Resource": "arn:aws:s3:::my-states/rmx/hello/default.json.backups/*" }),
    );
    aws.allow("deploy", json!(granted)).await;
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_not_checked_and_not_refused() {
    let mut aws = AwsProject::start("").await;
    let everything = json!([{ "Effect": "Allow", "NotAction": "iam:Simulate*", "Resource": "*" }]);
    let blind = aws.role("blind", "/", everything).await;
    let conditional = json!([
        { "Effect": "Allow", "NotAction": ["iam:PassRole", "iam:CreateRole"], "Resource": "*" },
        { "Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
          "Condition": { "StringEquals": { "iam:PassedToService": "lambda.amazonaws.com" } } },
        { "Effect": "Allow", "Action": "iam:CreateRole", "Resource": "*",
          "Condition": { "StringEquals": { "aws:PrincipalTag/team": "video" } } },
    ]);
    let conditional = aws.role("conditional", "/", conditional).await;

    aws.become_role(&blind).await;
    drop(aws.rmx(&["plan"]).expect_status(0));
    let plan = aws.plan_json();
    let permissions = check(&plan, "permissions");
    assert_eq!(permissions["verdict"], "not_checked");
    let why = "not checked: the caller may not call iam:SimulatePrincipalPolicy";
    assert_eq!(permissions["detail"], why);

    // The service that a role is passed to is known; who has which tags is not.
    aws.become_role(&conditional).await;
    drop(aws.rmx(&["plan"]).expect_status(0));
    let plan = aws.plan_json();
    let permissions = check(&plan, "permissions");
    assert_eq!(permissions["verdict"], "not_checked");
    let detail = permissions["detail"].as_str().unwrap();
    assert!(detail.contains("aws:PrincipalTag/team"), "{detail}");
    assert!(
        !detail.starts_with("not checked"),
        "the others are: {detail}"
    );

    // Whoever applies may be another one.
    let named = ["plan", "--preflight-as", "arn:aws:iam::123456789012:root"];
    let planned = aws.rmx(&named).expect_status(0);
    assert!(
        planned.stdout.contains("the account's root user"),
        "{planned}"
    );
    // A slip of the pen turns nothing off.
    for name in ["role/deplyo", "user/nobody"] {
        let arn = format!("arn:aws:iam::123456789012:{name}");
        let refused = aws.rmx(&["plan", "--preflight-as", &arn]).expect_status(13);
        let told = format!("permissions: there is no {arn}");
        assert!(refused.stderr.contains(&told), "{refused}");
        assert!(
            refused
                .stderr
                .contains("name another one with --preflight-as ARN"),
            "{refused}"
        );
    }
    drop(
        aws.rmx(&["plan", "--preflight-as", "deployer"])
            .expect_status(64),
    );
    let as_nobody = [
        "plan",
        "--preflight-as",
        "arn:aws:iam::123456789012:role/nobody",
    ];
    let saved = [&as_nobody[..], &["--out", "refused"]].concat();
    drop(aws.rmx(&saved).expect_status(13));
    let shown = aws.rmx(&["show", "refused"]).expect_status(0);
    let told = "This plan was refused when it was made:\n  - preflight: permissions: there is no";
    assert!(shown.stdout.contains(told), "{shown}");
    let shown = aws.rmx(&["show", "refused", "--json"]).expect_status(0);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["refusals"][0]["rule"], "preflight", "{shown}");
}

/// Guards as many organizations have them: everything is denied unless a key says that the caller is where it should be. Who
/// simulates does not know the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_whose_key_nobody_knows_yet_denies_nothing() {
    let mut aws = AwsProject::start("").await;
    let guarded = |condition: Value| {
        json!([
            { "Effect": "Allow", "Action": "*", "Resource": "*" },
            { "Effect": "Deny", "Action": "lambda:CreateFunction", "Resource": "*", "Condition": condition },
        ])
    };
    let role = aws.role("guarded", "/", guarded(json!({}))).await;
    aws.become_role(&role).await;
    let refused = aws.rmx(&["plan"]).expect_status(13);
    let why = "needed for function.worker: a policy denies it";
    assert!(refused.stderr.contains(why), "{refused}");
    for (key, condition) in [
        (
            "aws:SourceVpce",
            json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }),
        ),
        (
            "aws:MultiFactorAuthPresent",
            json!({ "BoolIfExists": { "aws:MultiFactorAuthPresent": "false" } }),
        ),
    ] {
        aws.allow("guarded", guarded(condition)).await;
        drop(aws.rmx(&["plan"]).expect_status(0));
        let plan = aws.plan_json();
        let permissions = check(&plan, "permissions");
        assert_eq!(permissions["verdict"], "not_checked");
        let detail = permissions["detail"].as_str().unwrap();
        assert!(detail.contains(key), "{detail}");
        assert_eq!(permissions.get("denied"), None, "{permissions}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_let_workers_work_is_refused() {
    let mut aws = AwsProject::start("").await;
    let statements = json!([{ "Effect": "Allow", "NotAction": "s3:PutObject", "Resource": "*" }]);
    let boundary = aws.policy("boundary", statements.clone()).await;
    let own = aws.role("own", "/", statements).await;

    aws.configure(&format!("[role]\npermissions_boundary = \"{boundary}\""));
    let refused = aws.rmx(&["plan"]).expect_status(13);
    let missing = "s3:PutObject on arn:aws:s3:::rmx-hello-123456789012-eu-central-1/renders/*";
    let why = format!("{missing}: the permissions boundary does not allow it");
    assert!(refused.stderr.contains(&why), "{refused}");
    assert!(refused.stderr.contains("worker role"), "{refused}");

    aws.configure(&format!("[role]\narn = \"{own}\""));
    let refused = aws.rmx(&["apply", "--auto-approve"]).expect_status(13);
    assert!(refused.stderr.contains(missing), "{refused}");

    aws.allow("own", json!([allow(&["s3:*", "lambda:*", "logs:*"])]))
        .await;
    drop(aws.rmx(&["plan"]).expect_status(0));
    let plan = aws.plan_json();
    assert_eq!(check(&plan, "worker_role")["verdict"], "ok");
    aws.project
        .set_variable("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z");
    let plan = aws.plan_json();
    assert_eq!(check(&plan, "credentials")["verdict"], "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_the_account_are_told() {
    let aws = AwsProject::start("").await;
    let faults = aws.test_cloud.faults();
    // A new account.
    faults.set_quotas(Quotas {
        concurrent_executions: 10,
        ..Quotas::default()
    });
    let plan = aws.plan_json();
    let concurrency = check(&plan, "concurrency");
    assert_eq!(concurrency["verdict"], "warning");
    let detail = concurrency["detail"].as_str().unwrap();
    assert!(
        detail.contains("up to 150 workers") && detail.contains("runs 10"),
        "{detail}"
    );
    assert_eq!(check(&plan, "code_storage")["verdict"], "ok");

    faults.set_quotas(Quotas {
        code_size_total_bytes: 100,
        ..Quotas::default()
    });
    let refused = aws.rmx(&["plan"]).expect_status(13);
    assert!(
        refused.stderr.contains("code storage: the plan stores"),
        "{refused}"
    );
    drop(aws.rmx(&["plan", "--skip-preflight"]).expect_status(0));
}

/// Every version is stored with the whole of its code; what is replaced is gone before it is made again.
#[tokio::test(flavor = "multi_thread")]
async fn every_version_takes_storage_and_a_replacement_leaves_it() {
    let aws = AwsProject::start("").await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let cloud = aws.test_cloud.connect().await;
    let used_bytes = cloud.account_settings().await.unwrap().code_size_used_bytes;
    let limit = |code_size_total_bytes| {
        aws.test_cloud.faults().set_quotas(Quotas {
            code_size_total_bytes,
            ..Quotas::default()
        });
    };
    limit(used_bytes);
    let replace = ["plan", "--replace", "function.worker"];
    drop(aws.rmx(&replace).expect_status(0));
    limit(used_bytes - 1);
    let refused = aws.rmx(&replace).expect_status(13);
    assert!(
        refused.stderr.contains("code storage: the plan stores"),
        "{refused}"
    );

    // Published again as it was it takes nothing, and published for the first time it does: nobody can tell.
    let unpublished = aws
        .lambda()
        .delete_alias()
        .function_name("rmx-hello")
        .name("live");
    unpublished.send().await.unwrap();
    limit(used_bytes);
    let planned = aws.rmx(&["plan"]).expect_status(0);
    assert!(
        planned.stdout.contains("warning     code storage"),
        "{planned}"
    );

    // Only the memory changes, and a version is published for it.
    aws.configure("memory_mb = 3008");
    limit(used_bytes);
    let refused = aws.rmx(&["plan"]).expect_status(13);
    assert!(
        refused.stderr.contains("code storage: the plan stores"),
        "{refused}"
    );
    limit(used_bytes + used_bytes / 2);
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let now_bytes = cloud.account_settings().await.unwrap().code_size_used_bytes;
    assert_eq!(now_bytes, used_bytes + used_bytes / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_changes_takes_three_round_trips_at_most() {
    // A farm in use: as many old versions as are kept beside the live one, and what renders left.
    let aws = AwsProject::start("").await;
    for timeout_s in 101..=103 {
        aws.configure(&format!("keep_versions = 2\ntimeout_s = {timeout_s}"));
        drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    }
    let bucket = "rmx-hello-123456789012-eu-central-1".parse().unwrap();
    let cloud = aws.test_cloud.connect().await;
    for render in 0..40 {
        let document =
            json!({ "running": { "functions": { "rmx-hello": "1" }, "may_run_until_ms": 1 } });
        let key = format!("renders/{render:03}/render.json");
        let body = document.to_string().into();
        let options = PutOptions::default();
        let written = cloud.put_object(&bucket, &key, body, &options).await;
        written.unwrap();
    }
    let fewest = fewest_round_trips(&aws);
    assert!(fewest <= 3, "{fewest} round trips one after the other");
}

/// How many calls of a plan without changes have to wait for one another: of several plans the fewest, or three.
pub(crate) fn fewest_round_trips(aws: &AwsProject) -> usize {
    let trace = aws.test_cloud.faults().trace().clone();
    // What depends on an answer is never asked before it comes, so no run shows fewer round trips than there are. A busy
    // machine may show more: what could be asked at once is not, unless answers take longer than that machine does.
    let mut fewest = usize::MAX;
    for attempt in 0..20 {
        trace.begin(Duration::from_millis(30 << (attempt / 4)));
        let planned = aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0);
        assert!(planned.stdout.contains("No changes."), "{planned}");
        let calls = trace.end();
        assert!(
            calls.len() >= 12,
            "{} calls: is anything recorded?",
            calls.len()
        );
        let simulated = calls
            .iter()
            .flat_map(|call| &call.permissions)
            .any(|permission| permission.action.starts_with("iam:Simulate"));
        assert!(!simulated, "there is nothing to be asked");
        // Nothing would be deleted, so nobody needs to know which renders are running.
        assert!(calls.len() < 40, "{} calls: are renders read?", calls.len());
        fewest = fewest.min(longest_chain(&calls));
        if fewest <= 3 {
            break;
        }
    }
    fewest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_is_told_with_everything_that_finds_it() {
    let aws = AwsProject::start("").await;
    let faults = aws.test_cloud.faults();
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    // How many calls come before the one that changes the function: as many as in another change like it.
    let trace = faults.trace().clone();
    aws.configure("memory_mb = 2560");
    trace.begin(Duration::ZERO);
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let calls = trace.end();
    let first = calls.iter().position(|call| {
        let mut permissions = call.permissions.iter();
        permissions.any(|needed| needed.action == "lambda:UpdateFunctionConfiguration")
    });
    let first = first.unwrap() as u64;
    aws.configure("memory_mb = 3008");
    for (kind, code, status) in [
        (FaultKind::Denied, "AccessDeniedException", 1),
        // Nobody knows whether it had an effect.
        (FaultKind::Unavailable, "ServiceException", 15),
    ] {
        let fault = |call| Fault {
            call,
            moment: Moment::Before,
            kind,
        };
        for json in [false, true] {
            faults.schedule((first + 1..first + 5).map(fault));
            let mut arguments = vec!["apply", "--auto-approve"];
            arguments.extend(json.then_some("--json"));
            let failed = aws.rmx(&arguments).expect_status(status);
            faults.schedule(None);
            let told = &failed.stderr;
            if json {
                let line = told.lines().last().unwrap();
                let error: Value = serde_json::from_str(line).unwrap();
                let cloud = &error["cloud"];
                assert_eq!(cloud["operation"], "change the configuration of function");
                assert_eq!(cloud["resource"], "rmx-hello");
                assert_eq!(cloud["api"], "lambda:UpdateFunctionConfiguration");
                assert_eq!(cloud["code"], code);
                assert_eq!(cloud["request_id"].as_str().unwrap().len(), 36);
                let causes = error["causes"].as_array().unwrap();
                assert_eq!(causes[0], "could not update function.worker");
                assert!(
                    error["hint"]
                        .as_str()
                        .unwrap()
                        .contains("run the same command again")
                );
            } else {
                for word in [
                    "A change failed",
                    "could not update function.worker",
                    "could not change the configuration of function `rmx-hello`",
                    code,
                    "(lambda:UpdateFunctionConfiguration, request ",
                    "hint: ",
                ] {
                    assert!(told.contains(word), "{word} is missing in\n{failed}");
                }
            }
        }
    }
}
