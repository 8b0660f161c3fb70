//! The embedded cloud's Systems Manager: Parameter Store, as far as secrets of a farm need it.
//!
//! `awsJson1.1`. Values lie in clear in the data folder, as everything that stands in for AWS does there; without
//! `WithDecryption` a `SecureString` is answered as something that does not tell its value, as AWS does.

mod error;
mod parameter;
mod permissions;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::env;
use crate::local::http::{Body, Request, answer};
use crate::local::store::Store;

use error::{CONTENT_TYPE, Kind, ServiceError};
pub(crate) use permissions::permissions;

use parameter::{Kind as ParameterKind, Parameter, Parameters, Selector, Version};

/// What `X-Amz-Target` begins with.
const TARGET_PREFIX: &str = "AmazonSSM.";

/// Names in one `GetParameters`.
const NAMES_MAX: usize = 10;

/// The largest value of a parameter in the standard tier.
const VALUE_BYTES_MAX: usize = 4_096;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct SsmService {
    store: Store,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutParameter {
    name: String,
    value: String,
    #[serde(rename = "Type")]
    kind: Option<String>,
    description: Option<String>,
    #[serde(default)]
    overwrite: bool,
    #[serde(default)]
    tags: Vec<Tag>,
    tier: Option<String>,
    data_type: Option<String>,
    key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetParameter {
    name: String,
    #[serde(default)]
    with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetParameters {
    names: Vec<String>,
    #[serde(default)]
    with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteParameter {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TagRequest {
    resource_type: String,
    resource_id: String,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

impl SsmService {
    /// A service over the data in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Answers one request.
    pub(crate) fn handle(&self, request: &Request) -> Response<Body> {
        match self.dispatch(request) {
            Ok(body) => answer(StatusCode::OK, CONTENT_TYPE, body.to_string()),
            Err(error) => error.into_response(),
        }
    }

    fn dispatch(&self, request: &Request) -> Result<Value, ServiceError> {
        let target = request.headers.get("x-amz-target");
        let target = target.and_then(|value| value.to_str().ok());
        let operation = target.and_then(|target| target.strip_prefix(TARGET_PREFIX));
        match operation {
            Some("PutParameter") => self.put_parameter(request),
            Some("GetParameter") => self.get_parameter(request),
            Some("GetParameters") => self.get_parameters(request),
            Some("DeleteParameter") => self.delete_parameter(request),
            Some("AddTagsToResource") => self.change_tags(request, true),
            Some("RemoveTagsFromResource") => self.change_tags(request, false),
            Some("ListTagsForResource") => self.list_tags(request),
            Some(other) => Err(ServiceError::new(
                Kind::NotImplemented,
                format!("the embedded cloud does not implement ssm {other}"),
            )),
            None => Err(ServiceError::new(
                Kind::UnknownOperation,
                "The target is not one of Systems Manager.",
            )),
        }
    }

    fn put_parameter(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: PutParameter = parse(request)?;
        parameter::check_name(&input.name)?;
        if !matches!(
            input.tier.as_deref(),
            None | Some("Standard" | "Intelligent-Tiering")
        ) || !matches!(input.data_type.as_deref(), None | Some("text"))
        {
            return Err(ServiceError::validation(
                "the embedded cloud has parameters of the standard tier and of the data type text only",
            ));
        }
        if input.value.is_empty() {
            return Err(ServiceError::constraint(
                "",
                "value",
                "have length greater than or equal to 1",
            ));
        }
        if input.value.len() > VALUE_BYTES_MAX {
            return Err(ServiceError::validation(format!(
                "Standard tier parameters support a maximum parameter value of {VALUE_BYTES_MAX} characters. To create a \
                 larger parameter value, upgrade the parameter to use the advanced-parameter tier."
            )));
        }
        if input.overwrite && !input.tags.is_empty() {
            return Err(ServiceError::validation(
                "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please \
                 remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or \
                 RemoveTagsFromResource.",
            ));
        }
        let kind = input
            .kind
            .as_deref()
            .map(ParameterKind::parse)
            .transpose()?;
        if input.key_id.is_some() && kind != Some(ParameterKind::SecureString) {
            return Err(ServiceError::validation(
                "KeyId is valid only with the type SecureString.",
            ));
        }
        let now_ms = env::now_ms();
        let version = self.update(request, |parameters| {
            let Some(known) = parameters.get_mut(&input.name) else {
                let kind = kind.ok_or_else(|| {
                    ServiceError::validation(
                        "A parameter type is required when you create a parameter.",
                    )
                })?;
                let tags = input.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone()));
                let parameter = Parameter {
                    kind,
                    description: input.description.clone(),
                    tags: tags.collect(),
                    versions: vec![Version { value: input.value.clone(), modified_ms: now_ms }],
                };
                parameters.insert(input.name.clone(), parameter);
                return Ok(1);
            };
            if !input.overwrite {
                return Err(ServiceError::new(
                    Kind::ParameterAlreadyExists,
                    "The parameter already exists. To overwrite this value, set the overwrite option in the request to \
                     true.",
                ));
            }
            if let Some(kind) = kind {
                known.kind = kind;
            }
            if input.description.is_some() {
                known.description.clone_from(&input.description);
            }
            known.versions.push(Version { value: input.value.clone(), modified_ms: now_ms });
            Ok(known.versions.len())
        })?;
        Ok(json!({ "Version": version, "Tier": "Standard" }))
    }

    fn get_parameter(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: GetParameter = parse(request)?;
        let selector = Selector::parse(&input.name)?;
        let parameters: Parameters = self.store.read(&document(request))?;
        let parameter = parameters.get(selector.name);
        let parameter = parameter.ok_or_else(ServiceError::no_parameter)?;
        let shown = parameter.show(request, &selector, input.with_decryption);
        let shown = shown.ok_or_else(|| {
            ServiceError::new(
                Kind::ParameterVersionNotFound,
                format!("Systems Manager could not find version {} of {}. Verify the version and try again.",
                    selector.version.unwrap_or_default(), selector.name),
            )
        })?;
        Ok(json!({ "Parameter": shown }))
    }

    fn get_parameters(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: GetParameters = parse(request)?;
        if !(1..=NAMES_MAX).contains(&input.names.len()) {
            return Err(ServiceError::constraint(
                format!("[{}]", input.names.join(", ")),
                "names",
                "have length less than or equal to 10 and greater than or equal to 1",
            ));
        }
        let parameters: Parameters = self.store.read(&document(request))?;
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for name in &input.names {
            let selector = Selector::parse(name)?;
            let shown = parameters
                .get(selector.name)
                .and_then(|parameter| parameter.show(request, &selector, input.with_decryption));
            match shown {
                Some(shown) => found.push(shown),
                None => invalid.push(name),
            }
        }
        Ok(json!({ "Parameters": found, "InvalidParameters": invalid }))
    }

    fn delete_parameter(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: DeleteParameter = parse(request)?;
        self.update(request, |parameters| {
            let gone = parameters.remove(&input.name);
            gone.map(drop).ok_or_else(ServiceError::no_parameter)
        })?;
        Ok(json!({}))
    }

    fn change_tags(&self, request: &Request, add: bool) -> Result<Value, ServiceError> {
        let input: TagRequest = parse(request)?;
        self.update(request, |parameters| {
            let parameter = tagged(parameters, &input)?;
            if add {
                let tags = input
                    .tags
                    .iter()
                    .map(|tag| (tag.key.clone(), tag.value.clone()));
                parameter.tags.extend(tags);
            } else {
                parameter
                    .tags
                    .retain(|key, _| !input.tag_keys.contains(key));
            }
            Ok(())
        })?;
        Ok(json!({}))
    }

    fn list_tags(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: TagRequest = parse(request)?;
        let mut parameters: Parameters = self.store.read(&document(request))?;
        let tags = tagged(&mut parameters, &input)?.tags.iter();
        let tags: Vec<Value> = tags
            .map(|(key, value)| json!({ "Key": key, "Value": value }))
            .collect();
        Ok(json!({ "TagList": tags }))
    }

    fn update<R>(
        &self,
        request: &Request,
        change: impl FnOnce(&mut Parameters) -> Result<R, ServiceError>,
    ) -> Result<R, ServiceError> {
        self.store.update(&document(request), change)
    }
}

/// The parameter that a request about tags names.
fn tagged<'a>(
    parameters: &'a mut Parameters,
    input: &TagRequest,
) -> Result<&'a mut Parameter, ServiceError> {
    if input.resource_type != "Parameter" {
        return Err(ServiceError::new(
            Kind::InvalidResourceType,
            "The resource type is not valid: the embedded cloud has parameters only.",
        ));
    }
    let parameter = parameters.get_mut(&input.resource_id);
    parameter.ok_or_else(|| {
        ServiceError::new(
            Kind::InvalidResourceId,
            "The resource ID is not valid. Verify that you entered the correct ID and try again.",
        )
    })
}

/// The name of the document that holds a region's parameters.
fn document(request: &Request) -> String {
    format!("ssm-{}.json", request.region)
}

fn parse<T: DeserializeOwned>(request: &Request) -> Result<T, ServiceError> {
    serde_json::from_slice(&request.body)
        .map_err(|error| ServiceError::new(Kind::Serialization, error.to_string()))
}
