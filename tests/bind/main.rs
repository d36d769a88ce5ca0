//! The admission policies on a real API server: pods are created, and nobody but the API server binds them. No operator and
//! no registry runs here; the tests write the status that the operator would write.

// Not every suite uses every helper.
#[allow(dead_code)]
#[path = "../chart/stage.rs"]
mod stage;
mod table;

mod change;
mod load;
mod place;
mod restart;
mod rollout;
mod rows;
mod switch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cases =
        [rows::cases(), rollout::cases(), change::cases(), load::cases(), switch::cases(), restart::cases()];
    stage::main(cases.into_iter().flatten().collect())
}
