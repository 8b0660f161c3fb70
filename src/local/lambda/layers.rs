//! Layers: zips that are published as numbered versions, and what functions are given of them below `/opt`.
//!
//! A version never changes and is never forgotten. Layers of other accounts can be named, as on AWS; what is in them lies there, so
//! functions are given nothing of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::env;
use crate::local::http::{Body, Request};
use crate::local::store::Store;

use super::code::{CodeStore, unzipped_bytes};
use super::error::{Kind, ServiceError};
use super::functions::CodeSource;
use super::input::object;
use super::model::Code;
use super::reference::Place;
use super::{LambdaService, configuration, json_answer, view};

/// The longest name (`LayerName`, API reference).
const NAME_LENGTH_MAX: usize = 140;

/// The layers of one region, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Layers(BTreeMap<String, BTreeMap<u64, LayerVersion>>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct LayerVersion {
    code: Code,
    description: String,
    licence: String,
    runtimes: Vec<String>,
    architectures: Vec<String>,
    created_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Publication {
    content: CodeSource,
    #[serde(default)]
    description: String,
    #[serde(default)]
    license_info: String,
    #[serde(default)]
    compatible_runtimes: Vec<String>,
    #[serde(default)]
    compatible_architectures: Vec<String>,
}

impl Layers {
    /// The version that `arn` names; `None` where it is of another account or region.
    fn find(&self, place: &Place, arn: &str) -> Option<Option<&LayerVersion>> {
        let (name, version) = place.own_layer(arn)?;
        Some(self.0.get(name).and_then(|layer| layer.get(&version)))
    }
}

impl Place {
    /// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`.
    pub(super) fn layer_arn(&self, name: &str) -> String {
        format!(
            "arn:aws:lambda:{}:{}:layer:{name}",
            self.region, self.account
        )
    }

    /// Name and number, if `arn` is a layer's version here.
    fn own_layer<'a>(&self, arn: &'a str) -> Option<(&'a str, u64)> {
        let rest = arn.strip_prefix(&self.layer_arn(""))?;
        let (name, version) = rest.split_once(':')?;
        Some((name, version.parse().ok()?))
    }
}

impl LambdaService {
    pub(super) async fn publish_layer_version(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let prefix = place.layer_arn("");
        let name = name.strip_prefix(&prefix).unwrap_or(name);
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(named) {
            return Err(ServiceError::constraint(
                name,
                "layerName",
                "satisfy regular expression pattern: (arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+",
            ));
        }
        let body = object(request)?;
        if body.get("Content").is_none_or(Value::is_null) {
            return Err(ServiceError::constraint("null", "content", "not be null"));
        }
        let publication: Publication = configuration::parse(body.into())?;
        configuration::check_description(&publication.description)?;
        let zip = self.zip(publication.content).await?;
        let code = CodeStore::check(&zip, self.quotas().code_size_unzipped_bytes)?;
        let version = LayerVersion {
            code,
            description: publication.description,
            licence: publication.license_info,
            runtimes: publication.compatible_runtimes,
            architectures: publication.compatible_architectures,
            created_ms: env::now_ms(),
        };
        let number = self
            .store
            .update(&document(&place), |layers: &mut Layers| {
                contents(&self.store, &place).keep(&version.code, &zip)?;
                let layer = layers.0.entry(name.to_owned()).or_default();
                let number = layer.keys().last().map_or(1, |last| last + 1);
                layer.insert(number, version.clone());
                Ok::<_, ServiceError>(number)
            })?;
        let view = shown(&place, name, number, &version);
        Ok(json_answer(StatusCode::CREATED, &view))
    }

    pub(super) fn get_layer_version(
        &self,
        request: &Request,
        name: &str,
        number: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = name.strip_prefix(&place.layer_arn("")).unwrap_or(name);
        self.layer_version(&place, &format!("{}:{number}", place.layer_arn(name)))
    }

    pub(super) fn get_layer_version_by_arn(
        &self,
        request: &Request,
    ) -> Result<Response<Body>, ServiceError> {
        if request.query_value("find") != Some("LayerVersion") {
            return Err(ServiceError::new(
                Kind::NotImplemented,
                "the embedded cloud does not implement lambda ListLayers",
            ));
        }
        let arn = request.query_value("Arn").unwrap_or_default();
        configuration::check_layers(&[arn.to_owned()])?;
        self.layer_version(&Place::of(request), arn)
    }

    fn layer_version(&self, place: &Place, arn: &str) -> Result<Response<Body>, ServiceError> {
        let layers: Layers = self.store.read(&document(place))?;
        let found = layers.find(place, arn);
        match (found, place.own_layer(arn)) {
            (Some(Some(version)), Some((name, number))) => {
                let view = shown(place, name, number, version);
                Ok(json_answer(StatusCode::OK, &view))
            }
            (Some(None), _) => Err(ServiceError::new(
                Kind::ResourceNotFound,
                "The resource you requested does not exist.",
            )),
            // Nobody has shared one with this account.
            _ => Err(ServiceError::new(
                Kind::AccessDenied,
                format!(
                    "User is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no resource-based policy allows \
                     the lambda:GetLayerVersion action"
                ),
            )),
        }
    }

    /// Requires that a function of `code_bytes` unzipped may have `layers`: what is of this account must be there, and all must fit.
    /// Returns what their zips take.
    pub(super) fn layer_sizes(
        &self,
        place: &Place,
        layers: &[String],
        code_bytes: u64,
    ) -> Result<BTreeMap<String, u64>, ServiceError> {
        if layers.is_empty() {
            return Ok(BTreeMap::new());
        }
        let known: Layers = self.store.read(&document(place))?;
        let contents = contents(&self.store, place);
        let (mut sizes, mut all_bytes) = (BTreeMap::new(), code_bytes);
        for arn in layers {
            let Some(found) = known.find(place, arn) else {
                continue;
            };
            let version = found.ok_or_else(|| {
                ServiceError::parameter(format!("Layer version {arn} does not exist."))
            })?;
            all_bytes += unzipped_bytes(File::open(contents.zip_path(&version.code.sha256))?)?;
            sizes.insert(arn.clone(), version.code.size_bytes);
        }
        let bytes_max = self.quotas().code_size_unzipped_bytes;
        if all_bytes > bytes_max {
            return Err(ServiceError::parameter(format!(
                "Function code combined with layers exceeds the maximum allowed size of {bytes_max} bytes. \
                 The actual size is {all_bytes} bytes."
            )));
        }
        Ok(sizes)
    }
}

/// The folder that a function with `layers` finds at `/opt`: one unpacked over the other. `None` where nothing of them is here.
pub(super) fn unpacked(
    store: &Store,
    place: &Place,
    layers: &[String],
) -> io::Result<Option<PathBuf>> {
    if layers.is_empty() {
        return Ok(None);
    }
    let known: Layers = store.read(&document(place))?;
    let here = layers.iter().filter_map(|arn| known.find(place, arn)?);
    let digests: Vec<Digest> = here.map(|version| version.code.sha256).collect();
    if digests.is_empty() {
        return Ok(None);
    }
    contents(store, place).unpacked_over(&digests).map(Some)
}

/// The name of the document that holds a region's layers.
fn document(place: &Place) -> String {
    format!("lambda-layers-{}.json", place.region)
}

fn contents(store: &Store, place: &Place) -> CodeStore {
    CodeStore::at(store.path(&format!("lambda-layers-{}", place.region)))
}

fn shown(place: &Place, name: &str, number: u64, version: &LayerVersion) -> Value {
    let arn = place.layer_arn(name);
    json!({
        "Content": {
            "CodeSha256": version.code.sha256.base64(),
            "CodeSize": version.code.size_bytes,
        },
        "LayerArn": arn,
        "LayerVersionArn": format!("{arn}:{number}"),
        "Description": version.description,
        "CreatedDate": view::last_modified(version.created_ms),
        "Version": number,
        "CompatibleRuntimes": version.runtimes,
        "CompatibleArchitectures": version.architectures,
        "LicenseInfo": version.licence,
    })
}
