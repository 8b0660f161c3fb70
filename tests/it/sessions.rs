//! Temporary credentials on the embedded cloud: what functions and those who assume a role may do with them.

use std::time::Duration;

use aws_sdk_iam::error::ProvideErrorMetadata as _;
use rmx::cloud::{Cloud, Connection, PutOptions, StaticCredentials};
use serde_json::json;

use crate::support::aws::{AwsProject, allow};
use crate::support::cloud::make_bucket;

const ROLE: &str = "rmx-hello-eu-central-1";

/// A client with the credentials of whoever assumes the role.
async fn assumed(aws: &AwsProject, arn: &str) -> Cloud {
    let sts = aws_sdk_sts::Client::new(&aws.test_cloud.sdk().await);
    let session = sts.assume_role().role_arn(arn).role_session_name("links");
    let credentials = session.send().await.unwrap().credentials.unwrap();
    Cloud::connect(&Connection {
        credentials: Some(StaticCredentials {
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: Some(credentials.session_token),
        }),
        ..aws.test_cloud.connection()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_made_with_temporary_credentials_lets_do_what_they_let() {
    let aws = AwsProject::start("").await;
    let arn = aws
        .role("links", "/", json!([allow(&["s3:GetObject"])]))
        .await;
    let all = aws.test_cloud.connect().await;
    let bucket = make_bucket(&all, "some-bucket-of-links").await;
    let body = bytes::Bytes::from_static(b"film");
    let options = PutOptions::default();
    let put = all.put_object(&bucket, "a.mp4", body, &options);
    put.await.unwrap();
    let cloud = assumed(&aws, &arn).await;
    let link = cloud.presign_get(&bucket, "a.mp4", Duration::from_secs(60));
    let link = link.await.unwrap();
    let fetched = async |url: &str| {
        let output = tokio::process::Command::new("curl")
            .args(["-s", "-m", "10", url])
            .output();
        String::from_utf8(output.await.unwrap().stdout).unwrap()
    };
    assert_eq!(fetched(&link).await, "film");
    let (before, _) = link.split_once("X-Amz-Security-Token=").unwrap();
    let other = format!("{before}X-Amz-Security-Token=another");
    assert!(fetched(&other).await.contains("InvalidToken"), "{other}");
    aws.allow("links", json!([allow(&["s3:ListBucket"])])).await;
    assert!(fetched(&link).await.contains("AccessDenied"), "{link}");
}

/// The texts of AWS's own policies are not known here. What others allow is allowed all the same, and nothing is guessed.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_aws_takes_nothing_away_and_is_not_guessed() {
    let aws = AwsProject::start("").await;
    let arn = aws
        .role("both", "/", json!([allow(&["s3:ListBucket"])]))
        .await;
    let iam = aws_sdk_iam::Client::new(&aws.test_cloud.sdk().await);
    let managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    let attach = iam
        .attach_role_policy()
        .role_name("both")
        .policy_arn(managed);
    let _ = attach.send().await.unwrap();
    let all = aws.test_cloud.connect().await;
    let bucket = make_bucket(&all, "some-bucket-of-both").await;
    let cloud = assumed(&aws, &arn).await;
    assert_eq!(cloud.list_objects(&bucket, "").await.unwrap(), []);
    let unknown = cloud
        .get_object(&bucket, "a")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains(managed) && unknown.contains("does not evaluate"),
        "{unknown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_whose_role_is_gone_does_not_run() {
    let aws = AwsProject::start("").await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let iam = aws_sdk_iam::Client::new(&aws.test_cloud.sdk().await);
    let policy = iam.delete_role_policy().role_name(ROLE).policy_name("rmx");
    let _ = policy.send().await.unwrap();
    let gone = iam.delete_role().role_name(ROLE).send().await;
    assert!(
        gone.is_ok(),
        "{:?}",
        gone.err().and_then(|error| error.code().map(str::to_owned))
    );
    let cloud = aws.test_cloud.connect().await;
    let function = "rmx-hello".parse().unwrap();
    let answer = cloud.invoke(&function, "live", b"{}".to_vec());
    let answer = answer.await.unwrap();
    let said = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(answer.function_error.is_some(), "{said}");
    assert!(said.contains("cannot be assumed by Lambda"), "{said}");
}
