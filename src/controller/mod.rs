//! The reconcile, and what triggers it.

mod context;
mod reconcile;
mod watch;

pub use context::{Context, Memory};
pub use reconcile::{Next, reconcile};
pub use watch::{Options, Watches, run};
