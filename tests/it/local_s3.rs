//! The embedded cloud's S3 as AWS's own SDK sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CompletedMultipartUpload, CompletedPart, CreateBucketConfiguration,
    PublicAccessBlockConfiguration,
};
use rmx::local::{LocalOptions, Running, start};
use tokio::net::TcpListener;

async fn cloud(directory: &Path) -> Running {
    let options = LocalOptions {
        directory: directory.to_owned(),
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        faults: Default::default(),
        worker_environment: BTreeMap::new(),
        isolation: None,
        node: None,
    };
    start(options, TcpListener::bind("127.0.0.1:0").await.unwrap())
        .await
        .unwrap()
}

fn connection(cloud: &Running, region: &str) -> Builder {
    Builder::new()
        .behavior_version_latest()
        .region(Region::new(region.to_owned()))
        .endpoint_url(cloud.endpoint_url())
        .force_path_style(true)
        .http_client(
            aws_smithy_http_client::Builder::new()
                .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
                    aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
                ))
                .build_https(),
        )
}

fn client_of(cloud: &Running, region: &str, secret: &str) -> Client {
    let key = &cloud.credentials().access_key_id;
    let credentials = Credentials::new(key, secret, None, None, "test");
    let connection = connection(cloud, region).credentials_provider(credentials);
    Client::from_conf(connection.build())
}

/// Somebody who signs nothing.
fn stranger(cloud: &Running) -> Client {
    Client::from_conf(connection(cloud, "us-east-1").allow_no_auth().build())
}

fn client(cloud: &Running) -> Client {
    client_of(cloud, "us-east-1", &cloud.credentials().secret_access_key)
}

/// The error code of a call that must fail.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result
        .expect_err("the call must fail")
        .code()
        .unwrap_or("no code")
        .to_owned()
}

async fn read(client: &Client, key: &str) -> Vec<u8> {
    let object = client
        .get_object()
        .bucket("test")
        .key(key)
        .send()
        .await
        .unwrap();
    object.body.collect().await.unwrap().to_vec()
}

async fn put(client: &Client, key: &str, bytes: &[u8]) {
    let body = ByteStream::from(bytes.to_vec());
    client
        .put_object()
        .bucket("test")
        .key(key)
        .body(body)
        .send()
        .await
        .unwrap();
}

/// Gives the bucket a policy, which may be public.
async fn set_policy(s3: &Client, policy: &str) {
    let block = s3.delete_public_access_block().bucket("test");
    block.send().await.unwrap();
    let policy = s3.put_bucket_policy().bucket("test").policy(policy);
    policy.send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_by_everybody_where_the_policy_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud(folder.path()).await;
    let (s3, stranger) = (client(&cloud), stranger(&cloud));
    s3.create_bucket().bucket("test").send().await.unwrap();
    put(&s3, "sites/a/index.html", b"<h1>A</h1>").await;
    put(&s3, "renders/b", b"b").await;
    let denied = async |key: &str| {
        let read = stranger.get_object().bucket("test").key(key).send().await;
        assert_eq!(code(read), "AccessDenied", "{key}");
    };
    denied("sites/a/index.html").await;

    let policy = r#"{"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::test/sites/*"
    }]}"#;
    set_policy(&s3, policy).await;
    assert_eq!(read(&stranger, "sites/a/index.html").await, b"<h1>A</h1>");
    // Where everybody may read an object in any case, an ACL can say so too.
    let ownership = s3.delete_bucket_ownership_controls().bucket("test");
    ownership.send().await.unwrap();
    let public = async |key: &str| {
        let acl = aws_sdk_s3::types::ObjectCannedAcl::PublicRead;
        s3.put_object()
            .bucket("test")
            .key(key)
            .acl(acl)
            .send()
            .await
    };
    public("sites/a/more.js").await.unwrap();
    assert_eq!(code(public("renders/c").await), "NotImplemented");
    denied("renders/b").await;
    assert_eq!(
        code(stranger.list_objects_v2().bucket("test").send().await),
        "AccessDenied"
    );
    let written = stranger.put_object().bucket("test").key("sites/a/b");
    assert_eq!(code(written.send().await), "AccessDenied");

    let restricted = PublicAccessBlockConfiguration::builder()
        .restrict_public_buckets(true)
        .build();
    s3.put_public_access_block()
        .bucket("test")
        .public_access_block_configuration(restricted)
        .send()
        .await
        .unwrap();
    denied("sites/a/index.html").await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_others_stay_in_a_buckets_policy() {
    let folder = tempfile::tempdir().unwrap();
    let local = cloud(folder.path()).await;
    let s3 = client(&local);
    s3.create_bucket().bucket("test").send().await.unwrap();
    let others = r#"{"Version": "2012-10-17", "Statement": {
        "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "arn:aws:s3:::test"
    }}"#;
    set_policy(&s3, others).await;
    let cloud = rmx::cloud::Cloud::connect(&rmx::cloud::Connection {
        region: "us-east-1".parse().unwrap(),
        endpoint_url: Some(local.endpoint_url().to_owned()),
        credentials: Some(rmx::cloud::StaticCredentials {
            access_key_id: local.credentials().access_key_id.clone(),
            secret_access_key: local.credentials().secret_access_key.clone(),
            session_token: None,
        }),
        timeouts: rmx::cloud::Timeouts::default(),
    })
    .await;
    let name = "test".parse().unwrap();
    let statements = async || {
        let policy = s3.get_bucket_policy().bucket("test").send().await;
        let policy = policy.unwrap().policy.unwrap();
        let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
        let statements = policy["Statement"].as_array().unwrap().iter();
        let words = statements.map(|one| one["Effect"].as_str().unwrap().to_owned());
        words.collect::<Vec<_>>()
    };
    assert!(!cloud.public_read(&name).await.unwrap());
    cloud.set_public_read(&name, true).await.unwrap();
    cloud.set_public_read(&name, true).await.unwrap();
    assert!(cloud.public_read(&name).await.unwrap());
    assert_eq!(statements().await, ["Deny", "Allow"]);
    cloud.set_public_read(&name, false).await.unwrap();
    assert!(!cloud.public_read(&name).await.unwrap());
    assert_eq!(statements().await, ["Deny"]);
    local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_follow_awss_rules() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud(folder.path()).await;
    let s3 = client(&cloud);
    assert_eq!(
        code(s3.get_bucket_location().bucket("test").send().await),
        "NoSuchBucket"
    );
    s3.create_bucket().bucket("test").send().await.unwrap();
    s3.create_bucket()
        .bucket("test")
        .send()
        .await
        .expect("again in us-east-1 is no error");
    assert_eq!(
        code(s3.get_bucket_tagging().bucket("test").send().await),
        "NoSuchTagSet"
    );
    assert_eq!(
        code(s3.get_bucket_policy().bucket("test").send().await),
        "NoSuchBucketPolicy"
    );
    assert_eq!(
        code(
            s3.get_bucket_lifecycle_configuration()
                .bucket("test")
                .send()
                .await
        ),
        "NoSuchLifecycleConfiguration"
    );
    let block = s3
        .get_public_access_block()
        .bucket("test")
        .send()
        .await
        .unwrap();
    assert_eq!(
        block
            .public_access_block_configuration
            .unwrap()
            .block_public_acls,
        Some(true)
    );
    s3.delete_public_access_block()
        .bucket("test")
        .send()
        .await
        .unwrap();
    assert_eq!(
        code(s3.get_public_access_block().bucket("test").send().await),
        "NoSuchPublicAccessBlockConfiguration"
    );
    let acl = aws_sdk_s3::types::BucketCannedAcl::PublicRead;
    assert_eq!(
        code(s3.put_bucket_acl().bucket("test").acl(acl).send().await),
        "AccessControlListNotSupported"
    );
    let encryption = s3
        .get_bucket_encryption()
        .bucket("test")
        .send()
        .await
        .unwrap();
    let rules = encryption
        .server_side_encryption_configuration
        .unwrap()
        .rules;
    let default = rules[0].apply_server_side_encryption_by_default().unwrap();
    assert_eq!(default.sse_algorithm().as_str(), "AES256");
    assert!(
        s3.get_bucket_versioning()
            .bucket("test")
            .send()
            .await
            .unwrap()
            .status
            .is_none()
    );

    put(&s3, "key", b"1").await;
    assert_eq!(
        code(s3.delete_bucket().bucket("test").send().await),
        "BucketNotEmpty"
    );
    s3.delete_object()
        .bucket("test")
        .key("key")
        .send()
        .await
        .unwrap();
    s3.delete_bucket().bucket("test").send().await.unwrap();
    assert!(s3.head_bucket().bucket("test").send().await.is_err());

    let frankfurt = client_of(
        &cloud,
        "eu-central-1",
        &cloud.credentials().secret_access_key,
    );
    assert_eq!(
        code(frankfurt.create_bucket().bucket("there").send().await),
        "IllegalLocationConstraintException"
    );
    let create = || {
        let place = BucketLocationConstraint::EuCentral1;
        frankfurt
            .create_bucket()
            .bucket("there")
            .create_bucket_configuration(
                CreateBucketConfiguration::builder()
                    .location_constraint(place)
                    .build(),
            )
    };
    create().send().await.unwrap();
    assert_eq!(code(create().send().await), "BucketAlreadyOwnedByYou");
    let location = s3
        .get_bucket_location()
        .bucket("there")
        .send()
        .await
        .unwrap();
    assert_eq!(
        location.location_constraint,
        Some(BucketLocationConstraint::EuCentral1)
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_of_conditional_puts_has_one_winner_and_two_servers_share_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let clouds = [cloud(folder.path()).await, cloud(folder.path()).await];
    let clients: Vec<Client> = clouds.iter().map(client).collect();
    clients[0]
        .create_bucket()
        .bucket("test")
        .send()
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..24_u8 {
        let client = clients[usize::from(index) % 2].clone();
        tasks.spawn(async move {
            let body = ByteStream::from(vec![index]);
            let put = client
                .put_object()
                .bucket("test")
                .key("lock")
                .if_none_match("*")
                .body(body);
            put.send()
                .await
                .map(|_| index)
                .map_err(|error| error.code().map(str::to_owned))
        });
    }
    let (winners, losers): (Vec<_>, Vec<_>) =
        tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert!(
        losers
            .iter()
            .all(|loser| *loser == Err(Some("PreconditionFailed".to_owned())))
    );
    assert_eq!(
        read(&clients[1], "lock").await,
        [winners[0].clone().unwrap()]
    );

    let s3 = &clients[0];
    let put = |etag: &str| {
        s3.put_object()
            .bucket("test")
            .key("lock")
            .if_match(etag)
            .body(ByteStream::from_static(b"n"))
    };
    assert_eq!(code(put("\"no\"").send().await), "PreconditionFailed");
    let etag = s3
        .head_object()
        .bucket("test")
        .key("lock")
        .send()
        .await
        .unwrap()
        .e_tag
        .unwrap();
    put(&etag).send().await.unwrap();
    let missing = s3.put_object().bucket("test").key("none").if_match("\"x\"");
    assert_eq!(
        code(missing.body(ByteStream::from_static(b"n")).send().await),
        "NoSuchKey"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_come_back_and_pages_hold_together() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [
        "../../escape",
        "/etc/passwd",
        "a b+c",
        "a//b",
        "a/b",
        "emoji-🎬",
        "k%2Fx",
        "sub/1",
        "sub/2",
        "ü",
        &"long".repeat(200),
    ];
    {
        let cloud = cloud(folder.path()).await;
        let s3 = client(&cloud);
        s3.create_bucket().bucket("test").send().await.unwrap();
        for key in keys {
            put(&s3, key, key.as_bytes()).await;
        }
        cloud.shutdown().await;
    }
    let cloud = cloud(folder.path()).await;
    let s3 = client(&cloud);
    for key in keys {
        assert_eq!(read(&s3, key).await, key.as_bytes(), "{key}");
    }
    let mut listed = Vec::new();
    let mut token = None;
    loop {
        let page = s3
            .list_objects_v2()
            .bucket("test")
            .max_keys(3)
            .set_continuation_token(token);
        let page = page.send().await.unwrap();
        assert!(page.contents().len() <= 3);
        listed.extend(
            page.contents()
                .iter()
                .map(|object| object.key().unwrap().to_owned()),
        );
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    let mut sorted: Vec<&str> = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    let page = s3
        .list_objects_v2()
        .bucket("test")
        .delimiter("/")
        .prefix("sub")
        .send()
        .await
        .unwrap();
    assert_eq!(page.common_prefixes()[0].prefix(), Some("sub/"));
    assert!(page.contents().is_empty());
    assert!(!folder.path().parent().unwrap().join("escape").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_conditions_and_headers() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud(folder.path()).await;
    let s3 = client(&cloud);
    s3.create_bucket().bucket("test").send().await.unwrap();
    s3.put_object()
        .bucket("test")
        .key("k")
        .content_type("video/mp4")
        .cache_control("no-cache")
        .metadata("sha", "1")
        .body(ByteStream::from_static(b"0123456789"))
        .send()
        .await
        .unwrap();
    let get = || s3.get_object().bucket("test").key("k");
    let part = get().range("bytes=2-4").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 2-4/10"));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), b"234");
    let tail = get().range("bytes=-3").send().await.unwrap();
    assert_eq!(tail.body.collect().await.unwrap().to_vec(), b"789");
    assert_eq!(code(get().range("bytes=10-").send().await), "InvalidRange");
    assert_eq!(
        code(get().if_match("\"no\"").send().await),
        "PreconditionFailed"
    );
    let head = s3
        .head_object()
        .bucket("test")
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(
        head.e_tag(),
        Some("\"781e5e245d69b566979b86e28d23f2c7\""),
        "the MD5"
    );
    assert_eq!(
        (head.content_type(), head.cache_control()),
        (Some("video/mp4"), Some("no-cache"))
    );
    assert_eq!(head.metadata().unwrap()["sha"], "1");
    let wrong = s3
        .put_object()
        .bucket("test")
        .key("k")
        .checksum_sha256("AAAA");
    assert_eq!(
        code(wrong.body(ByteStream::from_static(b"x")).send().await),
        "BadDigest"
    );
    assert_eq!(
        read(&s3, "k").await,
        b"0123456789",
        "a refused write changes nothing"
    );
    assert_eq!(
        code(s3.get_object().bucket("test").key("none").send().await),
        "NoSuchKey"
    );
    s3.copy_object()
        .bucket("test")
        .key("copy")
        .copy_source("test/k")
        .send()
        .await
        .unwrap();
    assert_eq!(read(&s3, "copy").await, b"0123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_uploads_follow_awss_rules() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud(folder.path()).await;
    let s3 = client(&cloud);
    s3.create_bucket().bucket("test").send().await.unwrap();
    let begin = async || {
        let upload = s3
            .create_multipart_upload()
            .bucket("test")
            .key("big")
            .send()
            .await
            .unwrap();
        upload.upload_id.unwrap()
    };
    let part = async |upload: &str, number: i32, bytes: Vec<u8>| {
        let request = s3.upload_part().bucket("test").key("big").upload_id(upload);
        let part = request
            .part_number(number)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .unwrap();
        CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .build()
    };
    let complete = |upload: &str, parts: Vec<CompletedPart>| {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let request = s3.complete_multipart_upload().bucket("test").key("big");
        request.upload_id(upload).multipart_upload(parts)
    };
    let five_mib = vec![7; 5 * 1024 * 1024];

    let upload = begin().await;
    let small = [
        part(&upload, 1, vec![1]).await,
        part(&upload, 2, vec![2]).await,
    ];
    assert_eq!(
        code(complete(&upload, small.to_vec()).send().await),
        "EntityTooSmall"
    );
    let first = part(&upload, 1, five_mib.clone()).await;
    let swapped = vec![small[1].clone(), first.clone()];
    assert_eq!(
        code(complete(&upload, swapped).send().await),
        "InvalidPartOrder"
    );
    let stale = vec![small[0].clone(), small[1].clone()];
    assert_eq!(code(complete(&upload, stale).send().await), "InvalidPart");
    let done = complete(&upload, vec![first.clone(), small[1].clone()])
        .send()
        .await
        .unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\""), "{done:?}");
    assert_eq!(
        code(complete(&upload, vec![first]).send().await),
        "NoSuchUpload"
    );
    let bytes = read(&s3, "big").await;
    assert_eq!(
        (bytes.len(), bytes[0], bytes[bytes.len() - 1]),
        (5 * 1024 * 1024 + 1, 7, 2)
    );

    let second = begin().await;
    let copied = s3
        .upload_part_copy()
        .bucket("test")
        .key("big")
        .upload_id(&second)
        .part_number(1);
    let copied = copied
        .copy_source("test/big")
        .copy_source_range("bytes=5242879-5242880");
    let etag = copied.send().await.unwrap().copy_part_result.unwrap().e_tag;
    let only = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(etag)
        .build();
    let conditional = complete(&second, vec![only.clone()]).if_none_match("*");
    assert_eq!(code(conditional.send().await), "PreconditionFailed");
    complete(&second, vec![only]).send().await.unwrap();
    assert_eq!(read(&s3, "big").await, [7, 2]);

    let third = begin().await;
    s3.abort_multipart_upload()
        .bucket("test")
        .key("big")
        .upload_id(&third)
        .send()
        .await
        .unwrap();
    assert!(
        s3.list_multipart_uploads()
            .bucket("test")
            .send()
            .await
            .unwrap()
            .uploads()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud(folder.path()).await;
    let s3 = client(&cloud);
    s3.create_bucket().bucket("test").send().await.unwrap();
    put(&s3, "k", b"secret").await;
    let stranger = client_of(&cloud, "us-east-1", "wrong");
    assert_eq!(
        code(stranger.get_object().bucket("test").key("k").send().await),
        "SignatureDoesNotMatch"
    );

    let presign = async |seconds: u64| {
        let config = PresigningConfig::expires_in(Duration::from_secs(seconds)).unwrap();
        let request = s3
            .get_object()
            .bucket("test")
            .key("k")
            .presigned(config)
            .await
            .unwrap();
        request.uri().to_owned()
    };
    let status = async |url: String| {
        let output = tokio::process::Command::new("curl")
            .args([
                "-s",
                "-m",
                "10",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                &url,
            ])
            .output();
        String::from_utf8(output.await.unwrap().stdout).unwrap()
    };
    let good = presign(60).await;
    assert_eq!(status(good.clone()).await, "200");
    assert_eq!(
        status(good.replace("/k?", "/other?")).await,
        "403",
        "another key"
    );
    assert_eq!(
        status(good.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")).await,
        "403"
    );
    assert_eq!(
        status(good.split('?').next().unwrap().to_owned()).await,
        "403",
        "no signature"
    );
    let brief = presign(1).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(status(brief).await, "403", "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let options = LocalOptions {
        directory: folder.path().to_owned(),
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        faults: Default::default(),
        worker_environment: BTreeMap::new(),
        isolation: None,
        node: None,
    };
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = start(options, everywhere).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}
