//! The rights to a registry: credentials as the kubelet finds and matches them, certificates, and both together for one
//! caller.

pub(crate) mod access;
pub(crate) mod credential;
pub(crate) mod docker_config;
mod go_duration;
pub(crate) mod go_json;
pub(crate) mod keyring;
pub(crate) mod pattern;
pub(crate) mod plugins;
pub(crate) mod tls;
