//! An embedded cloud of a test's own, gone with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rmx::cloud::{Cloud, Connection, StaticCredentials, Timeouts};
use rmx::local::{Faults, LocalOptions, Running};
use rmx::names::{BucketName, Region};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A managed policy of AWS.
pub(crate) const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// An embedded cloud on a port of its own with its data in a temporary folder.
#[derive(Debug)]
pub(crate) struct TestCloud {
    running: Running,
    folder: TempDir,
    faults: Faults,
}

impl TestCloud {
    /// A new and empty one.
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// A new and empty one that writes to memory where the system offers that, for tests of tens of thousands of calls.
    pub(crate) async fn start_in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::start_in(folder.unwrap()).await
    }

    /// One with the data of another, as it is now.
    pub(crate) async fn copy_of(other: &Self) -> Self {
        let folder = quick_folder();
        copy_folder(other.folder.path(), folder.path());
        Self::start_in(folder).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let faults = Faults::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let surroundings = rmx::env::Env::read().unwrap();
        let options = LocalOptions {
            directory: folder.path().join("data"),
            account: "123456789012".parse().unwrap(),
            region: region(),
            isolation: None,
            node: None,
            worker_environment: BTreeMap::from([(
                "PATH".to_owned(),
                surroundings.variables["PATH"].clone(),
            )]),
            faults: faults.clone(),
        };
        Self {
            running: rmx::local::start(options, listener).await.unwrap(),
            folder,
            faults,
        }
    }

    /// The folder of its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything there is in it, whoever owns it: roles, functions with their versions, log groups, buckets.
    pub(crate) fn inventory(&self) -> Vec<String> {
        let read = |name: &str| -> serde_json::Value {
            let file = self.folder.path().join("data").join(name);
            let text = std::fs::read(file).unwrap_or_else(|_| b"{}".to_vec());
            serde_json::from_slice(&text).unwrap()
        };
        let names = |value: &serde_json::Value| -> Vec<String> {
            let object = value.as_object().into_iter().flatten();
            object.map(|(name, _)| name.clone()).collect()
        };
        let region = region();
        let functions = read(&format!("lambda-{region}.json"));
        let versions = names(&functions)
            .into_iter()
            .map(|name| format!("{name} {:?}", names(&functions[&name]["versions"])));
        let mut all = names(&read("iam.json")["roles"]);
        all.extend(names(&read(&format!("logs-{region}.json"))));
        all.extend(names(&read("s3-buckets.json")));
        all.extend(versions);
        all.sort();
        all
    }

    /// What goes wrong in it on request.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How to reach it.
    pub(crate) fn connection(&self) -> Connection {
        let credentials = self.running.credentials();
        Connection {
            region: region(),
            endpoint_url: Some(self.running.endpoint_url().to_owned()),
            credentials: Some(StaticCredentials {
                access_key_id: credentials.access_key_id.clone(),
                secret_access_key: credentials.secret_access_key.clone(),
                session_token: None,
            }),
            timeouts: Timeouts::default(),
        }
    }

    /// How an SDK of a test's own reaches it.
    pub(crate) async fn sdk(&self) -> aws_config::SdkConfig {
        let credentials = self.running.credentials();
        aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(self.running.endpoint_url())
            .region(aws_config::Region::new(region().to_string()))
            .credentials_provider(aws_credential_types::Credentials::new(
                &credentials.access_key_id,
                &credentials.secret_access_key,
                None,
                None,
                "test",
            ))
            .load()
            .await
    }

    /// Takes away the tag that says whose a role is.
    pub(crate) async fn untag(&self, role: &str) {
        let iam = aws_sdk_iam::Client::new(&self.sdk().await);
        let untagged = iam.untag_role().role_name(role).tag_keys("rmx:stack");
        untagged.send().await.unwrap();
    }

    /// Puts inline policies into a role and attaches a managed one, as somebody who grants more.
    pub(crate) async fn grant_more(&self, role: &str) {
        let iam = aws_sdk_iam::Client::new(&self.sdk().await);
        // More than there are on a page of IAM's answer.
        for name in ["extra", "more", "spare"] {
            iam.put_role_policy()
                .role_name(role)
                .policy_name(name)
                .policy_document(
                    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}"#,
                )
                .send()
                .await
                .unwrap();
        }
        iam.attach_role_policy()
            .role_name(role)
            .policy_arn(ADMINISTRATOR)
            .send()
            .await
            .unwrap();
    }

    /// Lets others use a role and puts a boundary on it, as somebody who means it well.
    pub(crate) async fn bend_role(&self, role: &str) {
        let iam = aws_sdk_iam::Client::new(&self.sdk().await);
        iam.update_assume_role_policy()
            .role_name(role)
            .policy_document(
                r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole"}]}"#,
            )
            .send()
            .await
            .unwrap();
        iam.put_role_permissions_boundary()
            .role_name(role)
            .permissions_boundary(ADMINISTRATOR)
            .send()
            .await
            .unwrap();
    }

    /// What a process that takes it for AWS finds in its environment.
    pub(crate) fn variables(&self) -> [(&'static str, String); 4] {
        let credentials = self.running.credentials();
        [
            ("AWS_ENDPOINT_URL", self.running.endpoint_url().to_owned()),
            ("AWS_ACCESS_KEY_ID", credentials.access_key_id.clone()),
            (
                "AWS_SECRET_ACCESS_KEY",
                credentials.secret_access_key.clone(),
            ),
            // No process asks the machine for credentials.
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Connected to it, without the patience that a busy cloud may need.
    pub(crate) async fn connect_impatiently(&self, timeout: Duration) -> Cloud {
        let timeouts = Timeouts {
            answer: timeout,
            upload: timeout,
        };
        let connection = Connection {
            timeouts,
            ..self.connection()
        };
        Cloud::connect(&connection).await
    }

    /// Connected to it.
    pub(crate) async fn connect(&self) -> Cloud {
        Cloud::connect(&self.connection()).await
    }
}

/// A folder in memory where there is such: what is done some thousand times does not wait for a disk each time.
pub(crate) fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn region() -> Region {
    "eu-central-1".parse().unwrap()
}

/// Makes an empty bucket.
pub(crate) async fn make_bucket(cloud: &Cloud, name: &str) -> BucketName {
    let bucket = name.parse().unwrap();
    cloud.create_bucket(&bucket).await.unwrap();
    bucket
}
