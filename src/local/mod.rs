//! The embedded cloud: S3, Lambda (control plane and execution), IAM, STS, CloudWatch Logs, and what farms need of Systems Manager
//! and Service Quotas, over loopback HTTP in AWS's own wire formats. It knows AWS's contract and does not know rmx.

mod authorization;
mod credentials;
mod faults;
mod http;
mod iam;
mod isolation;
mod lambda;
mod logs;
mod permission;
mod query;
mod quotas;
mod s3;
mod served;
mod server;
mod service_quotas;
mod services;
mod sessions;
mod signature;
mod ssm;
mod store;
mod sts;
mod trace;

pub use credentials::Credentials;
pub use faults::{Fault, FaultKind, Faults, Moment};
pub use isolation::{Entrance, Isolation, LIBRARIES as ISOLATED_LIBRARIES, NodeRuntime, enter};
pub use permission::Permission;
pub use quotas::Quotas;
pub use served::{Served, served};
pub use server::{LocalOptions, Running, start};
pub use trace::{Trace, TracedCall, longest_chain};
