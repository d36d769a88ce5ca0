//! The reconcile, and what triggers it.

mod back;
mod context;
mod pipeline;
mod reconcile;
mod run;
mod watch;
mod work;

pub use context::{Context, Memory, Stop};
pub use reconcile::{Next, reconcile};
pub use run::{Options, run};
pub use watch::Watches;
