//! The resource, read once for each pass: a later stage cannot fail on the form of a field.

pub mod history;
pub mod keys;
pub mod running;
pub mod spec;
pub mod view;
pub mod workload;
pub mod workload_kind;
