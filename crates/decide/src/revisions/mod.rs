//! Revisions: the objects that keep each applied config, their numbers, and whether one can be trusted.

pub mod bindings;
pub mod kept;
pub(crate) mod name;
pub mod numbers;
pub mod proof;
pub mod revision;
pub(crate) mod stamp;
