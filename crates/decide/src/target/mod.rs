//! The `ConfigMaps` of a resource: the objects to write, the objects that are there, and the difference.

pub mod contest;
pub mod plan;
pub mod watched;
