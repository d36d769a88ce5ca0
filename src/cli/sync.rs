//! `artifactconfig sync`.

use anyhow::bail;
use api::annotation;
use jiff::Timestamp;
use serde_json::json;

use super::kubectl_flags::ClusterArgs;
use super::output::print;
use super::resource;
use super::verdict::Awaited;
use super::wait::WaitArgs;

/// Make the operator reconcile now, and wait for the result.
///
/// Sets the annotation artifactconfig.dev/requestedAt. Exits with 1 if the result is a failure.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Sets the annotation, and waits for the result.
///
/// # Errors
/// If the operator has not reconciled in time, or the result is a failure.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    if config.spec.suspend {
        bail!(
            "'{}' is suspended, so the operator would not reconcile it; '{}' ends the suspension",
            args.name,
            connection.command(&format!("resume {}", args.name))
        );
    }
    let patch =
        json!({"metadata": {"annotations": {annotation::REQUESTED_AT: Timestamp::now().to_string()}}});
    let written = resource::write(&connection, &config, patch, false).await?;
    let (_, message) = args.wait.until_done(&connection, Awaited::Sync, &written).await?;
    print(&format!("synced: {message}\n"))
}
