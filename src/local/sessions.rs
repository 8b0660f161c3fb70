//! Temporary credentials: who has assumed which role, and until when. Every process that uses the data folder knows them.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::credentials::Credentials;
use super::store::Store;
use crate::env;
use crate::names::FunctionName;

const DOCUMENT: &str = "sessions.json";

/// How long the session of a function lasts, and what of it an environment that begins has to find left: more than one lives. So
/// the environments of a function share a session, and there are not as many sessions as there were environments.
const FUNCTION_SESSION_S: u32 = 12 * 60 * 60;
const FUNCTION_SESSION_LEFT_MS: u64 = 6 * 60 * 60 * 1_000;

/// A role that somebody has assumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) role: String,
    pub(super) role_id: String,
    /// `RoleSessionName`.
    pub(super) name: String,
    pub(super) expires_ms: u64,
    token: String,
    secret_access_key: String,
}

/// What a client signs its requests with.
#[derive(Debug)]
pub(crate) struct SessionCredentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) token: String,
}

/// Why a request of a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionRefusal {
    /// The token is missing or another one.
    Token,
    /// The session is over.
    Expired,
}

/// Sessions by their access key.
type Sessions = BTreeMap<String, Session>;

impl Session {
    /// Begins a session, and forgets those that are over.
    pub(super) fn begin(
        store: &Store,
        role: &str,
        role_id: &str,
        name: &str,
        duration_s: u32,
    ) -> io::Result<(Self, SessionCredentials)> {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        // The shape of AWS's own: `ASIA` is a key that needs a token.
        let credentials = SessionCredentials {
            access_key_id: format!("ASIA{}", random()[..16].to_uppercase()),
            secret_access_key: format!("{}{}", random(), &random()[..8]),
            token: format!("{}{}{}", random(), random(), random()),
        };
        let now_ms = env::now_ms();
        let session = Self {
            role: role.to_owned(),
            role_id: role_id.to_owned(),
            name: name.to_owned(),
            expires_ms: now_ms + u64::from(duration_s) * 1_000,
            token: credentials.token.clone(),
            secret_access_key: credentials.secret_access_key.clone(),
        };
        store.update(DOCUMENT, |sessions: &mut Sessions| {
            sessions.retain(|_, session| session.expires_ms > now_ms);
            sessions.insert(credentials.access_key_id.clone(), session.clone());
            Ok::<_, io::Error>(())
        })?;
        Ok((session, credentials))
    }

    /// What a function signs its requests with: a session of its role, which bears the function's name.
    pub(super) fn of_function(
        store: &Store,
        role: &str,
        role_id: &str,
        function: &FunctionName,
    ) -> io::Result<SessionCredentials> {
        let sessions: Sessions = store.read(DOCUMENT)?;
        let lasts_until_ms = env::now_ms() + FUNCTION_SESSION_LEFT_MS;
        let begun = sessions.into_iter().find(|(_, session)| {
            (session.role_id.as_str(), session.name.as_str()) == (role_id, function.as_str())
                && session.expires_ms > lasts_until_ms
        });
        match begun {
            Some((access_key_id, session)) => Ok(SessionCredentials {
                access_key_id,
                secret_access_key: session.secret_access_key,
                token: session.token,
            }),
            None => Self::begin(store, role, role_id, function.as_str(), FUNCTION_SESSION_S)
                .map(|(_, credentials)| credentials),
        }
    }

    /// The session of an access key.
    pub(super) fn of(store: &Store, access_key_id: &str) -> io::Result<Option<Self>> {
        let mut sessions: Sessions = store.read(DOCUMENT)?;
        Ok(sessions.remove(access_key_id))
    }

    /// Whether a request with `token` is of this session, and the session is not over.
    pub(super) fn check(&self, token: Option<&str>) -> Result<(), SessionRefusal> {
        if token != Some(self.token.as_str()) {
            return Err(SessionRefusal::Token);
        }
        if self.expires_ms <= env::now_ms() {
            return Err(SessionRefusal::Expired);
        }
        Ok(())
    }

    /// What its requests are signed with.
    pub(super) fn credentials(&self, access_key_id: &str) -> Credentials {
        Credentials {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: self.secret_access_key.clone(),
        }
    }
}
