//! Media files that a page plays, brought onto the disk once each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

use super::connect::Guard;
use super::failure::{TaskResult, internal, permanent};
use super::fetch::Fetcher;
use super::site::Site;
use crate::protocol::{FailureKind, MediaSource};

/// A source that was asked for.
#[derive(Debug)]
struct Known {
    /// Names its file.
    number: usize,
    /// The file, once it is there.
    file: Arc<OnceCell<PathBuf>>,
}

/// Files by where they come from. They go when this value does.
#[derive(Debug)]
pub(super) struct MediaFiles {
    site: Site,
    fetcher: Fetcher,
    kept: TempDir,
    known: Mutex<HashMap<MediaSource, Known>>,
}

impl MediaFiles {
    pub(super) fn new(site: Site, guard: Guard, scratch: &Path) -> TaskResult<Self> {
        let kept = tempfile::Builder::new()
            .prefix("rmx-media-")
            .tempdir_in(scratch)
            .map_err(|error| internal("making a folder for media files", error))?;
        let fetcher = Fetcher::new(guard)
            .map_err(|error| internal("reading the certificates of this machine", error))?;
        Ok(Self {
            site,
            fetcher,
            kept,
            known: Mutex::default(),
        })
    }

    /// The file on this machine; fetched when it is first asked for.
    pub(super) async fn file(&self, source: &MediaSource) -> TaskResult<PathBuf> {
        let (cell, number) = {
            let mut known = self.known.lock().await;
            // A file's number is its own for good: one whose first try was given up must not get another's.
            let next = known.len();
            let entry = known.entry(source.clone());
            let known = entry.or_insert_with(|| Known {
                number: next,
                file: Arc::default(),
            });
            (Arc::clone(&known.file), known.number)
        };
        let file = cell.get_or_try_init(|| self.bring(source, number)).await?;
        Ok(file.clone())
    }

    async fn bring(&self, source: &MediaSource, number: usize) -> TaskResult<PathBuf> {
        let missing = |reason: &str| {
            let message = format!("playing {}: {reason}", named(source));
            permanent(FailureKind::Media, message)
        };
        let address = match source {
            MediaSource::Site(path) => {
                let file = self.site.file(path).await?;
                return file.ok_or_else(|| missing("the site has no such file"));
            }
            MediaSource::Url(address) => address,
        };
        let file = self.kept.path().join(format!("{number}"));
        match address.strip_prefix("data:") {
            Some(data) => {
                let content = data_content(data).ok_or_else(|| missing("it cannot be read"))?;
                let written = tokio::fs::write(&file, content).await;
                written.map_err(|error| internal("keeping a data: address", error))?;
            }
            None => {
                let fetched = self.fetcher.fetch(address, &file).await;
                let operation = format!("playing {}", named(source));
                fetched.map_err(|cause| cause.failure(FailureKind::Media, &operation))?;
            }
        }
        Ok(file)
    }
}

/// A media file's name for people: long addresses are cut.
pub(super) fn named(source: &MediaSource) -> String {
    const CHARS_MAX: usize = 200;
    match source {
        MediaSource::Site(path) => path.clone(),
        MediaSource::Url(address) if address.starts_with("data:") => {
            let kind = address.split([';', ',']).next().unwrap_or("data:");
            format!("a {kind} address of {} bytes", address.len())
        }
        MediaSource::Url(address) => address.chars().take(CHARS_MAX).collect(),
    }
}

/// What a `data:` address holds (RFC 2397), from behind its scheme.
fn data_content(data: &str) -> Option<Vec<u8>> {
    let (kind, content) = data.split_once(',')?;
    let content: Vec<u8> = percent_encoding::percent_decode_str(content).collect();
    if kind.ends_with(";base64") {
        STANDARD.decode(content.trim_ascii()).ok()
    } else {
        Some(content)
    }
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// A media file that is its own address.
    pub(crate) fn data_addresses(mut case: crate::fuzzing::Case<'_>) {
        let data = case.text();
        if let Some(content) = data_content(&data) {
            assert!(content.len() <= data.len(), "{}", content.len());
        }
        named(&MediaSource::Url(format!("data:{data}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files_of(folder: &Path) -> MediaFiles {
        let site = Site::Folder(folder.to_owned());
        MediaFiles::new(site, Guard::default(), folder).unwrap()
    }

    #[test]
    fn data_addresses_are_read() {
        assert_eq!(
            data_content("audio/wav;base64,aGVsbG8="),
            Some(b"hello".to_vec())
        );
        assert_eq!(data_content("text/plain,a%20b"), Some(b"a b".to_vec()));
        assert_eq!(data_content("audio/wav;base64,%%%"), None);
        assert_eq!(data_content("audio/wav"), None);
    }

    #[test]
    fn long_addresses_are_named_briefly() {
        let data = MediaSource::Url(format!("data:audio/wav;base64,{}", "A".repeat(100_000)));
        assert_eq!(named(&data), "a data:audio/wav address of 100022 bytes");
    }

    /// A browser gives requests up, and whoever brings a file for one stops with it.
    #[tokio::test]
    async fn a_file_whose_first_try_was_given_up_is_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let files = files_of(folder.path());
        let [one, two] = ["data:,one", "data:,two"].map(|text| MediaSource::Url(text.to_owned()));
        // What such a try leaves.
        let begun = Known {
            number: 0,
            file: Arc::default(),
        };
        files.known.lock().await.insert(one.clone(), begun);
        let second = files.file(&two).await.unwrap();
        let first = files.file(&one).await.unwrap();
        assert_eq!(std::fs::read(first).unwrap(), b"one");
        assert_eq!(std::fs::read(second).unwrap(), b"two");
    }

    #[tokio::test]
    async fn only_a_server_that_says_no_for_good_is_believed() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for (answer, may_pass) in [("404 Not Found", false), ("502 Bad Gateway", true)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}/a.mp3", listener.local_addr().unwrap());
            let serve = async {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let _ = stream.read(&mut [0; 4096]).await.unwrap();
                    let head = format!(
                        "HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                    );
                    stream.write_all(head.as_bytes()).await.unwrap();
                }
            };
            let folder = tempfile::tempdir().unwrap();
            let files = files_of(folder.path());
            let source = MediaSource::Url(address.clone());
            let failure = tokio::select! {
                found = files.file(&source) => found.unwrap_err(),
                () = serve => unreachable!("it serves for ever"),
            };
            let expected = format!("playing {address}: the server answered {answer}");
            assert_eq!(failure.message, expected);
            assert_eq!(failure.retryable, may_pass);
        }
    }

    #[tokio::test]
    async fn a_file_is_brought_once_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.mp3"), "sound").unwrap();
        let files = files_of(folder.path());
        let file = files.file(&MediaSource::Site("a.mp3".to_owned())).await;
        assert_eq!(std::fs::read(file.unwrap()).unwrap(), b"sound");
        let data = MediaSource::Url("data:,abc".to_owned());
        let (first, second) = (
            files.file(&data).await.unwrap(),
            files.file(&data).await.unwrap(),
        );
        assert_eq!(first, second);
        let missing = files.file(&MediaSource::Site("b.mp3".to_owned())).await;
        assert_eq!(
            missing.unwrap_err().message,
            "playing b.mp3: the site has no such file"
        );
    }
}
