//! What a role holds: policies that are known here, and names of those that are not.

use super::model::{Iam, ManagedPolicy, Role};
use super::simulate::{Source, unknown_policy};
use crate::local::query::QueryError;
use crate::names::AccountId;

/// What a role holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) policies: Vec<Source>,
    /// If there are any, they have to allow it too.
    pub(super) boundaries: Vec<Source>,
    /// ARNs of attached policies of AWS's own. Their texts are not known here, but that they deny nothing.
    pub(super) unknown: Vec<String>,
}

impl Held {
    /// What `role` holds.
    ///
    /// # Errors
    /// Its boundary is a policy of AWS's own.
    pub(super) fn by(iam: &Iam, role: &Role, account: &AccountId) -> Result<Self, QueryError> {
        let parsed = |policy: &ManagedPolicy| Source::parse(&policy.name, &policy.document);
        let inline = role.inline.iter();
        let inline = inline.map(|(name, text)| Source::parse(name, text));
        let attached = role.attached.iter();
        let attached = attached.filter_map(|arn| iam.policies.get(arn)).map(parsed);
        let boundaries = role.permissions_boundary.iter();
        let boundaries = boundaries.map(|arn| match iam.policies.get(arn) {
            Some(policy) => parsed(policy),
            None => Err(unknown_policy(arn, account)),
        });
        let unknown = role.attached.iter();
        Ok(Self {
            policies: inline.chain(attached).collect::<Result<_, _>>()?,
            boundaries: boundaries.collect::<Result<_, _>>()?,
            unknown: unknown
                .filter(|arn| !iam.policies.contains_key(*arn))
                .cloned()
                .collect(),
        })
    }
}
