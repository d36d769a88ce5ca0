//! Which of several artifacts is taken.

use anyhow::Result;
use api::Reason;
use serde_json::{Value, json};

use crate::support::{Bench, CONFIG_TYPE, Ready as _, cases, checked, same, text};

cases! {
    Both [
        the_newest_is_taken_in_any_order,
        other_types_are_passed_over,
        deleting_the_newest_brings_back_the_one_before,
        deleting_the_only_one_keeps_the_data,
    ]
    Embedded [
        a_tie_within_a_second_is_decided_and_reported,
        what_has_no_date_is_older_than_what_has,
        the_highest_version_is_taken,
        without_any_version_nothing_is_chosen,
        only_refuses_to_choose,
        annotations_tell_configs_apart,
        annotations_that_nothing_has_are_named,
    ]
}

const VERSION: &str = "org.opencontainers.image.version";
const CREATED: &str = "org.opencontainers.image.created";

/// The date decides, not the order of attaching.
async fn the_newest_is_taken_in_any_order(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    let newest = bench.attach_at(&image, 3, &[("config.json", "third")]).await?;
    bench.attach_at(&image, 1, &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.ready("web").await?;
    same("artifact", config.artifact()?, &newest)?;
    same(
        "created",
        config.seen()?.artifact.as_ref().and_then(|a| a.created.as_deref()),
        Some("2026-01-01T00:03:00Z"),
    )?;
    checked("nothing is remarked", !config.message()?.contains("note"), config.message()?)?;

    bench.attach_at(&image, 0, &[("config.json", "older still")]).await?;
    same("artifact", bench.sync_ready("web").await?.artifact()?, &newest)
}

/// A signature that is newer than the config is no config; types are compared exactly.
async fn other_types_are_passed_over(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("web:v1", &[("config.json", "config")]).await?;
    for other in ["application/vnd.example.signature", "custom/config2", "custom/Config"] {
        bench.attach_with(&image, other, &[("other", other)], &[(CREATED, "2026-02-01T00:00:00Z")]).await?;
    }
    bench.apply("web", json!({"image": image})).await?;
    same("artifact", bench.ready("web").await?.artifact()?, &artifact)?;
    bench.apply("other", json!({"image": image, "artifactType": "custom/config2"})).await?;
    bench.ready("other").await?;
    same("data", bench.data("other").await?, text(&[("other", "custom/config2")]))?;
    bench.apply("none", json!({"image": image, "artifactType": "custom"})).await?;
    bench.failed("none", Reason::ArtifactNotFound).await?;
    Ok(())
}

/// If an artifact is deleted in the registry, the one before it is applied in the cluster.
async fn deleting_the_newest_brings_back_the_one_before(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    same("artifact", bench.ready("web").await?.artifact()?, &second)?;
    delete(&bench, &second).await?;
    same("artifact", bench.sync_ready("web").await?.artifact()?, &first)?;
    same("data", bench.data("web").await?, text(&[("config.json", "first")]))
}

/// With the last artifact gone the data stays; only the verdict changes.
async fn deleting_the_only_one_keeps_the_data(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("web:v1", &[("config.json", "only")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    delete(&bench, &artifact).await?;
    let config = bench.sync_failed("web", Reason::ArtifactNotFound).await?;
    checked("the message says what stays", config.message()?.contains("keeps config"), config.message()?)?;
    same("the ConfigMap", bench.config_map("web").await?, before)
}

/// oras dates by the second: of two within one the greater digest wins, always, and the message says so.
async fn a_tie_within_a_second_is_decided_and_reported(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let mut digests = Vec::new();
    for content in ["a", "b", "c"] {
        digests.push(bench.attach_at(&image, 1, &[("config.json", content)]).await?);
    }
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.ready("web").await?;
    same("artifact", Some(config.artifact()?), digests.iter().map(String::as_str).max())?;
    checked("the tie is said", config.message()?.contains("same second"), config.message()?)
}

/// A date that cannot be read, or is missing, never beats one that can be read.
async fn what_has_no_date_is_older_than_what_has(bench: Bench) -> Result<()> {
    let (image, _, dated) = bench.image_with("web:v1", &[("config.json", "dated")]).await?;
    let mut all = Vec::new();
    for (number, garbled) in [Some("yesterday"), Some("9999"), Some(""), None].into_iter().enumerate() {
        all.push(attach_garbled(&bench, &image, &format!("number {number}"), garbled).await?);
    }
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.ready("web").await?;
    same("artifact", config.artifact()?, &dated)?;

    delete(&bench, &dated).await?;
    let config = bench.sync_ready("web").await?;
    same("among those without a date", Some(config.artifact()?), all.iter().map(String::as_str).max())?;
    checked("it is said", config.message()?.contains("no readable creation time"), config.message()?)
}

/// Versions are compared as versions, and dates do not matter.
async fn the_highest_version_is_taken(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    for version in ["1.9.0", "v1.10.0", "1.10.0-rc.1", "1.2.0+build.99", "latest"] {
        bench.attach_with(&image, CONFIG_TYPE, &[("version", version)], &[(VERSION, version)]).await?;
    }
    bench.attach_with(&image, CONFIG_TYPE, &[("version", "none")], &[]).await?;
    bench.apply("web", json!({"image": image, "selection": {"policy": "HighestVersion"}})).await?;
    let config = bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("version", "v1.10.0")]))?;
    checked("what was left out is said", config.message()?.contains("2 artifacts without"), config.message()?)
}

/// A policy that goes by versions does not guess where there are none.
async fn without_any_version_nothing_is_chosen(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image, "selection": {"policy": "HighestVersion"}})).await?;
    let config = bench.failed("web", Reason::AmbiguousArtifact).await?;
    checked("the annotation is named", config.message()?.contains(VERSION), config.message()?)
}

/// `Only` takes the only one, refuses two with both named, keeps the data, and recovers when told which.
async fn only_refuses_to_choose(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let first =
        bench.attach_with(&image, CONFIG_TYPE, &[("config.json", "first")], &[("stage", "a")]).await?;
    let only = json!({"image": image, "selection": {"policy": "Only"}});
    bench.apply("web", only.clone()).await?;
    bench.ready("web").await?;
    let second =
        bench.attach_with(&image, CONFIG_TYPE, &[("config.json", "second")], &[("stage", "b")]).await?;
    let config = bench.sync_failed("web", Reason::AmbiguousArtifact).await?;
    let message = config.message()?;
    checked("both are named", message.contains(&first) && message.contains(&second), message)?;
    same("data", bench.data("web").await?, text(&[("config.json", "first")]))?;

    let narrowed =
        json!({"image": image, "selection": {"policy": "Only", "matchAnnotations": {"stage": "b"}}});
    bench.apply("web", narrowed).await?;
    same("artifact", bench.ready("web").await?.artifact()?, &second)
}

/// One image, one config for each environment.
async fn annotations_tell_configs_apart(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let stages = ["production", "staging"];
    for stage in stages {
        let annotations = [("environment", stage), ("team", "shop")];
        bench.attach_with(&image, CONFIG_TYPE, &[("config.json", stage)], &annotations).await?;
    }
    for stage in stages {
        let selection = json!({"matchAnnotations": {"environment": stage, "team": "shop"}});
        bench.apply(stage, json!({"image": image, "selection": selection})).await?;
    }
    for stage in stages {
        bench.ready(stage).await?;
        same("data", bench.data(stage).await?, text(&[("config.json", stage)]))?;
    }
    Ok(())
}

/// All annotations must match, and the message names the required ones.
async fn annotations_that_nothing_has_are_named(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    bench.attach_with(&image, CONFIG_TYPE, &[("config.json", "{}")], &[("a", "1")]).await?;
    let selection = json!({"matchAnnotations": {"a": "1", "b": "2"}});
    bench.apply("web", json!({"image": image, "selection": selection})).await?;
    let config = bench.failed("web", Reason::ArtifactNotFound).await?;
    checked("the annotations are named", config.message()?.contains("a=1, b=2"), config.message()?)
}

async fn delete(bench: &Bench, artifact: &str) -> Result<()> {
    let reference = bench.image(&format!("web@{artifact}"));
    let delete = ["manifest", "delete", "--plain-http", "--force", &reference];
    bench.world.oras.run(&delete, &std::env::temp_dir()).await?;
    Ok(())
}

/// Attaches what oras refuses to: it always writes a date, and only one that can be read. Returns the digest.
async fn attach_garbled(bench: &Bench, image: &str, content: &str, created: Option<&str>) -> Result<String> {
    let artifact = bench.attach_at(image, 0, &[("config.json", content)]).await?;
    let directory = tempfile::tempdir()?;
    let reference = bench.image(&format!("web@{artifact}"));
    let fetch = ["manifest", "fetch", "--plain-http", &reference];
    let fetched = bench.world.oras.run(&fetch, directory.path()).await?.stdout;
    let mut manifest: Value = serde_json::from_str(&fetched)?;
    match created {
        Some(created) => manifest["annotations"][CREATED] = json!(created),
        None => manifest["annotations"] = json!({}),
    }
    std::fs::write(directory.path().join("manifest.json"), manifest.to_string())?;
    let pushed = bench.image(&format!("web:{}", content.replace(' ', "-")));
    let push = ["manifest", "push", "--plain-http", &pushed, "manifest.json"];
    bench.world.oras.run(&push, directory.path()).await?;
    delete(bench, &artifact).await?;
    bench.world.oras.resolve(&pushed).await
}
