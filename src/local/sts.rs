//! The embedded cloud's STS: who is calling, and roles to be assumed. There is one user, the one IAM calls `local`; what
//! calls with the credentials of a session is the role that was assumed.

use std::io;

use http::Response;

use super::http::{Body, Request};
use super::iam;
use super::query::{Input, QueryError, Xml, respond};
use super::sessions::Session;
use super::signature;
use super::store::Store;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// `DurationSeconds`: AWS's default and its bounds.
const DURATION_DEFAULT_S: u32 = 3600;
const DURATION_MIN_S: u32 = 900;
const DURATION_MAX_S: u32 = 43_200;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct StsService {
    store: Store,
}

/// Who calls.
#[derive(Debug)]
struct Caller {
    arn: String,
    id: String,
}

impl StsService {
    /// A service over the data in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Answers one request.
    #[allow(
        clippy::unused_async,
        reason = "every service is called in the same way"
    )]
    pub(crate) async fn handle(&self, request: Request) -> Response<Body> {
        let input = Input::of(&request);
        let operation = input.operation.clone();
        let result = self.dispatch(&request, input);
        respond(NAMESPACE, &operation, &request.request_id, result)
    }

    fn dispatch(&self, request: &Request, input: Input) -> Result<Option<Xml>, QueryError> {
        match input.operation.as_str() {
            "GetCallerIdentity" => {
                input.finish()?;
                let caller = self.caller(request)?;
                let mut xml = Xml::default();
                xml.text("Arn", caller.arn)
                    .text("UserId", caller.id)
                    .text("Account", &request.account);
                Ok(Some(xml))
            }
            "AssumeRole" => self.assume_role(request, input),
            other => Err(QueryError::not_implemented("sts", other)),
        }
    }

    fn caller(&self, request: &Request) -> io::Result<Caller> {
        let access_key_id = signature::access_key_id(&request.headers);
        let session = match access_key_id {
            Some(id) => Session::of(&self.store, id)?,
            None => None,
        };
        Ok(match session {
            Some(session) => Caller {
                arn: format!(
                    "arn:aws:sts::{}:assumed-role/{}/{}",
                    request.account, session.role, session.name
                ),
                id: format!("{}:{}", session.role_id, session.name),
            },
            None => {
                let user = iam::local_user(&self.store)?;
                Caller {
                    arn: user.arn(&request.account),
                    id: user.id,
                }
            }
        })
    }

    fn assume_role(&self, request: &Request, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let arn = input.required("RoleArn")?;
        let name = input.required("RoleSessionName")?;
        let duration_s = input
            .number("DurationSeconds")?
            .unwrap_or(DURATION_DEFAULT_S);
        input.finish()?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&name.len()) || !name.chars().all(allowed) {
            let rule = "satisfy regular expression pattern: [\\w+=,.@-]*";
            return Err(QueryError::constraint(name, "roleSessionName", rule));
        }
        if !(DURATION_MIN_S..=DURATION_MAX_S).contains(&duration_s) {
            let rule = "have value between 900 and 43200";
            return Err(QueryError::constraint(duration_s, "durationSeconds", rule));
        }
        let caller = self.caller(request)?.arn;
        let role = arn.rsplit('/').next().unwrap_or_default();
        let found = iam::role_for(&self.store, &request.account, role, &caller)?;
        // One answer for a role that is not there and for one that does not trust the caller, as AWS gives it.
        let Some((_, role_id)) = found.filter(|(found, _)| *found == arn) else {
            return Err(QueryError::new(
                403,
                "AccessDenied",
                format!(
                    "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {arn}"
                ),
            ));
        };
        let (session, credentials) =
            Session::begin(&self.store, role, &role_id, &name, duration_s)?;
        let account = &request.account;
        let mut xml = Xml::default();
        xml.element("Credentials", |xml| {
            xml.text("AccessKeyId", &credentials.access_key_id)
                .text("SecretAccessKey", &credentials.secret_access_key)
                .text("SessionToken", &credentials.token)
                .text("Expiration", iam::date(session.expires_ms));
        })
        .element("AssumedRoleUser", |xml| {
            xml.text("AssumedRoleId", format!("{role_id}:{name}")).text(
                "Arn",
                format!("arn:aws:sts::{account}:assumed-role/{role}/{name}"),
            );
        });
        Ok(Some(xml))
    }
}
