//! `artifactconfig suspend`.

use anyhow::Context as _;
use serde_json::json;

use super::kubectl_flags::ClusterArgs;
use super::output::{print, say};
use super::resource;
use super::rollback::warn_of_appliers;
use super::verdict::Awaited;
use super::wait::WaitArgs;

/// Stop reconciling: the operator asks, writes and repairs nothing until 'resume'.
///
/// Sets spec.suspend, and waits until the operator has seen it. After that, it writes nothing.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Suspends.
///
/// # Errors
/// If the operator has not seen it in time.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    warn_of_appliers(&config, &["suspend"]);
    let written = resource::write(&connection, &config, json!({"spec": {"suspend": true}}), false).await?;
    let (_, message) = args
        .wait
        .until_done(&connection, Awaited::Change, &written)
        .await
        .context("spec.suspend is set, but the operator has not seen it")?;
    print(&format!("{message}\n"))?;
    say!("note: to resume: {}", connection.command(&format!("resume {}", args.name)));
    Ok(())
}
