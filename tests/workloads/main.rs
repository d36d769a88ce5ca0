//! Config that follows the image of a workload: real Deployments and other workloads roll out on nodes, the API server binds
//! their pods by the policies of the chart, and the operator runs with the rights that the chart gives it and no more.

// Not every binary uses every helper.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

mod binding;
mod following;
mod shop;
mod showing;

use std::process::ExitCode;

use support::Setup;

/// Tests side by side: they wait more than they compute.
const THREADS: usize = 6;

/// Three nodes, and the parts of the chart that are switched off by default.
const SETUP: Setup = Setup {
    nodes: 3,
    values: &[
        "workloads.enabled=true",
        "bind.enabled=true",
        "workloads.kinds[0].apiGroups={argoproj.io}",
        "workloads.kinds[0].resources={rollouts}",
    ],
};

fn main() -> ExitCode {
    let cases = [following::cases(), binding::cases(), showing::cases()];
    support::main_with(THREADS, SETUP, &cases.into_iter().flatten().collect::<Vec<_>>())
}
