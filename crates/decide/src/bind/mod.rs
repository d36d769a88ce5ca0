//! Binding: a pod gets the config of the image that it runs, when it is created (docs/decisions/0038).
//!
//! The API server binds, by the admission policies that [`policies()`] returns. [`admit()`] is the same decision in Rust, which
//! needs no cluster. Tests run both on one table of cases.

mod admit;
mod image;
mod keys;
mod message;
mod offer;
mod places;
mod policies;

pub use admit::{admit, bind, candidates, container, refusal, target};
pub use keys::{MUTATING, VALIDATING, VERSION, bound_key, revision_key};
pub use offer::{Offer, by_spec, hindrance, needs_offer};
pub use policies::{policies, version};
