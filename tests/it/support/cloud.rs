//! An embedded cloud of a test's own, gone with it.

use std::collections::BTreeMap;

use rmx::cloud::{Cloud, Connection, StaticCredentials};
use rmx::local::{LocalOptions, Running};
use rmx::names::{BucketName, Region};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// An embedded cloud on a port of its own with its data in a temporary folder.
#[derive(Debug)]
pub(crate) struct TestCloud {
    running: Running,
    _folder: TempDir,
}

impl TestCloud {
    /// A new and empty one.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let surroundings = rmx::env::Env::read().unwrap();
        let options = LocalOptions {
            directory: folder.path().join("data"),
            account: "123456789012".parse().unwrap(),
            region: region(),
            worker_environment: BTreeMap::from([(
                "PATH".to_owned(),
                surroundings.variables["PATH"].clone(),
            )]),
        };
        Self {
            running: rmx::local::start(options, listener).await.unwrap(),
            _folder: folder,
        }
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
        }
    }

    /// Connected to it.
    pub(crate) async fn connect(&self) -> Cloud {
        Cloud::connect(&self.connection()).await
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
