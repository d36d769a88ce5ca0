//! `spec.rollbackTo`: a rollback to a digest, from its revision while the registry is down, and the resume.

use anyhow::{Context as _, Result};
use api::{ArtifactConfig, HistoryOutcome, Reason, annotation, condition, label};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;
use testbed::registry::EmbeddedRegistry;

use crate::revisions::{config, forge, newest, outline, revision_of, update};
use crate::support::{Bench, CONFIG_TYPE, Ready as _, cases, checked, same};

cases! {
    Both [
        the_next_config_is_named_and_applied_after_the_rollback,
        a_rollback_reaches_an_artifact_that_was_deleted,
        a_config_that_was_never_applied_is_fetched,
    ]
    Embedded [
        back_without_a_registry_byte_for_byte,
        a_digest_that_is_applied_already_stays,
        a_revision_that_was_deleted_is_fetched_and_kept_again,
        other_bytes_are_never_rolled_back_to,
        a_forged_revision_is_never_rolled_back_to,
        an_unknown_digest_is_not_found,
        a_config_of_another_image_is_not_found,
        what_is_no_config_is_not_found,
        a_digest_that_is_not_found_is_mended_or_removed,
        what_is_not_found_leaves_the_target_repaired,
        a_newer_config_waits_and_is_named,
        drift_is_repaired_while_rolled_back,
        drift_is_repaired_while_rolled_back_and_the_registry_is_down,
        drift_is_repaired_while_the_registry_is_down,
        another_spec_while_rolled_back_counts,
    ]
}

/// A registry that the test may stop, and an image in it with a config.
pub async fn own(bench: &Bench, content: &str) -> Result<(EmbeddedRegistry, String, String)> {
    let registry = EmbeddedRegistry::start().await?;
    let image = format!("{}/{}/web:v1", registry.host(), bench.namespace);
    bench.push(&image).await?;
    let artifact = bench.attach_at(&image, 1, &[("config.json", content)]).await?;
    Ok((registry, image, artifact))
}

/// Applies the first config, then the second; returns the digest of the second.
pub async fn twice(bench: &Bench, image: &str) -> Result<String> {
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    update(bench, image, 2, "second").await
}

pub async fn back(bench: &Bench, image: &str, digest: &str) -> Result<ArtifactConfig> {
    bench.apply("web", json!({"image": image, "rollbackTo": digest})).await?;
    rolled_back(bench, digest).await
}

pub async fn rolled_back(bench: &Bench, digest: &str) -> Result<ArtifactConfig> {
    bench
        .wait("web", "to be rolled back", |config| {
            config.expect("True", Reason::RolledBack)?;
            same("artifact", config.artifact()?, digest)
        })
        .await
}

/// Waits until status and condition name the next config.
async fn says_next(bench: &Bench, digest: &str) -> Result<ArtifactConfig> {
    bench
        .wait("web", "to say what would come next", |config| {
            config.expect("True", Reason::RolledBack)?;
            same("status.latest", config.seen()?.latest.as_deref(), Some(digest))?;
            let condition = config.current(condition::ROLLED_BACK)?.context("no condition RolledBack")?;
            same("RolledBack", condition.status.as_str(), "True")?;
            checked("the condition names it", condition.message.contains(digest), &condition.message)
        })
        .await
}

/// Asks for a sync while rolled back; it must end rolled back.
async fn sync_back(bench: &Bench) -> Result<ArtifactConfig> {
    let config = bench.sync("web").await?;
    config.expect("True", Reason::RolledBack)?;
    Ok(config)
}

/// The next config is in the status and in a separate condition, and applied without the field.
async fn the_next_config_is_named_and_applied_after_the_rollback(bench: Bench) -> Result<()> {
    use HistoryOutcome::{Applied, RolledBack, Superseded};
    let (image, digest, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let second = twice(&bench, &image).await?;
    let resource = back(&bench, &image, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    same("history", outline(&resource)?, vec![(3, Applied), (2, RolledBack), (1, Superseded)])?;
    same("image", resource.seen()?.image.as_ref().map(|image| &image.digest), Some(&digest))?;
    says_next(&bench, &second).await?;

    bench.apply("web", json!({"image": image})).await?;
    let resource = bench.ready("web").await?;
    same("data", bench.data("web").await?, config("second"))?;
    same("artifact", resource.artifact()?, &second)?;
    same("status.latest", &resource.seen()?.latest, &None)?;
    same("condition RolledBack", resource.current(condition::ROLLED_BACK)?, None)
}

/// Text, bytes and an empty file, with nobody there to ask for them.
async fn back_without_a_registry_byte_for_byte(bench: Bench) -> Result<()> {
    let (registry, image, _) = own(&bench, "unused").await?;
    let files: [(&str, &[u8]); 3] =
        [("config.json", b"{\"a\": \"\\u00e4\"}\r\n"), ("logo.bin", &[0xff, 0x00, 0xfe]), ("empty", b"")];
    let created = [("org.opencontainers.image.created", "2026-01-01T00:02:00Z")];
    let first = bench.world.oras.attach(&image, CONFIG_TYPE, &files, &created).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    let second = update(&bench, &image, 3, "second").await?;
    registry.stop().await;
    let asked = registry.requests().len();
    let resource = back(&bench, &image, &first).await?;
    let after = bench.config_map("web").await?;
    same("data", &after.data, &before.data)?;
    same("binaryData", &after.binary_data, &before.binary_data)?;
    let hash = |config_map: &k8s_openapi::api::core::v1::ConfigMap| {
        config_map.annotations().get(annotation::CONTENT_HASH).cloned()
    };
    same("hash", hash(&after), hash(&before))?;
    same("requests", registry.requests().len(), asked)?;
    let condition = resource.current(condition::ROLLED_BACK)?.context("no condition RolledBack")?;
    same("RolledBack", condition.status.as_str(), "True")?;
    let resource = sync_back(&bench).await?;
    checked("the trouble is said", resource.message()?.contains("cannot be reached"), resource.message()?)?;

    registry.restart().await?;
    sync_back(&bench).await?;
    says_next(&bench, &second).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, config("second"))
}

/// Pinned where it is: nothing is written, and the next config waits.
async fn a_digest_that_is_applied_already_stays(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    let resource = back(&bench, &image, &first).await?;
    same("history", outline(&resource)?, vec![(1, HistoryOutcome::Applied)])?;
    same("status.latest", &resource.seen()?.latest, &None)?;
    let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    sync_back(&bench).await?;
    says_next(&bench, &second).await?;
    same("the ConfigMap", bench.config_map("web").await?, before)
}

/// A revision keeps an artifact that the registry no longer has.
async fn a_rollback_reaches_an_artifact_that_was_deleted(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let second = twice(&bench, &image).await?;
    let reference = bench.image(&format!("web@{first}"));
    let delete = ["manifest", "delete", "--plain-http", "--force", &reference];
    bench.world.oras.run(&delete, &std::env::temp_dir()).await?;
    back(&bench, &image, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    says_next(&bench, &second).await?;
    same("data", bench.data("web").await?, config("first"))
}

/// The registry still has it, and a new revision keeps it under the same name.
async fn a_revision_that_was_deleted_is_fetched_and_kept_again(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let name = revision_of(&bench, "web").await?;
    update(&bench, &image, 2, "second").await?;
    bench.config_maps().delete(&name, &DeleteParams::default()).await?;
    let resource = back(&bench, &image, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    same("the revision", newest(&resource)?.config_map.as_ref(), Some(&name))?;
    let revision = bench.config_map(&name).await?;
    same("its data", revision.data.clone().unwrap_or_default(), config("first"))?;
    same("its number", revision.labels().get(label::REVISION).map(String::as_str), Some("3"))
}

/// Without a revision, the fetched bytes are verified like all others.
async fn other_bytes_are_never_rolled_back_to(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    let fault = bench.inject("/blobs/", |fault| fault.body(|_, _| &b"FIRST"[..]));
    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    bench.failed("web", Reason::DigestMismatch).await?;
    same("the ConfigMap", bench.config_map("web").await?, before)?;
    bench.world.embedded.remove_fault(fault);
    rolled_back(&bench, &first).await?;
    same("data", bench.data("web").await?, config("first"))
}

/// Neither a revision with other content, nor one whose annotation fits its other content.
async fn a_forged_revision_is_never_rolled_back_to(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let name = revision_of(&bench, "web").await?;
    update(&bench, &image, 2, "forged").await?;
    let hash = newest(&bench.get("web").await?)?.hash.clone();
    update(&bench, &image, 3, "second").await?;
    for hash in [None, hash.as_deref()] {
        forge(&bench, &name, "forged", hash).await?;
        back(&bench, &image, &first).await?;
        same("data", bench.data("web").await?, config("first"))?;
        same("the revision", bench.data(&name).await?, config("first"))?;
        bench.apply("web", json!({"image": image})).await?;
        bench.ready("web").await?;
    }
    Ok(())
}

/// It is attached to the image; that is enough.
async fn a_config_that_was_never_applied_is_fetched(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    let resource = bench.ready("web").await?;
    same("artifact", resource.artifact()?, &second)?;
    let resource = back(&bench, &image, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    let expected = vec![(2, HistoryOutcome::Applied), (1, HistoryOutcome::RolledBack)];
    same("history", outline(&resource)?, expected)?;
    let name = newest(&resource)?.config_map.clone().context("it is not kept")?;
    same("the revision", bench.data(&name).await?, config("first"))?;
    says_next(&bench, &second).await?;

    // And by a resource that never had another.
    bench.apply("new", json!({"image": image, "rollbackTo": first})).await?;
    bench.wait("new", "to be rolled back", |config| config.expect("True", Reason::RolledBack)).await?;
    same("data", bench.data("new").await?, config("first"))
}

/// An unknown digest: the message lists the known ones, and nothing else happens.
async fn not_found(bench: &Bench, image: &str, digest: &str, why: &str) -> Result<()> {
    let before = bench.config_map("web").await?;
    let known = bench.get("web").await?.seen()?.history.clone();
    bench.apply("web", json!({"image": image, "rollbackTo": digest})).await?;
    let resource = bench.failed("web", Reason::RevisionNotFound).await?;
    let message = resource.message()?;
    checked("the message names the digest", message.contains(digest), message)?;
    checked("the message says why", message.contains(why), message)?;
    for entry in &known {
        checked("the message lists what there is", message.contains(&entry.artifact), message)?;
    }
    same("history", &resource.seen()?.history, &known)?;
    bench.sync_failed("web", Reason::RevisionNotFound).await?;
    same("the ConfigMap", bench.config_map("web").await?, before)
}

async fn an_unknown_digest_is_not_found(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    twice(&bench, &image).await?;
    let unknown = format!("sha256:{}", "0".repeat(64));
    not_found(&bench, &image, &unknown, "the registry does not have it").await
}

/// In the same repository, of the same type, and for another image.
async fn a_config_of_another_image_is_not_found(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let (_, _, other) = bench.image_with("web:v2", &[("config.json", "of another")]).await?;
    twice(&bench, &image).await?;
    not_found(&bench, &image, &other, "it is not attached to").await
}

/// An image, and an artifact of another type.
async fn what_is_no_config_is_not_found(bench: Bench) -> Result<()> {
    let (image, digest, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    twice(&bench, &image).await?;
    let files = [("sbom.json", "{}")];
    let sbom = bench.attach_with(&image, "application/spdx+json", &files, &[]).await?;
    not_found(&bench, &image, &sbom, "its type is 'application/spdx+json'").await?;
    not_found(&bench, &image, &digest, "its type is").await
}

/// A change of the field is the remedy; its earlier value does not matter.
async fn a_digest_that_is_not_found_is_mended_or_removed(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let second = twice(&bench, &image).await?;
    let unknown = format!("sha256:{}", "0".repeat(64));
    not_found(&bench, &image, &unknown, "no revision keeps").await?;
    back(&bench, &image, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    not_found(&bench, &image, &unknown, "no revision keeps").await?;
    bench.apply("web", json!({"image": image})).await?;
    let resource = bench.ready("web").await?;
    same("artifact", resource.artifact()?, &second)?;
    same("data", bench.data("web").await?, config("second"))
}

/// The last good config stays in place after every failure, so it is repaired.
async fn what_is_not_found_leaves_the_target_repaired(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    twice(&bench, &image).await?;
    let unknown = format!("sha256:{}", "0".repeat(64));
    not_found(&bench, &image, &unknown, "no revision keeps").await?;
    drifts(&bench, "second").await
}

/// Discovery goes on meanwhile.
async fn a_newer_config_waits_and_is_named(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let second = twice(&bench, &image).await?;
    back(&bench, &image, &first).await?;
    says_next(&bench, &second).await?;
    let (target, history) = (bench.config_map("web").await?, bench.get("web").await?.seen()?.history.clone());
    for minute in 3..5 {
        let newer = bench.attach_at(&image, minute, &[("config.json", &format!("of {minute}"))]).await?;
        sync_back(&bench).await?;
        says_next(&bench, &newer).await?;
    }
    same("the ConfigMap", bench.config_map("web").await?, target)?;
    same("history", &bench.get("web").await?.seen()?.history, &history)?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, config("of 4"))
}

/// Edited and deleted by hand, it comes back as it was. The interval is an hour.
async fn drifts(bench: &Bench, content: &str) -> Result<()> {
    for patch in [
        json!({"data": {"config.json": "by hand"}}),
        json!({"data": {"config.json": null}}),
        json!({"data": {"extra": "x"}}),
        json!({"metadata": {"annotations": {annotation::ARTIFACT_DIGEST: "sha256:0"}}}),
    ] {
        let before = bench.config_map("web").await?;
        bench.edit("web", &patch).await?;
        bench
            .wait_config_map("web", &format!("to be as before {patch}"), |seen| {
                same("data", &seen.data, &before.data)?;
                same("annotations", &seen.metadata.annotations, &before.metadata.annotations)
            })
            .await?;
    }
    let before = bench.config_map("web").await?;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    let after = bench.wait_data("web", &config(content)).await?;
    checked("it is a new object", after.metadata.uid != before.metadata.uid, &before.metadata.uid)?;
    same("annotations", after.metadata.annotations, before.metadata.annotations)
}

async fn drift_is_repaired_while_rolled_back(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    twice(&bench, &image).await?;
    back(&bench, &image, &first).await?;
    drifts(&bench, "first").await?;
    let resource = sync_back(&bench).await?;
    same("number", newest(&resource)?.revision, 3)
}

async fn drift_is_repaired_while_rolled_back_and_the_registry_is_down(bench: Bench) -> Result<()> {
    let (registry, image, first) = own(&bench, "first").await?;
    let second = twice(&bench, &image).await?;
    back(&bench, &image, &first).await?;
    says_next(&bench, &second).await?;
    registry.stop().await;
    drifts(&bench, "first").await?;
    // The status keeps the last known next config, and the condition no longer names it.
    let resource = sync_back(&bench).await?;
    same("status.latest", resource.seen()?.latest.as_deref(), Some(second.as_str()))?;
    let message = resource.message()?;
    checked("nothing is promised", message.contains("what would come next is not known"), message)?;
    same("number", newest(&bench.get("web").await?)?.revision, 3)
}

/// After the resume the registry is asked first. Its outage does not affect the applied config.
async fn drift_is_repaired_while_the_registry_is_down(bench: Bench) -> Result<()> {
    let (registry, image, _) = own(&bench, "first").await?;
    let second = twice(&bench, &image).await?;
    registry.stop().await;
    bench.sync_failed("web", Reason::RegistryUnavailable).await?;
    drifts(&bench, "second").await?;
    let resource = bench.sync_failed("web", Reason::RegistryUnavailable).await?;
    same("artifact", resource.artifact()?, &second)?;
    let expected = vec![(2, HistoryOutcome::Applied), (1, HistoryOutcome::Superseded)];
    same("history", outline(&resource)?, expected)
}

/// Labels of the target follow the spec, with the config that is held.
async fn another_spec_while_rolled_back_counts(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    twice(&bench, &image).await?;
    back(&bench, &image, &first).await?;
    let spec = json!({"image": image, "rollbackTo": first, "target": {"labels": {"team": "shop"}}});
    bench.apply("web", spec).await?;
    let resource = rolled_back(&bench, &first).await?;
    let target = bench.config_map("web").await?;
    same("label", target.labels().get("team").map(String::as_str), Some("shop"))?;
    same("data", target.data.unwrap_or_default(), config("first"))?;
    same("number", newest(&resource)?.revision, 3)
}
