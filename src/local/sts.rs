//! The embedded cloud's STS: who is calling. There is one user, the one IAM calls `local`.

use http::Response;

use super::http::{Body, Request};
use super::iam;
use super::query::{Input, QueryError, Xml, respond};
use super::store::Store;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct StsService {
    store: Store,
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
                let user = iam::local_user(&self.store)?;
                let mut xml = Xml::default();
                xml.text("Arn", user.arn(&request.account))
                    .text("UserId", &user.id)
                    .text("Account", &request.account);
                Ok(Some(xml))
            }
            other => Err(QueryError::not_implemented("sts", other)),
        }
    }
}
