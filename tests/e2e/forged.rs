//! Somebody who may create, edit and delete `ConfigMaps` forges revisions, numbers and owners: nothing of it reaches the
//! target, the history, or an object of somebody else.

use anyhow::{Context as _, Result};
use api::{ArtifactConfig, MANAGER, Reason, annotation, condition, label};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::revisions::{config, newest, revision_of, update};
use crate::rollback::{own, rolled_back, twice};
use crate::support::{Bench, Forgery, Ready as _, cases, checked, same, text};

cases! {
    Embedded [
        a_rollback_never_takes_a_config_for_another,
        what_was_never_applied_comes_from_the_registry,
        a_word_is_taken_only_while_the_registry_says_nothing,
        a_lost_status_does_not_make_a_word_a_record,
        a_target_does_not_vouch_for_itself,
        forged_numbers_stop_nothing,
        a_number_that_was_taken_stops_nothing,
        what_has_another_controller_stays,
        a_copy_by_hand_stays,
    ]
}

const EVIL: &str = "EVIL";

async fn image_digest(bench: &Bench) -> Result<String> {
    let image = bench.get("web").await?.seen()?.image.clone();
    Ok(image.context("no image in the status")?.digest)
}

fn message(resource: &ArtifactConfig) -> Result<String> {
    Ok(resource.current(condition::READY)?.context("no condition Ready")?.message.clone())
}

/// No entry of the history has the forged hash.
fn is_not_recorded(resource: &ArtifactConfig, forged: &Forgery<'_>) -> Result<()> {
    let history = &resource.seen()?.history;
    let hash = Some(forged.hash());
    checked("no forged hash is recorded", history.iter().all(|entry| entry.hash != hash), history)
}

/// The registry is down, and the revision was deleted and made anew with everything that anybody can work out.
async fn a_rollback_never_takes_a_config_for_another(bench: Bench) -> Result<()> {
    let (registry, image, first) = own(&bench, "first").await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let (kept, subject) = (revision_of(&bench, "web").await?, image_digest(&bench).await?);
    update(&bench, &image, 2, "second").await?;
    registry.stop().await;
    bench.config_maps().delete(&kept, &DeleteParams::default()).await?;
    let forged = Forgery { artifact: &first, image: &subject, number: 1, content: EVIL, is_seen: true };
    forged.create(&bench).await?;

    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    // What the operator still has of the registry's bytes is as good as the registry.
    let looked = |resource: &ArtifactConfig| {
        let failed = resource.expect("False", Reason::RegistryUnavailable);
        failed.or_else(|_| resource.expect("True", Reason::RolledBack))
    };
    let resource = bench.wait("web", "to be looked at", looked).await?;
    let data = bench.data("web").await?;
    checked("it is a config that was attached", [config("first"), config("second")].contains(&data), data)?;
    is_not_recorded(&resource, &forged)?;

    registry.restart().await?;
    let resource = rolled_back(&bench, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    is_not_recorded(&resource, &forged)
}

/// Whether the watch sees the forged revision or not.
async fn what_was_never_applied_comes_from_the_registry(bench: Bench) -> Result<()> {
    let (image, subject, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    for (content, is_seen) in [(EVIL, false), ("EVIL TOO", true)] {
        let forged = Forgery { artifact: &first, image: &subject, number: 99, content, is_seen };
        forged.create(&bench).await?;
        bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
        let resource = rolled_back(&bench, &first).await?;
        same("data", bench.data("web").await?, config("first"))?;
        is_not_recorded(&resource, &forged)?;
        bench.apply("web", json!({"image": image})).await?;
        bench.ready("web").await?;
    }
    // And a digest that the registry does not have is not found, whoever says that he keeps it.
    let unknown = format!("sha256:{}", "0".repeat(64));
    let forged = Forgery { artifact: &unknown, image: &subject, number: 3, content: EVIL, is_seen: true };
    let name = forged.create(&bench).await?;
    bench.apply("web", json!({"image": image, "rollbackTo": unknown})).await?;
    let resource = bench.failed("web", Reason::RevisionNotFound).await?;
    let said = message(&resource)?;
    checked("it names the object", said.contains(&format!("nothing proves that ConfigMap '{name}'")), said)?;
    same("data", bench.data("web").await?, config("second"))
}

/// With nobody to ask it is better than nothing, and the condition says whose word it is. It is not recorded, and gone as
/// soon as the registry is back.
async fn a_word_is_taken_only_while_the_registry_says_nothing(bench: Bench) -> Result<()> {
    let (registry, image, first) = own(&bench, "first").await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let subject = image_digest(&bench).await?;
    registry.stop().await;
    let forged = Forgery { artifact: &first, image: &subject, number: 1, content: EVIL, is_seen: true };
    forged.create(&bench).await?;
    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    let resource = rolled_back(&bench, &first).await?;
    let said = message(&resource)?;
    checked("it is said on whose word", said.contains("which has no proof"), said)?;
    same("its hash", &newest(&resource)?.hash, &None)?;

    registry.restart().await?;
    bench.request("web").await?;
    bench.wait_data("web", &config("first")).await?;
    let verified = |resource: &ArtifactConfig| {
        let said = message(resource)?;
        checked("nobody's word is taken any more", !said.contains("has no proof"), said)
    };
    let resource = bench.wait("web", "to be verified", verified).await?;
    checked("its hash is recorded", newest(&resource)?.hash.is_some(), &resource.seen()?.history)?;
    is_not_recorded(&resource, &forged)
}

/// With the status gone and the registry down, a revision of the operator proves itself, and a forged one beside it with
/// a higher number does not count.
async fn a_lost_status_does_not_make_a_word_a_record(bench: Bench) -> Result<()> {
    let (registry, image, first) = own(&bench, "first").await?;
    twice(&bench, &image).await?;
    let subject = image_digest(&bench).await?;
    registry.stop().await;
    let asked = registry.requests().len();
    let forged = Forgery { artifact: &first, image: &subject, number: 50, content: EVIL, is_seen: true };
    forged.create(&bench).await?;
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    bench.wait("web", "to be suspended", |config| config.expect("True", Reason::Suspended)).await?;
    let nothing = Patch::Merge(json!({"status": null}));
    bench.configs().patch_status("web", &PatchParams::default(), &nothing).await?;

    bench.apply("web", json!({"image": image, "rollbackTo": first})).await?;
    let resource = rolled_back(&bench, &first).await?;
    same("data", bench.data("web").await?, config("first"))?;
    same("requests", registry.requests().len(), asked)?;
    is_not_recorded(&resource, &forged)
}

/// While the registry is down: a target that was edited, with annotations that name a forged revision.
async fn a_target_does_not_vouch_for_itself(bench: Bench) -> Result<()> {
    let (registry, image, first) = own(&bench, "first").await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let subject = image_digest(&bench).await?;
    registry.stop().await;
    let forged = Forgery { artifact: &first, image: &subject, number: 99, content: EVIL, is_seen: true };
    forged.create(&bench).await?;
    let annotations = json!({annotation::CONTENT_HASH: forged.hash(), annotation::REVISION: "99"});
    let edit = json!({"metadata": {"annotations": annotations}, "data": {"config.json": EVIL}});
    bench.edit("web", &edit).await?;
    bench.wait_data("web", &config("first")).await?;
    bench.edit("web", &edit).await?;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    bench.wait_data("web", &config("first")).await?;

    registry.restart().await?;
    let resource = bench.sync_ready("web").await?;
    is_not_recorded(&resource, &forged)?;
    same("number", newest(&resource)?.revision, 1)?;
    same("data", bench.data("web").await?, config("first"))
}

async fn numbered(bench: &Bench, name: &str, number: &str, labels: &[(&str, &str)]) -> Result<()> {
    let uid = bench.get("web").await?.metadata.uid.context("no UID")?;
    let ours = [(label::MANAGED_BY, MANAGER), (label::OWNER_UID, &uid), (label::REVISION, number)];
    bench.create_config_map(name, &[&ours[..], labels].concat(), &[("theirs", "x")]).await?;
    Ok(())
}

/// Numbers on labels, with and without everything else that a revision has.
async fn forged_numbers_stop_nothing(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    bench.wait("web", "to be suspended", |config| config.expect("True", Reason::Suspended)).await?;
    let named = [(label::NAME, "web")];
    numbered(&bench, "x", "9223372036854775806", &[]).await?;
    numbered(&bench, "web-0123456789", "9223372036854775806", &named).await?;
    numbered(&bench, "web-9876543210", "9223372036854775807", &named).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    for (minute, content) in [(2, "second"), (3, "third"), (4, "fourth")] {
        update(&bench, &image, minute, content).await?;
        same("number", newest(&bench.get("web").await?)?.revision, i64::from(minute))?;
    }
    Ok(())
}

/// A history that an earlier version let grow to the last number goes on.
async fn a_number_that_was_taken_stops_nothing(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    let resource = bench.ready("web").await?;
    let mut history = serde_json::to_value(&resource.seen()?.history)?;
    history[0]["revision"] = json!(i64::MAX);
    let status = Patch::Merge(json!({"status": {"history": history}}));
    bench.configs().patch_status("web", &PatchParams::default(), &status).await?;
    for (minute, content) in [(2, "second"), (3, "third")] {
        update(&bench, &image, minute, content).await?;
        let number = newest(&bench.get("web").await?)?.revision;
        checked("the number is one to count on", (1..1000).contains(&number), number)?;
        same("data", bench.data("web").await?, config(content))?;
    }
    Ok(())
}

/// Labels are anybody's to write, also on what another controller keeps.
async fn what_has_another_controller_stays(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    let uid = bench.ready("web").await?.metadata.uid.context("no UID")?;
    let theirs = bench.create_config_map("owner", &[], &[]).await?;
    for (name, number) in [("theirs", Some("7")), ("theirs-0123456789", Some("8")), ("plain", None)] {
        let mut labels = vec![(label::MANAGED_BY, MANAGER), (label::OWNER_UID, &uid), (label::NAME, "web")];
        labels.extend(number.map(|number| (label::REVISION, number)));
        let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
            "uid": theirs.metadata.uid, "controller": true}]);
        let object = k8s_openapi::api::core::v1::ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(text(&labels)),
                owner_references: Some(serde_json::from_value(owner)?),
                ..ObjectMeta::default()
            },
            ..Default::default()
        };
        bench.config_maps().create(&PostParams::default(), &object).await?;
    }
    // What would be deleted is deleted by the time that the second of two syncs has ended.
    update(&bench, &image, 2, "second").await?;
    bench.sync_ready("web").await?;
    for name in ["theirs", "theirs-0123456789", "plain"] {
        checked("it is still there", bench.has_config_map(name).await?, name)?;
    }
    Ok(())
}

/// `kubectl get configmap web -o yaml`, another name, `kubectl create`: every label goes along, and the owner.
async fn a_copy_by_hand_stays(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let mut copy = bench.config_map("web").await?;
    let ObjectMeta { labels, annotations, owner_references, .. } = copy.metadata;
    copy.metadata = ObjectMeta {
        name: Some("backup".to_owned()),
        labels,
        annotations,
        owner_references,
        ..ObjectMeta::default()
    };
    bench.config_maps().create(&PostParams::default(), &copy).await?;
    // An earlier target goes, the copy stays.
    bench.apply("web", json!({"image": image, "target": {"name": "renamed"}})).await?;
    bench.ready("web").await?;
    bench.wait_gone("web").await?;
    bench.sync_ready("web").await?;
    same("the copy", bench.config_map("backup").await?.name_any(), "backup".to_owned())
}
