//! The embedded cloud: S3, Lambda (control plane and execution), IAM, STS and CloudWatch Logs over loopback
//! HTTP in AWS's own wire formats. It knows AWS's contract and does not know rmx.

#[allow(dead_code, reason = "the services land one by one")]
mod http;
#[allow(dead_code, reason = "the services land one by one")]
mod lambda;
#[allow(dead_code, reason = "the services land one by one")]
mod store;
