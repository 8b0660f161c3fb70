//! Desired × Observed × State → [`Plan`]. Pure but for `observe.rs`.

pub mod change;
pub mod observe;
