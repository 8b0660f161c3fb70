//! Puts a package together in a folder of its own, and shows it only when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::growing::Growing;
use super::manifest::{FORMAT_VERSION, MANIFEST_NAME, Manifest, NOTICE_NAME, Part};
use super::recipe::{Component, Recipe, Source};
use super::{PackageError, fetch, unpack};
use crate::bundle::tree::Tree;
use crate::bundle::{BundleError, UNZIPPED_BYTES_MAX, program};

/// How a package is built.
#[derive(Debug, Clone, Copy)]
pub struct BuildOptions<'a> {
    /// Of what.
    pub recipe: &'a Recipe,
    /// The worker to put in.
    pub worker: &'a Path,
    /// Names of the components to put in; [`Recipe::names`] tells them.
    pub names: &'a [String],
    /// Where components are kept.
    pub cache: &'a Cache,
    /// Whether nothing may be fetched.
    pub offline: bool,
}

/// What a build is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A component is being fetched.
    Fetching {
        /// Its name.
        component: &'a str,
    },
    /// So much of it has come.
    Bytes {
        /// Its name.
        component: &'a str,
        /// Since the beginning, a part that was there already included.
        bytes: u64,
        /// Of so many, as the recipe says.
        bytes_total: Option<u64>,
    },
    /// Its files are being placed.
    Placing {
        /// Its name.
        component: &'a str,
    },
}

/// Builds the package in the folder `target`, which is empty, missing, or a package that was built before. Until the package is
/// whole it grows beside it; whoever stops the build leaves `target` as it was.
///
/// # Errors
/// A component cannot be had or placed, something else is at `target`, or the package is larger than Lambda unzips.
pub async fn build(
    options: BuildOptions<'_>,
    target: &Path,
    progress: &dyn Fn(Progress<'_>),
) -> Result<Manifest, PackageError> {
    require_replaceable(target)?;
    require_worker(options)?;
    let mut sources = Vec::new();
    for name in options.names {
        let component = &options.recipe.components[name];
        let path = match component.source {
            Source::Worker => options.worker.to_owned(),
            _ => {
                let BuildOptions { recipe, cache, .. } = options;
                fetch::obtain(recipe, name, component, cache, options.offline, progress).await?
            }
        };
        sources.push((name, component, path));
    }
    let parent = target.parent().filter(|path| !path.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(PackageError::writing(parent))?;
    let growing = Growing::new(parent, ".rmx-package-")?;
    let mut components = Vec::new();
    for (name, component, path) in sources {
        progress(Progress::Placing { component: name });
        let part = part(name, component, path, growing.path()).await?;
        for file in part.files.keys() {
            let path = growing.path().join(file);
            require_machine(&path, options.recipe, |found, wanted| {
                PackageError::Machine {
                    component: name.clone(),
                    file: file.clone(),
                    found,
                    wanted,
                }
            })?;
        }
        components.push(part);
    }
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        architecture: options.recipe.architecture.clone(),
        components,
    };
    if manifest.size_bytes() > UNZIPPED_BYTES_MAX {
        return Err(PackageError::TooLarge(Box::new(manifest)));
    }
    let mut text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| PackageError::writing(growing.path())(error.into()))?;
    text.push('\n');
    for (name, text) in [(MANIFEST_NAME, text), (NOTICE_NAME, manifest.notice())] {
        let path = growing.path().join(name);
        fs::write(&path, text).map_err(PackageError::writing(&path))?;
    }
    if target.exists() {
        fs::remove_dir_all(target).map_err(PackageError::writing(target))?;
    }
    growing.become_at(target)?;
    open_to_read(target)?;
    Ok(manifest)
}

/// Places one component in a folder of its own first: what is in there afterwards is what came of it.
async fn part(
    name: &str,
    component: &Component,
    path: PathBuf,
    growing: &Path,
) -> Result<Part, PackageError> {
    let (owned, rules) = (name.to_owned(), component.clone());
    let alone = tempfile::Builder::new()
        .prefix(".part-")
        .tempdir_in(growing)
        .map_err(PackageError::writing(growing))?;
    let folder = alone.path().to_owned();
    let placed = tokio::task::spawn_blocking(move || {
        unpack::place(&owned, &rules, &path, &folder)?;
        Ok::<Tree, PackageError>(Tree::read(&folder)?)
    });
    let tree = placed
        .await
        .map_err(|error| PackageError::writing(growing)(std::io::Error::other(error)))??;
    for file in tree.entries.keys() {
        let (from, to) = (alone.path().join(file), growing.join(file));
        if to.exists() {
            return Err(PackageError::Twice {
                component: name.to_owned(),
                to: file.clone(),
            });
        }
        let folder = to.parent().unwrap_or(growing);
        fs::create_dir_all(folder).map_err(PackageError::writing(folder))?;
        fs::rename(from, &to).map_err(PackageError::writing(&to))?;
    }
    Ok(Part {
        name: name.to_owned(),
        version: component.version().to_owned(),
        sha256: component.sha256,
        licence: component.licence.clone(),
        home: component.home.clone(),
        size_bytes: tree.size_bytes(),
        files: tree.file_digests(),
    })
}

/// Temporary folders are their owner's alone; a package is a folder like others.
fn open_to_read(target: &Path) -> Result<(), PackageError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(target, fs::Permissions::from_mode(0o755))
        .map_err(PackageError::writing(target))
}

/// Requires a worker for the recipe's machine, if the package is to have one: before a hundred megabytes are fetched for it.
fn require_worker(options: BuildOptions<'_>) -> Result<(), PackageError> {
    let BuildOptions { recipe, worker, .. } = options;
    let source = |name: &String| &recipe.components[name].source;
    if !options
        .names
        .iter()
        .map(source)
        .any(|source| *source == Source::Worker)
    {
        return Ok(());
    }
    let path = worker.to_owned();
    if !worker.is_file() {
        return Err(PackageError::NoWorker(path));
    }
    require_machine(worker, recipe, |found, wanted| {
        PackageError::WorkerMachine {
            path,
            found,
            wanted,
        }
    })
}

/// Requires that `file` is no program for another machine than `recipe` is for. `error` is told the one and the other.
fn require_machine(
    file: &Path,
    recipe: &Recipe,
    error: impl FnOnce(String, String) -> PackageError,
) -> Result<(), PackageError> {
    program::check(file, &recipe.architecture).map_err(|failed| match failed {
        BundleError::WrongMachine { found, wanted, .. } => error(found, wanted),
        other => other.into(),
    })
}

fn require_replaceable(target: &Path) -> Result<(), PackageError> {
    let empty = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if empty || target.join(MANIFEST_NAME).is_file() {
        Ok(())
    } else {
        Err(PackageError::InTheWay(target.to_owned()))
    }
}

impl Recipe {
    /// The components to put in: all that are not optional, those of `with`, and none of `without`; or `only` those.
    ///
    /// # Errors
    /// The recipe does not have one of them.
    pub fn names(
        &self,
        with: &[String],
        without: &[String],
        only: &[String],
    ) -> Result<Vec<String>, PackageError> {
        for name in with.iter().chain(without).chain(only) {
            if !self.components.contains_key(name) {
                let known: Vec<&str> = self.components.keys().map(String::as_str).collect();
                return Err(PackageError::NoComponent {
                    name: name.clone(),
                    known: known.join(", "),
                });
            }
        }
        let wanted = |(name, component): &(&String, &Component)| {
            if only.is_empty() {
                (!component.optional || with.contains(name)) && !without.contains(name)
            } else {
                only.contains(name)
            }
        };
        let names = self.components.iter().filter(wanted);
        Ok(names.map(|(name, _)| name.clone()).collect())
    }
}
