//! The embedded cloud's Service Quotas: what the account may use of Lambda, and requests to raise it.
//!
//! `awsJson1.1`. Nobody decides on such requests here: they stay `PENDING`, and the quota what it is.

use std::collections::BTreeMap;
use std::io;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::faults::Faults;
use super::http::{Body, Request, answer};
use super::permission::Permission;
use super::quotas::Quotas;
use super::store::Store;
use crate::env;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// What `X-Amz-Target` begins with.
const TARGET_PREFIX: &str = "ServiceQuotasV20190624.";

/// The only service of which quotas are known.
const LAMBDA: &str = "lambda";

const BYTES_OF_GIGABYTE: u64 = 1024 * 1024 * 1024;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct ServiceQuotas {
    store: Store,
    faults: Faults,
}

/// A quota of Lambda's that can be raised ("Lambda endpoints and quotas", AWS general reference).
#[derive(Debug, Clone, Copy)]
struct Quota {
    code: &'static str,
    name: &'static str,
    unit: &'static str,
    value: fn(&Quotas) -> f64,
}

const QUOTAS: [Quota; 2] = [
    Quota {
        code: "L-B99A9384",
        name: "Concurrent executions",
        unit: "None",
        value: |quotas| f64::from(quotas.concurrent_executions),
    },
    Quota {
        code: "L-2ACBD22F",
        name: "Function and layer storage",
        unit: "Gigabytes",
        #[allow(
            clippy::cast_precision_loss,
            reason = "a quota has few digits that count"
        )]
        value: |quotas| quotas.code_size_total_bytes as f64 / BYTES_OF_GIGABYTE as f64,
    },
];

/// A request to raise a quota, by the quota's code.
type Asked = BTreeMap<String, Increase>;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Increase {
    id: String,
    desired: f64,
    created_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    service_code: String,
    quota_code: String,
    desired_value: Option<f64>,
    status: Option<String>,
}

/// A refusal: the exception's name in the API reference, and the text.
struct Refusal(&'static str, String);

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self(
            "ServiceException",
            format!("the embedded cloud's data folder: {error}"),
        )
    }
}

/// What `request` needs; nothing if it is no request of this service, which refuses it then. Reading knows no narrower resource
/// ("Actions, resources, and condition keys for Service Quotas").
pub(super) fn permissions(request: &Request) -> Vec<Permission> {
    let Some(operation) = operation(request) else {
        return Vec::new();
    };
    let resource = match (operation, input(request)) {
        ("RequestServiceQuotaIncrease", Ok(input)) => arn(request, &input.quota_code),
        _ => "*".to_owned(),
    };
    vec![Permission::new(
        format!("servicequotas:{operation}"),
        resource,
    )]
}

impl ServiceQuotas {
    /// A service over the data in `store`, of an account with the quotas of `faults`.
    pub(crate) fn new(store: Store, faults: Faults) -> Self {
        Self { store, faults }
    }

    /// Answers one request.
    pub(crate) fn handle(&self, request: &Request) -> Response<Body> {
        match self.dispatch(request) {
            Ok(body) => answer(StatusCode::OK, CONTENT_TYPE, body.to_string()),
            Err(Refusal(name, message)) => {
                let status = match name {
                    "ServiceException" => StatusCode::INTERNAL_SERVER_ERROR,
                    "NotImplemented" => StatusCode::NOT_IMPLEMENTED,
                    _ => StatusCode::BAD_REQUEST,
                };
                let body = json!({ "__type": name, "Message": message });
                answer(status, CONTENT_TYPE, body.to_string())
            }
        }
    }

    fn dispatch(&self, request: &Request) -> Result<Value, Refusal> {
        let operation = operation(request).unwrap_or_default();
        let answer = match operation {
            "GetServiceQuota" => Self::quota,
            "GetAWSDefaultServiceQuota" => Self::default_quota,
            "RequestServiceQuotaIncrease" => Self::increase,
            "ListRequestedServiceQuotaChangeHistoryByQuota" => Self::history,
            other => {
                let message =
                    format!("the embedded cloud does not implement servicequotas {other}");
                return Err(Refusal("NotImplemented", message));
            }
        };
        let input = input(request)?;
        let found = QUOTAS.iter().find(|quota| quota.code == input.quota_code);
        let quota = found.filter(|_| input.service_code == LAMBDA);
        let quota = quota.ok_or_else(|| {
            let message =
                "The request failed because the specified service or quota does not exist.";
            Refusal("NoSuchResourceException", message.to_owned())
        })?;
        answer(self, request, *quota, &input)
    }

    fn quota(&self, request: &Request, quota: Quota, _: &Input) -> Result<Value, Refusal> {
        let mut described = quota.described(request, (quota.value)(&self.faults.quotas()));
        described["QuotaAppliedAtLevel"] = "ACCOUNT".into();
        Ok(json!({ "Quota": described }))
    }

    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "every operation is called in the same way"
    )]
    fn default_quota(&self, request: &Request, quota: Quota, _: &Input) -> Result<Value, Refusal> {
        let described = quota.described(request, (quota.value)(&Quotas::default()));
        Ok(json!({ "Quota": described }))
    }

    fn increase(&self, request: &Request, quota: Quota, input: &Input) -> Result<Value, Refusal> {
        let current = (quota.value)(&self.faults.quotas());
        let Some(desired) = input.desired_value.filter(|desired| *desired > current) else {
            let message = format!(
                "You must provide a quota value greater than the current quota value, {current}."
            );
            return Err(Refusal("IllegalArgumentException", message));
        };
        let asked = self.store.update(&document(request), |asked: &mut Asked| {
            if asked.contains_key(quota.code) {
                let message = "Only one open service quota increase request is allowed per quota.";
                return Err(Refusal(
                    "ResourceAlreadyExistsException",
                    message.to_owned(),
                ));
            }
            let increase = Increase {
                id: uuid::Uuid::new_v4().simple().to_string(),
                desired,
                created_ms: env::now_ms(),
            };
            asked.insert(quota.code.to_owned(), increase.clone());
            Ok(increase)
        })?;
        Ok(json!({ "RequestedQuota": asked.described(request, quota) }))
    }

    fn history(&self, request: &Request, quota: Quota, input: &Input) -> Result<Value, Refusal> {
        let asked: Asked = self.store.read(&document(request))?;
        let wanted = |_: &&Increase| {
            input
                .status
                .as_deref()
                .is_none_or(|status| status == Increase::STATUS)
        };
        let asked = asked.get(quota.code).filter(wanted).into_iter();
        let asked: Vec<Value> = asked
            .map(|increase| increase.described(request, quota))
            .collect();
        Ok(json!({ "RequestedQuotas": asked }))
    }
}

impl Quota {
    fn described(self, request: &Request, value: f64) -> Value {
        json!({
            "ServiceCode": LAMBDA,
            "ServiceName": "AWS Lambda",
            "QuotaArn": arn(request, self.code),
            "QuotaCode": self.code,
            "QuotaName": self.name,
            "Value": value,
            "Unit": self.unit,
            "Adjustable": true,
            "GlobalQuota": false,
        })
    }
}

impl Increase {
    const STATUS: &str = "PENDING";

    #[allow(
        clippy::cast_precision_loss,
        reason = "a time in milliseconds has fewer digits"
    )]
    fn described(&self, request: &Request, quota: Quota) -> Value {
        json!({
            "Id": self.id,
            "ServiceCode": LAMBDA,
            "ServiceName": "AWS Lambda",
            "QuotaCode": quota.code,
            "QuotaName": quota.name,
            "DesiredValue": self.desired,
            "Status": Self::STATUS,
            "Created": self.created_ms as f64 / 1_000.0,
            "QuotaArn": arn(request, quota.code),
            "GlobalQuota": false,
            "Unit": quota.unit,
            "QuotaRequestedAtLevel": "ACCOUNT",
        })
    }
}

fn operation(request: &Request) -> Option<&str> {
    let target = request.headers.get("x-amz-target")?;
    target.to_str().ok()?.strip_prefix(TARGET_PREFIX)
}

fn input(request: &Request) -> Result<Input, Refusal> {
    serde_json::from_slice(&request.body)
        .map_err(|error| Refusal("IllegalArgumentException", error.to_string()))
}

fn arn(request: &Request, code: &str) -> String {
    let (region, account) = (&request.region, &request.account);
    format!("arn:aws:servicequotas:{region}:{account}:{LAMBDA}/{code}")
}

/// The name of the document that holds what was asked for in a region.
fn document(request: &Request) -> String {
    format!("servicequotas-{}.json", request.region)
}
