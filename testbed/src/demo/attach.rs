//! The configs of the story, and how they are attached.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Stage;

pub(super) const V1: &str = "{\n  \"greeting\": \"hello\",\n  \"logLevel\": \"info\"\n}\n";
pub(super) const V2: &str = "{\n  \"greeting\": \"hello again\",\n  \"logLevel\": \"debug\"\n}\n";
pub(super) const V3: &str =
    "{\n  \"greeting\": \"hello again\",\n  \"database\": \"staging\",\n  \"logLevel\": \"debug\"\n}\n";
pub(super) const V4: &str =
    "{\n  \"greeting\": \"hello again\",\n  \"database\": \"production\",\n  \"logLevel\": \"debug\"\n}\n";

/// oras dates an artifact by the second, and the newest counts: two attached within one second would be a
/// tie.
pub(super) const ORAS_CLOCK: Duration = Duration::from_millis(1100);

/// Runs the real `oras attach` on a `config.json` with this content.
pub(super) async fn attach(stage: &Stage, image: &str, config: &str) -> Result<String> {
    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    std::fs::write(directory.path().join("config.json"), config).context("cannot write config.json")?;
    stage.narrator.command("cat config.json");
    stage.narrator.output(config);
    let args = ["attach", "--plain-http", "--artifact-type", "custom/config", image, "config.json"];
    stage.narrator.command(&format!("oras {}", args.join(" ")));
    let output = stage.world.oras.run(&args, directory.path()).await?;
    stage.narrator.output(&output.stdout);
    let digest = output.stdout.lines().find_map(|line| line.strip_prefix("Digest: "));
    Ok(digest.context("oras did not print the artifact's digest")?.trim().to_owned())
}
