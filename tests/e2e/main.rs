//! End to end: the real `oras`, real registries, a real API server and controller-manager, and the operator as a
//! separate process with the rights that the chart gives it and no more. Tests run side by side, each in its own
//! namespace.

// Not every binary uses every helper.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

mod admission;
mod asking;
mod changes;
mod cli;
mod collection;
mod content;
mod contested;
mod credentials;
mod drift;
mod elsewhere;
mod faults;
mod forged;
mod lifecycle;
mod night;
mod ownership;
mod policies;
mod quiet;
mod revisions;
mod rollback;
mod selection;
mod status;
mod sync;
mod telemetry;
mod traces;

use std::process::ExitCode;

/// Tests side by side: they wait more than they compute.
const THREADS: usize = 6;

fn main() -> ExitCode {
    let cases = [
        sync::cases(),
        content::cases(),
        selection::cases(),
        asking::cases(),
        changes::cases(),
        drift::cases(),
        ownership::cases(),
        policies::cases(),
        lifecycle::cases(),
        credentials::cases(),
        elsewhere::cases(),
        faults::cases(),
        status::cases(),
        admission::cases(),
        quiet::cases(),
        revisions::cases(),
        collection::cases(),
        rollback::cases(),
        forged::cases(),
        contested::cases(),
        cli::cases(),
        night::cases(),
        telemetry::cases(),
        traces::cases(),
    ];
    support::main(THREADS, &cases.into_iter().flatten().collect::<Vec<_>>())
}
