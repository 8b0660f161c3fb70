//! Files that a page emits beside its pictures (`<Artifact>`), on this machine.

use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::render::ArtifactFile;

/// Where files go that a page emits (`<Artifact>`).
#[derive(Debug, clap::Args)]
pub(crate) struct ArtifactArgs {
    /// The folder for files that the page emits [default: out/COMPOSITION]
    #[arg(long, value_name = "DIR")]
    artifacts_folder: Option<PathBuf>,
}

impl ArtifactArgs {
    pub(in crate::cli) fn folder(&self, context: &Context, composition: &str) -> PathBuf {
        context.path(&match &self.artifacts_folder {
            Some(folder) => folder.clone(),
            None => Path::new("out").join(super::file_name(composition)),
        })
    }
}

/// Artifacts for programs.
pub(in crate::cli) fn as_json(artifacts: &[ArtifactFile]) -> serde_json::Value {
    let artifact = |artifact: &ArtifactFile| {
        let ArtifactFile {
            name,
            frame,
            path,
            size_bytes,
        } = artifact;
        serde_json::json!({ "name": name, "frame": frame, "path": path, "size_bytes": size_bytes })
    };
    artifacts.iter().map(artifact).collect()
}
