//! The command line, one file a subcommand.

mod controller;
mod crd;
mod discover;
mod docker;
mod output;
mod render;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Config travels with its image.
///
/// `oras attach --artifact-type custom/config IMAGE config.json` attaches a config to a container image. This operator
/// makes that config a `ConfigMap`, keeps it so, and says which config goes with which image.
#[derive(Parser)]
#[command(name = "artifactconfig", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Controller(controller::Args),
    Crd(crd::Args),
    Render(render::Args),
    Discover(discover::Args),
}

/// Parses the arguments and runs what they ask for.
#[must_use]
pub fn main() -> ExitCode {
    // First of all: kube and the registry client both use rustls, which refuses to choose between providers itself.
    // An error only says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match command {
        Command::Controller(args) => runtime()?.block_on(controller::run(args)),
        Command::Crd(args) => crd::run(&args),
        Command::Render(args) => runtime()?.block_on(render::run(args)),
        Command::Discover(args) => runtime()?.block_on(discover::run(args)),
    }
}
