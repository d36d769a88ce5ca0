//! The bytes of artifacts: manifests and blobs by digest, and the files that they hold.

pub(crate) mod archive;
pub(crate) mod cache;
pub(crate) mod fetch;
mod pull;
