//! What everything here speaks of: failures, and what to do about them; names of namespaces; JSON that people read.

mod advice;
mod failure;
pub mod json;
mod namespace;
mod unanswered;

pub use advice::Advice;
pub use failure::Failure;
pub use namespace::{Namespace, NamespaceError, Namespaces};
