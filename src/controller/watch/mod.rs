//! The watches: what is listed, what is kept of it, and which changes matter.
//!
//! In each scope the resources are always watched. Other kinds are watched there while a resource needs them: `demand`
//! decides it, and `streams` does it. A kind is one file and a line in `scopes::kinds`.

mod demand;
mod followers;
mod hold;
mod kind;
mod resources;
mod scopes;
mod streams;
mod targets;
mod workloads;

pub use self::scopes::Watches;

pub(super) use self::kind::{Guarded, key_of};
pub(super) use self::streams::{News, Streams};
