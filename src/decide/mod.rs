//! Decisions: data in, data out. No async, no client, no clock, no logging.
//!
//! In the order of the pipeline: [`spec`] reads the resource once, [`select`] chooses among what is attached,
//! [`files`] and [`render`] turn files into the `ConfigMap`, [`plan`] compares it with what is there, [`revision`] keeps
//! it for the way back under one of its [`numbers`], [`kept`] says what a revision is worth by its [`proof`], and from the
//! one [`report`] follow [`status`], [`event`] and [`schedule`]. Apart from it, [`lease`] decides which of several
//! processes works, and [`turns`] which resource is looked at next. [`watched`] is what is known of a `ConfigMap` without
//! asking, and [`usage`] which of them a workload needs. [`near`] finds the name that was meant.

pub mod conditions;
pub mod contest;
pub mod event;
pub mod files;
pub mod goal;
pub mod history;
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
