//! The reconcile, and what triggers it.

mod apply;
mod awake;
mod base;
mod collect;
mod context;
mod find;
mod gate;
mod halt;
mod memory;
mod observed;
mod pass;
mod read;
mod reconcile;
mod run;
mod settle;
mod turn;
mod watch;

pub use context::Context;
pub use decide::turns::Next;
pub use memory::Memory;
pub use reconcile::reconcile;
pub use run::{Options, run};
pub use turn::Turn;
pub use watch::Watches;
