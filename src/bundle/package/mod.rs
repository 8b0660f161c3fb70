//! The function package: everything a function needs on Lambda, put together by a recipe.
//!
//! On Lambda there is only what the zip and the layers bring: not even a font. A [`Recipe`] names the components with their
//! versions and digests; [`build`] gets each through its registry's own client, checks it, keeps it in a [`Cache`], and places
//! its files in a folder that `[function] package` can name. The folder tells what it is made of in [`Manifest`].

mod assemble;
mod cache;
mod elf;
mod error;
mod fetch;
mod growing;
mod manifest;
mod recipe;
mod unpack;
mod verify;

pub use assemble::{BuildOptions, Progress, build};
pub use cache::Cache;
pub use error::PackageError;
pub use manifest::{MANIFEST_NAME, Manifest, Part};
pub use recipe::{Recipe, Source};
pub use verify::{Finding, SYSTEM_LIBRARIES, Verification, verify};
