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

// Everything that a person reads goes through `cli::output` or the log, which escape what others wrote.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod decide;
pub mod oci;
pub mod spans;
pub mod telemetry;
pub mod types;
