//! What others grant the farm's role: seen, told, taken away.

use serde_json::{Value, json};

use crate::support::aws::{ACCOUNT, AwsProject};
use crate::support::cloud::ADMINISTRATOR;

const ROLE: &str = "rmx-hello-eu-central-1";

/// How the document marks what the change does to the role.
fn iam(aws: &AwsProject) -> Value {
    let document = aws.plan_json();
    let changes = document["resource_changes"].as_array().unwrap();
    let role = changes
        .iter()
        .find(|change| change["address"] == "role.main");
    role.unwrap()["change"]["iam"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_grant_the_role_is_told_and_taken_away() {
    let aws = AwsProject::start("").await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    drop(aws.rmx(&["plan", "--out", "early"]).expect_status(0));
    aws.test_cloud.grant_more(ROLE).await;

    let planned = aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(2);
    for line in [
        "  # role.main has changed\n",
        "Allow s3:* on * # narrowed\n",
        &format!("- {ADMINISTRATOR} # narrowed\n"),
        "  # role.main will be updated in-place\n",
    ] {
        assert!(
            planned.stdout.contains(line),
            "{line} is missing in\n{planned}"
        );
    }
    assert_eq!(
        iam(&aws),
        json!({ "policy": "equal", "trust_policy": "equal", "other_policies": "narrowed",
            "attached_policies": "narrowed", "widened": [] })
    );
    let comment = aws.rmx(&["plan", "--format", "markdown"]).expect_status(0);
    for told in ["\nChanged outside of rmx: `role.main`.\n", ADMINISTRATOR] {
        assert!(comment.stdout.contains(told), "{comment}");
    }
    // A plan that was made before knew nothing of it.
    let stale = aws.rmx(&["apply", "early"]).expect_status(10);
    for field in [
        "role.main was changed in the cloud",
        "other_policies.extra",
        "attached_policies",
    ] {
        assert!(stale.stderr.contains(field), "{stale}");
    }
    // To take away what was granted widens nothing; what was recorded as it is goes as well.
    let planned = aws.rmx(&["plan", "--refresh-only"]).expect_status(0);
    for told in [
        "  # role.main state will be updated to what is there\n",
        "Plan: 1 to update in the state, 0 to add, 0 to change, 0 to destroy.\n",
    ] {
        assert!(planned.stdout.contains(told), "{planned}");
    }
    let refresh = ["apply", "--refresh-only", "--auto-approve"];
    let refreshed = aws.rmx(&refresh).expect_status(0);
    let told = "Resources: 1 updated in the state, 0 added, 0 changed, 0 destroyed.";
    assert!(refreshed.stdout.contains(told), "{refreshed}");
    let applied = aws.rmx(&["apply", "--auto-approve", "--deny", "iam-widen"]);
    drop(applied.expect_status(0));
    let planned = aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0);
    assert!(planned.stdout.contains("No changes."), "{planned}");
    let role = aws
        .test_cloud
        .connect()
        .await
        .role(&ROLE.parse().unwrap())
        .await;
    let role = role.unwrap().unwrap();
    assert!(
        role.policy.is_some()
            && role.other_policies.is_empty()
            && role.attached_policies.is_empty()
    );

    // It goes with the role, and not without a word.
    aws.test_cloud.grant_more(ROLE).await;
    let planned = aws.rmx(&["plan", "--destroy"]).expect_status(0);
    assert!(
        ["extra", "more", "spare"]
            .iter()
            .all(|name| planned.stdout.contains(&format!("- other_policies.{name}"))),
        "{planned}"
    );
    drop(aws.rmx(&["destroy", "--auto-approve"]).expect_status(0));
}

/// Other tools tag wholesale, and take away what they did not put there.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_lost_its_tag_is_not_forgotten() {
    let aws = AwsProject::start("").await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    aws.test_cloud.untag(ROLE).await;
    for arguments in [
        &["plan"][..],
        &["destroy", "--auto-approve"],
        &["apply", "--refresh-only", "--auto-approve"],
    ] {
        let refused = aws.rmx(arguments).expect_status(1);
        for told in [
            "role.main is recorded as",
            "`rmx state rm role.main`",
            "`rmx import role.main",
        ] {
            assert!(refused.stderr.contains(told), "{refused}");
        }
    }
    let listed = aws.rmx(&["state", "list"]).expect_status(0);
    assert!(listed.stdout.contains("role.main"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_lost_its_tag_is_told_and_a_saved_plan_is_stale_for_it() {
    let aws = AwsProject::start("").await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    aws.configure("memory_mb = 1024");
    drop(aws.rmx(&["plan", "--out", "saved"]).expect_status(0));
    aws.test_cloud.untag(ROLE).await;
    let function = format!("arn:aws:lambda:eu-central-1:{ACCOUNT}:function:rmx-hello");
    let untag = aws.lambda().untag_resource().resource(&function);
    let _ = untag.tag_keys("rmx:stack").send().await.unwrap();
    let stale = aws.rmx(&["apply", "saved"]).expect_status(10);
    let refused = aws.rmx(&["plan"]).expect_status(1);
    for output in [&stale, &refused] {
        for told in ["role.main is recorded as", "function.worker is recorded as"] {
            assert!(output.stderr.contains(told), "{output}");
        }
    }
    assert!(stale.stderr.contains("Nothing was done."), "{stale}");
    // What the hint says brings each back, with all that is recorded of it.
    for hint in [
        "- role.main: if somebody took the tag away, put it back, and nothing is lost: `aws iam tag-role --role-name ",
        "- function.worker: if somebody took the tag away, put it back, and nothing is lost: `aws lambda tag-resource ",
    ] {
        assert!(refused.stderr.contains(hint), "{refused}");
    }
    let pulled = aws.rmx(&["state", "pull"]).expect_status(0);
    let state: Value = serde_json::from_str(&pulled.stdout).unwrap();
    let lineage = state["state"]["lineage"].as_str().unwrap();
    assert!(refused.stderr.contains(lineage), "{refused}");
    let tag = aws.lambda().tag_resource().resource(&function);
    let _ = tag.tags("rmx:stack", lineage).send().await.unwrap();
    let refused = aws.rmx(&["plan"]).expect_status(1);
    assert!(!refused.stderr.contains("function.worker"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_the_agreement_is_not_lost() {
    let aws = AwsProject::start("").await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let cloud = aws.test_cloud.connect().await;
    let bucket = "rmx-hello-123456789012-eu-central-1".parse().unwrap();
    let options = rmx::cloud::PutOptions::default();
    let put = async |key: &str| {
        let put = cloud.put_object(&bucket, key, "video".into(), &options);
        let _ = put.await.unwrap();
    };
    put("renders/a/out.mp4").await;
    let plan = ["plan", "--destroy", "--delete-data", "--out", "gone"];
    drop(aws.rmx(&plan).expect_status(0));
    put("renders/b/out.mp4").await;
    let stale = aws.rmx(&["apply", "gone"]).expect_status(10);
    let told = "bucket.main holds 2 objects that would be lost; it held 1 when";
    assert!(stale.stderr.contains(told), "{stale}");
    drop(aws.rmx(&plan).expect_status(0));
    drop(aws.rmx(&["apply", "gone"]).expect_status(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_deny_is_not_taken_away_where_widening_is_denied() {
    let aws = AwsProject::start("").await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let denial = json!([{ "Effect": "Deny", "Action": "s3:*", "Resource": "*" }]);
    aws.allow(ROLE, denial).await;
    assert_eq!(iam(&aws)["widened"], json!(["other_policies"]));
    let refused = aws.rmx(&["plan", "--deny", "iam-widen"]).expect_status(16);
    assert!(
        refused.stdout.contains("Deny s3:* on * # widened\n"),
        "{refused}"
    );
    assert!(
        refused
            .stderr
            .contains("role.main is widened: other_policies"),
        "{refused}"
    );
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));

    // The role's own policy is gone: to write it again grants everything that is in it.
    let cloud = aws.test_cloud.connect().await;
    let role = ROLE.parse().unwrap();
    cloud.delete_role_policy(&role, "rmx").await.unwrap();
    let planned = aws.rmx(&["plan", "--deny", "iam-widen"]).expect_status(16);
    assert!(planned.stdout.contains("# widened\n"), "{planned}");
}
