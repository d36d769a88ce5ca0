//! A resource that changes during its reconcile: the work for the earlier spec ends at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use api::Reason;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use testbed::registry::FaultId;

use crate::support::{Bench, Ready as _, cases, checked, eventually, same, text};

cases! {
    Embedded [
        deleted_during_its_pull_it_leaves_nothing,
        suspended_during_its_pull_nothing_is_written,
        edited_during_its_pull_the_new_spec_counts,
        created_again_during_its_pull_the_new_one_counts,
        a_rollback_does_not_wait_for_a_reconcile_that_hangs,
        a_rollback_in_place_is_reported_without_the_registry,
    ]
}

/// How long each blob takes: long enough for a change in the middle.
const SLOW: Duration = Duration::from_secs(3);

/// Far below `spec.timeout`.
const SOON: Duration = Duration::from_secs(15);

/// Blobs take their time from now on.
fn slow(bench: &Bench) -> FaultId {
    bench.inject("/blobs/", |fault| fault.delay(SLOW))
}

async fn met(bench: &Bench, fault: FaultId) -> Result<()> {
    eventually("the registry to be asked", || async {
        Ok(if bench.world.embedded.hits(fault) > 0 { Ok(()) } else { Err("it was not".to_owned()) })
    })
    .await
}

/// Waits until another resource, which began later, has its blob, which takes as long. By then all earlier reconciles
/// have their blobs, and have handled them.
async fn past(bench: &Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("witness:v1", &[("config.json", "witness")]).await?;
    bench.apply("witness", json!({"image": image})).await?;
    bench.ready("witness").await?;
    bench.edit("witness", &json!({"data": null})).await?;
    bench.wait_data("witness", &text(&[("config.json", "witness")])).await.map(drop)
}

/// With `Orphan` nobody would ever delete it.
async fn deleted_during_its_pull_it_leaves_nothing(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let fault = slow(&bench);
    let target = json!({"creationPolicy": "Orphan", "deletionPolicy": "Retain"});
    bench.apply("web", json!({"image": image, "target": target})).await?;
    met(&bench, fault).await?;
    bench.delete("web").await?;
    past(&bench).await?;
    let left = bench.config_maps().list(&ListParams::default()).await?;
    let left: Vec<_> = left.items.into_iter().filter_map(|map| map.metadata.name).collect();
    checked("nothing is left", !left.iter().any(|name| name.starts_with("web")), &left)
}

/// A suspension in an emergency.
async fn suspended_during_its_pull_nothing_is_written(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    let fault = slow(&bench);
    bench.request("web").await?;
    met(&bench, fault).await?;
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    let asked = Instant::now();
    bench.wait("web", "to be suspended", |config| config.expect("True", Reason::Suspended)).await?;
    checked("it is said soon", asked.elapsed() < SOON, asked.elapsed())?;
    past(&bench).await?;
    same("the ConfigMap", bench.config_map("web").await?, before)?;
    let config = bench.get("web").await?;
    same("artifact", config.artifact()?, &first)?;
    same("history", config.seen()?.history.len(), 1)?;
    let events = bench.events("web").await?;
    let failed: Vec<_> = events.iter().filter(|(kind, _)| kind == "Warning").collect();
    checked("nobody is told of a failure", failed.is_empty(), &failed)
}

/// With the mapping as an example: a config is never written by the earlier spec.
async fn edited_during_its_pull_the_new_spec_counts(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let fault = slow(&bench);
    bench.apply("web", json!({"image": image, "target": {"name": "before"}})).await?;
    met(&bench, fault).await?;
    bench.apply("web", json!({"image": image, "target": {"name": "after"}})).await?;
    let config = bench.ready("web").await?;
    past(&bench).await?;
    same("history", config.seen()?.history.len(), 1)?;
    same("under the name of before", bench.has_config_map("before").await?, false)?;
    same("data", bench.data("after").await?, text(&[("config.json", "first")]))
}

/// Another resource of the same name.
async fn created_again_during_its_pull_the_new_one_counts(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let fault = slow(&bench);
    bench.apply("web", json!({"image": image})).await?;
    met(&bench, fault).await?;
    bench.configs().delete("web", &DeleteParams::default()).await?;
    let anew = bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    past(&bench).await?;
    let map = bench.config_map("web").await?;
    let owner = map.metadata.owner_references.and_then(|owners| owners.into_iter().next());
    same("owner", Some(owner.context("no owner")?.uid), anew.metadata.uid)
}

/// The reconcile of the same resource already hangs, for up to twice `spec.timeout`.
async fn a_rollback_does_not_wait_for_a_reconcile_that_hangs(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.sync_ready("web").await?;
    let fault = bench.inject("/", testbed::registry::Fault::hang);
    bench.request("web").await?;
    met(&bench, fault).await?;
    let asked = Instant::now();
    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    bench.wait_data("web", &text(&[("config.json", "first")])).await?;
    bench.wait("web", "to be rolled back", |config| config.expect("True", Reason::RolledBack)).await?;
    checked("it came soon", asked.elapsed() < SOON, asked.elapsed())
}

/// `rollbackTo` names the config that is in place: only the status is written.
async fn a_rollback_in_place_is_reported_without_the_registry(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.inject("/", testbed::registry::Fault::hang);
    let asked = Instant::now();
    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    bench.wait("web", "to be rolled back", |config| config.expect("True", Reason::RolledBack)).await?;
    checked("it came soon", asked.elapsed() < SOON, asked.elapsed())
}
