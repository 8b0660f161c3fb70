//! Published versions and the aliases that name them.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use serde::Deserialize;

use crate::env;
use crate::local::http::{Body, Request, answer};
use crate::names::FunctionName;

use super::configuration;
use super::error::{Kind, ServiceError};
use super::input::{object, unqualified};
use super::model::{Alias, Function, Functions, revision_id};
use super::reference::{Place, Reference};
use super::view::{self, Phase};
use super::{LambdaService, document, json_answer, page};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PublishVersion {
    code_sha256: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AliasRequest {
    name: Option<String>,
    function_version: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
    routing_config: Option<RoutingConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RoutingConfig {
    additional_version_weights: Option<BTreeMap<String, f64>>,
}

impl AliasRequest {
    /// The weights it sets; `None` leaves them as they are.
    fn weights(&self) -> Option<BTreeMap<String, f64>> {
        let routing = self.routing_config.as_ref()?;
        Some(
            routing
                .additional_version_weights
                .clone()
                .unwrap_or_default(),
        )
    }
}

impl LambdaService {
    pub(super) fn publish_version(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let body: PublishVersion = configuration::parse(object(request)?.into())?;
        if let Some(description) = &body.description {
            configuration::check_description(description)?;
        }
        let now_ms = env::now_ms();
        let view = self.store.update(&document(&place), |functions: &mut Functions| {
            let function = functions.get_mut(&place, &name)?;
            function.check_changeable(&place.function_arn(&name), body.revision_id.as_deref(), now_ms)?;
            let sha = function.latest.code.sha256.base64();
            if let Some(expected) = body.code_sha256.as_ref().filter(|expected| **expected != sha) {
                return Err(ServiceError::parameter(format!(
                    "CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({sha}). \
                     Please try again with the CodeSHA256 in $LATEST."
                )));
            }
            let version = function.publish(body.description, now_ms);
            let phase = Phase::Shown { now_ms };
            Ok(view::configuration(&place, &name, version, Some(&version.name), phase))
        })?;
        Ok(json_answer(StatusCode::CREATED, &view))
    }

    pub(super) fn list_versions(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let function = functions.get(&place, &name)?;
        let rows = std::iter::once(&function.latest)
            .chain(function.versions.values())
            .map(|version| {
                view::configuration(&place, &name, version, Some(&version.name), Phase::Hidden)
            })
            .collect();
        page(request, "Versions", rows)
    }

    pub(super) fn create_alias(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let function_name = unqualified(&place, name)?;
        let body = alias_request(request)?;
        let weights = body.weights().unwrap_or_default();
        let alias_name = body
            .name
            .ok_or_else(|| ServiceError::constraint("null", "name", "not be null"))?;
        check_alias_name(&alias_name)?;
        let version = body
            .function_version
            .ok_or_else(|| ServiceError::constraint("null", "functionVersion", "not be null"))?;
        let view = self
            .store
            .update(&document(&place), |functions: &mut Functions| {
                let function = functions.get_mut(&place, &function_name)?;
                let arn = format!("{}:{alias_name}", place.function_arn(&function_name));
                if function.aliases.contains_key(&alias_name) {
                    return Err(ServiceError::new(
                        Kind::ResourceConflict,
                        format!("Alias already exists: {arn}"),
                    ));
                }
                let reference = Reference {
                    name: function_name.clone(),
                    qualifier: Some(version.clone()),
                };
                check_version(&place, function, &reference, &version)?;
                let alias = Alias {
                    version,
                    weights,
                    description: body.description.unwrap_or_default(),
                    revision_id: revision_id(),
                };
                check_weights(&place, function, &function_name, &alias)?;
                let view = view::alias(&place, &function_name, &alias_name, &alias);
                function.aliases.insert(alias_name, alias);
                Ok(view)
            })?;
        Ok(json_answer(StatusCode::CREATED, &view))
    }

    pub(super) fn get_alias(
        &self,
        request: &Request,
        name: &str,
        alias_name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let alias = functions
            .get(&place, &name)?
            .aliases
            .get(alias_name)
            .ok_or_else(|| missing_alias(&place.function_arn(&name), alias_name))?;
        Ok(json_answer(
            StatusCode::OK,
            &view::alias(&place, &name, alias_name, alias),
        ))
    }

    pub(super) fn update_alias(
        &self,
        request: &Request,
        name: &str,
        alias_name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let body = alias_request(request)?;
        let view = self
            .store
            .update(&document(&place), |functions: &mut Functions| {
                let function = functions.get_mut(&place, &name)?;
                if let Some(version) = &body.function_version {
                    let reference = Reference {
                        name: name.clone(),
                        qualifier: Some(version.clone()),
                    };
                    check_version(&place, function, &reference, version)?;
                }
                let mut alias = function
                    .aliases
                    .get(alias_name)
                    .cloned()
                    .ok_or_else(|| missing_alias(&place.function_arn(&name), alias_name))?;
                if body
                    .revision_id
                    .as_ref()
                    .is_some_and(|revision| *revision != alias.revision_id)
                {
                    return Err(ServiceError::stale_revision());
                }
                if let Some(weights) = body.weights() {
                    alias.weights = weights;
                }
                if let Some(version) = body.function_version {
                    alias.version = version;
                }
                if let Some(description) = body.description {
                    alias.description = description;
                }
                alias.revision_id = revision_id();
                check_weights(&place, function, &name, &alias)?;
                let view = view::alias(&place, &name, alias_name, &alias);
                function.aliases.insert(alias_name.to_owned(), alias);
                Ok(view)
            })?;
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn delete_alias(
        &self,
        request: &Request,
        name: &str,
        alias_name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        self.store
            .update(&document(&place), |functions: &mut Functions| {
                let function = functions.get_mut(&place, &name)?;
                function.aliases.remove(alias_name);
                function.event_invoke.remove(alias_name);
                Ok::<_, ServiceError>(())
            })?;
        Ok(answer(StatusCode::NO_CONTENT, "application/json", ""))
    }

    pub(super) fn list_aliases(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let version = request.query_value("FunctionVersion");
        let rows = functions
            .get(&place, &name)?
            .aliases
            .iter()
            .filter(|(_, alias)| version.is_none_or(|version| alias.invokes(version)))
            .map(|(alias_name, alias)| view::alias(&place, &name, alias_name, alias))
            .collect();
        page(request, "Aliases", rows)
    }
}

fn alias_request(request: &Request) -> Result<AliasRequest, ServiceError> {
    let body: AliasRequest = configuration::parse(object(request)?.into())?;
    if let Some(description) = &body.description {
        configuration::check_description(description)?;
    }
    Ok(body)
}

/// One other published version may take a share of the invocations of a published one ("Implement Lambda canary deployments
/// using a weighted alias", developer guide).
fn check_weights(
    place: &Place,
    function: &Function,
    name: &FunctionName,
    alias: &Alias,
) -> Result<(), ServiceError> {
    if alias.weights.len() > 1 {
        return Err(ServiceError::parameter(
            "Number of items in AdditionalVersionWeights cannot be greater than 1.",
        ));
    }
    for (version, weight) in &alias.weights {
        if [version, &alias.version].contains(&&"$LATEST".to_owned()) {
            return Err(ServiceError::parameter(
                "$LATEST is not supported for an alias pointing to more than 1 version.",
            ));
        }
        if *version == alias.version {
            return Err(ServiceError::parameter(format!(
                "Invalid function version {version} was specified in the routing configuration: it is the alias's own."
            )));
        }
        if !(0.0..=1.0).contains(weight) {
            return Err(ServiceError::constraint(
                weight,
                "routingConfig.additionalVersionWeights",
                "have value between 0 and 1",
            ));
        }
        let reference = Reference {
            name: name.clone(),
            qualifier: Some(version.clone()),
        };
        check_version(place, function, &reference, version)?;
    }
    Ok(())
}

/// An alias names `$LATEST` or a version that exists.
fn check_version(
    place: &Place,
    function: &Function,
    reference: &Reference,
    version: &str,
) -> Result<(), ServiceError> {
    let is_version = version == "$LATEST" || version.parse::<u64>().is_ok();
    if is_version && function.version(Some(version)).is_some() {
        return Ok(());
    }
    Err(ServiceError::not_found(&place.arn(reference)))
}

fn check_alias_name(name: &str) -> Result<(), ServiceError> {
    let valid = (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !name.bytes().all(|b| b.is_ascii_digit());
    if valid {
        return Ok(());
    }
    Err(ServiceError::constraint(
        name,
        "name",
        "satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
    ))
}

fn missing_alias(function_arn: &str, alias: &str) -> ServiceError {
    ServiceError::new(
        Kind::ResourceNotFound,
        format!("Cannot find alias arn: {function_arn}:{alias}"),
    )
}
