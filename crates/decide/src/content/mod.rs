//! From the files of an artifact to the content of a `ConfigMap`, within the limits of the API server.

pub mod files;
pub mod limits;
mod pattern;
pub mod render;
mod values;
