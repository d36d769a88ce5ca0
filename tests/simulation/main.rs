//! The real reconcile against worlds in memory: a registry and an API server that fail, lag behind and are changed by
//! others at any step, while the operator is killed, panics, or is overtaken by another one at any step. Every rule in
//! `rules` must hold at every instant. After the worlds are quiet, the operator must reach the state of `model` and
//! stay there.
//!
//! `SIMULATION_SEEDS=100000 cargo test --workspace --test simulation` runs more of them; `SIMULATION_SEED=42 …` runs
//! one and prints its trace; `SIMULATION_SECONDS=120 …` runs as many as begin in that time, from another seed each day.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod acts;
mod clock;
mod driver;
mod model;
mod names;
mod planted;
mod prng;
mod random;
mod rules;
mod scenarios;
mod turns;
mod worlds;
