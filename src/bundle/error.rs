//! Why a folder cannot become an artefact. Each error names the file or the folder.

use std::io;
use std::path::PathBuf;

/// A folder or a program that cannot be bundled.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no such folder.
    #[error("{} is not a folder", .0.display())]
    NoFolder(PathBuf),
    /// A site without its page.
    #[error("{} holds no `index.html`, the page that a worker opens", .0.display())]
    NoIndexPage(PathBuf),
    /// A function package without its program.
    #[error("{} holds no file `bootstrap`, the program that Lambda starts", .0.display())]
    NoBootstrap(PathBuf),
    /// The worker is not where it is looked for.
    #[error("there is no worker at {}", .0.display())]
    NoWorker(PathBuf),
    /// Remotion's function is nowhere.
    #[error("there is no node_modules/@remotion/lambda in {} or above", .0.display())]
    NoRemotion(PathBuf),
    /// It is of another version than the function is to claim.
    #[error("{} says version {found}, and `remotion_version` is {wanted}", path.display())]
    RemotionVersion {
        /// Its `package.json`.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The configured one.
        wanted: String,
    },
    /// A symbolic link: what it points to may lie outside the folder, and S3 and zip files on Lambda know no links.
    #[error("{} is a symbolic link; put a copy in its place", .0.display())]
    Link(PathBuf),
    /// A socket, a pipe or a device.
    #[error("{} is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// A name that no URL and no zip file can carry.
    #[error("the name of {} is not valid UTF-8", .0.display())]
    Name(PathBuf),
    /// The project's own folder is not a bundle: it holds what rmx recorded.
    #[error("{} is rmx's own; bundle a folder that does not hold it", .0.display())]
    OwnData(PathBuf),
    /// Most likely the wrong folder.
    #[error("{} holds more than {files_max} files", folder.display())]
    TooManyFiles {
        /// The folder.
        folder: PathBuf,
        /// The limit.
        files_max: usize,
    },
    /// More than Lambda unpacks.
    #[error(
        "the function package {} is {size_bytes} bytes unzipped; Lambda takes {size_bytes_max} at most, layers included",
        path.display()
    )]
    TooLarge {
        /// The folder or the program.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// The limit.
        size_bytes_max: u64,
    },
    /// A program for another machine.
    #[error("{} is a program for {found}, the function's architecture is {wanted}", path.display())]
    WrongMachine {
        /// The program.
        path: PathBuf,
        /// What it is made for.
        found: String,
        /// What the function runs on.
        wanted: String,
    },
    /// Somebody wrote to the file while it was being packed.
    #[error("{} was changed while it was being read", .0.display())]
    Changed(PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The zip cannot be written.
    #[error("cannot write the function package to {}", path.display())]
    Write {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
