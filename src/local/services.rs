//! The services and how they know each other.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;

use super::credentials::Credentials;
use super::faults::Faults;
use super::http::{self as wire, Body};
use super::iam::{self, IamService};
use super::lambda::{self, ExecutorSettings, LambdaService, Neighbours};
use super::logs::{self, LogsHandle, LogsService};
use super::permission::Permission;
use super::s3::S3Data;
use super::server::LocalOptions;
use super::service_quotas::{self, ServiceQuotas};
use super::sessions::{Session, SessionCredentials};
use super::ssm::{self, SsmService};
use super::store::Store;
use super::sts::StsService;
use crate::names::{AccountId, FunctionName};

/// Every service of one embedded cloud.
pub(super) struct Services {
    pub(super) credentials: Credentials,
    pub(super) account: AccountId,
    pub(super) faults: Faults,
    pub(super) store: Store,
    iam: IamService,
    logs: LogsService,
    service_quotas: ServiceQuotas,
    ssm: SsmService,
    sts: StsService,
    s3: s3s::service::S3Service,
    lambda: LambdaService,
}

impl Services {
    pub(super) fn new(
        store: Store,
        options: &LocalOptions,
        address: SocketAddr,
        credentials: &Credentials,
    ) -> io::Result<Self> {
        let iam = IamService::new(store.clone());
        let logs = LogsService::new(store.clone());
        let service_quotas = ServiceQuotas::new(store.clone(), options.faults.clone());
        let ssm = SsmService::new(store.clone());
        let sts = StsService::new(store.clone());
        let data = S3Data::new(
            store.clone(),
            options.account.clone(),
            options.region.clone(),
        );
        let settings = ExecutorSettings {
            store: store.clone(),
            address,
            role_credentials: Box::new({
                let store = store.clone();
                move |role, function| role_credentials(&store, role, function)
            }),
            worker_environment: options.worker_environment.clone(),
            isolation: options.isolation.clone(),
            node: options.node.clone(),
            logs: LogsHandle::new(store.clone()),
        };
        let own_store = store.clone();
        let neighbours = Neighbours {
            role_is_assumable: Box::new(move |name, arn| {
                Ok(iam::role_for_lambda(&store, name, arn)?.is_some())
            }),
            objects: data.clone(),
            faults: options.faults.clone(),
        };
        Ok(Self {
            iam,
            logs,
            service_quotas,
            ssm,
            sts,
            s3: data.wire(credentials),
            credentials: credentials.clone(),
            account: options.account.clone(),
            faults: options.faults.clone(),
            store: own_store,
            lambda: LambdaService::new(settings, neighbours),
        })
    }

    /// What a request needs to be allowed; nothing for what everybody may ask.
    pub(super) fn permissions(
        &self,
        service: &str,
        request: &wire::Request,
    ) -> io::Result<Vec<Permission>> {
        Ok(match service {
            "iam" => iam::permissions(&self.store, request)?,
            "logs" => logs::permissions(request),
            "lambda" => lambda::permissions(request),
            "servicequotas" => service_quotas::permissions(request),
            "ssm" => ssm::permissions(request),
            // Who is calling may be asked by everybody, and who may assume a role is said by the role.
            _ => Vec::new(),
        })
    }

    /// Answers a request of S3, whose signature the service checks itself.
    pub(super) async fn s3(&self, request: Request<s3s::Body>) -> Response<Body> {
        match self.s3.call(request).await {
            Ok(response) => response.map(|body| body.map_err(io::Error::other).boxed()),
            Err(error) => {
                let message = format!("{error:?}");
                wire::answer(
                    http::StatusCode::INTERNAL_SERVER_ERROR,
                    "text/plain",
                    Bytes::from(message),
                )
            }
        }
    }

    /// Answers a request whose signature has been checked; `None` where there is no such service.
    pub(super) async fn handle(
        &self,
        service: &str,
        request: wire::Request,
    ) -> Option<Response<Body>> {
        match service {
            "iam" => Some(self.iam.handle(request).await),
            "logs" => Some(self.logs.handle(request).await),
            "lambda" => Some(self.lambda.handle(request).await),
            "servicequotas" => Some(self.service_quotas.handle(&request)),
            "ssm" => Some(self.ssm.handle(&request)),
            "sts" => Some(self.sts.handle(request).await),
            _ => None,
        }
    }

    /// Ends every process of a function.
    pub(super) async fn shutdown(&self) {
        self.lambda.shutdown().await;
    }
}

/// What a function signs its requests with: credentials of the role with this ARN, in a session that bears the function's name;
/// nothing where Lambda may not assume the role.
fn role_credentials(
    store: &Store,
    role_arn: &str,
    function: &FunctionName,
) -> io::Result<Option<SessionCredentials>> {
    let name = role_arn.rsplit('/').next().unwrap_or_default();
    match iam::role_for_lambda(store, name, role_arn)? {
        Some(role_id) => Session::of_function(store, name, &role_id, function).map(Some),
        None => Ok(None),
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
