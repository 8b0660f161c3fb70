//! Where an embedded cloud that goes on serving is found by other processes that use the same data folder.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::credentials::Credentials;
use super::store::Store;

const DOCUMENT: &str = "served.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    endpoint_url: Option<String>,
}

/// An embedded cloud that another process serves, or did until it was killed: whoever finds it has to ask it.
#[derive(Debug, Clone)]
pub struct Served {
    /// `http://127.0.0.1:PORT`
    pub endpoint_url: String,
    /// What requests have to be signed with.
    pub credentials: Credentials,
}

/// Who serves the data in `directory`; of several the one that came last.
///
/// # Errors
/// The data folder cannot be used.
pub fn served(directory: &Path) -> io::Result<Option<Served>> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let store = Store::open(directory)?;
    let Document { endpoint_url } = store.read(DOCUMENT)?;
    let Some(endpoint_url) = endpoint_url else {
        return Ok(None);
    };
    let credentials = Credentials::of(&store)?;
    Ok(Some(Served {
        endpoint_url,
        credentials,
    }))
}

pub(super) fn announce(store: &Store, endpoint_url: &str) -> io::Result<()> {
    store.update(DOCUMENT, |document: &mut Document| {
        document.endpoint_url = Some(endpoint_url.to_owned());
        Ok(())
    })
}

/// Takes back what was announced, unless somebody else has announced himself since.
pub(super) fn withdraw(store: &Store, endpoint_url: &str) -> io::Result<()> {
    let ours = |document: &Document| document.endpoint_url.as_deref() == Some(endpoint_url);
    if !ours(&store.read(DOCUMENT)?) {
        return Ok(());
    }
    store.update(DOCUMENT, |document: &mut Document| {
        if ours(document) {
            document.endpoint_url = None;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_last_is_found_until_he_goes() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("data");
        let found = || {
            let served = served(&directory).unwrap();
            served.map(|served| served.endpoint_url)
        };
        assert_eq!(found(), None);
        let store = Store::open(&directory).unwrap();
        announce(&store, "http://127.0.0.1:1").unwrap();
        announce(&store, "http://127.0.0.1:2").unwrap();
        withdraw(&store, "http://127.0.0.1:1").unwrap();
        assert_eq!(found().as_deref(), Some("http://127.0.0.1:2"));
        withdraw(&store, "http://127.0.0.1:2").unwrap();
        assert_eq!(found(), None);
    }
}
