//! Whether a request may be answered: who signed it, and what they may do.
//!
//! The one user may do everything. Whoever has assumed a role may do what the role's policies allow.

use http::StatusCode;
use http::request::Parts;

use super::credentials::Credentials;
use super::iam::{self, Context};
use super::permission::Permission;
use super::query::QueryError;
use super::sessions::{Session, SessionRefusal};
use super::signature::{self, Scope};
use super::store::Store;
use crate::names::AccountId;

/// Who signed a request.
#[derive(Debug)]
pub(super) struct Signer {
    /// What the request has to be signed with.
    pub(super) credentials: Credentials,
    /// The role that was assumed; `None` for the one user.
    session: Option<Session>,
}

/// A refusal, before a service's own words for it.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Denial {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

impl From<std::io::Error> for Denial {
    fn from(error: std::io::Error) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ServiceFailure",
            format!("the embedded cloud's data folder: {error}"),
        )
    }
}

impl From<QueryError> for Denial {
    fn from(error: QueryError) -> Self {
        Self::new(error.status, error.code, error.message)
    }
}

impl Signer {
    /// Who has the access key of `scope`. An unknown key is left to the check of the signature.
    pub(super) fn of(
        store: &Store,
        own: &Credentials,
        scope: Option<&Scope>,
        parts: &Parts,
    ) -> Result<Self, Denial> {
        let user = || Self {
            credentials: own.clone(),
            session: None,
        };
        let Some(scope) = scope.filter(|scope| scope.access_key_id != own.access_key_id) else {
            return Ok(user());
        };
        let Some(session) = Session::of(store, &scope.access_key_id)? else {
            return Ok(user());
        };
        let query = matches!(scope.service.as_str(), "iam" | "sts");
        let (code, message) = match session.check(signature::security_token(parts).as_deref()) {
            Ok(()) => {
                return Ok(Self {
                    credentials: session.credentials(&scope.access_key_id),
                    session: Some(session),
                });
            }
            Err(SessionRefusal::Expired) if query || scope.service == "s3" => (
                "ExpiredToken",
                "The security token included in the request is expired",
            ),
            Err(SessionRefusal::Expired) => (
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            Err(SessionRefusal::Token) if query => (
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ),
            Err(SessionRefusal::Token) if scope.service == "s3" => (
                "InvalidToken",
                "The provided token is malformed or otherwise invalid.",
            ),
            Err(SessionRefusal::Token) => (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
        };
        Err(Denial::new(StatusCode::FORBIDDEN, code, message))
    }

    /// The role of whoever has assumed one.
    pub(super) fn role(&self) -> Option<&str> {
        let session = self.session.as_ref()?;
        Some(&session.role)
    }

    /// Whether whoever signed may do all of `needed`.
    pub(super) fn require(
        &self,
        store: &Store,
        account: &AccountId,
        scope: &Scope,
        needed: &[Permission],
    ) -> Result<(), Denial> {
        let Some(session) = self.session.as_ref().filter(|_| !needed.is_empty()) else {
            return Ok(());
        };
        let context = Context::default()
            .with("aws:RequestedRegion", vec![scope.region.clone()])
            .with(
                "iam:PassedToService",
                vec!["lambda.amazonaws.com".to_owned()],
            )
            // What AWS is spoken to over; here it is loopback.
            .with("aws:SecureTransport", vec!["true".to_owned()]);
        match iam::refusal(store, account, &session.role, needed, &context)? {
            Some((permission, why)) => Err(denied(account, session, scope, permission, &why)),
            None => Ok(()),
        }
    }
}

/// In AWS's words.
fn denied(
    account: &AccountId,
    session: &Session,
    scope: &Scope,
    needed: &Permission,
    why: &str,
) -> Denial {
    let Permission { action, resource } = needed;
    let (role, name) = (&session.role, &session.name);
    let code = match scope.service.as_str() {
        "s3" | "iam" | "sts" => "AccessDenied",
        _ => "AccessDeniedException",
    };
    let status = match scope.service.as_str() {
        "logs" | "servicequotas" => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    Denial {
        status,
        code,
        message: format!(
            "User: arn:aws:sts::{account}:assumed-role/{role}/{name} is not authorized to perform: {action} on resource: \
             {resource} {why}"
        ),
    }
}
