//! Directories → reproducible artefacts: tree walk, entry digests, canonical zip.
//!
//! An artefact's identity is the digest of its sorted entries (path, mode, content). The zip of a function package is
//! canonical too, so that its SHA-256, which Lambda calls `CodeSha256`, tells whether the code is another one.

mod error;
mod function;
pub mod package;
mod parts;
mod program;
mod remotion;
mod site;
mod tree;
mod zip;

pub use error::BundleError;
pub use function::{
    FunctionPackage, PackageRules, PackageSource, UNZIPPED_BYTES_MAX, kept_part_sizes,
};
pub use site::SiteBundle;
pub use tree::{Entry, Tree};
