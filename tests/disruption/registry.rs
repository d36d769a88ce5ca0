//! A registry that goes down and comes back.

use anyhow::Result;
use api::Reason;
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Both [
        down_and_back,
        down_from_the_start,
    ]
    Distribution [hanging_and_back]
    Embedded [
        other_registries_go_on,
    ]
}

/// While the registry is down, the `ConfigMap` stays, is repaired after an edit, and the condition names the cause.
/// After that, the newly attached config is applied without an act of anybody, although the interval is an hour.
async fn down_and_back(bench: Bench) -> Result<()> {
    let (image, digest, artifact) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;

    bench.world.stop_registry(bench.kind).await?;
    let config = bench.sync_failed("web", Reason::RegistryUnavailable).await?;
    let message = config.message()?;
    let host = bench.world.host(bench.kind);
    checked(
        "the message names registry and image",
        message.contains(&host) && message.contains(&digest),
        message,
    )?;
    same("artifact", config.artifact()?, &artifact)?;
    same("the ConfigMap", bench.config_map("web").await?, before)?;

    bench.world.restart_registry(bench.kind).await?;
    let config = bench.ready("web").await?;
    same("artifact", config.artifact()?, &second)?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// A resource that was never synced waits for its registry.
async fn down_from_the_start(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.world.stop_registry(bench.kind).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::RegistryUnavailable).await?;
    same("a ConfigMap exists", bench.has_config_map("web").await?, false)?;
    bench.world.restart_registry(bench.kind).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "{}")]))
}

/// A registry that accepts connections and answers nothing costs `spec.timeout`, and is found again when it goes on.
async fn hanging_and_back(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image, "timeout": "1s"})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    bench.world.distribution.pause(true).await?;
    let failed = bench.sync_failed("web", Reason::RegistryUnavailable).await;
    bench.world.distribution.pause(false).await?;
    failed?;
    bench.ready("web").await?;
    same("the ConfigMap", bench.config_map("web").await?, before)
}

/// One registry's trouble is not another's: with more resources waiting for a dead registry than the operator has slots,
/// a resource of a registry that works is synced.
async fn other_registries_go_on(bench: Bench) -> Result<()> {
    const WAITING: usize = 40;
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.world.distribution.pause(true).await?;
    let outcome = async {
        for number in 0..WAITING {
            let dead = format!("{}/dead:v{number}", bench.world.distribution.host());
            bench.apply(&format!("dead-{number}"), json!({"image": dead, "timeout": "1s"})).await?;
        }
        bench.failed("dead-0", Reason::RegistryUnavailable).await?;
        bench.apply("web", json!({"image": image})).await?;
        bench.ready("web").await
    };
    let outcome = outcome.await;
    bench.world.distribution.pause(false).await?;
    outcome.map(drop)
}
