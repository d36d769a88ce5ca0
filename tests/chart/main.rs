//! The chart and what is rendered from it: by the real Helm and kubectl, against real API servers. Tests that need a
//! whole cluster (definitions come and go) have a separate one; the others share one and have namespaces.

mod bind;
mod deploy;
mod flags;
mod gitops;
mod life;
mod monitoring;
mod namespaced;
mod pods;
mod release;
mod render;
mod stage;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cases = [
        render::cases(),
        values::cases(),
        flags::cases(),
        life::cases(),
        namespaced::cases(),
        pods::cases(),
        monitoring::cases(),
        deploy::cases(),
        bind::cases(),
        gitops::cases(),
    ];
    stage::main(cases.into_iter().flatten().collect())
}
