//! Desired × Observed × State → [`Plan`](change::Plan). Pure but for `observe.rs`.

pub mod change;
mod check;
pub mod desired;
mod error;
mod make;
pub mod observe;

pub use error::PlanError;
pub use make::make;
