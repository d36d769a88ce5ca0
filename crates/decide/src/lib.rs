//! Decisions: data in, data out. They do not wait, ask or log, because the dependencies of this crate offer nothing for it.
//! The time is a parameter.
//!
//! In the order of the stages: [`spec`] parses the resource once, [`select`] selects one of the attached artifacts,
//! [`files`] and [`render`] make the content of the `ConfigMap`, [`plan`] compares it with the existing object,
//! [`revision`] keeps it for a rollback under one of its [`numbers`], and [`kept`] decides by the [`proof`] whether a
//! revision can be trusted. [`status`], [`event`] and [`schedule`] follow from the one [`report`]. Independent of
//! these, [`lease`] decides which of several processes is the leader, and [`turns`] which resource is reconciled next.
//! [`watched`] is the metadata of a `ConfigMap` in the watch cache, [`usage`] finds the `ConfigMaps` that a workload
//! names, and [`near`] finds similar names. A decision that cannot be made is a [`Failure`], with [`Advice`] for its reader.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod advice;
pub mod conditions;
pub mod contest;
pub mod event;
mod failure;
pub mod files;
pub mod goal;
pub mod history;
pub mod json;
pub mod kept;
pub mod lease;
pub mod limits;
pub mod near;
pub mod numbers;
mod pattern;
pub mod plan;
pub mod proof;
pub mod render;
pub mod report;
pub mod revision;
pub mod schedule;
pub mod select;
pub mod spec;
pub mod status;
pub mod turns;
pub mod usage;
pub mod view;
pub mod watched;

pub use advice::Advice;
pub use failure::Failure;
