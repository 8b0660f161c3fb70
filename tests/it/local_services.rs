//! IAM, STS and CloudWatch Logs of the embedded cloud, driven by AWS's own SDK.

use std::collections::BTreeMap;

use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::types::Tag;
use rmx::local::{LocalOptions, Running};
use tempfile::TempDir;

const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
    "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement":
    [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/a%20b<&>"}]}"#;
const MANAGED: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";

/// An embedded cloud of its own, and the SDK's configuration for it.
struct Local {
    running: Running,
    config: aws_config::SdkConfig,
    _folder: TempDir,
}

impl Local {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LocalOptions {
            directory: folder.path().join("local"),
            account: "123456789012".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            faults: Default::default(),
            worker_environment: BTreeMap::new(),
            isolation: None,
            node: None,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let running = rmx::local::start(options, listener).await.unwrap();
        let credentials = running.credentials();
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(running.endpoint_url())
            .region(aws_config::Region::from_static("eu-central-1"))
            .credentials_provider(aws_credential_types::Credentials::new(
                &credentials.access_key_id,
                &credentials.secret_access_key,
                None,
                None,
                "test",
            ))
            .load()
            .await;
        Self {
            running,
            config,
            _folder: folder,
        }
    }

    fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config)
    }
}

/// Requires a refusal with this code.
#[track_caller]
fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, E>,
    code: &str,
) -> String {
    let error = result.expect_err(code);
    assert_eq!(error.code(), Some(code), "{error:?}");
    error.message().unwrap_or_default().to_owned()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

#[tokio::test]
async fn a_role_from_creation_to_deletion() {
    let local = Local::start().await;
    let iam = local.iam();
    let create = || {
        iam.create_role()
            .role_name("worker")
            .path("/farm/")
            .description("renders <frames> & \"sound\"")
            .max_session_duration(7200)
            .assume_role_policy_document(TRUST)
            .tags(tag("rmx:stack", "one"))
    };
    let role = create().send().await.unwrap().role.unwrap();
    assert_eq!(role.arn(), "arn:aws:iam::123456789012:role/farm/worker");
    assert!(role.role_id().starts_with("AROA") && role.role_id().len() == 21);
    refused(create().send().await, "EntityAlreadyExists");
    refused(
        create().role_name("WORKER").send().await,
        "EntityAlreadyExists",
    );

    let read = iam
        .get_role()
        .role_name("worker")
        .send()
        .await
        .unwrap()
        .role
        .unwrap();
    assert_eq!(read.description(), Some("renders <frames> & \"sound\""));
    assert_eq!(read.max_session_duration(), Some(7200));
    assert_eq!(read.tags(), [tag("rmx:stack", "one")]);
    assert_eq!(read.create_date().secs(), role.create_date().secs());
    let document = read.assume_role_policy_document().unwrap();
    assert!(
        document.starts_with("%7B%22Version%22%3A%20%22"),
        "{document}"
    );
    let decoded = percent_encoding::percent_decode_str(document)
        .decode_utf8()
        .unwrap();
    assert_eq!(decoded, TRUST);

    iam.update_role()
        .role_name("worker")
        .description("")
        .send()
        .await
        .unwrap();
    let trust = TRUST.replace("lambda", "ec2");
    iam.update_assume_role_policy()
        .role_name("worker")
        .policy_document(&trust)
        .send()
        .await
        .unwrap();
    iam.tag_role()
        .role_name("worker")
        .tags(tag("RMX:stack", "two"))
        .tags(tag("a", ""))
        .send()
        .await
        .unwrap();
    iam.untag_role()
        .role_name("worker")
        .tag_keys("a")
        .tag_keys("absent")
        .send()
        .await
        .unwrap();
    let read = iam
        .get_role()
        .role_name("worker")
        .send()
        .await
        .unwrap()
        .role
        .unwrap();
    assert_eq!(read.description(), None);
    assert_eq!(read.max_session_duration(), Some(7200));
    assert_eq!(read.tags(), [tag("RMX:stack", "two")], "keys ignore case");
    assert!(read.assume_role_policy_document().unwrap().contains("ec2"));
    let profiles = iam
        .list_instance_profiles_for_role()
        .role_name("worker")
        .send()
        .await
        .unwrap();
    assert!(profiles.instance_profiles().is_empty());

    iam.delete_role().role_name("worker").send().await.unwrap();
    refused(
        iam.get_role().role_name("worker").send().await,
        "NoSuchEntity",
    );
    refused(
        iam.delete_role().role_name("worker").send().await,
        "NoSuchEntity",
    );
    local.running.shutdown().await;
}

#[tokio::test]
async fn a_role_is_not_deleted_while_it_has_policies() {
    let local = Local::start().await;
    let iam = local.iam();
    iam.create_role()
        .role_name("r")
        .assume_role_policy_document(TRUST)
        .send()
        .await
        .unwrap();
    let put = |document: &str| {
        iam.put_role_policy()
            .role_name("r")
            .policy_name("p")
            .policy_document(document)
            .send()
    };
    put(POLICY).await.unwrap();
    refused(put("{}").await, "MalformedPolicyDocument");
    let long = POLICY.replace("a%20b", &"x".repeat(11_000));
    refused(put(&long).await, "LimitExceeded");
    let read = iam
        .get_role_policy()
        .role_name("r")
        .policy_name("p")
        .send()
        .await
        .unwrap();
    let decoded = percent_encoding::percent_decode_str(read.policy_document())
        .decode_utf8()
        .unwrap();
    assert_eq!(decoded, POLICY, "what was refused has changed nothing");
    let listed = iam
        .list_role_policies()
        .role_name("r")
        .send()
        .await
        .unwrap();
    assert_eq!(listed.policy_names(), ["p"]);
    let missing = iam
        .get_role_policy()
        .role_name("r")
        .policy_name("q")
        .send()
        .await;
    refused(missing, "NoSuchEntity");

    let attach = |arn: &str| {
        iam.attach_role_policy()
            .role_name("r")
            .policy_arn(arn)
            .send()
    };
    attach(MANAGED).await.unwrap();
    attach(MANAGED).await.unwrap();
    refused(
        attach("arn:aws:iam::aws:policy/NoSuchPolicy").await,
        "NoSuchEntity",
    );
    refused(
        attach("arn:aws:iam::123456789012:policy/mine").await,
        "NoSuchEntity",
    );
    refused(attach("arn:aws:s3:::not-a-policy").await, "InvalidInput");
    let attached = iam
        .list_attached_role_policies()
        .role_name("r")
        .send()
        .await
        .unwrap();
    let attached = attached.attached_policies();
    assert_eq!(attached.len(), 1);
    assert_eq!(
        attached[0].policy_name(),
        Some("AWSLambdaBasicExecutionRole")
    );

    let delete = || iam.delete_role().role_name("r").send();
    let message = refused(delete().await, "DeleteConflict");
    assert!(message.contains("detach"), "{message}");
    iam.detach_role_policy()
        .role_name("r")
        .policy_arn(MANAGED)
        .send()
        .await
        .unwrap();
    let again = iam
        .detach_role_policy()
        .role_name("r")
        .policy_arn(MANAGED)
        .send()
        .await;
    refused(again, "NoSuchEntity");
    let message = refused(delete().await, "DeleteConflict");
    assert!(message.contains("delete policies"), "{message}");
    iam.delete_role_policy()
        .role_name("r")
        .policy_name("p")
        .send()
        .await
        .unwrap();
    delete().await.unwrap();
    local.running.shutdown().await;
}

#[tokio::test]
async fn bad_roles_are_refused() {
    let local = Local::start().await;
    let iam = local.iam();
    let create = || {
        iam.create_role()
            .role_name("r")
            .assume_role_policy_document(TRUST)
    };
    refused(create().role_name("a b").send().await, "ValidationError");
    refused(
        create().role_name("x".repeat(65)).send().await,
        "ValidationError",
    );
    refused(create().path("farm").send().await, "ValidationError");
    refused(
        create().max_session_duration(60).send().await,
        "ValidationError",
    );
    let trust = create().assume_role_policy_document("{\"Version\":");
    refused(trust.send().await, "MalformedPolicyDocument");
    refused(
        create().assume_role_policy_document(POLICY).send().await,
        "MalformedPolicyDocument",
    );
    refused(create().tags(tag("aws:x", "")).send().await, "InvalidInput");
    refused(
        create().tags(tag("a", "")).tags(tag("A", "")).send().await,
        "InvalidInput",
    );
    let boundary = create().permissions_boundary("arn:aws:iam::123456789012:policy/none");
    refused(boundary.send().await, "NoSuchEntity");
    assert!(iam.list_roles().send().await.unwrap().roles().is_empty());

    let profile = iam
        .create_instance_profile()
        .instance_profile_name("p")
        .send()
        .await;
    let message = refused(profile, "NotImplemented");
    assert!(message.contains("iam CreateInstanceProfile"), "{message}");
    local.running.shutdown().await;
}

#[tokio::test]
async fn boundaries_are_policies_that_exist() {
    let local = Local::start().await;
    let iam = local.iam();
    let policy = iam
        .create_policy()
        .policy_name("limit")
        .policy_document(POLICY);
    let policy = policy.send().await.unwrap().policy.unwrap();
    let arn = policy.arn().unwrap();
    let role = iam
        .create_role()
        .role_name("r")
        .assume_role_policy_document(TRUST);
    let role = role
        .permissions_boundary(arn)
        .send()
        .await
        .unwrap()
        .role
        .unwrap();
    assert_eq!(
        role.permissions_boundary()
            .unwrap()
            .permissions_boundary_arn(),
        Some(arn)
    );
    refused(
        iam.delete_policy().policy_arn(arn).send().await,
        "DeleteConflict",
    );
    let put = iam.put_role_permissions_boundary().role_name("r");
    put.permissions_boundary("arn:aws:iam::aws:policy/PowerUserAccess")
        .send()
        .await
        .unwrap();
    let remove = || iam.delete_role_permissions_boundary().role_name("r").send();
    remove().await.unwrap();
    refused(remove().await, "NoSuchEntity");
    let role = iam
        .get_role()
        .role_name("r")
        .send()
        .await
        .unwrap()
        .role
        .unwrap();
    assert!(role.permissions_boundary().is_none());
    let version = iam
        .get_policy_version()
        .policy_arn(arn)
        .version_id("v1")
        .send()
        .await
        .unwrap();
    assert!(
        version
            .policy_version()
            .unwrap()
            .document()
            .unwrap()
            .contains("GetObject")
    );
    iam.delete_policy().policy_arn(arn).send().await.unwrap();
    refused(
        iam.get_policy().policy_arn(arn).send().await,
        "NoSuchEntity",
    );
    local.running.shutdown().await;
}

#[tokio::test]
async fn roles_come_in_pages() {
    let local = Local::start().await;
    let iam = local.iam();
    for name in ["c", "a", "b"] {
        let role = iam.create_role().role_name(name).path(format!("/{name}/"));
        role.assume_role_policy_document(TRUST)
            .tags(tag("t", ""))
            .send()
            .await
            .unwrap();
    }
    let pages: Result<Vec<_>, _> = iam
        .list_roles()
        .into_paginator()
        .page_size(2)
        .send()
        .collect()
        .await;
    let names: Vec<Vec<String>> = pages
        .unwrap()
        .iter()
        .map(|page| {
            page.roles()
                .iter()
                .map(|role| role.role_name().to_owned())
                .collect()
        })
        .collect();
    assert_eq!(names, [vec!["a", "b"], vec!["c"]]);
    let below = iam.list_roles().path_prefix("/b/").send().await.unwrap();
    assert_eq!(below.roles().len(), 1);
    assert!(
        below.roles()[0].tags().is_empty(),
        "AWS leaves tags out of lists"
    );
    local.running.shutdown().await;
}

#[tokio::test]
async fn the_caller_is_the_local_user() {
    let local = Local::start().await;
    let sts = aws_sdk_sts::Client::new(&local.config);
    let caller = sts.get_caller_identity().send().await.unwrap();
    assert_eq!(caller.account(), Some("123456789012"));
    assert_eq!(caller.arn(), Some("arn:aws:iam::123456789012:user/local"));
    let user = local.iam().get_user().send().await.unwrap().user.unwrap();
    assert_eq!(Some(user.user_id()), caller.user_id());
    assert_eq!(Some(user.arn()), caller.arn());
    refused(
        local.iam().get_user().user_name("other").send().await,
        "NoSuchEntity",
    );
    let message = refused(sts.get_session_token().send().await, "NotImplemented");
    assert!(message.contains("sts GetSessionToken"), "{message}");

    let stranger = aws_credential_types::Credentials::new("AKIASTRANGER", "x", None, None, "test");
    let config = aws_sdk_sts::config::Builder::from(&local.config)
        .credentials_provider(stranger)
        .build();
    let caller = aws_sdk_sts::Client::from_conf(config)
        .get_caller_identity()
        .send()
        .await;
    refused(caller, "InvalidClientTokenId");
    local.running.shutdown().await;
}

#[tokio::test]
async fn log_events_survive_the_wire() {
    use aws_sdk_cloudwatchlogs::types::InputLogEvent;

    let local = Local::start().await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&local.config);
    let create = || {
        logs.create_log_group()
            .log_group_name("/g")
            .tags("a", "b")
            .send()
    };
    create().await.unwrap();
    refused(create().await, "ResourceAlreadyExistsException");
    logs.put_retention_policy()
        .log_group_name("/g")
        .retention_in_days(14)
        .send()
        .await
        .unwrap();
    logs.create_log_stream()
        .log_group_name("/g")
        .log_stream_name("[$LATEST]")
        .send()
        .await
        .unwrap();
    let text = "ERROR \u{1F525} \"quoted\" <tag>\n";
    let event = InputLogEvent::builder()
        .timestamp(i64::try_from(rmx::env::now_ms()).unwrap())
        .message(text)
        .build()
        .unwrap();
    let put = logs
        .put_log_events()
        .log_group_name("/g")
        .log_stream_name("[$LATEST]");
    put.log_events(event.clone()).send().await.unwrap();

    let group = logs
        .describe_log_groups()
        .send()
        .await
        .unwrap()
        .log_groups
        .unwrap()
        .remove(0);
    assert_eq!(group.retention_in_days(), Some(14));
    assert!(group.arn().unwrap().ends_with(":log-group:/g:*"));
    let found = logs
        .filter_log_events()
        .log_group_name("/g")
        .filter_pattern("ERROR");
    let found = found.send().await.unwrap().events.unwrap();
    assert_eq!(found[0].message(), Some(text));
    assert_eq!(found[0].timestamp(), Some(event.timestamp()));
    assert_eq!(found[0].event_id().map(str::len), Some(56));
    let got = logs
        .get_log_events()
        .log_group_identifier(group.log_group_arn().unwrap());
    let got = got.log_stream_name("[$LATEST]").send().await.unwrap();
    assert_eq!(got.events()[0].message(), Some(text));
    let json = logs
        .filter_log_events()
        .log_group_name("/g")
        .filter_pattern("{ $.a = 1 }");
    refused(json.send().await, "InvalidParameterException");
    refused(
        logs.start_query()
            .query_string("x")
            .start_time(0)
            .end_time(1)
            .send()
            .await,
        "NotImplemented",
    );
    local.running.shutdown().await;
}

/// A configuration with the credentials of whoever has assumed a role.
fn session_of(
    local: &Local,
    credentials: &aws_sdk_sts::types::Credentials,
    token: &str,
) -> aws_config::SdkConfig {
    let credentials = aws_credential_types::Credentials::new(
        credentials.access_key_id(),
        credentials.secret_access_key(),
        Some(token.to_owned()),
        None,
        "test",
    );
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(credentials);
    let config = local.config.to_builder();
    config.credentials_provider(provider).build()
}

#[tokio::test]
async fn whoever_assumes_a_role_may_do_what_its_policies_allow() {
    let local = Local::start().await;
    let (iam, sts) = (local.iam(), aws_sdk_sts::Client::new(&local.config));
    let trust = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
        "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}}"#;
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:CreateBucket", "s3:PutObject", "s3:ListBucket"],
         "Resource": ["arn:aws:s3:::mine", "arn:aws:s3:::mine/in/*"]},
        {"Effect": "Allow", "Action": "lambda:ListFunctions", "Resource": "*",
         "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}}]}"#;
    for (name, trust) in [("ci", trust), ("other", TRUST)] {
        let create = iam.create_role().role_name(name).path("/deploy/");
        let role = create.assume_role_policy_document(trust).send().await;
        drop(role.unwrap());
    }
    let put = iam.put_role_policy().role_name("ci").policy_name("p");
    put.policy_document(policy).send().await.unwrap();

    let assume = |name: &str| {
        let arn = format!("arn:aws:iam::123456789012:role/deploy/{name}");
        sts.assume_role().role_arn(arn).role_session_name("job@1")
    };
    let message = refused(assume("other").send().await, "AccessDenied");
    assert!(
        message.contains("is not authorized to perform: sts:AssumeRole"),
        "{message}"
    );
    refused(assume("nobody").send().await, "AccessDenied");
    refused(
        assume("ci").duration_seconds(60).send().await,
        "ValidationError",
    );
    let answer = assume("ci").send().await.unwrap();
    let arn = "arn:aws:sts::123456789012:assumed-role/ci/job@1";
    assert_eq!(answer.assumed_role_user().unwrap().arn(), arn);
    let credentials = answer.credentials.unwrap();
    let hour = credentials.expiration().secs() - rmx::env::now().unix_timestamp();
    assert!((3500..=3600).contains(&hour), "{hour}");

    let session = session_of(&local, &credentials, credentials.session_token());
    let caller = aws_sdk_sts::Client::new(&session).get_caller_identity();
    assert_eq!(caller.send().await.unwrap().arn(), Some(arn));
    let s3 = |config: &aws_config::SdkConfig| {
        let config = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    };
    let own = s3(&session);
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder()
        .location_constraint("eu-central-1".into())
        .build();
    let create = own.create_bucket().create_bucket_configuration(place);
    refused(create.clone().bucket("theirs").send().await, "AccessDenied");
    drop(create.bucket("mine").send().await.unwrap());
    let put = || own.put_object().bucket("mine");
    drop(put().key("in/a").send().await.unwrap());
    let message = refused(put().key("out").send().await, "AccessDenied");
    let denied = "s3:PutObject on resource: arn:aws:s3:::mine/out";
    assert!(
        message.contains(arn) && message.contains(denied),
        "{message}"
    );
    let lambda = aws_sdk_lambda::Client::new(&session);
    drop(lambda.list_functions().send().await.unwrap());
    refused(
        lambda.get_account_settings().send().await,
        "AccessDeniedException",
    );
    refused(
        aws_sdk_iam::Client::new(&session).get_user().send().await,
        "AccessDenied",
    );
    refused(
        aws_sdk_cloudwatchlogs::Client::new(&session)
            .describe_log_groups()
            .send()
            .await,
        "AccessDeniedException",
    );

    let stolen = session_of(&local, &credentials, "another token");
    refused(
        aws_sdk_iam::Client::new(&stolen).get_user().send().await,
        "InvalidClientTokenId",
    );
    refused(s3(&stolen).list_buckets().send().await, "InvalidToken");
    // The one user may do everything as before.
    drop(
        s3(&local.config)
            .head_bucket()
            .bucket("mine")
            .send()
            .await
            .unwrap(),
    );
}
