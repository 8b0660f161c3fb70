//! Getting a component through its registry's own client, so that the user's mirrors, proxies and credentials apply.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::growing::Growing;
use super::recipe::{Component, Recipe, Source};
use super::{Cache, PackageError, Progress};
use crate::bundle::tree::Entry;
use crate::digest::Digest;

/// Longer than any component takes on a slow line.
const CLIENT_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// How often the length of a download is looked at.
const TICK: Duration = Duration::from_millis(200);

/// What is kept of a client's last words.
const WORDS_MAX: usize = 600;

/// The component's file or folder on this machine.
pub(super) async fn obtain(
    recipe: &Recipe,
    name: &str,
    component: &Component,
    cache: &Cache,
    offline: bool,
    progress: &dyn Fn(Progress<'_>),
) -> Result<PathBuf, PackageError> {
    match &component.source {
        Source::Text(_) | Source::Worker => return Ok(PathBuf::new()),
        Source::Folder(path) => return Ok(recipe.folder.join(path)),
        Source::File(path) => {
            return checked(name, recipe.folder.join(path), component.sha256);
        }
        Source::Url(_) | Source::Npm(_) | Source::Pypi(_) | Source::Debian(_) => {}
    }
    let Some(wanted) = component.sha256 else {
        return Ok(PathBuf::new());
    };
    if let Some(found) = cache.find(wanted) {
        return Ok(found);
    }
    if offline {
        return Err(PackageError::Offline {
            component: name.to_owned(),
        });
    }
    progress(Progress::Fetching { component: name });
    let has_come = |bytes| {
        progress(Progress::Bytes {
            component: name,
            bytes,
            bytes_total: component.size_bytes,
        });
    };
    let (folder, partial) = (cache.folder()?, cache.partial(wanted));
    // Another build may be at it: what it fetches need not be fetched again, and two may not write into one file.
    let alone = cache.alone(wanted, || has_come(size_of(&partial))).await?;
    if let Some(found) = cache.find(wanted) {
        return Ok(found);
    }
    if let Source::Url(url) = &component.source {
        return download(name, url, wanted, cache, &alone, has_come).await;
    }
    let fetching = Growing::new(folder, ".fetching-")?;
    let (client, arguments) = client(&component.source, &recipe.architecture);
    let tick = || has_come(size_of_files(fetching.path()));
    let output = run(name, client, &arguments, fetching.path(), None, tick).await?;
    let file = only_file(fetching.path()).ok_or_else(|| PackageError::Client {
        component: name.to_owned(),
        command: format!("{client} {}", arguments.join(" ")),
        code: None,
        message: format!("it left not exactly one file. {}", last_words(&output)),
    })?;
    cache.keep(name, &file, wanted)
}

/// A file of this machine, whose digest counts where the recipe gives one.
fn checked(name: &str, path: PathBuf, wanted: Option<Digest>) -> Result<PathBuf, PackageError> {
    let Some(wanted) = wanted else {
        return Ok(path);
    };
    let found = Entry::read(&path)?.digest;
    if found == wanted {
        Ok(path)
    } else {
        Err(PackageError::Digest {
            component: name.to_owned(),
            found,
            wanted,
        })
    }
}

/// The registry's client and what it is told. It runs in the folder that the file is wanted in.
fn client(source: &Source, architecture: &str) -> (&'static str, Vec<String>) {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    match source {
        Source::Npm(spec) => ("npm", words(&format!("pack --loglevel=error {spec}"))),
        Source::Pypi(spec) => {
            let machine = match architecture {
                "arm64" => "aarch64",
                other => other,
            };
            // What glibc 2.34 runs. Clients older than manylinux's numbers know the names with years alone.
            let platforms = ["manylinux_2_28", "manylinux_2_17", "manylinux2014"]
                .map(|platform| format!("--platform {platform}_{machine}"));
            let text = format!(
                "download --quiet --disable-pip-version-check --no-deps --only-binary=:all: {} {spec}",
                platforms.join(" ")
            );
            ("pip", words(&text))
        }
        Source::Debian(spec) => {
            let machine = match architecture {
                "arm64" => "arm64",
                _ => "amd64",
            };
            let (package, version) = spec.split_once('=').unwrap_or((spec, ""));
            // Packages that fit every machine are found under this name too.
            let spec = format!("download --quiet {package}:{machine}={version}");
            ("apt-get", words(&spec))
        }
        Source::Url(_) | Source::Worker | Source::Text(_) | Source::File(_) | Source::Folder(_) => {
            unreachable!("these come through no registry")
        }
    }
}

/// Downloads `url`, or goes on with a download that was cut off. curl knows the user's proxies and certificates. It holds `alone` too: if
/// this process is killed, curl may live on, and nobody may write into its file.
async fn download(
    name: &str,
    url: &str,
    wanted: Digest,
    cache: &Cache,
    alone: &File,
    has_come: impl Fn(u64),
) -> Result<PathBuf, PackageError> {
    let (folder, partial) = (cache.folder()?, cache.partial(wanted));
    // A curl that outlived its build has brought all of it.
    let whole = |entry: Entry| entry.digest == wanted;
    if partial.is_file() && Entry::read(&partial).is_ok_and(whole) {
        return cache.keep(name, &partial, wanted);
    }
    let begun = partial.exists();
    // Fewer than 100 bytes a second for a minute is no download.
    let mut arguments: Vec<String> =
        "--fail --silent --show-error --location --retry 3 --connect-timeout 30 \
         --speed-limit 100 --speed-time 60 --max-time 1800 --continue-at - --output"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    arguments.extend([
        partial.display().to_string(),
        "--".to_owned(),
        url.to_owned(),
    ]);
    let tick = || has_come(size_of(&partial));
    let mut ran = run(name, "curl", &arguments, folder, Some(alone), tick).await;
    // The server cannot go on where the file ends: it knows no ranges, or the file is as long as its own or longer.
    if begun
        && matches!(
            ran,
            Err(PackageError::Client {
                code: Some(22 | 33),
                ..
            })
        )
    {
        std::fs::remove_file(&partial).map_err(PackageError::writing(&partial))?;
        ran = run(name, "curl", &arguments, folder, Some(alone), tick).await;
    }
    ran?;
    cache.keep(name, &partial, wanted)
}

/// Runs a client in `folder` to its end. It keeps `held` open as long as it lives.
async fn run(
    name: &str,
    client: &'static str,
    arguments: &[String],
    folder: &Path,
    held: Option<&File>,
    tick: impl Fn(),
) -> Result<Output, PackageError> {
    let failed_with = |code: Option<i32>, message: String| PackageError::Client {
        component: name.to_owned(),
        command: format!("{client} {}", arguments.join(" ")),
        code,
        message,
    };
    let failed = |message: String| failed_with(None, message);
    let stdin = match held.map(File::try_clone).transpose() {
        Ok(held) => held.map_or_else(Stdio::null, Stdio::from),
        Err(error) => return Err(failed(error.to_string())),
    };
    let child = Command::new(client)
        .args(arguments)
        .current_dir(folder)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => PackageError::NoClient {
                component: name.to_owned(),
                client,
            },
            _ => failed(error.to_string()),
        })?;
    let mut ended = std::pin::pin!(tokio::time::timeout(
        CLIENT_TIME_MAX,
        child.wait_with_output()
    ));
    let output = loop {
        tokio::select! {
            output = &mut ended => break output,
            () = tokio::time::sleep(TICK) => tick(),
        }
    };
    let output = output
        .map_err(|_| failed(format!("it had not ended after {CLIENT_TIME_MAX:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(output)
    } else {
        let message = format!("{}. {}", output.status, last_words(&output));
        Err(failed_with(output.status.code(), message))
    }
}

fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim();
    let start = text.len().saturating_sub(WORDS_MAX);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at));
    text[start.unwrap_or(0)..].to_owned()
}

fn only_file(folder: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?;
    let path = entries.next()?.ok()?.path();
    entries.next().is_none().then_some(path)
}

fn size_of(file: &Path) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

fn size_of_files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
