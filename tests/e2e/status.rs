//! What people and tools see: columns, conditions, events, metrics.

use anyhow::{Context as _, Result};
use api::Reason;
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, eventually, same};

cases! {
    Embedded [
        kubectl_get_shows_the_columns,
        a_resource_that_was_never_reconciled_is_not_current,
        conditions_change_their_time_only_with_their_status,
        events_are_published_on_transitions_and_not_repeated,
        health_and_metrics_are_served,
    ]
}

/// `kubectl get acfg`: name, image, config, target, ready, status, age.
async fn kubectl_get_shows_the_columns(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image, "target": {"name": "web-config"}})).await?;
    let config = bench.ready("web").await?;
    let table = bench.kubectl(&["get", "acfg"]).await?;
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().context("no header")?.split_whitespace().collect();
    same("columns", header, vec!["NAME", "IMAGE", "CONFIG", "TARGET", "READY", "STATUS", "AGE"])?;
    let row = lines.next().context("no row")?;
    let cells: Vec<_> = row.split_whitespace().collect();
    same("cells", (cells[0], cells[1], cells[3], cells[4]), ("web", &*image, "web-config", "True"))?;
    checked("the config is a short digest", cells[2].len() < 24 && artifact.starts_with(cells[2]), cells[2])?;
    checked("the status is the message", row.contains(config.message()?), row)
}

/// kstatus takes an object without status for done; ours says from its first moment that nobody has looked at it.
async fn a_resource_that_was_never_reconciled_is_not_current(bench: Bench) -> Result<()> {
    let fresh = bench.apply("web", json!({"image": bench.image("web:v1")})).await?;
    let status = fresh.seen()?;
    same("observedGeneration", status.observed_generation, Some(-1))?;
    same("conditions", status.conditions.len(), 0)?;
    let config = bench.failed("web", Reason::ImageNotFound).await?;
    same("observedGeneration", config.seen()?.observed_generation, config.metadata.generation)
}

/// `lastTransitionTime` is the time of the transition, whatever happens to reason and message in between.
async fn conditions_change_their_time_only_with_their_status(bench: Bench) -> Result<()> {
    let time = |config: &api::ArtifactConfig| {
        config.current("Ready").map(|ready| ready.map(|ready| ready.last_transition_time.clone()))
    };
    let image = bench.image("web:v1");
    bench.apply("web", json!({"image": image})).await?;
    let missing = bench.failed("web", Reason::ImageNotFound).await?;
    bench.push(&image).await?;
    // The API keeps whole seconds: without another one the times could not differ.
    let second = jiff::Timestamp::now().as_second();
    eventually("the next second", || async {
        let now = jiff::Timestamp::now().as_second();
        Ok(if now > second { Ok(()) } else { Err("not yet".to_owned()) })
    })
    .await?;
    let without = bench.sync_failed("web", Reason::ArtifactNotFound).await?;
    same("time while it stays False", time(&without)?, time(&missing)?)?;
    bench.attach(&image, &[("config.json", "{}")]).await?;
    let synced = bench.sync_ready("web").await?;
    checked("another time once it is True", time(&synced)? != time(&without)?, time(&synced)?)
}

/// One event for each transition, with the message of that moment; none for repetitions.
async fn events_are_published_on_transitions_and_not_repeated(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::ImageNotFound).await?;
    bench.wait_event("web", Reason::ImageNotFound).await?;
    bench.sync_failed("web", Reason::ImageNotFound).await?;
    bench.push(&image).await?;
    bench.sync_failed("web", Reason::ArtifactNotFound).await?;
    bench.wait_event("web", Reason::ArtifactNotFound).await?;
    bench.attach_at(&image, 1, &[("config.json", "1")]).await?;
    bench.sync_ready("web").await?;
    bench.wait_event("web", Reason::Synced).await?;
    bench.sync_ready("web").await?;
    bench.sync_ready("web").await?;
    let second = bench.attach_at(&image, 2, &[("config.json", "2")]).await?;
    let synced = bench.sync_ready("web").await?;
    let short = synced.seen()?.artifact.as_ref().context("no artifact")?.short_digest.clone();
    checked("the digest is the second's", second.starts_with(&short), &short)?;
    eventually("an event about the second config", || async {
        let events = bench.events("web").await?;
        let announced = events.last().is_some_and(|(_, note)| note.contains(&short));
        Ok(if announced { Ok(()) } else { Err(format!("there are {events:?}")) })
    })
    .await?;

    let events = bench.events("web").await?;
    let reasons: Vec<_> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    same("events", reasons, vec!["ImageNotFound", "ArtifactNotFound", "Synced", "Synced"])?;
    let listed = bench.kubectl(&["events", "--for", "artifactconfig/web"]).await?;
    checked(
        "kubectl shows them with the resource",
        listed.contains("ImageNotFound") && listed.contains(&short),
        listed,
    )
}

/// What a Pod's probes and Prometheus ask for.
async fn health_and_metrics_are_served(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    for path in ["/livez", "/readyz"] {
        same(path, bench.world.operator.get(path).await?.0, 200)?;
    }
    let metrics = bench.world.operator.metrics().await?;
    for name in
        ["artifactconfig_reconciles_total{", "artifactconfig_registry_requests_total{", "reason=\"Synced\""]
    {
        checked(&format!("metrics have {name}"), metrics.contains(name), &metrics)?;
    }
    Ok(())
}
