//! What a request needs to be allowed: IAM actions and the ARNs of what they are done to.
//!
//! Each service says it of its own requests, as the tables of AWS's service authorization reference do. A request may
//! need more than one: a function that is created with a role needs `iam:PassRole` on that role.

/// An action, and what it is done to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// As policies write it: `lambda:CreateFunction`.
    pub action: String,
    /// An ARN, or `*` where an action knows no narrower resource.
    pub resource: String,
}

impl Permission {
    /// One action on one resource.
    pub(super) fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            resource: resource.into(),
        }
    }
}
