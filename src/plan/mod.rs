//! Desired × Observed × State → [`Plan`](change::Plan). Pure but for `observe.rs` and `lost.rs`.

pub mod calls;
pub mod change;
mod check;
pub mod code_size;
pub mod cost;
pub mod desired;
mod error;
pub mod gate;
pub mod in_use;
pub mod layers;
pub mod limits;
pub mod loss;
pub mod lost;
mod make;
#[cfg(test)]
mod model;
pub mod observe;
pub mod policies;
pub mod preflight;
pub mod request;
pub mod retention;
pub mod rollback;
pub mod saved;
#[cfg(test)]
mod tables;

pub use error::{NotOurs, PlanError};
pub use make::make;
