//! Files of a component into the package: out of archives, and archives within archives.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component as PathPart, Path};
use std::process::{Command, Stdio};

use brotli_decompressor::Decompressor;
use flate2::read::{GzEncoder, MultiGzDecoder};

use super::PackageError;
use super::recipe::{Component, FileRule, Source};
use crate::bundle::tree::Tree;

/// More than any component unpacks to. An archive that goes on is not what it says.
const BYTES_MAX: u64 = 1 << 30;

/// The decompressor's window on what it reads.
const BUFFER_BYTES: usize = 1 << 16;

/// Gets every file of an archive: its name, whether it can be run, its content.
type Visit<'v> = dyn FnMut(&str, bool, &mut dyn Read) -> Result<(), PackageError> + 'v;

/// Places files of one component.
struct Placing<'a> {
    component: &'a str,
    archive: &'a Path,
    target: &'a Path,
    bytes_left: u64,
}

/// Places what `component`, whose source is at `path`, has for the package at `target`.
///
/// # Errors
/// The source cannot be read, lacks a file, or something cannot be written or is there already.
pub(super) fn place(
    name: &str,
    component: &Component,
    path: &Path,
    target: &Path,
) -> Result<(), PackageError> {
    let mut placing = Placing {
        component: name,
        archive: path,
        target,
        bytes_left: BYTES_MAX,
    };
    let (whole, within): (Vec<_>, Vec<_>) = component
        .files
        .iter()
        .partition(|rule| rule.from.is_empty());
    for rule in whole {
        match &component.source {
            Source::Text(text) => placing.write("", rule, &rule.to, false, &mut text.as_bytes())?,
            _ => {
                let mut file = File::open(path).map_err(PackageError::reading(path))?;
                let file_name = path.file_name().unwrap_or_default().to_string_lossy();
                placing.write(&file_name, rule, &rule.to, false, &mut file)?;
            }
        }
    }
    if within.is_empty() {
        return Ok(());
    }
    let within: Vec<FileRule> = within.into_iter().cloned().collect();
    let mut found = vec![false; within.len()];
    let failed = placing.unreadable();
    let mut visit = |name: &str, executable: bool, content: &mut dyn Read| {
        placing.entry(&within, &mut found, (name, executable), content)
    };
    walk(&component.source, path, &failed, &mut visit)?;
    match found.iter().position(|found| !found) {
        Some(missing) => Err(PackageError::NoFile {
            component: name.to_owned(),
            from: match &within[missing].archive {
                Some(archive) => format!("{archive}: {}", within[missing].from),
                None => within[missing].from.clone(),
            },
        }),
        None => Ok(()),
    }
}

impl Placing<'_> {
    fn unreadable(&self) -> impl Fn(io::Error) -> PackageError + use<> {
        let (component, path) = (self.component.to_owned(), self.archive.to_owned());
        move |source| PackageError::Unpack {
            component: component.clone(),
            path: path.clone(),
            source,
        }
    }

    /// Does with one file what `rules` say. `found` remembers which of them had something to do.
    fn entry(
        &mut self,
        rules: &[FileRule],
        found: &mut [bool],
        (name, executable): (&str, bool),
        content: &mut dyn Read,
    ) -> Result<(), PackageError> {
        let direct = |rule: &FileRule| rule.archive.is_none().then(|| placed_at(rule, name));
        let hit = rules
            .iter()
            .enumerate()
            .find_map(|(index, rule)| Some((index, rule, direct(rule)??)));
        if let Some((index, rule, to)) = hit {
            found[index] = true;
            return self.write(name, rule, &to, executable, content);
        }
        let nested: Vec<usize> = (0..rules.len())
            .filter(|index| rules[*index].archive.as_deref() == Some(name))
            .collect();
        if nested.is_empty() {
            return Ok(());
        }
        let inner: Vec<FileRule> = nested
            .iter()
            .map(|index| FileRule {
                archive: None,
                ..rules[*index].clone()
            })
            .collect();
        let mut inner_found = vec![false; inner.len()];
        let failed = self.unreadable();
        let mut visit = |name: &str, executable: bool, content: &mut dyn Read| {
            self.entry(&inner, &mut inner_found, (name, executable), content)
        };
        walk_stream(name, content, &failed, &mut visit)?;
        for (index, was_found) in nested.into_iter().zip(inner_found) {
            found[index] |= was_found;
        }
        Ok(())
    }

    fn write(
        &mut self,
        name: &str,
        rule: &FileRule,
        to: &str,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<(), PackageError> {
        let inside = Path::new(to)
            .components()
            .all(|part| matches!(part, PathPart::Normal(_)));
        if !inside {
            return Err((self.unreadable())(io::Error::other(format!(
                "`{name}` lies outside of it"
            ))));
        }
        let path = self.target.join(to);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(PackageError::writing(folder))?;
        }
        let mut file = File::create_new(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => PackageError::Twice {
                component: self.component.to_owned(),
                to: to.to_owned(),
            },
            _ => PackageError::writing(&path)(error),
        })?;
        let has = |text: &str, extension: &str| text.ends_with(extension);
        if has(name, ".br") && !has(to, ".br") {
            let mut content = Decompressor::new(content, BUFFER_BYTES);
            self.copy(&mut content, &mut file, &path)?;
        } else if has(name, ".gz") && !has(to, ".gz") {
            let mut content = MultiGzDecoder::new(BufReader::new(content));
            self.copy(&mut content, &mut file, &path)?;
        } else if has(to, ".gz") && !has(name, ".gz") {
            // Its header holds no time and no name: the same content is the same bytes.
            let mut content = GzEncoder::new(content, flate2::Compression::best());
            self.copy(&mut content, &mut file, &path)?;
        } else {
            self.copy(content, &mut file, &path)?;
        }
        let whole_folder = rule.from.ends_with('/');
        let mode = match rule.executable || (whole_folder && executable) {
            true => 0o755,
            false => 0o644,
        };
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(PackageError::writing(&path))
    }

    /// Copies, and tells reading from writing where it fails.
    fn copy(
        &mut self,
        from: &mut dyn Read,
        to: &mut File,
        path: &Path,
    ) -> Result<(), PackageError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err((self.unreadable())(error)),
            };
            self.bytes_left =
                self.bytes_left
                    .checked_sub(count as u64)
                    .ok_or_else(|| PackageError::Bomb {
                        component: self.component.to_owned(),
                        bytes_max: BYTES_MAX,
                    })?;
            to.write_all(&buffer[..count])
                .map_err(PackageError::writing(path))?;
        }
    }
}

/// Every file of what `source` gave, which is at `path`.
fn walk(
    source: &Source,
    path: &Path,
    failed: &dyn Fn(io::Error) -> PackageError,
    visit: &mut Visit<'_>,
) -> Result<(), PackageError> {
    match source {
        Source::Folder(_) => {
            for (name, entry) in Tree::read(path)?.entries {
                let path = path.join(&name);
                let mut file = File::open(&path).map_err(PackageError::reading(&path))?;
                visit(&name, entry.executable, &mut file)?;
            }
            Ok(())
        }
        Source::Npm(_) => walk_named("npm.tgz", path, failed, visit),
        Source::Pypi(_) => walk_named("pypi.whl", path, failed, visit),
        Source::Debian(_) => walk_named("debian.deb", path, failed, visit),
        Source::File(name) => walk_named(&name.to_string_lossy(), path, failed, visit),
        Source::Url(url) => walk_named(url, path, failed, visit),
        Source::Worker | Source::Text(_) => {
            Err(failed(io::Error::other("it is one file: leave out `from`")))
        }
    }
}

/// Where `rule` puts the file `name`, if it is about it.
fn placed_at(rule: &FileRule, name: &str) -> Option<String> {
    if rule.from.ends_with('/') {
        let rest = name.strip_prefix(&rule.from)?;
        Some(format!("{}{rest}", rule.to))
    } else {
        (rule.from == name).then(|| rule.to.clone())
    }
}

/// An archive that is a file, whose name tells its format.
fn walk_named(
    name: &str,
    path: &Path,
    failed: &dyn Fn(io::Error) -> PackageError,
    visit: &mut Visit<'_>,
) -> Result<(), PackageError> {
    let mut file = File::open(path).map_err(PackageError::reading(path))?;
    if name.ends_with(".zip") || name.ends_with(".whl") {
        return walk_zip(file, failed, visit);
    }
    if name.ends_with(".deb") {
        return walk_deb(path, failed, visit);
    }
    walk_stream(name, &mut file, failed, visit)
}

/// A tar archive, as it is or compressed.
fn walk_stream(
    name: &str,
    content: &mut dyn Read,
    failed: &dyn Fn(io::Error) -> PackageError,
    visit: &mut Visit<'_>,
) -> Result<(), PackageError> {
    let content = BufReader::new(content);
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        walk_tar(MultiGzDecoder::new(content), failed, visit)
    } else if name.ends_with(".tar.br") {
        walk_tar(Decompressor::new(content, BUFFER_BYTES), failed, visit)
    } else if name.ends_with(".tar") {
        walk_tar(content, failed, visit)
    } else {
        Err(failed(io::Error::other(format!(
            "`{name}` is no archive that rmx unpacks (.tar, .tar.gz, .tgz, .tar.br, .zip, .whl, .deb)"
        ))))
    }
}

fn walk_tar(
    content: impl Read,
    failed: &dyn Fn(io::Error) -> PackageError,
    visit: &mut Visit<'_>,
) -> Result<(), PackageError> {
    let mut archive = tar::Archive::new(content);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(failed)?;
        let name = name.to_string_lossy();
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let executable = entry.header().mode().map_err(failed)? & 0o100 != 0;
        visit(&name, executable, &mut entry)?;
    }
    Ok(())
}

fn walk_zip(
    file: File,
    failed: &dyn Fn(io::Error) -> PackageError,
    visit: &mut Visit<'_>,
) -> Result<(), PackageError> {
    let mut archive =
        zip::ZipArchive::new(BufReader::new(file)).map_err(|error| failed(error.into()))?;
    for index in 0..archive.len() {
        let mut entry = archive
            .by_index(index)
            .map_err(|error| failed(error.into()))?;
        if !entry.is_file() {
            continue;
        }
        let name = entry
            .name()
            .map_err(|error| failed(error.into()))?
            .to_string();
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0);
        visit(&name, executable, &mut entry)?;
    }
    Ok(())
}

/// Debian's packages are taken apart by Debian's own program, which knows every compression they come with.
fn walk_deb(
    path: &Path,
    failed: &dyn Fn(io::Error) -> PackageError,
    visit: &mut Visit<'_>,
) -> Result<(), PackageError> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            match failed(io::Error::other(format!("starting dpkg-deb: {error}"))) {
                PackageError::Unpack { component, .. } if missing => PackageError::NoClient {
                    component,
                    client: "dpkg-deb",
                },
                other => other,
            }
        })?;
    let walked = match child.stdout.take() {
        Some(stdout) => walk_tar(BufReader::new(stdout), failed, visit),
        None => Err(failed(io::Error::other("dpkg-deb's output is missing"))),
    };
    let status = child.wait().map_err(failed)?;
    walked?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(io::Error::other(format!("dpkg-deb: {status}"))))
    }
}
