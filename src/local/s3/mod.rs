//! The embedded cloud's S3: `s3s` speaks the wire format and checks signatures, the data is ours.
//!
//! Operations that are not here answer 501 `NotImplemented`.

mod buckets;
mod claims;
mod data;
mod lifecycle;
mod listing;
mod objects;
pub(super) mod permissions;
mod public;
mod record;
mod service;
mod uploads;

use std::io;

use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service as Wire, S3ServiceBuilder};

use super::credentials::Credentials;
use super::sessions::Session;
use super::store::Store;
use crate::names::{AccountId, Region};
use data::BucketData;
use public::PublicAccess;

/// The service behind the wire format.
#[derive(Debug, Clone)]
pub(crate) struct S3Data {
    store: Store,
    account: AccountId,
    region: Region,
}

impl S3Data {
    /// A service over the data in `store`.
    pub(crate) fn new(store: Store, account: AccountId, region: Region) -> Self {
        Self {
            store,
            account,
            region,
        }
    }

    /// The service with its wire format in front.
    pub(crate) fn wire(&self, credentials: &Credentials) -> Wire {
        let mut builder = S3ServiceBuilder::new(self.clone());
        builder.set_auth(Keys {
            store: self.store.clone(),
            credentials: credentials.clone(),
        });
        builder.set_access(PublicAccess {
            store: self.store.clone(),
        });
        builder.build()
    }

    /// A whole object, for the Lambda service: S3's error code and message where it cannot be read.
    pub(crate) async fn read_whole(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Vec<u8>, (String, String)> {
        let describe = |error: s3s::S3Error| {
            (
                error.code().as_str().to_owned(),
                error.message().unwrap_or_default().to_owned(),
            )
        };
        let bucket = BucketData::open(&self.store, bucket).map_err(describe)?;
        let object = bucket.existing(key).map_err(describe)?;
        tokio::fs::read(bucket.blob_path(&object.blob))
            .await
            .map_err(|error: io::Error| ("InternalError".to_owned(), error.to_string()))
    }

    fn bucket(&self, name: &str, expected_owner: Option<&str>) -> s3s::S3Result<BucketData> {
        let bucket = BucketData::open(&self.store, name)?;
        if expected_owner.is_some_and(|owner| owner != self.account.as_str()) {
            return Err(s3s::s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(bucket)
    }
}

/// The secrets of the one user and of every session.
struct Keys {
    store: Store,
    credentials: Credentials,
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> s3s::S3Result<SecretKey> {
        if access_key == self.credentials.access_key_id {
            return Ok(self.credentials.secret_access_key.clone().into());
        }
        let session = Session::of(&self.store, access_key)
            .map_err(|error| s3s::s3_error!(error, InternalError))?;
        match session {
            Some(session) => Ok(session.credentials(access_key).secret_access_key.into()),
            None => Err(s3s::s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}
