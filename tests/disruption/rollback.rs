//! Going back while the operator, the registry, or both are away.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use api::{ArtifactConfig, HistoryOutcome, Reason, annotation};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, same, text};

cases! {
    Both [a_restart_keeps_a_rollback]
    Embedded [
        a_rollback_is_requested_while_the_operator_is_away,
        a_deleted_revision_is_fetched_and_verified,
        a_forged_revision_is_never_rolled_back_to,
        what_is_in_place_is_repaired_by_an_operator_that_has_never_asked,
    ]
}

fn config(content: &str) -> BTreeMap<String, String> {
    text(&[("config.json", content)])
}

/// Two configs, applied one after the other: the image, and the digests of both.
async fn twice(bench: &Bench) -> Result<(String, [String; 2])> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.sync_ready("web").await?;
    Ok((image, [first, second]))
}

async fn rolled_back(bench: &Bench, digest: &str) -> Result<ArtifactConfig> {
    bench
        .wait("web", "to be rolled back", |config| {
            config.expect("True", Reason::RolledBack)?;
            same("artifact", config.artifact()?, digest)
        })
        .await
}

fn outline(config: &ArtifactConfig) -> Result<Vec<(i64, HistoryOutcome)>> {
    Ok(config.seen()?.history.iter().map(|entry| (entry.revision, entry.outcome)).collect())
}

/// Name and hash of the revision at a place of the history.
async fn revision(bench: &Bench, place: usize) -> Result<(String, String)> {
    let config = bench.get("web").await?;
    let entry = config.seen()?.history.get(place).context("the history is too short")?;
    Ok((entry.config_map.clone().context("no revision")?, entry.hash.clone().context("no hash")?))
}

/// A new operator knows nothing but what is in the cluster: it repairs what was gone back to, with nobody to ask, and goes
/// forward when the field goes.
async fn a_restart_keeps_a_rollback(bench: Bench) -> Result<()> {
    use HistoryOutcome::{Applied, RolledBack, Superseded};
    let (image, [first, second]) = twice(&bench).await?;
    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    rolled_back(&bench, &first).await?;
    bench
        .wait("web", "to say what would come next", |config| {
            same("latest", config.seen()?.latest.as_ref(), Some(&second))
        })
        .await?;
    bench.world.kill_operator().await?;
    bench.world.stop_registry(bench.kind).await?;
    bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
    bench.world.operator.restart().await?;
    bench.wait_data("web", &config("first")).await?;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    bench.wait_data("web", &config("first")).await?;
    let resource = rolled_back(&bench, &first).await?;
    same("history", outline(&resource)?, vec![(3, Applied), (2, RolledBack), (1, Superseded)])?;
    same("latest", resource.seen()?.latest.as_ref(), Some(&second))?;

    bench.world.restart_registry(bench.kind).await?;
    bench.apply("web", json!({"image": image})).await?;
    let resource = bench.ready("web").await?;
    same("artifact", resource.artifact()?, &second)?;
    same("data", bench.data("web").await?, config("second"))?;
    same("number", outline(&resource)?.first().copied(), Some((4, Applied)))
}

/// The night: no registry, the operator on its way to another node, and somebody sets the field.
async fn a_rollback_is_requested_while_the_operator_is_away(bench: Bench) -> Result<()> {
    let (image, [first, _]) = twice(&bench).await?;
    bench.world.kill_operator().await?;
    bench.world.stop_registry(bench.kind).await?;
    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    bench.world.operator.restart().await?;
    rolled_back(&bench, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    bench.world.restart_registry(bench.kind).await
}

/// By an operator that remembers no bytes: the registry's are not what the digest says, then they are.
async fn a_deleted_revision_is_fetched_and_verified(bench: Bench) -> Result<()> {
    let (image, [first, second]) = twice(&bench).await?;
    let (name, _) = revision(&bench, 1).await?;
    bench.world.kill_operator().await?;
    bench.config_maps().delete(&name, &DeleteParams::default()).await?;
    let before = bench.config_map("web").await?;
    let fault = bench.inject("/blobs/", |fault| fault.body(|_, _| &b"FIRST"[..]));
    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    bench.world.operator.restart().await?;
    let resource = bench.failed("web", Reason::DigestMismatch).await?;
    same("artifact", resource.artifact()?, &second)?;
    same("the ConfigMap", bench.config_map("web").await?, before)?;
    bench.world.embedded.remove_fault(fault);
    rolled_back(&bench, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    same("the revision", bench.data(&name).await?, config("first"))
}

/// Deleted and made anew with other content, with the annotation as it was and with one that says what it holds: with no
/// registry to ask it is no way back at all.
async fn a_forged_revision_is_never_rolled_back_to(bench: Bench) -> Result<()> {
    let (image, [first, second]) = twice(&bench).await?;
    let ((_, of_second), (name, of_first)) = (revision(&bench, 0).await?, revision(&bench, 1).await?);
    for hash in [of_first, of_second] {
        bench.world.kill_operator().await?;
        bench.world.stop_registry(bench.kind).await?;
        let real = bench.config_map(&name).await?;
        let mut annotations = real.metadata.annotations.unwrap_or_default();
        annotations.insert(annotation::CONTENT_HASH.to_owned(), hash);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: real.metadata.labels,
            annotations: Some(annotations),
            owner_references: real.metadata.owner_references,
            ..ObjectMeta::default()
        };
        // The bytes of the second, under the name of the first.
        let data = Some(config("second"));
        let forged = ConfigMap { metadata, data, immutable: Some(true), ..ConfigMap::default() };
        bench.config_maps().delete(&name, &DeleteParams::default()).await?;
        bench.config_maps().create(&PostParams::default(), &forged).await?;
        bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
        bench.world.operator.restart().await?;
        let resource = bench.failed("web", Reason::RegistryUnavailable).await?;
        same("artifact", resource.artifact()?, &second)?;

        bench.world.restart_registry(bench.kind).await?;
        rolled_back(&bench, &first).await?;
        same("data", bench.data("web").await?, config("first"))?;
        same("the revision", bench.data(&name).await?, config("first"))?;
        bench.apply("web", json!({"image": image})).await?;
        bench.ready("web").await?;
    }
    Ok(())
}

/// Going forward: its first look at the resource finds the registry down and the target changed.
async fn what_is_in_place_is_repaired_by_an_operator_that_has_never_asked(bench: Bench) -> Result<()> {
    twice(&bench).await?;
    bench.world.kill_operator().await?;
    bench.world.stop_registry(bench.kind).await?;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    bench.world.operator.restart().await?;
    bench.wait_data("web", &config("second")).await?;
    bench.failed("web", Reason::RegistryUnavailable).await?;
    bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
    bench.wait_data("web", &config("second")).await?;
    bench.world.restart_registry(bench.kind).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, config("second"))
}
