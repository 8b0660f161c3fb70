//! The calls that rendering and applying are made of, against an embedded cloud.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use rmx::cloud::{
    BucketLifecycle, BucketPresence, Cloud, CloudErrorKind, Connection, PutOptions, PutOutcome,
    StaticCredentials, Tags,
};
use rmx::local::{Fault, FaultKind, Moment};
use tokio::io::AsyncReadExt as _;

use crate::support::cloud::{TestCloud, make_bucket};

async fn connect(connection: Connection) -> Cloud {
    Cloud::connect(&connection).await
}

fn once() -> PutOptions {
    PutOptions {
        if_absent: true,
        ..PutOptions::default()
    }
}

#[tokio::test]
async fn of_many_conditional_writers_exactly_one_wins() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let bucket = make_bucket(&cloud, "one-winner").await;
    let options = once();
    let writes = (0..16).map(|writer| {
        let content = Bytes::from(format!("writer {writer}"));
        cloud.put_object(&bucket, "renders/a b/é+%.bin", content, &options)
    });
    let outcomes: Vec<PutOutcome> = join_all(writes)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let winner = outcomes
        .iter()
        .position(|outcome| *outcome == PutOutcome::Written);
    let written = outcomes
        .iter()
        .filter(|outcome| **outcome == PutOutcome::Written);
    assert_eq!(written.count(), 1, "{outcomes:?}");
    let content = cloud.get_object(&bucket, "renders/a b/é+%.bin").await;
    assert_eq!(content.unwrap(), format!("writer {}", winner.unwrap()));
}

#[tokio::test]
async fn large_files_go_up_in_parts_and_come_back_in_ranges() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let bucket = make_bucket(&cloud, "parts").await;
    let content: Vec<u8> = (0..17 * 1024 * 1024_u32).map(|i| (i % 251) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content).unwrap();
    let put = || async {
        let options = PutOptions {
            content_type: Some("video/mp4".to_owned()),
            ..once()
        };
        cloud
            .put_object_file(&bucket, "big", file.path(), &options)
            .await
            .unwrap()
    };
    assert_eq!(put().await, PutOutcome::Written);
    assert_eq!(put().await, PutOutcome::AlreadyThere);

    let head = cloud.head_object(&bucket, "big").await.unwrap().unwrap();
    assert_eq!(head.size_bytes, content.len() as u64);
    assert!(head.etag.ends_with("-3"), "{}", head.etag);
    let cut = 8 * 1024 * 1024 - 3..8 * 1024 * 1024 + 5_u32;
    let range = u64::from(cut.start)..u64::from(cut.end);
    let mut reader = cloud
        .read_object(&bucket, "big", Some(range))
        .await
        .unwrap();
    assert_eq!(reader.size_bytes, 8);
    assert_eq!(reader.content_type.as_deref(), Some("video/mp4"));
    let mut read = Vec::new();
    reader.body.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, content[cut.start as usize..cut.end as usize]);

    let missing = file.path().with_extension("missing");
    let error = cloud
        .put_object_file(&bucket, "missing", &missing, &once())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn listings_and_deletes_know_no_pages() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let bucket = make_bucket(&cloud, "pages").await;
    let keys: Vec<String> = (0..1005).map(|i| format!("renders/{i:04}")).collect();
    for batch in keys.chunks(67) {
        let options = PutOptions::default();
        let writes = batch
            .iter()
            .map(|key| cloud.put_object(&bucket, key, Bytes::new(), &options));
        for outcome in join_all(writes).await {
            assert_eq!(outcome.unwrap(), PutOutcome::Written);
        }
    }
    let listed = cloud.list_objects(&bucket, "renders/").await.unwrap();
    let listed: Vec<String> = listed.into_iter().map(|object| object.key).collect();
    assert_eq!(listed, keys);
    assert!(
        cloud
            .list_objects(&bucket, "sites/")
            .await
            .unwrap()
            .is_empty()
    );
    let mut all = keys.clone();
    all.push("renders/none".to_owned());
    cloud.delete_objects(&bucket, &all).await.unwrap();
    assert!(cloud.list_objects(&bucket, "").await.unwrap().is_empty());
}

#[tokio::test]
async fn failures_are_told_by_kind() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let bucket = make_bucket(&cloud, "kinds").await;
    let missing = cloud.get_object(&bucket, "nothing").await.unwrap_err();
    assert_eq!(missing.kind, CloudErrorKind::NotFound);
    assert_eq!(missing.code.as_deref(), Some("NoSuchKey"));
    assert!(missing.to_string().contains("s3://kinds/nothing"));
    assert!(missing.request_id.is_some());
    assert_eq!(cloud.head_object(&bucket, "nothing").await.unwrap(), None);
    let no_bucket = "no-such-bucket".parse().unwrap();
    let error = cloud.list_objects(&no_bucket, "").await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::NotFound);

    cloud
        .put_object(&bucket, "a", Bytes::from("a"), &PutOptions::default())
        .await
        .unwrap();
    let full = cloud.delete_bucket(&bucket).await.unwrap_err();
    assert_eq!(full.kind, CloudErrorKind::Conflict);
    cloud.delete_bucket(&no_bucket).await.unwrap();

    let connection = test_cloud.connection();
    let wrong = connect(Connection {
        credentials: connection
            .credentials
            .clone()
            .map(|given| StaticCredentials {
                secret_access_key: "wrong".to_owned(),
                ..given
            }),
        ..connection.clone()
    });
    let error = wrong.await.get_object(&bucket, "a").await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Credentials, "{error}");

    // A port that was free a moment ago.
    let port = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let nobody = connect(Connection {
        endpoint_url: Some(format!("http://127.0.0.1:{port}")),
        ..connection
    });
    let error = nobody.await.get_object(&bucket, "a").await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_call_that_nobody_answers_ends_and_says_so() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud
        .connect_impatiently(Duration::from_millis(300))
        .await;
    let bucket = make_bucket(&cloud, "silent").await;
    let silence = |call| Fault {
        call,
        moment: Moment::Before,
        kind: FaultKind::Silence,
    };
    // Every try of it, and there is no fifth.
    test_cloud.faults().schedule((1..=9).map(silence));
    let error = cloud.get_object(&bucket, "a").await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(": no answer in time"), "{error}");
    assert_eq!(test_cloud.faults().calls(), 4);
    // One that is lost among others is tried again.
    test_cloud.faults().schedule([silence(1)]);
    let written = cloud
        .put_object(&bucket, "a", Bytes::from("a"), &once())
        .await;
    assert_eq!(written.unwrap(), PutOutcome::Written);
}

#[tokio::test]
async fn links_serve_the_object_to_anybody() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let bucket = make_bucket(&cloud, "links").await;
    cloud
        .put_object(&bucket, "out put.mp4", Bytes::from("video"), &once())
        .await
        .unwrap();
    let link = cloud
        .presign_get(&bucket, "out put.mp4", Duration::from_secs(60))
        .await
        .unwrap();
    let client = aws_free_get(&link).await;
    assert!(client.starts_with("HTTP/1.1 200"), "{client}");
    assert!(client.ends_with("video"), "{client}");
    let refused = aws_free_get(&link.replace("out%20put", "other")).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
}

/// What any HTTP client gets, with nothing of the SDK.
async fn aws_free_get(url: &str) -> String {
    use tokio::io::AsyncWriteExt as _;
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap()
        .unwrap();
    answer
}

#[tokio::test]
async fn a_bucket_keeps_what_others_set() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let bucket = make_bucket(&cloud, "settings").await;
    let tags = |key: &str| Tags::from([(key.to_owned(), "value".to_owned())]);
    cloud.tag_bucket(&bucket, &tags("theirs")).await.unwrap();
    cloud.tag_bucket(&bucket, &tags("ours")).await.unwrap();
    let wanted = BucketLifecycle {
        expire_renders_days: Some(7),
        abort_uploads_days: Some(1),
        expire_days: rmx::resource::expiry::expire_days(),
    };
    let mut fewer = wanted.clone();
    fewer.expire_days.remove("renders/7-days");
    for lifecycle in [&fewer, &wanted] {
        cloud
            .set_lifecycle(&bucket, lifecycle.clone())
            .await
            .unwrap();
        let BucketPresence::Present(found) = cloud.bucket(&bucket).await.unwrap() else {
            panic!("the bucket was made");
        };
        assert_eq!(found.lifecycle, *lifecycle);
    }
    cloud.set_lifecycle(&bucket, wanted.clone()).await.unwrap();
    cloud.set_block_public_access(&bucket, true).await.unwrap();
    cloud.set_owner_enforced(&bucket, true).await.unwrap();
    let BucketPresence::Present(found) = cloud.bucket(&bucket).await.unwrap() else {
        panic!("the bucket was made");
    };
    assert_eq!(found.tags.keys().collect::<Vec<_>>(), ["ours", "theirs"]);
    assert_eq!(found.lifecycle, wanted);
    assert!(found.block_public_access && found.owner_enforced);
    cloud
        .set_lifecycle(&bucket, BucketLifecycle::default())
        .await
        .unwrap();
    cloud.set_block_public_access(&bucket, false).await.unwrap();
    let BucketPresence::Present(found) = cloud.bucket(&bucket).await.unwrap() else {
        panic!("the bucket was made");
    };
    assert_eq!(found.lifecycle, BucketLifecycle::default());
    assert!(!found.block_public_access);
    cloud.delete_bucket(&bucket).await.unwrap();
    let gone = cloud.bucket(&bucket).await.unwrap();
    assert_eq!(gone, BucketPresence::Absent);
}
