//! Layers, which others publish and functions lean on.

use super::error::cloud_error;
use super::{Cloud, CloudError};

/// A layer's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerVersion {
    /// Size of its zip, in bytes. Lambda does not tell how large it is unzipped.
    pub zipped_bytes: u64,
    /// What its publisher says it is for; nothing where nobody said.
    pub architectures: Vec<String>,
}

impl Cloud {
    /// The version of a layer that `arn` names, in whichever account it is.
    pub async fn layer_version(&self, arn: &str) -> Result<LayerVersion, CloudError> {
        let answer = self
            .clients
            .lambda
            .get_layer_version_by_arn()
            .arn(arn)
            .send()
            .await
            .map_err(|error| cloud_error("read layer", arn, &error))?;
        let zipped_bytes = answer.content().map_or(0, |content| content.code_size);
        let architectures = answer.compatible_architectures().iter();
        Ok(LayerVersion {
            zipped_bytes: u64::try_from(zipped_bytes).unwrap_or(0),
            architectures: architectures.map(|one| one.as_str().to_owned()).collect(),
        })
    }
}
