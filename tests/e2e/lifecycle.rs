//! From the first apply to the last delete: changes of the spec, renames, deletion and retained objects.

use anyhow::{Context as _, Result};
use api::Reason;
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Both [a_deleted_resource_takes_its_config_map_along]
    Embedded [
        a_retained_config_map_stays,
        a_retained_config_map_is_taken_up_again,
        the_deletion_policy_can_change,
        a_renamed_target_leaves_nothing_behind,
        a_renamed_target_that_is_retained_stays,
        another_image_another_config,
        a_resource_that_is_made_again_gets_its_config_map,
        a_resource_that_never_worked_can_be_deleted,
        a_spec_that_is_mended_recovers,
    ]
}

const FILES: [(&str, &str); 1] = [("config.json", "{}")];

/// The real garbage collector deletes what the owner reference points from.
async fn a_deleted_resource_takes_its_config_map_along(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let config = bench.get("web").await?;
    same("finalizers, which would keep it while no operator runs", config.metadata.finalizers, None)?;
    bench.delete("web").await?;
    bench.wait_gone("web").await
}

/// `Retain`: the resource goes, the `ConfigMap` stays. Nothing points from it to the resource, so nothing can take it.
async fn a_retained_config_map_stays(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("kept", json!({"image": image, "target": {"deletionPolicy": "Retain"}})).await?;
    bench.apply("gone", json!({"image": image})).await?;
    bench.ready("kept").await?;
    bench.ready("gone").await?;
    let before = bench.config_map("kept").await?;
    same("owner references", before.metadata.owner_references.clone(), None)?;
    bench.delete("kept").await?;
    bench.delete("gone").await?;
    // The garbage collector has been here when it has taken the other one.
    bench.wait_gone("gone").await?;
    same("the ConfigMap", bench.config_map("kept").await?, before)
}

/// A resource of the same name takes up what was retained, instead of calling it foreign.
async fn a_retained_config_map_is_taken_up_again(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image, "target": {"deletionPolicy": "Retain"}})).await?;
    bench.ready("web").await?;
    let uid = bench.config_map("web").await?.metadata.uid;
    bench.delete("web").await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    let config = bench.apply("web", json!({"image": image})).await?;
    bench.sync_ready("web").await?;
    let config_map = bench.config_map("web").await?;
    same("it is the same object", &config_map.metadata.uid, &uid)?;
    same("data", config_map.data.unwrap_or_default(), text(&[("config.json", "second")]))?;
    let owners = config_map.metadata.owner_references.context("no owner")?;
    same("owner", owners.first().map(|owner| owner.uid.clone()), config.metadata.uid)
}

/// Both ways, and each time the deletion that follows does what the policy says last.
async fn the_deletion_policy_can_change(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    let with = |policy: &str| json!({"image": image, "target": {"deletionPolicy": policy}});
    bench.apply("to-retain", with("Delete")).await?;
    bench.apply("to-delete", with("Retain")).await?;
    bench.ready("to-retain").await?;
    bench.ready("to-delete").await?;
    bench.apply("to-retain", with("Retain")).await?;
    bench.apply("to-delete", with("Delete")).await?;
    bench.ready("to-retain").await?;
    bench.ready("to-delete").await?;
    let owners = bench.config_map("to-retain").await?.metadata.owner_references.unwrap_or_default();
    same("owner references of what is retained now", owners.len(), 0)?;
    bench.delete("to-retain").await?;
    bench.delete("to-delete").await?;
    bench.wait_gone("to-delete").await?;
    same("data", bench.data("to-retain").await?, text(&FILES))
}

/// The new target is written before the old one goes, and the old one goes.
async fn a_renamed_target_leaves_nothing_behind(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image, "target": {"name": "one"}})).await?;
    bench.ready("web").await?;
    bench.apply("web", json!({"image": image, "target": {"name": "two"}})).await?;
    let config = bench.ready("web").await?;
    same("status.target", config.seen()?.target.as_ref().map(|target| target.name.as_str()), Some("two"))?;
    same("data", bench.data("two").await?, text(&FILES))?;
    same("the old target exists", bench.has_config_map("one").await?, false)?;
    // And back, to a name that the operator may remember.
    bench.apply("web", json!({"image": image, "target": {"name": "one"}})).await?;
    bench.ready("web").await?;
    same("data", bench.data("one").await?, text(&FILES))?;
    same("the old target exists", bench.has_config_map("two").await?, false)
}

/// A target with `Retain` is also retained under its old name.
async fn a_renamed_target_that_is_retained_stays(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    let named = |name: &str| json!({"image": image, "target": {"name": name, "deletionPolicy": "Retain"}});
    bench.apply("web", named("one")).await?;
    bench.ready("web").await?;
    bench.apply("web", named("two")).await?;
    bench.ready("web").await?;
    same("the old target", bench.data("one").await?, text(&FILES))?;
    same("the new target", bench.data("two").await?, text(&FILES))
}

/// A change of `spec.image` counts at once, and status and annotations name the new image.
async fn another_image_another_config(bench: Bench) -> Result<()> {
    let (first, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let (second, digest, artifact) = bench.image_with("web:v2", &[("config.json", "second")]).await?;
    bench.apply("web", json!({"image": first})).await?;
    bench.ready("web").await?;
    bench.apply("web", json!({"image": second})).await?;
    let config = bench.ready("web").await?;
    same("artifact", config.artifact()?, &artifact)?;
    let image = config.seen()?.image.clone().context("status.image is missing")?;
    same("status.image", (&image.reference, &image.digest), (&second, &digest))?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// Deleted and made again at once: the old `ConfigMap` is still to be collected, and then the new one comes by itself.
async fn a_resource_that_is_made_again_gets_its_config_map(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.delete("web").await?;
    let config = bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let owned_anew = |config_map: &k8s_openapi::api::core::v1::ConfigMap| {
        let owners = config_map.metadata.owner_references.iter().flatten();
        same(
            "owner",
            owners.map(|owner| Some(owner.uid.clone())).collect::<Vec<_>>(),
            vec![config.metadata.uid.clone()],
        )
    };
    bench.wait_config_map("web", "to belong to the new resource", owned_anew).await?;
    Ok(())
}

/// Deletion waits for nobody.
async fn a_resource_that_never_worked_can_be_deleted(bench: Bench) -> Result<()> {
    bench.apply("web", json!({"image": bench.image("web:v1")})).await?;
    bench.failed("web", Reason::ImageNotFound).await?;
    bench.delete("web").await?;
    same("the resource is gone", bench.configs().get_opt("web").await?.is_none(), true)
}

/// A spec that passes the API server but not the parser fails with the name of its field, and recovers at once after a
/// correction.
async fn a_spec_that_is_mended_recovers(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image.replace("/web:", "/Web:")})).await?;
    let config = bench.failed("web", Reason::InvalidSpec).await?;
    checked("the field is named", config.message()?.contains("spec.image"), config.message()?)?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.apply("web", json!({"image": image, "files": [{"path": "[", }]})).await?;
    let config = bench.failed("web", Reason::InvalidSpec).await?;
    checked("the field is named", config.message()?.contains("spec.files[0].path"), config.message()?)?;
    same("the last good config stays", bench.data("web").await?, text(&FILES))
}
