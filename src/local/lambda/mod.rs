//! The embedded cloud's Lambda service.
//!
//! ```text
//! request ─route→ Operation ─┬─ functions, versions, settings → Functions (one JSON document a region)
//!                            │                      code       → lambda-code/SHA256.zip
//!                            └─ invoke → executor → environments: a `bootstrap` process each,
//!                                                   spoken to over the Lambda Runtime API
//! ```
//!
//! Phases (`Pending`, `InProgress`) are not stored but computed from timestamps, so they also pass while no
//! process runs. Environments belong to the process that started them and never outlive it.

mod code;
mod configuration;
mod error;
mod executor;
mod functions;
mod input;
mod invoke;
mod layers;
mod model;
mod permissions;
mod reference;
mod route;
mod settings;
#[cfg(test)]
mod tests;
mod versions;
mod view;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::local::faults::Faults;
use crate::local::http::{Body, Request, answer};
use crate::local::s3::S3Data;
use crate::local::store::Store;

use code::CodeStore;
use error::ServiceError;
use executor::Executor;
pub(crate) use executor::ExecutorSettings;
pub(crate) use permissions::permissions;
pub(crate) use reference::Place;
use route::Operation;

/// The most a page of a list holds, as AWS documents it.
const PAGE_ITEMS_MAX: usize = 50;

/// What Lambda asks of the services beside it.
pub(crate) struct Neighbours {
    /// IAM: whether a role of this name and ARN exists and trusts `lambda.amazonaws.com`.
    pub(crate) role_is_assumable: RoleIsAssumable,
    /// S3, for zips that lie in a bucket.
    pub(crate) objects: S3Data,
    /// The account's quotas, and what goes wrong on request.
    pub(crate) faults: Faults,
}

type RoleIsAssumable = Box<dyn Fn(&str, &str) -> io::Result<bool> + Send + Sync>;

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neighbours").finish_non_exhaustive()
    }
}

/// The service.
#[derive(Debug)]
pub(crate) struct LambdaService {
    store: Store,
    neighbours: Neighbours,
    executor: Executor,
    events: Arc<Semaphore>,
    /// How long a failed asynchronous invocation waits for its first retry; the second waits twice that.
    event_retry_pause: Duration,
}

impl Drop for LambdaService {
    fn drop(&mut self) {
        self.executor.end();
    }
}

/// AWS waits a minute before the first retry of an asynchronous invocation.
const EVENT_RETRY_PAUSE: Duration = Duration::from_secs(60);

impl LambdaService {
    /// A service over the data in `store`.
    pub(crate) fn new(settings: ExecutorSettings, neighbours: Neighbours) -> Self {
        Self {
            store: settings.store.clone(),
            neighbours,
            executor: Executor::new(settings),
            events: invoke::event_slots(),
            event_retry_pause: EVENT_RETRY_PAUSE,
        }
    }

    /// Ends every process the service has started. Dropping the service does the same without waiting for log
    /// lines to be stored.
    pub(crate) async fn shutdown(&self) {
        self.executor.shutdown().await;
    }

    fn codes(&self, place: &Place) -> CodeStore {
        CodeStore::new(&self.store, place)
    }

    /// Answers one request.
    pub(crate) async fn handle(&self, request: Request) -> Response<Body> {
        self.dispatch(&request)
            .await
            .unwrap_or_else(ServiceError::into_response)
    }

    async fn dispatch(&self, request: &Request) -> Result<Response<Body>, ServiceError> {
        use Operation as O;
        match route::route(&request.method, &request.path)? {
            O::CreateFunction => self.create_function(request).await,
            O::ListFunctions => self.list_functions(request),
            O::GetFunction(name) => self.get_function(request, &name),
            O::DeleteFunction(name) => self.delete_function(request, &name),
            O::GetFunctionConfiguration(name) => self.get_function_configuration(request, &name),
            O::UpdateFunctionConfiguration(name) => {
                self.update_function_configuration(request, &name)
            }
            O::UpdateFunctionCode(name) => self.update_function_code(request, &name).await,
            O::PublishVersion(name) => self.publish_version(request, &name),
            O::ListVersionsByFunction(name) => self.list_versions(request, &name),
            O::CreateAlias(name) => self.create_alias(request, &name),
            O::ListAliases(name) => self.list_aliases(request, &name),
            O::GetAlias(name, alias) => self.get_alias(request, &name, &alias),
            O::UpdateAlias(name, alias) => self.update_alias(request, &name, &alias),
            O::DeleteAlias(name, alias) => self.delete_alias(request, &name, &alias),
            O::GetPolicy(name) => self.get_policy(request, &name),
            O::Invoke(name) => self.invoke(request, &name).await,
            O::InvokeWithResponseStream(name) => self.invoke_with_response_stream(request, &name),
            O::TagResource(arn) => self.tag_resource(request, &arn),
            O::UntagResource(arn) => self.untag_resource(request, &arn),
            O::ListTags(arn) => self.list_tags(request, &arn),
            O::PutFunctionEventInvokeConfig(name) => self.change_event_invoke(request, &name, true),
            O::UpdateFunctionEventInvokeConfig(name) => {
                self.change_event_invoke(request, &name, false)
            }
            O::GetFunctionEventInvokeConfig(name) => self.get_event_invoke(request, &name),
            O::DeleteFunctionEventInvokeConfig(name) => self.delete_event_invoke(request, &name),
            O::ListFunctionEventInvokeConfigs(name) => self.list_event_invoke(request, &name),
            O::PutFunctionConcurrency(name) => self.put_concurrency(request, &name),
            O::GetFunctionConcurrency(name) => self.get_concurrency(request, &name),
            O::DeleteFunctionConcurrency(name) => self.delete_concurrency(request, &name),
            O::GetAccountSettings => self.account_settings(request),
            O::PublishLayerVersion(name) => self.publish_layer_version(request, &name).await,
            O::GetLayerVersion(name, version) => self.get_layer_version(request, &name, &version),
            O::GetLayerVersionByArn => self.get_layer_version_by_arn(request),
            O::PutRuntimeManagementConfig(name) => self.put_runtime_management(request, &name),
            O::GetRuntimeManagementConfig(name) => self.get_runtime_management(request, &name),
        }
    }
}

impl Place {
    fn of(request: &Request) -> Self {
        Self {
            region: request.region.clone(),
            account: request.account.clone(),
        }
    }
}

/// The name of the document that holds a region's functions.
fn document(place: &Place) -> String {
    format!("lambda-{}.json", place.region)
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    answer(status, "application/json", body.to_string())
}

/// One page of `rows` as the request asks for it (`Marker`, `MaxItems`).
fn page(
    request: &Request,
    member: &'static str,
    rows: Vec<Value>,
) -> Result<Response<Body>, ServiceError> {
    let size = match request.query_value("MaxItems") {
        None => PAGE_ITEMS_MAX,
        Some(text) => match text.parse::<usize>() {
            Ok(size) if (1..=10_000).contains(&size) => size.min(PAGE_ITEMS_MAX),
            _ => {
                return Err(ServiceError::constraint(
                    text,
                    "maxItems",
                    "be a number from 1 to 10000",
                ));
            }
        },
    };
    let start = match request
        .query_value("Marker")
        .filter(|marker| !marker.is_empty())
    {
        None => 0,
        Some(marker) => URL_SAFE_NO_PAD
            .decode(marker)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.parse::<usize>().ok())
            .ok_or_else(|| ServiceError::parameter("Invalid pagination token"))?,
    };
    let count = rows.len();
    let rows: Vec<Value> = rows.into_iter().skip(start).take(size).collect();
    let end = start.saturating_add(rows.len());
    let mut body = json!({ member: rows });
    if end < count {
        body["NextMarker"] = URL_SAFE_NO_PAD.encode(end.to_string()).into();
    }
    Ok(json_answer(StatusCode::OK, &body))
}
