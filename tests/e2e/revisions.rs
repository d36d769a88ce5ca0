//! Every applied config is kept as an immutable revision, and every application has its own number.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use api::{ArtifactConfig, HistoryEntry, HistoryOutcome, MANAGER, Reason, annotation, label};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Both [the_first_config_makes_the_first_revision]
    Embedded [
        another_config_makes_another_revision,
        equal_bytes_of_two_artifacts_are_two_revisions,
        another_mapping_is_another_revision_of_the_artifact,
        the_history_says_which_config_ran_with_which_image,
        a_revision_that_somebody_deleted_comes_back,
        a_forged_revision_is_replaced,
        numbers_are_never_used_again,
        a_lost_status_gets_its_history_back,
        an_unusable_artifact_is_in_the_history_once,
    ]
}

/// The text that a test's only file holds.
pub fn config(content: &str) -> BTreeMap<String, String> {
    text(&[("config.json", content)])
}

/// Attaches the next config, newer by its minute, and waits until it is applied; returns its digest.
pub async fn update(bench: &Bench, image: &str, minute: u32, content: &str) -> Result<String> {
    let artifact = bench.attach_at(image, minute, &[("config.json", content)]).await?;
    let config = bench.sync_ready("web").await?;
    same("artifact", config.artifact()?, &artifact)?;
    Ok(artifact)
}

/// The newest entry of the history.
pub fn newest(config: &ArtifactConfig) -> Result<&HistoryEntry> {
    config.seen()?.history.first().context("the history is empty")
}

/// Numbers and outcomes, newest first.
pub fn outline(config: &ArtifactConfig) -> Result<Vec<(i64, HistoryOutcome)>> {
    Ok(config.seen()?.history.iter().map(|entry| (entry.revision, entry.outcome)).collect())
}

/// Name of the revision that keeps what is applied now.
pub async fn revision_of(bench: &Bench, name: &str) -> Result<String> {
    newest(&bench.get(name).await?)?.config_map.clone().context("no revision keeps what is applied")
}

/// Deletes an object and creates it again with other content. Labels and annotations stay, except for a given hash.
pub async fn forge(bench: &Bench, name: &str, content: &str, hash: Option<&str>) -> Result<ConfigMap> {
    let before = bench.config_map(name).await?;
    let mut annotations = before.metadata.annotations.unwrap_or_default();
    annotations.extend(hash.map(|hash| (annotation::CONTENT_HASH.to_owned(), hash.to_owned())));
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: before.metadata.labels,
        annotations: Some(annotations),
        owner_references: before.metadata.owner_references,
        ..ObjectMeta::default()
    };
    let forged =
        ConfigMap { metadata, data: Some(config(content)), immutable: Some(true), ..ConfigMap::default() };
    bench.config_maps().delete(name, &DeleteParams::default()).await?;
    Ok(bench.config_maps().create(&PostParams::default(), &forged).await?)
}

fn annotated<'a>(config_map: &'a ConfigMap, key: &str) -> Option<&'a str> {
    config_map.annotations().get(key).map(String::as_str)
}

/// Other tools read name, labels and annotations, so none of them may change by accident.
async fn the_first_config_makes_the_first_revision(bench: Bench) -> Result<()> {
    let (image, digest, artifact) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let target = json!({"name": "shop-config", "labels": {"team": "shop"}});
    bench.apply("web", json!({"image": image, "target": target})).await?;
    let resource = bench.ready("web").await?;
    let entry = newest(&resource)?.clone();
    same("history", outline(&resource)?, vec![(1, HistoryOutcome::Applied)])?;
    same("artifact and image", (&entry.artifact, &entry.image), (&artifact, &digest))?;
    same("image reference", entry.image_reference.as_deref(), Some(&*image))?;

    let name = entry.config_map.context("no revision is named")?;
    let hash = name.strip_prefix("shop-config-").context("the name does not begin with the target's")?;
    let is_hash = hash.len() == 10 && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    checked("the name ends in ten hexadecimal characters", is_hash, &name)?;
    let revision = bench.config_map(&name).await?;
    same("immutable", revision.immutable, Some(true))?;
    same("data", revision.data.clone().unwrap_or_default(), config("first"))?;
    let target = bench.config_map("shop-config").await?;
    same("the target is immutable", target.immutable, None)?;

    let uid = resource.metadata.uid.clone().unwrap_or_default();
    for (key, value) in [
        (label::MANAGED_BY, MANAGER),
        (label::NAME, "web"),
        (label::OWNER_UID, &uid),
        (label::REVISION, "1"),
        ("team", "shop"),
    ] {
        same(key, revision.labels().get(key).map(String::as_str), Some(value))?;
    }
    let hash = entry.hash.context("the history has no hash")?;
    for (key, value) in [
        (annotation::ARTIFACT_DIGEST, &artifact),
        (annotation::IMAGE, &image),
        (annotation::IMAGE_DIGEST, &digest),
        (annotation::CONTENT_HASH, &hash),
        (annotation::APPLIED_AT, &entry.applied_at),
    ] {
        same(key, annotated(&revision, key), Some(value.as_str()))?;
    }
    checked("it is a time", entry.applied_at.parse::<jiff::Timestamp>().is_ok(), &entry.applied_at)?;
    same("number on the target", annotated(&target, annotation::REVISION), Some("1"))?;
    same("a revision's number is its label alone", target.labels().get(label::REVISION), None)?;
    let owners = revision.metadata.owner_references.unwrap_or_default();
    same("owner", owners.iter().map(|owner| &owner.uid).collect::<Vec<_>>(), vec![&uid])
}

/// And the first stays as it was.
async fn another_config_makes_another_revision(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let first = revision_of(&bench, "web").await?;
    let before = bench.config_map(&first).await?;
    update(&bench, &image, 2, "second").await?;
    let second = revision_of(&bench, "web").await?;
    same("the first revision", bench.config_map(&first).await?, before)?;
    let second = bench.config_map(&second).await?;
    same("number", second.labels().get(label::REVISION).map(String::as_str), Some("2"))?;
    same("data", second.data.unwrap_or_default(), config("second"))?;
    let target = bench.config_map("web").await?;
    same("number on the target", annotated(&target, annotation::REVISION), Some("2"))
}

/// A tool that restarts Pods after a change of content does not do so here: the hash is the same.
async fn equal_bytes_of_two_artifacts_are_two_revisions(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "same")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    update(&bench, &image, 2, "same").await?;
    let resource = bench.get("web").await?;
    let history = &resource.seen()?.history;
    same(
        "history",
        outline(&resource)?,
        vec![(2, HistoryOutcome::Applied), (1, HistoryOutcome::Superseded)],
    )?;
    checked("two artifacts", history[0].artifact != history[1].artifact, history)?;
    checked("two revisions", history[0].config_map != history[1].config_map, history)?;
    same("hash", &history[0].hash, &history[1].hash)?;
    for entry in history {
        let name = entry.config_map.as_deref().context("no revision is named")?;
        same("data", bench.data(name).await?, config("same"))?;
    }
    Ok(())
}

/// The mapping of files to keys is a part of the applied config.
async fn another_mapping_is_another_revision_of_the_artifact(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let files = json!([{"path": "config.json", "key": "renamed.json"}]);
    bench.apply("web", json!({"image": image, "files": files})).await?;
    let resource = bench.ready("web").await?;
    let history = &resource.seen()?.history;
    same(
        "history",
        outline(&resource)?,
        vec![(2, HistoryOutcome::Applied), (1, HistoryOutcome::Superseded)],
    )?;
    same("artifacts", (&history[0].artifact, &history[1].artifact), (&artifact, &artifact))?;
    checked("two revisions", history[0].config_map != history[1].config_map, history)?;
    let [new, old] = [&history[0], &history[1]].map(|entry| entry.config_map.clone().unwrap_or_default());
    same("the new revision", bench.data(&new).await?, text(&[("renamed.json", "{}")]))?;
    same("the old revision", bench.data(&old).await?, config("{}"))
}

/// Newest first, each with its image, its time and its outcome. Every named revision exists.
async fn the_history_says_which_config_ran_with_which_image(bench: Bench) -> Result<()> {
    let (first, first_digest, a) = bench.image_with("web:v1", &[("config.json", "a")]).await?;
    let (second, second_digest, c) = bench.image_with("web:v2", &[("config.json", "c")]).await?;
    bench.apply("web", json!({"image": first})).await?;
    bench.ready("web").await?;
    let b = update(&bench, &first, 2, "b").await?;
    bench.apply("web", json!({"image": second})).await?;
    let resource = bench.ready("web").await?;
    let history = &resource.seen()?.history;
    let pairs: Vec<_> = history
        .iter()
        .map(|entry| (entry.artifact.as_str(), entry.image.as_str(), entry.image_reference.as_deref()))
        .collect();
    same(
        "config and image",
        pairs,
        vec![
            (&*c, &*second_digest, Some(&*second)),
            (&*b, &*first_digest, Some(&*first)),
            (&*a, &*first_digest, Some(&*first)),
        ],
    )?;
    same(
        "outcomes",
        outline(&resource)?,
        vec![(3, HistoryOutcome::Applied), (2, HistoryOutcome::Superseded), (1, HistoryOutcome::Superseded)],
    )?;
    let times: Vec<_> = history.iter().map(|entry| &entry.applied_at).collect();
    checked("newest first", times.is_sorted_by(|newer, older| newer >= older), &times)?;
    for entry in history {
        let revision = bench.config_map(entry.config_map.as_deref().context("no revision")?).await?;
        same("artifact", annotated(&revision, annotation::ARTIFACT_DIGEST), Some(&*entry.artifact))?;
    }
    Ok(())
}

/// The watch sees it go; the interval is an hour.
async fn a_revision_that_somebody_deleted_comes_back(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let name = revision_of(&bench, "web").await?;
    let before = bench.config_map(&name).await?;
    bench.config_maps().delete(&name, &DeleteParams::default()).await?;
    let revision = bench.wait_data(&name, &config("first")).await?;
    checked("it is a new object", revision.metadata.uid != before.metadata.uid, &before.metadata.uid)?;
    same("labels", revision.metadata.labels, before.metadata.labels)?;
    same("annotations", revision.metadata.annotations, before.metadata.annotations)?;
    same("immutable", revision.immutable, Some(true))?;
    let resource = bench.sync_ready("web").await?;
    same("history", outline(&resource)?, vec![(1, HistoryOutcome::Applied)])
}

/// Everyone who may delete and create `ConfigMaps` can create another object under a revision's name. It does not stay,
/// and the target never gets its content.
async fn a_forged_revision_is_replaced(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let name = revision_of(&bench, "web").await?;
    // Suspended meanwhile, or it would come back between the two steps.
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    bench.wait("web", "to be suspended", |config| config.expect("True", Reason::Suspended)).await?;
    forge(&bench, &name, "forged", None).await?;
    let target = bench.config_map("web").await?;
    bench.apply("web", json!({"image": image})).await?;
    let resource = bench.ready("web").await?;
    let revision = bench.wait_data(&name, &config("first")).await?;
    same("immutable", revision.immutable, Some(true))?;
    same("the target", bench.config_map("web").await?, target)?;
    same("history", outline(&resource)?, vec![(1, HistoryOutcome::Applied)])
}

/// A rollback is a new entry under a new number, and so is a resume.
async fn numbers_are_never_used_again(bench: Bench) -> Result<()> {
    use HistoryOutcome::{Applied, RolledBack, Superseded};
    let (image, _, a) = bench.image_with("web:v1", &[("config.json", "a")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let first = revision_of(&bench, "web").await?;
    let b = update(&bench, &image, 2, "b").await?;
    bench.apply("web", json!({"image": image, "rollbackTo": a})).await?;
    let back = |config: &ArtifactConfig| config.expect("True", Reason::RolledBack);
    let resource = bench.wait("web", "to be rolled back", back).await?;
    same("history", outline(&resource)?, vec![(3, Applied), (2, RolledBack), (1, Superseded)])?;
    same("it is the revision of old", newest(&resource)?.config_map.as_ref(), Some(&first))?;
    let revision = bench.config_map(&first).await?;
    same("its number", revision.labels().get(label::REVISION).map(String::as_str), Some("3"))?;

    bench.apply("web", json!({"image": image})).await?;
    let resource = bench.ready("web").await?;
    let expected = vec![(4, Applied), (3, Superseded), (2, RolledBack), (1, Superseded)];
    same("history", outline(&resource)?, expected)?;
    same("artifact", &newest(&resource)?.artifact, &b)?;

    // If the history keeps only one entry, the count continues.
    bench.apply("web", json!({"image": image, "revisionHistoryLimit": 0})).await?;
    bench.ready("web").await?;
    update(&bench, &image, 3, "c").await?;
    same("history", outline(&bench.get("web").await?)?, vec![(5, Applied)])
}

/// As after a restore from a backup, which brings the objects and no status.
async fn a_lost_status_gets_its_history_back(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    update(&bench, &image, 2, "second").await?;
    update(&bench, &image, 3, "third").await?;
    let before = bench.get("web").await?.seen()?.clone();
    let written = bench.written().await?;
    let nothing = Patch::Merge(json!({"status": null}));
    let lost = bench.configs().patch_status("web", &PatchParams::default(), &nothing).await?;
    same("history", lost.status.map_or(0, |status| status.history.len()), 0)?;

    let resource = bench.sync_ready("web").await?;
    same("history", &resource.seen()?.history, &before.history)?;
    same("artifact", &resource.seen()?.artifact, &before.artifact)?;
    // A wrong collection would happen before the next reconcile.
    bench.sync_ready("web").await?;
    same("targets and revisions", bench.written().await?, written)?;
    update(&bench, &image, 4, "fourth").await?;
    same("number", newest(&bench.get("web").await?)?.revision, 4)
}

/// Its outcome is `Failed` over several reconciles, and the config before it stays applied.
async fn an_unusable_artifact_is_in_the_history_once(bench: Bench) -> Result<()> {
    use HistoryOutcome::{Applied, Failed, Superseded};
    let (image, digest, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image, "files": [{"path": "config.json"}]})).await?;
    bench.ready("web").await?;
    let unusable = bench.attach_at(&image, 2, &[("other.json", "{}")]).await?;
    bench.sync_failed("web", Reason::InvalidFiles).await?;
    let resource = bench.sync_failed("web", Reason::InvalidFiles).await?;
    same("history", outline(&resource)?, vec![(2, Failed), (1, Applied)])?;
    let entry = newest(&resource)?;
    same("artifact and image", (&entry.artifact, &entry.image), (&unusable, &digest))?;
    same("revision", &entry.config_map, &None)?;
    same("latest", resource.seen()?.latest.as_ref(), Some(&unusable))?;
    same("artifact", resource.artifact()?, &first)?;
    same("data", bench.data("web").await?, config("first"))?;

    update(&bench, &image, 3, "third").await?;
    let resource = bench.get("web").await?;
    same("history", outline(&resource)?, vec![(3, Applied), (2, Failed), (1, Superseded)])
}
