//! The embedded cloud: S3, Lambda (control plane and execution), IAM, STS and CloudWatch Logs over loopback
//! HTTP in AWS's own wire formats. It knows AWS's contract and does not know rmx.

mod credentials;
mod faults;
mod http;
mod iam;
mod lambda;
mod logs;
mod query;
mod s3;
mod server;
mod services;
mod signature;
mod store;
mod sts;

pub use credentials::Credentials;
pub use faults::{Fault, FaultKind, Faults, Moment};
pub use server::{LocalOptions, Running, start};
