//! The night: a bad config, and the way back without a registry.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::attach::{ORAS_CLOCK, V2, V3, V4, attach};
use super::look::{get, holds, ready, types, wait_for};
use super::narrator::seconds;

/// How many steps there are.
pub(super) const COUNT: u32 = 4;

pub(super) async fn story(stage: &mut Stage, image: &str) -> Result<()> {
    let bad = bad_config(stage, image).await?;
    what_changed(stage).await?;
    back(stage, &bad).await?;
    forward(stage, image).await
}

async fn bad_config(stage: &mut Stage, image: &str) -> Result<String> {
    stage.narrator.step(
        "At night: a bad config",
        "It is valid, it is applied, and it points to the wrong database.
         `sync` asks the operator to look now, and waits until it has.",
    );
    let bad = attach(stage, image, V3).await?;
    let attached_at = Instant::now();
    types(stage, &["sync", "web"], 0).await?;
    let object = get(&stage.world.cluster, "configmap", "web").await?.context("the ConfigMap is gone")?;
    holds("config.json", V3)(&object).map_err(anyhow::Error::msg)?;
    stage.narrator.seen("it is applied");
    // So that the corrected one is the newer of the two, whatever comes in between.
    tokio::time::sleep_until((attached_at + ORAS_CLOCK).into()).await;
    Ok(bad)
}

async fn what_changed(stage: &mut Stage) -> Result<()> {
    stage.narrator.step(
        "What runs here, and since when?",
        "Every config that was applied is kept as an immutable ConfigMap, with the image that it was for.",
    );
    let history = types(stage, &["history", "web"], 0).await?;
    ensure!(
        history.lines().any(|line| line.starts_with("3 *")),
        "revision 3 is not marked as the current one"
    );
    stage.narrator.seen("three configs of one image; the third is the current one");
    let diff = types(stage, &["diff", "web", "--from", "2", "--to", "3"], 1).await?;
    ensure!(diff.contains("\n+  \"database\": \"staging\",\n"), "the diff does not show the database");
    stage.narrator.seen("the diff shows the line; its exit status is 1, as that of `kubectl diff`");
    Ok(())
}

async fn back(stage: &mut Stage, bad: &str) -> Result<()> {
    stage.narrator.step(
        "Back, without a registry",
        "Of course the registry is down as well. What was applied before is in the cluster.",
    );
    stage.world.registry.stop().await;
    stage.narrator.seen(&format!("{} refuses connections", stage.world.registry.host()));
    let started = Instant::now();
    types(stage, &["rollback", "web"], 0).await?;
    let took = started.elapsed();
    let cluster = &stage.world.cluster;
    let object = get(cluster, "configmap", "web").await?.context("the ConfigMap is gone")?;
    holds("config.json", V2)(&object).map_err(anyhow::Error::msg)?;
    wait_for(cluster, "artifactconfig", "web", ready("True", Some("RolledBack"))).await?;
    stage.narrator.seen(&format!("the config before is back in place after {}", seconds(took)));
    let history = types(stage, &["history", "web"], 0).await?;
    let given_up = |line: &str| line.contains(&bad[..19]) && line.contains("RolledBack");
    ensure!(history.lines().any(given_up), "the history does not say that the bad config was given up");
    stage.narrator.seen("the history says what was given up, and for what");
    Ok(())
}

async fn forward(stage: &mut Stage, image: &str) -> Result<()> {
    stage.narrator.step(
        "In the morning: forward again",
        "The registry is back, and a corrected config is attached. `resume` ends the way back.",
    );
    stage.world.registry.restart().await?;
    let good = attach(stage, image, V4).await?;
    types(stage, &["resume", "web"], 0).await?;
    let cluster = &stage.world.cluster;
    let object = get(cluster, "configmap", "web").await?.context("the ConfigMap is gone")?;
    holds("config.json", V4)(&object).map_err(anyhow::Error::msg)?;
    let object = get(cluster, "artifactconfig", "web").await?.context("the ArtifactConfig is gone")?;
    ready("True", Some("Synced"))(&object).map_err(anyhow::Error::msg)?;
    types(stage, &["tree", "web"], 0).await?;
    let found = &object["status"]["artifact"]["digest"];
    ensure!(found == good.as_str(), "status.artifact.digest is {found}, not {good}");
    stage.narrator.seen("the corrected config is in place");
    Ok(())
}
