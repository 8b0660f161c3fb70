//! What hangs on a function beside code and configuration: tags, asynchronous invocation, reserved
//! concurrency, runtime management; and the account's limits.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::env;
use crate::local::http::{Body, Request, answer};
use crate::local::quotas::Quotas;
use crate::names::FunctionName;

use super::configuration::{self, within};
use super::error::{Kind, ServiceError};
use super::input::{object, take, unqualified};
use super::model::{EventInvoke, Functions, RuntimeManagement};
use super::reference::{Place, Reference};
use super::{LambdaService, document, json_answer, page, view};

/// What must be left to functions without a reservation.
const UNRESERVED_MIN: u32 = 100;

const TAGS_MAX: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct EventInvokeRequest {
    maximum_retry_attempts: Option<i64>,
    maximum_event_age_in_seconds: Option<i64>,
    destination_config: Option<BTreeMap<String, BTreeMap<String, Value>>>,
}

impl LambdaService {
    /// The account's quotas.
    pub(super) fn quotas(&self) -> Quotas {
        self.neighbours.faults.quotas()
    }

    pub(super) fn tag_resource(
        &self,
        request: &Request,
        arn: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let mut body = object(request)?;
        let tags: BTreeMap<String, String> = take(&mut body, "Tags")?
            .ok_or_else(|| ServiceError::constraint("null", "tags", "not be null"))?;
        check_tags(&tags)?;
        self.change_tags(request, arn, |present| {
            present.extend(tags);
            if present.len() > TAGS_MAX {
                return Err(ServiceError::parameter(format!(
                    "a function has at most {TAGS_MAX} tags"
                )));
            }
            Ok(())
        })
    }

    pub(super) fn untag_resource(
        &self,
        request: &Request,
        arn: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let keys: Vec<&str> = request
            .query
            .iter()
            .filter(|(name, _)| name == "tagKeys")
            .map(|(_, key)| key.as_str())
            .collect();
        if keys.is_empty() {
            return Err(ServiceError::constraint("null", "tagKeys", "not be null"));
        }
        self.change_tags(request, arn, |present| {
            present.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(())
        })
    }

    fn change_tags(
        &self,
        request: &Request,
        arn: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), ServiceError>,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = tagged(&place, arn)?;
        self.store
            .update(&document(&place), |functions: &mut Functions| {
                change(&mut functions.get_mut(&place, &name)?.tags)
            })?;
        Ok(answer(StatusCode::NO_CONTENT, "application/json", ""))
    }

    pub(super) fn list_tags(
        &self,
        request: &Request,
        arn: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = tagged(&place, arn)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let tags = &functions.get(&place, &name)?.tags;
        Ok(json_answer(StatusCode::OK, &json!({ "Tags": tags })))
    }

    /// `PutFunctionEventInvokeConfig` replaces, `UpdateFunctionEventInvokeConfig` changes what it names.
    pub(super) fn change_event_invoke(
        &self,
        request: &Request,
        name: &str,
        replace: bool,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let (reference, qualifier) = qualified(&place, request, name)?;
        let body: EventInvokeRequest = configuration::parse(object(request)?.into())?;
        let destinations = body.destination_config.unwrap_or_default();
        if destinations
            .values()
            .any(|destination| !destination.is_empty())
        {
            return Err(ServiceError::unsupported(
                "DestinationConfig with a destination",
            ));
        }
        let retries_max = body
            .maximum_retry_attempts
            .map(|retries| within(retries, 0, 2, "maximumRetryAttempts"))
            .transpose()?;
        let age_max_s = body
            .maximum_event_age_in_seconds
            .map(|age| within(age, 60, 21_600, "maximumEventAgeInSeconds"))
            .transpose()?;
        let view = self
            .store
            .update(&document(&place), |functions: &mut Functions| {
                functions.version(&place, &reference)?;
                let function = functions.get_mut(&place, &reference.name)?;
                let before = function.event_invoke.get(&qualifier);
                if !replace && before.is_none() {
                    return Err(missing_event_invoke(&place, &reference.name, &qualifier));
                }
                let kept = before.filter(|_| !replace);
                let config = EventInvoke {
                    retries_max: retries_max.or(kept.and_then(|kept| kept.retries_max)),
                    age_max_s: age_max_s.or(kept.and_then(|kept| kept.age_max_s)),
                    modified_ms: env::now_ms(),
                };
                let view = view::event_invoke(&place, &reference.name, &qualifier, &config);
                function.event_invoke.insert(qualifier, config);
                Ok(view)
            })?;
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn get_event_invoke(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let (reference, qualifier) = qualified(&place, request, name)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let config = functions
            .get(&place, &reference.name)?
            .event_invoke
            .get(&qualifier)
            .ok_or_else(|| missing_event_invoke(&place, &reference.name, &qualifier))?;
        let view = view::event_invoke(&place, &reference.name, &qualifier, config);
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn delete_event_invoke(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let (reference, qualifier) = qualified(&place, request, name)?;
        self.store
            .update(&document(&place), |functions: &mut Functions| {
                functions
                    .get_mut(&place, &reference.name)?
                    .event_invoke
                    .remove(&qualifier)
                    .map(|_| ())
                    .ok_or_else(|| missing_event_invoke(&place, &reference.name, &qualifier))
            })?;
        Ok(answer(StatusCode::NO_CONTENT, "application/json", ""))
    }

    pub(super) fn list_event_invoke(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let rows = functions
            .get(&place, &name)?
            .event_invoke
            .iter()
            .map(|(qualifier, config)| view::event_invoke(&place, &name, qualifier, config))
            .collect();
        page(request, "FunctionEventInvokeConfigs", rows)
    }

    pub(super) fn put_concurrency(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let reserved: i64 = take(&mut object(request)?, "ReservedConcurrentExecutions")?
            .ok_or_else(|| {
                ServiceError::constraint("null", "reservedConcurrentExecutions", "not be null")
            })?;
        let reserved = within(reserved, 0, i32::MAX as u32, "reservedConcurrentExecutions")?;
        self.store
            .update(&document(&place), |functions: &mut Functions| {
                functions.get(&place, &name)?;
                let others: u32 = functions
                    .0
                    .iter()
                    .filter(|(other, _)| **other != name)
                    .filter_map(|(_, function)| function.reserved_concurrency)
                    .sum();
                let most = self.quotas().concurrent_executions;
                if reserved.saturating_add(others) > most.saturating_sub(UNRESERVED_MIN) {
                    return Err(ServiceError::parameter(format!(
                        "Specified ReservedConcurrentExecutions for function decreases account's \
                     UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_MIN}]."
                    )));
                }
                functions.get_mut(&place, &name)?.reserved_concurrency = Some(reserved);
                Ok(())
            })?;
        Ok(json_answer(
            StatusCode::OK,
            &json!({ "ReservedConcurrentExecutions": reserved }),
        ))
    }

    pub(super) fn get_concurrency(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let view = match functions.get(&place, &name)?.reserved_concurrency {
            Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
            None => json!({}),
        };
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn delete_concurrency(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let name = unqualified(&place, name)?;
        self.store
            .update(&document(&place), |functions: &mut Functions| {
                functions.get_mut(&place, &name)?.reserved_concurrency = None;
                Ok::<_, ServiceError>(())
            })?;
        Ok(answer(StatusCode::NO_CONTENT, "application/json", ""))
    }

    pub(super) fn account_settings(
        &self,
        request: &Request,
    ) -> Result<Response<Body>, ServiceError> {
        let functions: Functions = self.store.read(&document(&Place::of(request)))?;
        let reserved: u32 = functions
            .0
            .values()
            .filter_map(|f| f.reserved_concurrency)
            .sum();
        let used: u64 = functions
            .0
            .values()
            .flat_map(|function| {
                std::iter::once(&function.latest).chain(function.versions.values())
            })
            .map(|version| version.code.size_bytes)
            .sum();
        let quotas = self.quotas();
        let view = json!({
            "AccountLimit": {
                "TotalCodeSize": quotas.code_size_total_bytes,
                "CodeSizeUnzipped": quotas.code_size_unzipped_bytes,
                "CodeSizeZipped": quotas.code_size_zipped_bytes,
                "ConcurrentExecutions": quotas.concurrent_executions,
                "UnreservedConcurrentExecutions": quotas.concurrent_executions.saturating_sub(reserved),
            },
            "AccountUsage": { "TotalCodeSize": used, "FunctionCount": functions.0.len() },
        });
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn put_runtime_management(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let (reference, qualifier) = qualified(&place, request, name)?;
        let mut body = object(request)?;
        let mode: String = take(&mut body, "UpdateRuntimeOn")?
            .ok_or_else(|| ServiceError::constraint("null", "updateRuntimeOn", "not be null"))?;
        let runtime_version_arn: Option<String> = take(&mut body, "RuntimeVersionArn")?;
        match (mode.as_str(), &runtime_version_arn) {
            ("Auto" | "FunctionUpdate", None) | ("Manual", Some(_)) => {}
            ("Auto" | "FunctionUpdate", Some(_)) | ("Manual", None) => {
                return Err(ServiceError::parameter(
                    "RuntimeVersionArn is given with UpdateRuntimeOn Manual, and only with it",
                ));
            }
            _ => {
                return Err(ServiceError::constraint(
                    mode,
                    "updateRuntimeOn",
                    "satisfy enum value set: [Auto, Manual, FunctionUpdate]",
                ));
            }
        }
        let management = RuntimeManagement {
            update_runtime_on: mode,
            runtime_version_arn,
        };
        let view = runtime_management(&place, &reference, Some(&management));
        self.store
            .update(&document(&place), |functions: &mut Functions| {
                functions.version(&place, &reference)?;
                let function = functions.get_mut(&place, &reference.name)?;
                function.runtime_management.insert(qualifier, management);
                Ok::<_, ServiceError>(())
            })?;
        Ok(json_answer(StatusCode::OK, &view))
    }

    pub(super) fn get_runtime_management(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let (reference, qualifier) = qualified(&place, request, name)?;
        let functions: Functions = self.store.read(&document(&place))?;
        let (function, _) = functions.version(&place, &reference)?;
        let management = function.runtime_management.get(&qualifier);
        Ok(json_answer(
            StatusCode::OK,
            &runtime_management(&place, &reference, management),
        ))
    }

    /// There are no resource policies, because there is no `AddPermission`.
    pub(super) fn get_policy(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let place = Place::of(request);
        let reference = place.resolve(name, request.query_value("Qualifier"))?;
        let functions: Functions = self.store.read(&document(&place))?;
        functions.version(&place, &reference)?;
        Err(ServiceError::new(
            Kind::ResourceNotFound,
            "The resource you requested does not exist.",
        ))
    }
}

fn runtime_management(
    place: &Place,
    reference: &Reference,
    config: Option<&RuntimeManagement>,
) -> Value {
    let mut view = json!({
        "FunctionArn": place.arn(reference),
        "UpdateRuntimeOn": config.map_or("Auto", |config| config.update_runtime_on.as_str()),
    });
    if let Some(arn) = config.and_then(|config| config.runtime_version_arn.as_ref()) {
        view["RuntimeVersionArn"] = arn.as_str().into();
    }
    view
}

/// The function and the qualifier that a per-qualifier setting is for; `$LATEST` where none is named.
fn qualified(
    place: &Place,
    request: &Request,
    name: &str,
) -> Result<(Reference, String), ServiceError> {
    let reference = place.resolve(name, request.query_value("Qualifier"))?;
    let qualifier = reference
        .qualifier
        .clone()
        .unwrap_or_else(|| "$LATEST".to_owned());
    Ok((reference, qualifier))
}

/// The function that a tag operation's ARN names. Only functions can be tagged here.
fn tagged(place: &Place, arn: &str) -> Result<FunctionName, ServiceError> {
    if !arn.starts_with("arn:") {
        return Err(ServiceError::constraint(
            arn,
            "resource",
            "be the ARN of a function",
        ));
    }
    let reference = place.resolve(arn, None)?;
    if reference.qualifier.is_some() {
        return Err(ServiceError::parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    Ok(reference.name)
}

pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    let bad = tags.iter().find(|(key, value)| {
        key.is_empty()
            || key.chars().count() > 128
            || value.chars().count() > 256
            || key.to_ascii_lowercase().starts_with("aws:")
    });
    match bad {
        Some((key, _)) => Err(ServiceError::parameter(format!(
            "tag `{key}`: keys have 1 to 128 characters and do not begin with `aws:`, values have at most 256"
        ))),
        None if tags.len() > TAGS_MAX => Err(ServiceError::parameter(format!(
            "a function has at most {TAGS_MAX} tags"
        ))),
        None => Ok(()),
    }
}

fn missing_event_invoke(place: &Place, name: &FunctionName, qualifier: &str) -> ServiceError {
    ServiceError::new(
        Kind::ResourceNotFound,
        format!(
            "The function {}:{qualifier} doesn't have an EventInvokeConfig",
            place.function_arn(name)
        ),
    )
}
