//! The registry layer against registries: an embedded one that breaks on demand, and real ones.
//!
//! Names that begin with `a` and a number are lines of the checklist in [`checklist`]; those with `c` are its pitfalls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod expect;
mod logs;
mod push;
mod world;

mod auth;
mod checklist;
mod content;
mod entries;

mod hostile;
mod kubelet;
mod legacy;
mod messages;
mod neighbours;
mod pitfalls;
mod platforms;
mod policy;
mod referrers;
mod registries;
mod requests;
mod secrets;
mod selection;
mod tenants;
mod tls;
mod tokens;
mod transport;
