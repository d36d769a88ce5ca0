//! The command line, one file a subcommand.

mod applied;
mod choose;
mod completion;
mod content;
#[cfg(feature = "operator")]
mod controller;
mod crd;
mod diff;
mod discover;
mod docker;
mod duration;
mod fields;
mod followed;
mod get;
mod history;
mod kubeconfig;
mod kubectl_flags;
#[cfg(feature = "operator")]
mod leader;
mod manifests;
mod next;
mod output;
mod pods;
mod policies;
mod proxy;
mod reference;
mod render;
mod resource;
mod resume;
mod rollback;
mod said;
mod selected;
mod show;
mod suspend;
mod sync;
mod table;
mod tree;
mod verdict;
mod wait;
mod yaml;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use oci::text;

use output::say;

/// Config travels with its image.
///
/// `oras attach --artifact-type custom/config IMAGE config.json` attaches a config to a container image. This operator
/// writes the config into a `ConfigMap`, keeps it in step, and says which config belongs to which image.
#[derive(Parser)]
#[command(name = "artifactconfig", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Get(get::Args),
    History(history::Args),
    Pods(pods::Args),
    Show(show::Args),
    Diff(diff::Args),
    Rollback(rollback::Args),
    Resume(resume::Args),
    Sync(sync::Args),
    Suspend(suspend::Args),
    Tree(tree::Args),
    Discover(discover::Args),
    Render(render::Args),
    #[cfg(feature = "operator")]
    Controller(controller::Args),
    Crd(crd::Args),
    Policies(policies::Args),
    Completion(completion::Args),
    /// Print docs/cli.md.
    #[command(hide = true)]
    Reference,
}

/// Exit status of a failed `diff`. It differs from 1, which means that the configs differ.
const TROUBLE: u8 = 2;

/// Parses the arguments and runs the subcommand.
#[must_use]
pub fn main() -> ExitCode {
    // This comes first: kube and the registry client both use rustls, which refuses to select a provider itself. An
    // error means only that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = kubectl_flags::subcommand_first(std::env::args_os().collect());
    let command = Cli::command().bin_name(kubectl_flags::invoked_as());
    let matches = command.get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let trouble = if matches!(cli.command, Command::Diff(_)) { TROUBLE } else { 1 };
    match dispatch(cli.command) {
        Ok(status) => status,
        Err(error) => {
            // The text is escaped before it is folded, so only our own line breaks remain.
            let line = text::line(&format!("error: {}", said::chain(&error))).into_owned();
            said::folded(&line).lines().for_each(|line| say!("{line}"));
            ExitCode::from(trouble)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match command {
        Command::Get(args) => runtime()?.block_on(get::run(args))?,
        Command::History(args) => runtime()?.block_on(history::run(args))?,
        Command::Pods(args) => runtime()?.block_on(pods::run(args))?,
        Command::Show(args) => runtime()?.block_on(show::run(args))?,
        Command::Diff(args) => {
            let differs = runtime()?.block_on(diff::run(args))?;
            return Ok(ExitCode::from(u8::from(differs)));
        }
        Command::Rollback(args) => runtime()?.block_on(rollback::run(args))?,
        Command::Resume(args) => runtime()?.block_on(resume::run(args))?,
        Command::Sync(args) => runtime()?.block_on(sync::run(args))?,
        Command::Suspend(args) => runtime()?.block_on(suspend::run(args))?,
        Command::Tree(args) => runtime()?.block_on(tree::run(args))?,
        Command::Discover(args) => runtime()?.block_on(discover::run(args))?,
        Command::Render(args) => runtime()?.block_on(render::run(args))?,
        #[cfg(feature = "operator")]
        Command::Controller(args) => runtime()?.block_on(controller::run(args))?,
        Command::Crd(args) => crd::run(&args)?,
        Command::Policies(args) => policies::run(&args)?,
        Command::Completion(args) => completion::run(&args, Cli::command())?,
        Command::Reference => reference::run(Cli::command())?,
    }
    Ok(ExitCode::SUCCESS)
}
