//! The way from `oras attach` to a `ConfigMap`, and later changes of image and artifacts.

use anyhow::{Context as _, Result};
use api::{Reason, annotation, label};
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Both [
        first_sync_is_byte_for_byte,
        a_newer_config_replaces_the_older_by_itself,
        a_moved_tag_is_followed,
        a_moved_tag_without_config_keeps_the_old_one,
        a_config_that_comes_late_is_applied,
        what_is_attached_to_an_index_is_found,
    ]
    Embedded [
        a_pinned_image_stays_where_it_is,
        the_digest_decides_over_the_tag,
        a_missing_image_is_waited_for,
        a_pinned_image_that_does_not_exist_is_no_empty_one,
    ]
}

/// Every byte of every file arrives, and the `ConfigMap` and the status say where it came from.
async fn first_sync_is_byte_for_byte(bench: Bench) -> Result<()> {
    let files = [
        (
            "config.json",
            "{\"greeting\": \"gr\u{fc}\u{df} dich \u{1f44b}\",\r\n  \"n\": 1.0}  \n\n\ttail without newline",
        ),
        ("app.properties", "a=1\n# trailing blanks   \n\n"),
        ("empty.txt", ""),
        ("yes.yaml", "on: yes\nversion: 1e3\nquote: \"'\\u0000\"\n"),
    ];
    let (image, digest, artifact) = bench.image_with("web:v1", &files).await?;
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.ready("web").await?;
    let config_map = bench.config_map("web").await?;

    same("data", config_map.data.context("no data")?, text(&files))?;
    same("binaryData", config_map.binary_data, None)?;
    let metadata = config_map.metadata;
    let annotations = metadata.annotations.context("no annotations")?;
    same("image-digest", annotations.get(annotation::IMAGE_DIGEST), Some(&digest))?;
    same("artifact-digest", annotations.get(annotation::ARTIFACT_DIGEST), Some(&artifact))?;
    same("image", annotations.get(annotation::IMAGE), Some(&image))?;
    let labels = metadata.labels.context("no labels")?;
    same("managed-by", labels.get(label::MANAGED_BY).map(String::as_str), Some("artifactconfig"))?;
    let owners = metadata.owner_references.context("no owner")?;
    same(
        "owner",
        owners.iter().map(|owner| (&owner.uid, owner.controller)).collect::<Vec<_>>(),
        vec![(&config.metadata.uid.clone().context("no uid")?, Some(true))],
    )?;

    let status = config.seen()?;
    same("status.image.digest", &status.image.as_ref().context("no image")?.digest, &digest)?;
    let applied = status.artifact.as_ref().context("no artifact")?;
    same("status.artifact.digest", &applied.digest, &artifact)?;
    checked(
        "shortDigest begins the digest",
        artifact.starts_with(&applied.short_digest),
        &applied.short_digest,
    )?;
    same(
        "status.artifact.size",
        applied.size,
        i64::try_from(files.iter().map(|(_, text)| text.len()).sum::<usize>())?,
    )?;
    let target = status.target.as_ref().context("no target")?;
    same(
        "status.target",
        (&target.name[..], Some(&target.hash)),
        ("web", annotations.get(annotation::CONTENT_HASH)),
    )
}

/// Attaching is all it takes: at the next interval the new config is in place, whole, with nothing left of the old.
async fn a_newer_config_replaces_the_older_by_itself(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "1"), ("old.json", "old")]).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?.metadata;

    let files = [("config.json", "2"), ("new.json", "new")];
    let artifact = bench.attach_at(&image, 2, &files).await?;
    let config = bench
        .wait("web", "to have the new config", |config| same("artifact", config.artifact()?, &artifact))
        .await?;
    config.expect_synced()?;
    let config_map = bench.config_map("web").await?;
    same("data", config_map.data.unwrap_or_default(), text(&files))?;
    same("UID: the object is updated, not replaced", config_map.metadata.uid, before.uid)
}

/// A tag that moves takes the config along with the image.
async fn a_moved_tag_is_followed(bench: Bench) -> Result<()> {
    let (image, first, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let (_, second, artifact) = bench.image_with("web:v1", &[("config.json", "second")]).await?;
    checked("the tag has moved", first != second, &first)?;
    let config = bench.sync_ready("web").await?;
    same("artifact", config.artifact()?, &artifact)?;
    same("image", config.seen()?.image.as_ref().map(|image| &image.digest), Some(&second))?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// If nothing is attached, nothing is deleted: the old config stays, and the message names its image.
async fn a_moved_tag_without_config_keeps_the_old_one(bench: Bench) -> Result<()> {
    let (image, digest, artifact) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    let moved = bench.push(&image).await?;

    let config = bench.sync_failed("web", Reason::ArtifactNotFound).await?;
    let message = config.message()?;
    checked("the message names the image that has nothing", message.contains(&moved), message)?;
    checked("the message names the image whose config stays", message.contains(&digest), message)?;
    same("status.artifact still speaks of what is applied", config.artifact()?, &artifact)?;
    same("the ConfigMap", bench.config_map("web").await?, before)?;

    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// An image without config is waited for; nothing is written until there is one.
async fn a_config_that_comes_late_is_applied(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    let config = bench.failed("web", Reason::ArtifactNotFound).await?;
    checked("the message says how to attach", config.message()?.contains("oras attach"), config.message()?)?;
    same("a ConfigMap exists", bench.has_config_map("web").await?, false)?;

    bench.attach(&image, &[("config.json", "late")]).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "late")]))
}

/// A multi-platform image carries config like any other.
async fn what_is_attached_to_an_index_is_found(bench: Bench) -> Result<()> {
    let platform = bench.push(&bench.image("web:amd64")).await?;
    let index = bench.image("web:v1");
    let directory = std::env::temp_dir();
    let create = ["manifest", "index", "create", "--plain-http", &index, &platform];
    bench.world.oras.run(&create, &directory).await?;
    bench.attach(&index, &[("config.json", "of the index")]).await?;
    bench.apply("web", json!({"image": index})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "of the index")]))
}

/// A pinned image is not moved by its tag, but gets what is attached to it later.
async fn a_pinned_image_stays_where_it_is(bench: Bench) -> Result<()> {
    let (image, digest, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let pinned = bench.image(&format!("web@{digest}"));
    bench.apply("web", json!({"image": pinned})).await?;
    bench.ready("web").await?;
    bench.image_with("web:v1", &[("config.json", "of another image")]).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "first")]))?;
    checked("the tag has moved", bench.world.oras.resolve(&image).await? != digest, &digest)?;

    bench.attach_at(&pinned, 2, &[("config.json", "second")]).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// Of `tag@digest` the digest counts; the tag may not even exist.
async fn the_digest_decides_over_the_tag(bench: Bench) -> Result<()> {
    let (_, digest, _) = bench.image_with("web:v1", &[("config.json", "pinned")]).await?;
    bench.apply("web", json!({"image": bench.image(&format!("web:never-pushed@{digest}"))})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "pinned")]))
}

/// A missing image is told apart from an image without config, and found once it is pushed.
async fn a_missing_image_is_waited_for(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    let config = bench.failed("web", Reason::ImageNotFound).await?;
    checked("the message names the image", config.message()?.contains(&image), config.message()?)?;
    same("a ConfigMap exists", bench.has_config_map("web").await?, false)?;
    bench.image_with("web:v1", &[("config.json", "here")]).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "here")]))
}

/// A registry lists nothing for a digest that it does not have, and that is not "nothing attached".
async fn a_pinned_image_that_does_not_exist_is_no_empty_one(bench: Bench) -> Result<()> {
    bench.push(&bench.image("web:v1")).await?;
    let nowhere = format!("web@sha256:{}", "0123456789abcdef".repeat(4));
    bench.apply("web", json!({"image": bench.image(&nowhere)})).await?;
    bench.failed("web", Reason::ImageNotFound).await?;
    Ok(())
}
