//! The testbed's command line.

mod demo;
mod load;
mod long;
mod manifests_command;
mod measure;
mod soak;
mod stop;
mod tools_command;
mod up;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A real cluster and a real registry on this machine, without a container engine.
///
/// etcd, kube-apiserver, kube-controller-manager, kubectl, helm and oras are pinned Go modules: the first run
/// builds them (about 12 minutes on two cores, Go needed), later runs start in seconds. Everything listens on
/// 127.0.0.1, keeps its data in a temporary directory, and goes away with this program however it ends.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const ENVIRONMENT: &str = "Environment:
  ARTIFACTCONFIG_TOOLS_DIR  where built programs are kept (default: ~/.cache/artifactconfig/tools; may be deleted)
  KUBEBUILDER_ASSETS        directory with ready-made etcd, kube-apiserver, kubectl …, used instead of building
  NO_COLOR                  no colours

Start with:
  cargo build && cargo run -p testbed -- demo --operator target/debug/artifactconfig";

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the programs and print where they are
    Tools {
        /// Also the one that the demo does not need: promtool (2 minutes more)
        #[arg(long)]
        all: bool,
    },
    /// Write what is rendered from the chart: deploy/install.yaml and the values in the chart's README
    Manifests {
        #[command(flatten)]
        manifests: ManifestsArgs,
    },
    /// Start a cluster and a registry, and keep them until Ctrl-C
    ///
    /// Prints what to put into the environment of another terminal to use them with kubectl and oras. With
    /// --operator it also installs the custom resource and runs the operator, with its own account's rights
    /// and no more.
    Up {
        /// The operator's program, for example target/debug/artifactconfig
        #[arg(long, value_name = "PATH")]
        operator: Option<PathBuf>,
        #[command(flatten)]
        manifests: ManifestsArgs,
    },
    /// Tell the operator's story, each step run for real and checked
    ///
    /// An image is pushed, a config is attached to it, the ConfigMap appears; then the config changes,
    /// somebody edits the ConfigMap by hand, and the registry goes down. At last the night: a bad config, and
    /// the way back while the registry is down. The exit status is 0 only when every step did what it says.
    Demo {
        /// The operator's program, for example target/debug/artifactconfig
        #[arg(long, value_name = "PATH")]
        operator: PathBuf,
        /// Leave everything running at the end, until Ctrl-C
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        manifests: ManifestsArgs,
    },
    /// Run the operator for hours under churn and trouble, and judge whether anything leaks
    ///
    /// On a real cluster and two real registries configs are attached, rolled back and resumed; resources come and go;
    /// targets are edited and deleted; tags move. Meanwhile one thing after the other breaks: registries stop, hang,
    /// throttle and lie, the API server is killed and stopped in its tracks, watches are cut and stalled. The operator
    /// is never restarted. At the end everything is made to work again, and once it has settled each resource is
    /// compared with what it should be. Memory, descriptors, connections, threads, tasks, revisions and the log are
    /// judged. The exit status is 0 only when every check passed.
    ///
    /// An hour takes about a third of a core. From 15 minutes on memory is judged; a minute shows that it works.
    #[command(after_help = SOAK_EXAMPLES)]
    Soak(soak::SoakArgs),
    /// Measure what the operator costs: time, processor, memory
    ///
    /// Thousands of resources are created at once against a registry in this process, until each has its ConfigMap and
    /// is ready; beside it the bare requests that write as much, so that figures of different machines can be compared.
    /// Then the operator is started again, more resources come, and all of them do nothing for a while. The contents of
    /// all ConfigMaps are checked, the figures are not: whether they are good depends on the machine.
    ///
    /// Build the operator with --release, and run nothing else meanwhile. With the defaults it takes about half an hour.
    #[command(after_help = LOAD_EXAMPLES)]
    Load(load::LoadArgs),
}

const LOAD_EXAMPLES: &str = "Examples:
  testbed load --operator target/release/artifactconfig --report load.md
  testbed load --operator target/release/artifactconfig --count 200 --idle 0";

const SOAK_EXAMPLES: &str = "Examples:
  testbed soak --operator target/debug/artifactconfig --duration 1m
  testbed soak --operator target/release/artifactconfig --report soak.md";

#[derive(Debug, clap::Args)]
struct ManifestsArgs {
    /// The repository's root, with crds/ and charts/ (default: where this program was built)
    #[arg(long = "manifests", value_name = "DIR")]
    root: Option<PathBuf>,
}

impl ManifestsArgs {
    fn root(&self) -> Option<&std::path::Path> {
        self.root.as_deref()
    }
}

fn main() -> ExitCode {
    testbed::install_crypto_provider();
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("error: cannot start: {why}");
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(run(command));
    // Not waiting for threads: one may be in the middle of a build of minutes.
    runtime.shutdown_background();
    status
}

async fn run(command: Command) -> ExitCode {
    let run = async {
        match command {
            Command::Tools { all } => tools_command::run(all).await,
            Command::Manifests { manifests } => manifests_command::run(manifests.root()).await,
            Command::Up { operator, manifests } => up::run(operator, manifests.root()).await,
            Command::Demo { operator, keep, manifests } => demo::run(operator, keep, manifests.root()).await,
            Command::Soak(args) => soak::run(args).await,
            Command::Load(args) => load::run(args).await,
        }
    };
    // Leaving this scope on a signal drops the running programs, which stops them.
    tokio::select! {
        result = run => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                // Display with the chain of causes, never Debug: a backtrace teaches nobody anything here.
                eprintln!("error: {why:#}");
                ExitCode::FAILURE
            }
        },
        status = stop::requested() => status,
    }
}
