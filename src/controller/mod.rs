//! The reconcile, and what triggers it.

mod back;
mod context;
mod look;
mod pipeline;
mod reconcile;
mod run;
mod turn;
mod watch;
mod work;

pub use crate::decide::turns::Next;
pub use context::{Context, Memory};
pub use reconcile::reconcile;
pub use run::{Options, run};
pub use turn::Turn;
pub use watch::Watches;
