//! An operator that keeps `ConfigMaps` in step with the config that is attached to container images.
//!
//! ```text
//! watch → read → resolve → discover → select → pull + verify → render → plan → apply → status
//! ```
//!
//! | module | what it does | IO |
//! | --- | --- | --- |
//! | [`api`] | the custom resource: types, names, conditions | none |
//! | [`types`] | values that were checked once: digests, references, manifests | none |
//! | [`decide`] | every decision, data in and data out | none |
//! | [`oci`] | the registry | network |
//! | [`cluster`] | the API server | network |
//! | [`controller`] | the reconcile, and the watches that trigger it | through the two above |
//! | [`spans`] | what traces are made of | none |
//! | [`telemetry`] | logs, metrics, traces, health | local |
//! | [`cli`] | one file a subcommand | all |
//!
//! The command line alone, which runs wherever people work, is the feature `cli`; `cluster`, `controller` and `telemetry`
//! come with `operator`.

// All text for people goes through `cli::output` or the log, which escape text of others.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "operator")]
pub mod cluster;
#[cfg(feature = "operator")]
pub mod controller;
pub mod decide;
pub mod oci;
// The command line alone sends no traces, so only the spans of the registry client are used.
#[cfg_attr(not(feature = "operator"), allow(dead_code, unused_imports, unused_macros))]
pub mod spans;
#[cfg(feature = "operator")]
pub mod telemetry;
pub mod types;
