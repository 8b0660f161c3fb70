//! The certificates of authorities, by which servers are trusted: a system may have none.

use std::sync::LazyLock;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use hyper_rustls::ConfigBuilderExt as _;

/// Whether this system has any. It is read once.
static ANY: LazyLock<bool> = LazyLock::new(|| {
    let provider = rustls::crypto::ring::default_provider();
    rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .is_ok_and(|builder| builder.with_native_roots().is_ok())
});

/// Whom clients trust. The SDK takes for granted that a system has certificates, and a debug build of it panics where there are none.
pub(super) fn tls_context() -> TlsContext {
    let trusted = TrustStore::empty().with_native_roots(*ANY);
    TlsContext::builder()
        .with_trust_store(trusted)
        .build()
        .expect("it holds nothing that could be wrong")
}

/// `message`, of a server that could not be spoken to, with the reason if that is a system without certificates.
pub(super) fn explained(message: String) -> String {
    explained_where(*ANY, message)
}

fn explained_where(any: bool, message: String) -> String {
    if any || !message.contains("UnknownIssuer") {
        return message;
    }
    format!(
        "{message}: this system has no certificates of authorities. Install them (package ca-certificates), or let SSL_CERT_FILE name \
         a file of them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_nobody_vouches_for_is_explained_where_there_is_nobody() {
        let message = || "invalid peer certificate: UnknownIssuer".to_owned();
        assert_eq!(explained_where(true, message()), message());
        let explained = explained_where(false, message());
        assert!(
            explained.starts_with(&message()) && explained.contains("SSL_CERT_FILE"),
            "{explained}"
        );
        assert_eq!(explained_where(false, "refused".to_owned()), "refused");
    }
}
