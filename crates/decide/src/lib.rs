//! Decisions: data in, data out. They do not wait, ask or log, because the dependencies of this crate offer nothing for it.
//! The time is a parameter.
//!
//! The folders follow the stages of a pass. Here each module has one name, without its folder:
//!
//! | To | Go to |
//! | --- | --- |
//! | read the resource, its workload, its status and its history | [`view`], [`spec`], [`workload`], [`running`], [`history`] |
//! | decide the purpose of the pass | [`goal`] |
//! | select one of the attached artifacts | [`select`] |
//! | make the content of a `ConfigMap` from its files | [`files`], [`render`], [`limits`] |
//! | see whether it lacks a key that pods need | [`preflight`] |
//! | compare that content with the object in the cluster | [`plan`], [`watched`] |
//! | slow down repairs against a second writer | [`contest`] |
//! | keep it for a rollback, trust what was kept, and find surplus revisions | [`revision`], [`numbers`], [`proof`], [`kept`] |
//! | say how the pass ended, and when the next one is | [`report`], [`status`], [`conditions`], [`event`], [`schedule`] |
//! | wake a workload whose pods were refused | [`wake`] |
//!
//! Apart from a pass, [`turns`] decides which resource is reconciled next, [`lease`] which process is the leader, [`usage`]
//! which `ConfigMaps` a workload names, and [`bind`] which config a new pod gets. A decision that cannot be made is a
//! [`Failure`], with [`Advice`] for its reader; [`near`] finds similar names for it, and [`json`] is for text that others
//! wrote.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod bind;
mod content;
pub mod goal;
pub mod lease;
pub mod preflight;
mod read;
mod revisions;
pub mod select;
mod settle;
mod target;
pub mod turns;
pub mod usage;
mod words;

pub use content::{files, limits, render};
pub use read::{history, keys, running, spec, view, workload, workload_kind};
pub use revisions::{bindings, kept, numbers, proof, revision};
use revisions::{name, stamp};
pub use settle::{conditions, event, report, schedule, status, wake};
pub use target::{contest, plan, watched};
pub use words::{Advice, Failure, json, near};
