//! Text for people: failures, the advice for them, similar names, and JSON that shows every character.

mod advice;
mod failure;
pub mod json;
pub mod near;

pub use advice::Advice;
pub use failure::Failure;
