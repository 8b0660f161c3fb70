//! The embedded cloud's one access key: made with the data folder, the same for every process that uses it.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use super::store::Store;

const DOCUMENT: &str = "credentials.json";

/// An access key and its secret.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// For `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// For `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
}

impl Credentials {
    /// Reads the folder's credentials, making them first where there are none. The file is private (mode 0600,
    /// as every document of the store).
    pub(super) fn of(store: &Store) -> io::Result<Self> {
        store.update(DOCUMENT, |credentials: &mut Self| {
            if credentials.access_key_id.is_empty() {
                let random = || uuid::Uuid::new_v4().simple().to_string();
                // The shape of AWS's own: `AKIA` and 16 capitals or digits, 40 characters of secret.
                credentials.access_key_id = format!("AKIA{}", random()[..16].to_uppercase());
                credentials.secret_access_key = format!("{}{}", random(), &random()[..8]);
            }
            Ok(credentials.clone())
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}
