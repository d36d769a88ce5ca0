//! An operator that keeps `ConfigMaps` in step with the config that is attached to container images.
//!
//! ```text
//! watch → read → goal → find → gate → apply → settle
//! ```
//!
//! `ARCHITECTURE.md` is the map.
//!
//! Four crates stand beside this one, and this one uses them: `oci` has the values of OCI, `registry` is the client for
//! registries, `api` is the custom resource, and `decide` makes the decisions. Here is what does the work: it asks, waits,
//! writes and logs.
//!
//! The command line alone, which runs wherever people work, is the feature `cli`; `cluster`, `controller`,
//! `server` and `telemetry` come with `operator`.

// All text for people goes through `cli::output` or the log, which escape text of others.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "operator")]
pub mod cluster;
#[cfg(feature = "operator")]
pub mod controller;
pub mod namespace;
pub mod page;
#[cfg(feature = "operator")]
pub mod server;
// The command line alone sends no traces, so only the spans of the registry client are used.
#[cfg_attr(not(feature = "operator"), allow(dead_code, unused_imports, unused_macros))]
pub mod spans;
#[cfg(feature = "operator")]
pub mod telemetry;
pub mod unanswered;
pub mod wanted;
