//! When credentials end. The SDK gets new ones by itself where it can, and does not tell; so what hands them out is
//! watched.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

/// The end of the credentials that were handed out last.
#[derive(Debug, Default)]
pub(super) struct Expiry(Mutex<Option<SystemTime>>);

impl Expiry {
    pub(super) fn end(&self) -> Option<SystemTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, end: Option<SystemTime>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// A provider that is watched.
#[derive(Debug)]
struct Watched {
    provider: SharedCredentialsProvider,
    expiry: Arc<Expiry>,
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.provider.provide_credentials().await?;
            self.expiry.set(credentials.expiry());
            Ok(credentials)
        })
    }
}

/// `config`, and the end of the credentials that are used with it.
pub(super) fn watched(config: &aws_config::SdkConfig) -> (aws_config::SdkConfig, Arc<Expiry>) {
    let expiry = Arc::new(Expiry::default());
    let Some(provider) = config.credentials_provider() else {
        return (config.clone(), expiry);
    };
    let watched = Watched {
        provider,
        expiry: Arc::clone(&expiry),
    };
    let config = config.to_builder();
    let config = config.credentials_provider(SharedCredentialsProvider::new(watched));
    (config.build(), expiry)
}
