//! Whose the target is: `creationPolicy` and `deletionPolicy`, each against everything that can happen to a target.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use api::{Reason, label};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{Bench, CONFIG_TYPE, Ready as _, cases, checked, eventually, same, text};

/// Declares the cases: each cell of the table under a name of its own, and the tests that belong to no cell.
macro_rules! table {
    (cells [$($test:ident: $cell:ident($policy:ident),)*] others [$($other:ident,)*]) => {
        $(
            async fn $test(bench: Bench) -> Result<()> {
                $cell(&bench, Policy::$policy).await
            }
        )*
        cases! { Embedded [$($test,)* $($other,)*] }
    };
}

table! {
    cells [
        owner_missing_is_created: missing(Owner),
        owner_config_changes: changes(Owner),
        owner_edited_by_hand_is_repaired: edited(Owner),
        owner_deleted_by_hand_comes_back: deleted(Owner),
        owner_goes_with_the_resource: released(Owner),
        retain_missing_is_created: missing(Retain),
        retain_config_changes: changes(Retain),
        retain_edited_by_hand_is_repaired: edited(Retain),
        retain_deleted_by_hand_comes_back: deleted(Retain),
        retain_stays_without_the_resource: released(Retain),
        orphan_missing_is_created: missing(Orphan),
        orphan_config_changes: changes(Orphan),
        orphan_edited_by_hand_is_repaired: edited(Orphan),
        orphan_deleted_by_hand_comes_back: deleted(Orphan),
        orphan_stays_without_the_resource: released(Orphan),
        merge_missing_is_not_created: missing(Merge),
        merge_config_changes: changes(Merge),
        merge_edited_by_hand_is_repaired_at_the_next_reconcile: edited(Merge),
        merge_deleted_by_hand_stays_deleted: deleted(Merge),
        merge_stays_as_it_is_without_the_resource: released(Merge),
    ]
    others [
        merging_leaves_everything_else_alone,
        keys_that_leave_the_config_leave_the_target,
        a_target_to_merge_into_is_found_at_the_next_reconcile,
        the_second_that_merges_is_refused,
        what_a_deleted_resource_merged_is_free,
        what_another_resource_owns_is_not_merged_into,
        equal_values_are_merged_too,
        merging_can_roll_back,
        owner_and_orphan_can_change_into_each_other,
        merge_is_chosen_once,
    ]
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Owner,
    Retain,
    Orphan,
    Merge,
}

impl Policy {
    /// As `spec.target` has it.
    fn target(self) -> Value {
        match self {
            Self::Owner => json!({"creationPolicy": "Owner"}),
            Self::Retain => json!({"creationPolicy": "Owner", "deletionPolicy": "Retain"}),
            Self::Orphan => json!({"creationPolicy": "Orphan"}),
            Self::Merge => json!({"creationPolicy": "Merge"}),
        }
    }

    /// What the target holds when the config is `content`.
    fn holds(self, content: &str) -> BTreeMap<String, String> {
        match self {
            Self::Owner | Self::Retain | Self::Orphan => text(&[("config.json", content)]),
            Self::Merge => text(&[("config.json", content), ("theirs", "kept")]),
        }
    }
}

/// The `ConfigMap` that is merged into, as its owner makes it.
async fn theirs(bench: &Bench) -> Result<()> {
    bench.create_config_map("web", &[("team", "shop")], &[("theirs", "kept")]).await?;
    Ok(())
}

/// A resource of this policy with its first config in place; returns the image.
async fn synced(bench: &Bench, policy: Policy) -> Result<String> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    if policy == Policy::Merge {
        theirs(bench).await?;
    }
    bench.apply("web", json!({"image": image, "target": policy.target()})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, policy.holds("first"))?;
    Ok(image)
}

/// There is no `ConfigMap`: it is created and owned, created and not owned, or asked for.
async fn missing(bench: &Bench, policy: Policy) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image, "target": policy.target()})).await?;
    if policy == Policy::Merge {
        let config = bench.failed("web", Reason::TargetNotFound).await?;
        checked("the message names it", config.message()?.contains("'web'"), config.message()?)?;
        bench.sync_failed("web", Reason::TargetNotFound).await?;
        same("it exists", bench.has_config_map("web").await?, false)?;
        return same("targets and revisions", bench.written().await?, (Vec::new(), Vec::new()));
    }
    let config = bench.ready("web").await?;
    let config_map = bench.config_map("web").await?;
    same("data", config_map.data.clone().unwrap_or_default(), policy.holds("first"))?;
    let owners: Vec<_> =
        config_map.metadata.owner_references.into_iter().flatten().map(|owner| owner.uid).collect();
    let expected: Vec<_> = config.metadata.uid.into_iter().filter(|_| policy == Policy::Owner).collect();
    same("owners", owners, expected)
}

/// Another config is attached.
async fn changes(bench: &Bench, policy: Policy) -> Result<()> {
    let image = synced(bench, policy).await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, policy.holds("second"))
}

/// A value is changed and a key is added. The watch sees what is ours; what is merged into is looked at when its time comes.
async fn edited(bench: &Bench, policy: Policy) -> Result<()> {
    synced(bench, policy).await?;
    bench.edit("web", &json!({"data": {"config.json": "by hand", "extra": "x"}})).await?;
    let mut expected = policy.holds("first");
    if policy == Policy::Merge {
        bench.sync_ready("web").await?;
        expected.insert("extra".to_owned(), "x".to_owned());
        return same("data", bench.data("web").await?, expected);
    }
    bench.wait_data("web", &expected).await.map(drop)
}

/// It is deleted. Whoever creates it creates it again; whoever merges waits for the one who does.
async fn deleted(bench: &Bench, policy: Policy) -> Result<()> {
    synced(bench, policy).await?;
    let before = bench.config_map("web").await?.metadata.uid;
    bench.config_maps().delete("web", &DeleteParams::default()).await?;
    if policy == Policy::Merge {
        bench.sync_failed("web", Reason::TargetNotFound).await?;
        same("it exists", bench.has_config_map("web").await?, false)?;
        theirs(bench).await?;
        bench.sync_ready("web").await?;
        return same("data", bench.data("web").await?, policy.holds("first"));
    }
    let config_map = bench.wait_data("web", &policy.holds("first")).await?;
    checked("it is a new object", config_map.metadata.uid != before, &before)
}

/// The resource is deleted: the garbage collector takes what is owned, and nothing else.
async fn released(bench: &Bench, policy: Policy) -> Result<()> {
    let image = synced(bench, policy).await?;
    bench.apply("marker", json!({"image": image})).await?;
    bench.ready("marker").await?;
    let before = bench.config_map("web").await?;
    bench.delete("web").await?;
    if policy == Policy::Owner {
        bench.wait_gone("web").await?;
        let marker = json!({"image": image, "revisionHistoryLimit": 0});
        bench.apply("marker", marker).await?;
        return eventually("the revisions to go along", || async {
            let (targets, revisions) = bench.written().await?;
            let rest = targets == ["marker"] && revisions.is_empty();
            Ok(if rest { Ok(()) } else { Err(format!("there are {targets:?} and {revisions:?}")) })
        })
        .await;
    }
    bench.delete("marker").await?;
    // The garbage collector has been here when it has taken the other one.
    bench.wait_gone("marker").await?;
    same("the ConfigMap", bench.config_map("web").await?, before)
}

/// Labels, annotations, other keys, and whose it is.
async fn merging_leaves_everything_else_alone(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    theirs(&bench).await?;
    let note =
        json!({"metadata": {"annotations": {"example.com/note": "keep"}}, "binaryData": {"raw": "/w=="}});
    let before = bench.edit("web", &note).await?;
    let target = json!({"creationPolicy": "Merge", "labels": {"config": "merged"}});
    bench.apply("web", json!({"image": image, "target": target})).await?;
    bench.ready("web").await?;
    for (minute, content) in [(2, "second"), (3, "third")] {
        bench.attach_at(&image, minute, &[("config.json", content)]).await?;
        bench.sync_ready("web").await?;
        let after = bench.config_map("web").await?;
        same("data", after.data.clone().unwrap_or_default(), Policy::Merge.holds(content))?;
        same("binaryData", &after.binary_data, &before.binary_data)?;
        same("annotations", &after.metadata.annotations, &before.metadata.annotations)?;
        same("owners", &after.metadata.owner_references, &None)?;
        let labels = text(&[("team", "shop"), ("config", "merged")]);
        same("labels", after.labels(), &labels)?;
        same("uid", &after.metadata.uid, &before.metadata.uid)?;
    }
    let (targets, revisions) = bench.written().await?;
    same("objects that are the operator's own", (targets.len(), revisions.len()), (0, 3))?;
    let quiet = bench.config_map("web").await?;
    bench.sync_ready("web").await?;
    same("the ConfigMap", bench.config_map("web").await?, quiet)
}

/// Ours and only ours; a key that moves between text and bytes stays one key.
async fn keys_that_leave_the_config_leave_the_target(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("a.ini", "a"), ("b.ini", "b")]).await?;
    theirs(&bench).await?;
    bench.apply("web", json!({"image": image, "target": {"creationPolicy": "Merge"}})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("a.ini", "a"), ("b.ini", "b"), ("theirs", "kept")]))?;
    bench.attach_at(&image, 2, &[("b.ini", "2"), ("c.ini", "c")]).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&[("b.ini", "2"), ("c.ini", "c"), ("theirs", "kept")]))?;

    let files: [(&str, &[u8]); 1] = [("b.ini", &[0xff, 0xfe])];
    let created = [("org.opencontainers.image.created", "2026-01-01T00:03:00Z")];
    bench.world.oras.attach(&image, CONFIG_TYPE, &files, &created).await?;
    bench.sync_ready("web").await?;
    let config_map = bench.config_map("web").await?;
    same("data", config_map.data.unwrap_or_default(), text(&[("theirs", "kept")]))?;
    let binary: Vec<_> = config_map.binary_data.unwrap_or_default().into_keys().collect();
    same("keys of binaryData", binary, vec!["b.ini"])?;
    bench.attach_at(&image, 4, &[("b.ini", "4")]).await?;
    bench.sync_ready("web").await?;
    let config_map = bench.config_map("web").await?;
    same("data", config_map.data.unwrap_or_default(), text(&[("b.ini", "4"), ("theirs", "kept")]))?;
    same("binaryData", config_map.binary_data.unwrap_or_default().len(), 0)
}

/// Nothing reports somebody else's object, so it is the interval that finds it, or whoever asks.
async fn a_target_to_merge_into_is_found_at_the_next_reconcile(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let target = json!({"creationPolicy": "Merge"});
    bench.apply("web", json!({"image": image, "target": target})).await?;
    bench.failed("web", Reason::TargetNotFound).await?;
    let polled =
        json!({"image": image, "target": {"creationPolicy": "Merge", "name": "polled"}, "interval": "1s"});
    bench.apply("polled", polled).await?;
    bench.failed("polled", Reason::TargetNotFound).await?;
    theirs(&bench).await?;
    bench.create_config_map("polled", &[], &[("theirs", "kept")]).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, Policy::Merge.holds("first"))?;
    bench.ready("polled").await?;
    same("data", bench.data("polled").await?, Policy::Merge.holds("first"))
}

/// Which keys the next config of either has is not known, so two never share one.
async fn the_second_that_merges_is_refused(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let (other, _, _) = bench.image_with("other:v1", &[("other.json", "second")]).await?;
    bench.create_config_map("shared", &[], &[("theirs", "kept")]).await?;
    let target = json!({"creationPolicy": "Merge", "name": "shared"});
    bench.apply("first", json!({"image": image, "target": target})).await?;
    bench.ready("first").await?;
    let before = bench.config_map("shared").await?;
    bench.apply("second", json!({"image": other, "target": target})).await?;
    let second = bench.failed("second", Reason::TargetConflict).await?;
    checked("the message names the first", second.message()?.contains("'first'"), second.message()?)?;
    bench.sync_ready("first").await?;
    bench.sync_failed("second", Reason::TargetConflict).await?;
    same("the ConfigMap", bench.config_map("shared").await?, before)
}

/// The two would undo each other for ever.
async fn what_another_resource_owns_is_not_merged_into(bench: Bench) -> Result<()> {
    let image = synced(&bench, Policy::Owner).await?;
    let before = bench.config_map("web").await?;
    let target = json!({"creationPolicy": "Merge", "name": "web"});
    bench.apply("second", json!({"image": image, "target": target})).await?;
    let second = bench.failed("second", Reason::TargetConflict).await?;
    checked("the message names the first", second.message()?.contains("'web'"), second.message()?)?;
    same("the ConfigMap", bench.config_map("web").await?, before)?;

    // Nor does an owner take what somebody else keeps and a resource merges into.
    bench.create_config_map("shared", &[], &[("theirs", "kept")]).await?;
    let target = json!({"creationPolicy": "Merge", "name": "shared"});
    bench.apply("merging", json!({"image": image, "target": target})).await?;
    bench.ready("merging").await?;
    let before = bench.config_map("shared").await?;
    bench.apply("owning", json!({"image": image, "target": {"name": "shared"}})).await?;
    bench.failed("owning", Reason::TargetConflict).await?;
    same("the ConfigMap", bench.config_map("shared").await?, before)
}

/// Values that stood there already are taken over as well: nobody takes them away from the resource, and the next one that
/// merges is refused.
async fn equal_values_are_merged_too(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.create_config_map("shared", &[], &[("config.json", "first"), ("theirs", "kept")]).await?;
    let spec = json!({"image": image, "target": {"creationPolicy": "Merge", "name": "shared"}});
    bench.apply("web", spec.clone()).await?;
    bench.ready("web").await?;
    let merged = bench.config_map("shared").await?;
    bench.apply("second", spec).await?;
    let second = bench.failed("second", Reason::TargetConflict).await?;
    checked("the message names the first", second.message()?.contains("'web'"), second.message()?)?;
    same("the ConfigMap", bench.config_map("shared").await?, merged)
}

/// A revision holds the keys of the config, and going back merges those.
async fn merging_can_roll_back(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("a.ini", "a")]).await?;
    theirs(&bench).await?;
    let spec = json!({"image": image, "target": {"creationPolicy": "Merge"}});
    bench.apply("web", spec.clone()).await?;
    let config = bench.ready("web").await?;
    let name = config.seen()?.history.first().and_then(|entry| entry.config_map.clone());
    let revision = bench.config_map(&name.context("no revision")?).await?;
    same("the revision", revision.data.clone().unwrap_or_default(), text(&[("a.ini", "a")]))?;
    let number = revision.labels().get(label::REVISION).map(String::as_str);
    same("number", number, Some("1"))?;
    bench.attach_at(&image, 2, &[("b.ini", "b")]).await?;
    bench.sync_ready("web").await?;
    let mut back = spec;
    back["rollbackTo"] = json!(first);
    bench.apply("web", back).await?;
    bench.wait("web", "to be rolled back", |config| config.expect("True", Reason::RolledBack)).await?;
    same("data", bench.data("web").await?, text(&[("a.ini", "a"), ("theirs", "kept")]))
}

/// Only whose it is changes.
async fn owner_and_orphan_can_change_into_each_other(bench: Bench) -> Result<()> {
    let image = synced(&bench, Policy::Owner).await?;
    let owners = |config_map: &k8s_openapi::api::core::v1::ConfigMap| {
        config_map.metadata.owner_references.as_ref().map_or(0, Vec::len)
    };
    let uid = bench.config_map("web").await?.metadata.uid;
    for (policy, expected) in
        [(Policy::Orphan, 0), (Policy::Owner, 1), (Policy::Retain, 0), (Policy::Orphan, 0)]
    {
        bench.apply("web", json!({"image": image, "target": policy.target()})).await?;
        bench.ready("web").await?;
        let config_map = bench.config_map("web").await?;
        same(&format!("owners with {policy:?}"), owners(&config_map), expected)?;
        same("uid", &config_map.metadata.uid, &uid)?;
        same("data", config_map.data.unwrap_or_default(), policy.holds("first"))?;
    }
    Ok(())
}

/// What is somebody else's does not become ours by an edit, nor the other way round; the API server says so at once.
async fn merge_is_chosen_once(bench: Bench) -> Result<()> {
    let with = |name: &str, policy: Option<&str>| {
        let mut spec = json!({"image": bench.image("web:v1"), "artifactType": CONFIG_TYPE, "suspend": true});
        if let Some(policy) = policy {
            spec["target"] = json!({"creationPolicy": policy});
        }
        let name = name.to_owned();
        let bench = bench.clone();
        async move { bench.apply_raw(&name, &spec).await }
    };
    for (name, from, to) in [
        ("a", Some("Merge"), Some("Owner")),
        ("b", Some("Merge"), Some("Orphan")),
        ("c", Some("Owner"), Some("Merge")),
        ("d", Some("Orphan"), Some("Merge")),
        ("e", None, Some("Merge")),
        ("f", Some("Merge"), None),
    ] {
        with(name, from).await?;
        let refused = with(name, to).await.err().map(|why| why.to_string());
        let says = refused.as_ref().is_some_and(|why| why.contains("cannot change to or from Merge"));
        checked(&format!("{from:?} to {to:?} is refused"), says, &refused)?;
        with(name, from).await?;
    }
    with("c", Some("Orphan")).await.map(drop)?;
    Ok(())
}

/// Its keys stay; that it once merged them keeps nobody out, for it will never do so again.
async fn what_a_deleted_resource_merged_is_free(bench: Bench) -> Result<()> {
    let image = synced(&bench, Policy::Merge).await?;
    bench.delete("web").await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    let target = json!({"creationPolicy": "Merge", "name": "web"});
    bench.apply("next", json!({"image": image, "target": target})).await?;
    bench.ready("next").await?;
    same("data", bench.data("web").await?, Policy::Merge.holds("second"))
}
