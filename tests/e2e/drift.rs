//! Edits of the `ConfigMap` by others. The interval is an hour in all tests, so the watch triggers the repairs.

use anyhow::{Context as _, Result};
use api::{Reason, annotation, label};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{Bench, Ready as _, cases, checked, eventually, same, text};

cases! {
    Embedded [
        a_changed_value_is_repaired,
        keys_that_somebody_added_are_removed,
        a_deleted_config_map_comes_back,
        our_metadata_is_restored,
        labels_and_annotations_of_others_stay,
        what_another_operator_applied_is_not_undone,
        a_repair_is_announced,
        a_config_map_that_somebody_made_immutable_is_reported,
        the_targets_own_metadata_follows_the_spec,
    ]
}

const FILES: [(&str, &str); 2] = [("config.json", "{}"), ("app.ini", "[app]\n")];

async fn synced(bench: &Bench) -> Result<String> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    Ok(image)
}

/// `kubectl edit` of a value does not last.
async fn a_changed_value_is_repaired(bench: Bench) -> Result<()> {
    synced(&bench).await?;
    for patch in [
        json!({"data": {"config.json": "{\"by\": \"hand\"}"}}),
        json!({"data": {"config.json": null}}),
        json!({"data": null}),
        json!({"data": {"config.json": null}, "binaryData": {"config.json": "/w=="}}),
    ] {
        bench.edit("web", &patch).await?;
        let config_map = bench.wait_data("web", &text(&FILES)).await?;
        same("binaryData", config_map.binary_data.unwrap_or_default().len(), 0)?;
    }
    Ok(())
}

/// An application that reads every key must not find one that nobody attached.
async fn keys_that_somebody_added_are_removed(bench: Bench) -> Result<()> {
    synced(&bench).await?;
    bench.edit("web", &json!({"data": {"extra": "x"}, "binaryData": {"more": "/w=="}})).await?;
    let seen = |config_map: &k8s_openapi::api::core::v1::ConfigMap| {
        same("binaryData", config_map.binary_data.clone().unwrap_or_default().len(), 0)?;
        same("data", config_map.data.clone().unwrap_or_default(), text(&FILES))
    };
    bench.wait_config_map("web", "to be rid of the keys", seen).await?;
    Ok(())
}

/// Deleted by hand, it is there again.
async fn a_deleted_config_map_comes_back(bench: Bench) -> Result<()> {
    synced(&bench).await?;
    let before = bench.config_map("web").await?.metadata.uid;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    let config_map = bench.wait_data("web", &text(&FILES)).await?;
    checked("it is a new object", config_map.metadata.uid != before, &before)
}

/// A second operator of a rolling update knows of a newer config and writes it. This one does not repair the target from
/// its memory, which would undo that: it asks the registry again, and finds the newer one as well.
async fn what_another_operator_applied_is_not_undone(bench: Bench) -> Result<()> {
    let image = synced(&bench).await?;
    let newer = bench.attach_at(&image, 2, &[("config.json", "newer")]).await?;
    let says = json!({
        "metadata": {"annotations": {annotation::ARTIFACT_DIGEST: newer}},
        "data": {"config.json": "newer", "app.ini": null},
    });
    bench.edit("web", &says).await?;
    bench
        .wait("web", "to have the newer config", |config| {
            config.expect_synced()?;
            same("artifact", config.artifact()?, newer.as_str())
        })
        .await?;
    same("data", bench.data("web").await?, text(&[("config.json", "newer")]))
}

/// The labels by which it is found, the annotations that say what it holds, and its owner are restored.
async fn our_metadata_is_restored(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    let metadata = |part: &str, value: Value| json!({"metadata": {part: value}});
    let patches = [
        metadata("labels", json!({label::MANAGED_BY: "helm"})),
        metadata("labels", json!({label::MANAGED_BY: null})),
        metadata("labels", json!({label::NAME: null})),
        metadata("labels", json!({label::NAME: "another"})),
        metadata("labels", json!({label::OWNER_UID: "0"})),
        metadata("labels", Value::Null),
        metadata("annotations", json!({annotation::ARTIFACT_DIGEST: "sha256:0"})),
        metadata("annotations", Value::Null),
        metadata("ownerReferences", Value::Null),
    ];
    // A resource for each: repairs of one target in a row come at growing intervals.
    for (number, patch) in patches.into_iter().enumerate() {
        let name = format!("web-{number}");
        bench.apply(&name, json!({"image": image})).await?;
        bench.ready(&name).await?;
        let wanted = bench.config_map(&name).await?.metadata;
        bench.edit(&name, &patch).await?;
        let what = format!("to be as before {patch}");
        let seen = |config_map: &k8s_openapi::api::core::v1::ConfigMap| {
            same("labels", &config_map.metadata.labels, &wanted.labels)?;
            same("annotations", &config_map.metadata.annotations, &wanted.annotations)?;
            same("owner", &config_map.metadata.owner_references, &wanted.owner_references)
        };
        bench.wait_config_map(&name, &what, seen).await?;
    }
    Ok(())
}

/// Labels and annotations of others stay: they survive repairs and new configs, and cause neither.
async fn labels_and_annotations_of_others_stay(bench: Bench) -> Result<()> {
    let image = synced(&bench).await?;
    let theirs =
        json!({"metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/note": "keep"}}});
    let edited = bench.edit("web", &theirs).await?;
    bench.sync_ready("web").await?;
    same("the ConfigMap", bench.config_map("web").await?, edited)?;

    bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
    bench.wait_data("web", &text(&FILES)).await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.sync_ready("web").await?;
    let config_map = bench.wait_data("web", &text(&[("config.json", "second")])).await?;
    let labels = config_map.metadata.labels.context("no labels")?;
    same("label", labels.get("team").map(String::as_str), Some("shop"))?;
    let annotations = config_map.metadata.annotations.context("no annotations")?;
    same("annotation", annotations.get("example.com/note").map(String::as_str), Some("keep"))
}

/// An event explains why an edit disappeared.
async fn a_repair_is_announced(bench: Bench) -> Result<()> {
    synced(&bench).await?;
    let before = bench.wait_event("web", Reason::Synced).await?;
    same("events so far", before.len(), 1)?;
    bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
    bench.wait_data("web", &text(&FILES)).await?;
    let repaired = |events: &[(String, String)]| events.iter().any(|(_, note)| note.starts_with("repaired"));
    eventually("an event about the repair", || async {
        let events = bench.events("web").await?;
        Ok(if repaired(&events) { Ok(()) } else { Err(format!("there are {events:?}")) })
    })
    .await
}

/// Somebody sets `immutable: true`: the operator can only report it, and continue after the object is deleted.
async fn a_config_map_that_somebody_made_immutable_is_reported(bench: Bench) -> Result<()> {
    let image = synced(&bench).await?;
    bench.edit("web", &json!({"immutable": true})).await?;
    bench.sync_ready("web").await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    let config = bench.sync_failed("web", Reason::ApplyFailed).await?;
    checked("the message says why", config.message()?.contains("immutable"), config.message()?)?;
    same("data", bench.data("web").await?, text(&FILES))?;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// Labels and annotations of `spec.target` are set, repaired, changed and, once they leave the spec, removed.
async fn the_targets_own_metadata_follows_the_spec(bench: Bench) -> Result<()> {
    let image = synced(&bench).await?;
    let target = json!({"labels": {"a": "1", "b": "1"}, "annotations": {"example.com/a": "1"}});
    bench.apply("web", json!({"image": image, "target": target})).await?;
    bench.ready("web").await?;
    let label = |config_map: &k8s_openapi::api::core::v1::ConfigMap, key: &str| {
        config_map.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned()
    };
    let config_map = bench.config_map("web").await?;
    same(
        "labels",
        (label(&config_map, "a").as_deref(), label(&config_map, "b").as_deref()),
        (Some("1"), Some("1")),
    )?;

    bench.edit("web", &json!({"metadata": {"labels": {"a": "by-hand"}}})).await?;
    bench
        .wait_config_map("web", "label a to be repaired", |seen| {
            same("a", label(seen, "a").as_deref(), Some("1"))
        })
        .await?;

    bench.apply("web", json!({"image": image, "target": {"labels": {"a": "2"}}})).await?;
    bench.ready("web").await?;
    let config_map = bench.config_map("web").await?;
    same("label a", label(&config_map, "a").as_deref(), Some("2"))?;
    same("label b has left the spec", label(&config_map, "b"), None)?;
    let annotations = config_map.metadata.annotations.context("no annotations")?;
    same("the annotation has left the spec", annotations.get("example.com/a"), None)
}
