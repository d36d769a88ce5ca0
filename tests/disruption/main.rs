//! Outages: registries, the API server, and the operator itself stop. One test at a time, because each of them stops
//! something that the others need.

// Not every binary uses every helper.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

mod api_server;
mod kills;
mod leaders;
mod namespaces;
mod observer;
mod random;
mod registry;
mod rollback;
mod signals;
mod turns;
mod watches;

use std::process::ExitCode;

fn main() -> ExitCode {
    random::announce();
    let cases = [
        registry::cases(),
        turns::cases(),
        rollback::cases(),
        kills::cases(),
        leaders::cases(),
        namespaces::cases(),
        watches::cases(),
        api_server::cases(),
        signals::cases(),
    ];
    support::main(1, &cases.into_iter().flatten().collect::<Vec<_>>())
}
