//! Why a function package cannot be built. Each error names the component or the file.

use std::io;
use std::path::PathBuf;

use super::Manifest;
use crate::bundle::UNZIPPED_BYTES_MAX;
use crate::digest::Digest;

/// A package that cannot be built or read.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The recipe's text is not what a recipe is.
    #[error("{shown} is no recipe: {message}")]
    Recipe {
        /// The recipe, as it was named.
        shown: String,
        /// What is wrong, with the line where the parser tells it.
        message: String,
    },
    /// Somebody named a component that the recipe does not have.
    #[error("the recipe has no component `{name}`; it has {known}")]
    NoComponent {
        /// What was named.
        name: String,
        /// All names.
        known: String,
    },
    /// The cache does not have it, and nothing may be fetched.
    #[error("component `{component}` is not in the cache, and --offline forbids to fetch it")]
    Offline {
        /// The component.
        component: String,
    },
    /// The registry's client is not on this machine.
    #[error("component `{component}` comes through `{client}`, which is not on this machine")]
    NoClient {
        /// The component.
        component: String,
        /// Its program.
        client: &'static str,
    },
    /// The registry's client failed.
    #[error("component `{component}`: `{command}` failed: {message}")]
    Client {
        /// The component.
        component: String,
        /// The command line.
        command: String,
        /// Its exit code, if it ended by itself.
        code: Option<i32>,
        /// Its last words.
        message: String,
    },
    /// It is another file than the recipe asks for.
    #[error("component `{component}` has the SHA-256 {found}, the recipe asks for {wanted}")]
    Digest {
        /// The component.
        component: String,
        /// What came.
        found: Digest,
        /// What was asked for.
        wanted: Digest,
    },
    /// The archive lacks a file.
    #[error("component `{component}` holds no `{from}`")]
    NoFile {
        /// The component.
        component: String,
        /// What the recipe takes from it.
        from: String,
    },
    /// Two components want to be one file.
    #[error("component `{component}` writes `{to}`, which is there already")]
    Twice {
        /// The later component.
        component: String,
        /// The file in the package.
        to: String,
    },
    /// Far more than Lambda would take: the archive is not what it says.
    #[error("component `{component}` unpacks to more than {bytes_max} bytes")]
    Bomb {
        /// The component.
        component: String,
        /// The limit.
        bytes_max: u64,
    },
    /// The archive cannot be read.
    #[error("component `{component}`: cannot unpack {}", path.display())]
    Unpack {
        /// The component.
        component: String,
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The worker is not where it is looked for.
    #[error("there is no worker at {}", .0.display())]
    NoWorker(PathBuf),
    /// A program for another machine than the recipe is for.
    #[error(
        "component `{component}`: `{file}` is a program for {found}, the recipe is for {wanted}"
    )]
    Machine {
        /// The component.
        component: String,
        /// The file in the package.
        file: String,
        /// What it is made for.
        found: String,
        /// What the recipe says.
        wanted: String,
    },
    /// A worker for another machine than the recipe is for.
    #[error("{} is a program for {found}, the recipe is for {wanted}", path.display())]
    WorkerMachine {
        /// The worker.
        path: PathBuf,
        /// What it is made for.
        found: String,
        /// What the recipe says.
        wanted: String,
    },
    /// What is in the way is not ours.
    #[error("{} is there and is no function package of rmx", .0.display())]
    InTheWay(PathBuf),
    /// A folder without the list of its components.
    #[error("{} holds no `{}`: `rmx package build` did not make it", .0.display(), super::MANIFEST_NAME)]
    NoManifest(PathBuf),
    /// A file or folder cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Lambda would not unzip it.
    #[error("the package has {} bytes unzipped; Lambda takes {} at most", .0.size_bytes(), UNZIPPED_BYTES_MAX)]
    TooLarge(Box<Manifest>),
    /// The folder cannot be bundled.
    #[error(transparent)]
    Bundle(#[from] crate::bundle::BundleError),
}

impl PackageError {
    /// Wraps what went wrong while reading `path`.
    pub(super) fn reading(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            doing: "read",
            path,
            source,
        }
    }

    /// Wraps what went wrong while writing `path`.
    pub(super) fn writing(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            doing: "write",
            path,
            source,
        }
    }
}
