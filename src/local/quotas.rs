//! What the account may use of Lambda: AWS's defaults, or less (`GetAccountSettings`).

/// Lambda's quotas for an account in a region ("Lambda quotas", developer guide).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Invocations at the same time. 1000 as a rule; new accounts begin with 10.
    pub concurrent_executions: u32,
    /// Largest zip within a request.
    pub code_size_zipped_bytes: u64,
    /// Largest function and layers, unzipped.
    pub code_size_unzipped_bytes: u64,
    /// Code of all functions and versions together.
    pub code_size_total_bytes: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            concurrent_executions: 1_000,
            code_size_zipped_bytes: 50 * 1024 * 1024,
            code_size_unzipped_bytes: 250 * 1024 * 1024,
            code_size_total_bytes: 75 * 1024 * 1024 * 1024,
        }
    }
}
