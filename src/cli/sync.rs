//! `artifactconfig sync`.

use anyhow::bail;
use jiff::Timestamp;
use serde_json::json;

use crate::api::annotation;

use super::kubectl_flags::ClusterArgs;
use super::output::print;
use super::resource;
use super::verdict::Asked;
use super::wait::WaitArgs;

/// Have the operator look at the registry now, and wait until it has.
///
/// Sets the annotation artifactconfig.dev/requestedAt. Exits with 1 where what the operator then says is a failure.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Asks, and waits for the answer.
///
/// # Errors
/// Where the operator does not look in time, or what it finds is a failure.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    if config.spec.suspend {
        bail!(
            "'{}' is suspended, so the operator would not look; '{}' ends that",
            args.name,
            connection.command(&format!("resume {}", args.name))
        );
    }
    let patch =
        json!({"metadata": {"annotations": {annotation::REQUESTED_AT: Timestamp::now().to_string()}}});
    let written = resource::write(&connection, &config, patch, false).await?;
    let (_, message) = args.wait.until_done(&connection, Asked::Look, &written).await?;
    print(&format!("synced: {message}\n"))
}
