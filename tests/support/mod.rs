//! Shared code of the suites: one world for a binary, a bench for each test, and the harness that runs them.

mod audit;
mod bench;
mod conditions;
mod forger;
mod harness;
mod images;
mod overlay;
mod report;
mod world;

pub use audit::ApiRequest;
pub use bench::{Bench, Snapshot, eventually};
pub use conditions::{Ready, checked, same};
pub use forger::Forgery;
pub use harness::{Case, On, main, main_with};
pub use images::{CONFIG_TYPE, is_resolve, text};
pub use world::{Setup, World};

/// Declares `cases()`: the tests of a module, by the registries they run against.
macro_rules! cases {
    ($($on:ident [$($test:ident),* $(,)?])*) => {
        pub fn cases() -> Vec<$crate::support::Case> {
            vec![$($($crate::support::Case::new(
                module_path!(),
                stringify!($test),
                $crate::support::On::$on,
                |bench| Box::pin($test(bench)),
            )),*),*]
        }
    };
}
pub(crate) use cases;
