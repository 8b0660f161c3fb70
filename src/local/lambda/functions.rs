//! Creating, reading, changing and deleting functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::env;
use crate::local::http::{Body, Request, answer};

use super::code::{self, CodeStore};
use super::configuration::{self, Change};
use super::error::{Kind, ServiceError};
use super::input::{architecture, object, take, unqualified};
use super::model::{Code, Configuration, Function, Functions, Version, revision_id};
use super::reference::Place;
use super::view::{self, Phase};
use super::{LambdaService, document, json_answer, page};

/// Where the zip of a request is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct CodeSource {
    zip_file: Option<String>,
    #[serde(rename = "S3Bucket")]
    bucket: Option<String>,
    #[serde(rename = "S3Key")]
    key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    version: Option<String>,
    image_uri: Option<String>,
    #[serde(rename = "SourceKMSKeyArn")]
    source_kms_key_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CodeUpdate {
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    dry_run: bool,
    revision_id: Option<String>,
    architectures: Option<Vec<String>>,
}

impl LambdaService {
    pub(super) async fn create_function(
        &self,
        request: &Request,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let mut body = object(request)?;
        let name = take::<String>(&mut body, "FunctionName")?
            .ok_or_else(|| ServiceError::constraint("null", "functionName", "not be null"))?;
        let reference = place.resolve(&name, None)?;
        if reference.qualifier.is_some() {
            return Err(ServiceError::parameter(
                "FunctionName must not carry a qualifier",
            ));
        }
        let name = reference.name;
        let source: CodeSource = take(&mut body, "Code")?
            .ok_or_else(|| ServiceError::constraint("null", "code", "not be null"))?;
        let publish = take::<bool>(&mut body, "Publish")?.unwrap_or(false);
        let tags = take::<BTreeMap<String, String>>(&mut body, "Tags")?.unwrap_or_default();
        super::settings::check_tags(&tags)?;
        if take::<String>(&mut body, "PackageType")?.is_some_and(|kind| kind != "Zip") {
            return Err(ServiceError::unsupported("PackageType other than Zip"));
        }
        let architecture = architecture(take(&mut body, "Architectures")?)?;
        let change: Change = configuration::parse(body.into())?;
        let role = change
            .role()
            .ok_or_else(|| ServiceError::constraint("null", "role", "not be null"))?;
        self.check_role(&place, role)?;
        let mut configuration =
            configuration::defaults(&name, architecture.unwrap_or_else(|| "x86_64".to_owned()));
        change.apply(&name, &mut configuration)?;
        if configuration.runtime.is_empty() || configuration.handler.is_empty() {
            return Err(ServiceError::parameter(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        }
        let zip = self.zip(source).await?;
        let code = CodeStore::check(&zip, self.quotas().code_size_unzipped_bytes)?;
        configuration.layer_bytes = self.layer_sizes(
            &place,
            &configuration.layers,
            code::unzipped_bytes(Cursor::new(&zip))?,
        )?;
        let now_ms = env::now_ms();
        let view = self
            .store
            .update(&document(&place), |functions: &mut Functions| {
                if functions.0.contains_key(&name) {
                    return Err(ServiceError::new(
                        Kind::ResourceConflict,
                        format!("Function already exist: {name}"),
                    ));
                }
                self.codes(&place).keep(&code, &zip)?;
                let function = functions
                    .0
                    .entry(name.clone())
                    .or_insert_with(|| Function::new(code, configuration, tags, now_ms));
                let phase = Phase::Shown { now_ms };
                Ok(if publish {
                    let version = function.publish(None, now_ms);
                    view::configuration(&place, &name, version, Some(&version.name), phase)
                } else {
                    view::configuration(&place, &name, &function.latest, None, phase)
                })
            })?;
        Ok(json_answer(StatusCode::CREATED, &view))
    }

    pub(super) fn get_function(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let reference = place.resolve(name, request.query_value("Qualifier"))?;
        let functions: Functions = self.store.read(&document(&place))?;
        let (function, version) = functions.version(&place, &reference)?;
        let configuration = view::configuration(
            &place,
            &reference.name,
            version,
            reference.qualifier.as_deref(),
            Phase::Shown {
                now_ms: env::now_ms(),
            },
        );
        Ok(json_answer(
            StatusCode::OK,
            &view::function(function, configuration),
        ))
    }

    pub(super) fn get_function_configuration(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let reference = place.resolve(name, request.query_value("Qualifier"))?;
        let functions: Functions = self.store.read(&document(&place))?;
        let (_, version) = functions.version(&place, &reference)?;
        let view = view::configuration(
            &place,
            &reference.name,
            version,
            reference.qualifier.as_deref(),
            Phase::Shown {
                now_ms: env::now_ms(),
            },
        );
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn list_functions(&self, request: &Request) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let all = match request.query_value("FunctionVersion") {
            None => false,
            Some("ALL") => true,
            Some(other) => {
                return Err(ServiceError::constraint(
                    other,
                    "functionVersion",
                    "satisfy enum value set: [ALL]",
                ));
            }
        };
        let functions: Functions = self.store.read(&document(&place))?;
        let mut rows = Vec::new();
        for (name, function) in &functions.0 {
            let latest = all.then_some("$LATEST");
            rows.push(view::configuration(
                &place,
                name,
                &function.latest,
                latest,
                Phase::Hidden,
            ));
            if all {
                rows.extend(function.versions.values().map(|version| {
                    view::configuration(&place, name, version, Some(&version.name), Phase::Hidden)
                }));
            }
        }
        page(request, "Functions", rows)
    }

    pub(super) async fn update_function_code(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let mut body = object(request)?;
        let mut source = serde_json::Map::new();
        for member in [
            "ZipFile",
            "S3Bucket",
            "S3Key",
            "S3ObjectVersion",
            "ImageUri",
            "SourceKMSKeyArn",
        ] {
            if let Some(value) = body.remove(member) {
                source.insert(member.to_owned(), value);
            }
        }
        let source: CodeSource = configuration::parse(source.into())?;
        let update: CodeUpdate = configuration::parse(body.into())?;
        let architecture = architecture(update.architectures)?;
        // A function that is missing or busy is said before its zip is fetched.
        let functions: Functions = self.store.read(&document(&place))?;
        let arn = place.function_arn(&name);
        let function = functions.get(&place, &name)?;
        function.check_changeable(&arn, update.revision_id.as_deref(), env::now_ms())?;
        let zip = self.zip(source).await?;
        let code = CodeStore::check(&zip, self.quotas().code_size_unzipped_bytes)?;
        let layers = &function.latest.configuration.layers;
        drop(self.layer_sizes(&place, layers, code::unzipped_bytes(Cursor::new(&zip))?)?);
        let now_ms = env::now_ms();
        let change = |function: &mut Function| -> Result<Value, ServiceError> {
            function.check_changeable(&arn, update.revision_id.as_deref(), now_ms)?;
            let latest = function.begin_update(now_ms);
            latest.code = code.clone();
            if let Some(architecture) = architecture {
                latest.configuration.architecture = architecture;
            }
            let phase = Phase::Shown { now_ms };
            Ok(if update.publish {
                let version = function.publish(None, now_ms);
                view::configuration(&place, &name, version, Some(&version.name), phase)
            } else {
                view::configuration(&place, &name, &function.latest, None, phase)
            })
        };
        let view = if update.dry_run {
            change(&mut functions.get(&place, &name)?.clone())?
        } else {
            let (view, before) =
                self.store
                    .update(&document(&place), |functions: &mut Functions| {
                        let before = functions.get(&place, &name)?.digests();
                        let view = change(functions.get_mut(&place, &name)?)?;
                        self.codes(&place).keep(&code, &zip)?;
                        Ok::<_, ServiceError>((view, before))
                    })?;
            self.forget_unused(&place, before)?;
            view
        };
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn update_function_configuration(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let mut body = object(request)?;
        let revision: Option<String> = take(&mut body, "RevisionId")?;
        let change: Change = configuration::parse(body.into())?;
        let now_ms = env::now_ms();
        let functions: Functions = self.store.read(&document(&place))?;
        let function = functions.get(&place, &name)?;
        if let Some(role) = change.role() {
            self.check_role(&place, role)?;
        }
        let layer_bytes = match change.layers() {
            Some(layers) if !layers.is_empty() => {
                let zip = self.codes(&place).zip_path(&function.latest.code.sha256);
                let code_bytes = code::unzipped_bytes(File::open(zip)?)?;
                self.layer_sizes(&place, layers, code_bytes)?
            }
            _ => function.latest.configuration.layer_bytes.clone(),
        };
        let view = self
            .store
            .update(&document(&place), |functions: &mut Functions| {
                let function = functions.get_mut(&place, &name)?;
                function.check_changeable(
                    &place.function_arn(&name),
                    revision.as_deref(),
                    now_ms,
                )?;
                let mut configuration = function.latest.configuration.clone();
                change.apply(&name, &mut configuration)?;
                configuration.layer_bytes = layer_bytes;
                function.begin_update(now_ms).configuration = configuration;
                let phase = Phase::Shown { now_ms };
                Ok::<_, ServiceError>(view::configuration(
                    &place,
                    &name,
                    &function.latest,
                    None,
                    phase,
                ))
            })?;
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn delete_function(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let reference = place.resolve(name, request.query_value("Qualifier"))?;
        let before = self
            .store
            .update(&document(&place), |functions: &mut Functions| {
                let function = functions.get_mut(&place, &reference.name)?;
                let before = function.digests();
                match reference.qualifier.as_deref() {
                    None => {
                        functions.0.remove(&reference.name);
                    }
                    Some("$LATEST") => {
                        return Err(ServiceError::parameter(
                            "$LATEST version cannot be deleted without deleting the function.",
                        ));
                    }
                    Some(qualifier) => {
                        let Ok(number) = qualifier.parse::<u64>() else {
                            return Err(ServiceError::parameter(
                                "Deletion of aliases is not currently supported.",
                            ));
                        };
                        let users: Vec<&str> = function
                            .aliases
                            .iter()
                            .filter(|(_, alias)| alias.invokes(qualifier))
                            .map(|(name, _)| name.as_str())
                            .collect();
                        if !users.is_empty() {
                            return Err(ServiceError::new(
                                Kind::ResourceConflict,
                                format!(
                                    "Version {qualifier} is still being referenced by aliases: {}",
                                    users.join(", ")
                                ),
                            ));
                        }
                        function.versions.remove(&number);
                    }
                }
                Ok(before)
            })?;
        self.executor.retire(&place, &reference.name);
        self.forget_unused(&place, before)?;
        Ok(answer(StatusCode::NO_CONTENT, "application/json", ""))
    }

    fn check_role(&self, place: &Place, arn: &str) -> Result<(), ServiceError> {
        let name = configuration::role_name(arn, &place.account)?;
        let refused = self.neighbours.faults.refuses_role();
        if !refused && (self.neighbours.role_is_assumable)(name, arn)? {
            return Ok(());
        }
        Err(ServiceError::parameter(
            "The role defined for the function cannot be assumed by Lambda.",
        ))
    }

    /// The bytes of a request's zip.
    pub(super) async fn zip(&self, source: CodeSource) -> Result<Vec<u8>, ServiceError> {
        let refused = [
            ("ImageUri", source.image_uri.is_some()),
            ("S3ObjectVersion", source.version.is_some()),
            ("SourceKMSKeyArn", source.source_kms_key_arn.is_some()),
        ];
        if let Some((member, _)) = refused.into_iter().find(|(_, given)| *given) {
            return Err(ServiceError::unsupported(member));
        }
        match (source.zip_file, source.bucket, source.key) {
            (Some(text), None, None) => {
                let zip = STANDARD.decode(text).map_err(|_| {
                    ServiceError::parameter("Could not parse request body: ZipFile is not base64")
                })?;
                code::check_inline(&zip, self.quotas().code_size_zipped_bytes)?;
                Ok(zip)
            }
            (None, Some(bucket), Some(key)) => self
                .neighbours
                .objects
                .read_whole(&bucket, &key)
                .await
                .map_err(|(code, message)| {
                    ServiceError::parameter(format!(
                        "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
                    ))
                }),
            _ => Err(ServiceError::parameter(
                "Please provide either a ZipFile or an S3Bucket with an S3Key.",
            )),
        }
    }

    /// Removes the zips among `candidates` that no function of the region refers to any more.
    fn forget_unused(
        &self,
        place: &Place,
        candidates: BTreeSet<Digest>,
    ) -> Result<(), ServiceError> {
        self.store
            .update(&document(place), |functions: &mut Functions| {
                let used: BTreeSet<Digest> =
                    functions.0.values().flat_map(Function::digests).collect();
                self.codes(place).forget(candidates.difference(&used));
                Ok(())
            })
    }
}

impl Function {
    fn new(
        code: Code,
        configuration: Configuration,
        tags: BTreeMap<String, String>,
        now_ms: u64,
    ) -> Self {
        Self {
            latest: Version {
                name: "$LATEST".to_owned(),
                configuration,
                code,
                revision_id: revision_id(),
                passing_revision_id: None,
                created_ms: now_ms,
                modified_ms: now_ms,
            },
            before_update: None,
            versions: BTreeMap::new(),
            next_version: 1,
            aliases: BTreeMap::new(),
            tags,
            event_invoke: BTreeMap::new(),
            runtime_management: BTreeMap::new(),
            reserved_concurrency: None,
        }
    }

    fn digests(&self) -> BTreeSet<Digest> {
        let versions = self.versions.values().chain(&self.before_update);
        std::iter::once(&self.latest)
            .chain(versions)
            .map(|version| version.code.sha256)
            .collect()
    }
}
