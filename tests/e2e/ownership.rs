//! Ownership of `ConfigMaps`: objects of others are never changed, and two resources never fight.

use anyhow::{Context as _, Result};
use api::{Reason, label};
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Embedded [
        a_foreign_config_map_is_not_touched,
        our_label_alone_makes_nothing_ours,
        the_first_of_two_keeps_the_target,
        a_target_that_becomes_free_is_taken,
        a_target_that_somebody_takes_over_is_given_up,
        a_conflict_does_not_hide_the_earlier_target,
    ]
}

/// Somebody's `ConfigMap` of the target's name stays as it is, to the last version, and the condition says so.
async fn a_foreign_config_map_is_not_touched(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "ours")]).await?;
    let theirs = bench.create_config_map("web", &[("team", "shop")], &[("config.json", "theirs")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.failed("web", Reason::TargetConflict).await?;
    let message = config.message()?;
    checked("the message says whose it is", message.contains("was not made by this operator"), message)?;
    bench.sync_failed("web", Reason::TargetConflict).await?;
    same("the ConfigMap", bench.config_map("web").await?, theirs)?;

    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "ours")]))
}

/// Anybody can write a label.
async fn our_label_alone_makes_nothing_ours(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "ours")]).await?;
    let labels = [(label::MANAGED_BY, "artifactconfig")];
    let theirs = bench.create_config_map("web", &labels, &[("config.json", "theirs")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::TargetConflict).await?;
    same("the ConfigMap", bench.config_map("web").await?, theirs)
}

/// Two resources, one target: the second one fails with a message, and the first is not affected.
async fn the_first_of_two_keeps_the_target(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let (other, _, _) = bench.image_with("other:v1", &[("config.json", "second")]).await?;
    bench.apply("first", json!({"image": image, "target": {"name": "shared"}})).await?;
    bench.ready("first").await?;
    let before = bench.config_map("shared").await?;
    bench.apply("second", json!({"image": other, "target": {"name": "shared"}})).await?;
    let second = bench.failed("second", Reason::TargetConflict).await?;
    checked("the message names the first", second.message()?.contains("'first'"), second.message()?)?;
    bench.sync_ready("first").await?;
    bench.sync_failed("second", Reason::TargetConflict).await?;
    same("the ConfigMap", bench.config_map("shared").await?, before)
}

/// When the first goes, the garbage collector takes its `ConfigMap`, and the second gets the name.
async fn a_target_that_becomes_free_is_taken(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let (other, _, _) = bench.image_with("other:v1", &[("config.json", "second")]).await?;
    bench.apply("first", json!({"image": image, "target": {"name": "shared"}})).await?;
    bench.ready("first").await?;
    bench.apply("second", json!({"image": other, "target": {"name": "shared"}, "interval": "1s"})).await?;
    bench.failed("second", Reason::TargetConflict).await?;
    bench.delete("first").await?;
    bench.ready("second").await?;
    same("data", bench.data("shared").await?, text(&[("config.json", "second")]))
}

/// If somebody replaces our `ConfigMap` by their own, that one stays.
async fn a_target_that_somebody_takes_over_is_given_up(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "ours")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    // Suspended meanwhile, or it would come back between the two steps.
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    bench.wait("web", "to be suspended", |config| config.expect("True", Reason::Suspended)).await?;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    let theirs = bench.create_config_map("web", &[], &[("config.json", "theirs")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::TargetConflict).await?;
    same("the ConfigMap", bench.config_map("web").await?, theirs)
}

/// A new target name that is taken does not cost the old target.
async fn a_conflict_does_not_hide_the_earlier_target(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "ours")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    bench.create_config_map("taken", &[], &[("config.json", "theirs")]).await?;
    bench.apply("web", json!({"image": image, "target": {"name": "taken"}})).await?;
    let config = bench.failed("web", Reason::TargetConflict).await?;
    same("the earlier target", bench.config_map("web").await?, before)?;
    let target = config.seen()?.target.clone().context("status.target is missing")?;
    same("status.target", target.name.as_str(), "web")
}
