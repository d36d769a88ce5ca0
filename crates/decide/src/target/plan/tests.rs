//! Tests of the whole plan.

use api::{FIELD_MANAGER, Reason, label};
use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference,
};
use oci::{Annotations, Artifact, Digest};

use crate::render::Content;

use api::ArtifactConfig;

use super::*;
use crate::spec;
use serde_json::json;

fn desired(target: &serde_json::Value) -> Desired {
    let config: ArtifactConfig = serde_json::from_value(json!({
        "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {"image": "r.example/web:v1", "artifactType": "custom/config", "target": target}
    }))
    .unwrap();
    spec::parse(&config, None).unwrap()
}

fn artifact() -> Artifact {
    Artifact {
        digest: Digest::sha256(b"artifact"),
        media_type: String::new(),
        artifact_type: "custom/config".to_owned(),
        subject: None,
        annotations: Annotations::default(),
        layers: Box::default(),
        children: Box::default(),
        unreadable_children: 0,
        fault: None,
        manifest: None,
    }
}

fn rendered(desired: &Desired) -> Rendered {
    let content = Content {
        data: [("a.json".to_owned(), "{}".to_owned())].into(),
        binary_data: [("b.bin".to_owned(), vec![0xff])].into(),
    };
    let origin = Origin::of("r.example/web:v1".to_owned(), Digest::sha256(b"image"), &artifact());
    assemble(desired, origin, content)
}

#[test]
fn the_object_says_whose_it_is_and_where_its_content_came_from() {
    let rendered = rendered(&desired(&json!({"labels": {"team": "shop"}})));
    insta::assert_yaml_snapshot!(rendered.config_map);
}

#[test]
fn without_a_cluster_there_is_no_owner_to_name() {
    let mut desired = desired(&json!({}));
    desired.owner.uid = String::new();
    let metadata = rendered(&desired).config_map.metadata;
    assert_eq!(metadata.owner_references, None);
    assert!(!metadata.labels.unwrap().contains_key(label::OWNER_UID));
}

#[test]
fn a_right_object_is_kept_with_any_metadata_of_others() {
    let desired = desired(&json!({}));
    let rendered = rendered(&desired);
    assert_eq!(target(&desired, &rendered.config_map, None), TargetStep::Create);
    let mut observed = rendered.config_map.clone();
    observed.metadata.labels.as_mut().unwrap().insert("theirs".into(), "x".into());
    observed.metadata.annotations.as_mut().unwrap().insert("theirs".into(), "x".into());
    assert_eq!(target(&desired, &rendered.config_map, Some(&observed)), TargetStep::Keep);
    assert_eq!(leftovers(&desired, &rendered.config_map, &observed), None);
}

#[rstest::rstest]
#[case::value(|map: &mut ConfigMap| { map.data.as_mut().unwrap().insert("a.json".into(), "[]".into()); })]
#[case::missing_key(|map: &mut ConfigMap| { map.data = None; })]
#[case::extra_key(|map: &mut ConfigMap| { map.data.as_mut().unwrap().insert("x".into(), "y".into()); })]
#[case::binary(|map: &mut ConfigMap| { map.binary_data = None; })]
#[case::label(|map: &mut ConfigMap| { map.metadata.labels.as_mut().unwrap().remove(label::NAME); })]
#[case::annotation(|map: &mut ConfigMap| { map.metadata.annotations = None; })]
#[case::owner(|map: &mut ConfigMap| { map.metadata.owner_references = None; })]
fn drift_is_seen(#[case] edit: fn(&mut ConfigMap)) {
    let desired = desired(&json!({}));
    let rendered = rendered(&desired);
    let mut observed = rendered.config_map.clone();
    edit(&mut observed);
    assert_eq!(target(&desired, &rendered.config_map, Some(&observed)), TargetStep::Update);
}

/// The operator removes a label that the resource no longer has, but not a label that somebody else owns.
#[rstest::rstest]
#[case(FIELD_MANAGER, TargetStep::Update)]
#[case("kubectl-edit", TargetStep::Keep)]
fn a_label_that_is_no_longer_asked_for_is_drift(#[case] manager: &str, #[case] expected: TargetStep) {
    let desired = desired(&json!({}));
    let rendered = rendered(&desired);
    let mut observed = rendered.config_map.clone();
    observed.metadata.labels.as_mut().unwrap().insert("team".into(), "shop".into());
    observed.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        fields_v1: Some(FieldsV1(json!({"f:metadata": {"f:labels": {".": {}, "f:team": {}}}}))),
        ..ManagedFieldsEntry::default()
    }]);
    assert_eq!(target(&desired, &rendered.config_map, Some(&observed)), expected);
    // An apply does not remove a label that came by the patch that moves keys, and every reconcile would find it.
    let patch = leftovers(&desired, &rendered.config_map, &observed);
    let removed = (expected == TargetStep::Update).then(|| json!({"metadata": {"labels": {"team": null}}}));
    assert_eq!(patch, removed);
}

#[test]
fn keys_that_others_added_are_taken_away() {
    let desired = desired(&json!({}));
    let rendered = rendered(&desired);
    let mut observed = rendered.config_map.clone();
    observed.data.as_mut().unwrap().insert("x".into(), "y".into());
    assert_eq!(leftovers(&desired, &rendered.config_map, &observed).unwrap(), json!({"data": {"x": null}}));
}

/// The API server refuses a key in both maps, so a moved key must be removed from one before it is added to the other.
#[test]
fn a_key_that_stands_in_the_other_map_changes_place_in_one_patch() {
    let rendered = rendered(&desired(&json!({})));
    let mut observed = rendered.config_map.clone();
    assert_eq!(misplaced(&rendered.config_map, &observed), None);
    observed.data = None;
    observed.binary_data.as_mut().unwrap().insert("a.json".into(), ByteString(vec![0xff]));
    let patch = misplaced(&rendered.config_map, &observed).unwrap();
    assert_eq!(patch["data"], json!({"a.json": "{}"}));
    assert_eq!(patch["binaryData"], json!({"a.json": null, "b.bin": "/w=="}));
    assert_eq!(patch["metadata"]["annotations"], json!(rendered.config_map.metadata.annotations));
}

fn managed(manager: &str, keys: &[&str]) -> ManagedFieldsEntry {
    let fields: serde_json::Map<String, serde_json::Value> =
        keys.iter().map(|key| (format!("f:{key}"), json!({}))).collect();
    ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        fields_v1: Some(FieldsV1(json!({ "f:data": fields }))),
        ..ManagedFieldsEntry::default()
    }
}

#[test]
fn merging_touches_nothing_but_its_own_keys() {
    let merging = desired(&json!({"creationPolicy": "Merge", "labels": {"team": "shop"}}));
    let rendered = rendered(&merging);
    let wanted = written(&merging, &rendered);
    assert_eq!(wanted.metadata.labels.as_ref().unwrap().len(), 1, "{:?}", wanted.metadata);
    assert_eq!((&wanted.metadata.annotations, &wanted.metadata.owner_references), (&None, &None));
    assert_eq!(admit(&merging, None, &[]).unwrap_err().reason, Reason::TargetNotFound);
    let mut theirs =
        ConfigMap { data: Some([("theirs".to_owned(), "x".to_owned())].into()), ..ConfigMap::default() };
    admit(&merging, Some(&theirs), &[]).unwrap();
    assert_eq!(target(&merging, &wanted, Some(&theirs)), TargetStep::Update);
    theirs.data.as_mut().unwrap().extend(wanted.data.clone().unwrap());
    theirs.binary_data.clone_from(&wanted.binary_data);
    theirs.metadata.labels.clone_from(&wanted.metadata.labels);
    // Equal values of somebody else are not ours yet: that manager could remove them, and nobody would see our claim.
    assert_eq!(target(&merging, &wanted, Some(&theirs)), TargetStep::Update);
    let mut ours = managed(&field_manager(&merging), &["a.json"]);
    ours.fields_v1.as_mut().unwrap().0["f:binaryData"] = json!({"f:b.bin": {}});
    theirs.metadata.managed_fields = Some(vec![managed("kubectl-edit", &["a.json"]), ours]);
    assert_eq!(target(&merging, &wanted, Some(&theirs)), TargetStep::Keep);
    // A key that the config had before and has no longer.
    theirs.metadata.managed_fields = Some(vec![managed(&field_manager(&merging), &["a.json", "old.json"])]);
    assert_eq!(target(&merging, &wanted, Some(&theirs)), TargetStep::Update);
    // A label that the resource no longer has does not stay either.
    let mut labelled = theirs.clone();
    labelled.metadata.labels.get_or_insert_default().insert("old".into(), "x".into());
    labelled.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        manager: Some(field_manager(&merging)),
        fields_v1: Some(FieldsV1(json!({"f:metadata": {"f:labels": {"f:old": {}}}}))),
        ..ManagedFieldsEntry::default()
    }]);
    assert_eq!(target(&merging, &wanted, Some(&labelled)), TargetStep::Update);
    // An apply does not remove a key that came by a patch.
    theirs.data.as_mut().unwrap().insert("old.json".into(), "{}".into());
    assert_eq!(
        leftovers(&merging, &wanted, &theirs).unwrap(),
        json!({"data": {"old.json": null}}),
        "theirs stays"
    );
}

/// A rollback without a revision: the merged config is only in the keys of the resource.
#[test]
fn merged_keys_are_distinguished_from_the_rest() {
    let merging = desired(&json!({"creationPolicy": "Merge"}));
    let mut theirs = rendered(&merging).config_map;
    theirs.data.as_mut().unwrap().insert("theirs".into(), "x".into());
    theirs.metadata.managed_fields =
        Some(vec![managed(&field_manager(&merging), &["a.json"]), managed("kubectl-edit", &["theirs"])]);
    let own = own_part(&merging, &theirs);
    assert_eq!(own.data, Some([("a.json".to_owned(), "{}".to_owned())].into()));
    assert_eq!(own.binary_data.unwrap_or_default().len(), 0, "'b.bin' is not ours by now");
}

#[test]
fn two_resources_never_merge_into_one_target() {
    let merging = desired(&json!({"creationPolicy": "Merge"}));
    let mut theirs = ConfigMap::default();
    theirs.metadata.managed_fields = Some(vec![managed("artifactconfig/merge/api", &["k"])]);
    let rivals = rivals(&merging, Some(&theirs));
    assert_eq!(rivals, ["api"]);
    admit(&merging, Some(&theirs), &[]).unwrap();
    let failure = admit(&merging, Some(&theirs), &rivals).unwrap_err();
    assert_eq!(failure.reason, Reason::TargetConflict);
    assert!(failure.message.contains("ArtifactConfig 'api'"), "{}", failure.message);
    // A target of another resource by its label, or, if somebody removed the label, by its controller.
    let mut owned = rendered(&desired(&json!({}))).config_map;
    assert_eq!(admit(&merging, Some(&owned), &[]).unwrap_err().reason, Reason::TargetConflict);
    owned.metadata.labels = None;
    assert_eq!(admit(&merging, Some(&owned), &[]).unwrap_err().reason, Reason::TargetConflict);
}

#[test]
fn an_orphan_is_kept_but_not_owned() {
    let orphan = desired(&json!({"creationPolicy": "Orphan"}));
    assert_eq!(rendered(&orphan).config_map.metadata.owner_references, None);
    admit(&orphan, None, &[]).unwrap();
}

fn controlled_by(kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        kind: kind.into(),
        name: name.into(),
        uid: uid.into(),
        controller: Some(true),
        ..OwnerReference::default()
    }
}

/// Design §2.5: an object of others is never changed, and the message names its owner.
#[rstest::rstest]
#[case::hand_made(|metadata: &mut ObjectMeta| { metadata.labels = None; metadata.owner_references = None; }, "was not made by this operator")]
#[case::another_resource(|metadata: &mut ObjectMeta| { metadata.owner_references = Some(vec![controlled_by("ArtifactConfig", "api", "u-2")]); }, "belongs to ArtifactConfig 'api'")]
#[case::another_kind(|metadata: &mut ObjectMeta| { metadata.owner_references = Some(vec![controlled_by("ExternalSecret", "web", "u-3")]); }, "belongs to ExternalSecret 'web'")]
#[case::dead_namesake(|metadata: &mut ObjectMeta| { metadata.owner_references = Some(vec![controlled_by("ArtifactConfig", "web", "u-0")]); }, "garbage collection is pending")]
#[case::retained_by_another(|metadata: &mut ObjectMeta| { metadata.owner_references = None; metadata.labels.as_mut().unwrap().insert(label::NAME.into(), "api".into()); }, "belongs to ArtifactConfig 'api'")]
fn what_is_not_ours_is_refused(#[case] edit: fn(&mut ObjectMeta), #[case] says: &str) {
    let desired = desired(&json!({}));
    let rendered = rendered(&desired);
    let mut observed = rendered.config_map.clone();
    assert!(Watched::of(&observed.metadata).is_of(&desired.owner));
    edit(&mut observed.metadata);
    assert!(!Watched::of(&observed.metadata).is_of(&desired.owner), "nor is it deleted as a stray");
    let failure = admit(&desired, Some(&observed), &[]).unwrap_err();
    assert_eq!(failure.reason, Reason::TargetConflict);
    assert!(failure.message.contains(says), "{}", failure.message);
}

#[test]
fn what_a_namesake_left_behind_is_taken_up_again() {
    let desired = desired(&json!({}));
    let rendered = rendered(&desired);
    let mut observed = rendered.config_map.clone();
    observed.metadata.owner_references = None;
    assert!(Watched::of(&observed.metadata).is_of(&desired.owner));
    observed.metadata.labels.as_mut().unwrap().insert(label::OWNER_UID.into(), "u-0".into());
    assert_eq!(target(&desired, &rendered.config_map, Some(&observed)), TargetStep::Update);
}

#[test]
fn retaining_needs_no_owner_reference_and_leaves_earlier_targets() {
    let retained = desired(&json!({"deletionPolicy": "Retain"}));
    assert_eq!(rendered(&retained).config_map.metadata.owner_references, None);
    let (old, current) = (desired(&json!({"name": "old"})), desired(&json!({"name": "new"})));
    let written = ManagedFieldsEntry { manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
    let copied = ManagedFieldsEntry { manager: Some("kubectl-create".to_owned()), ..Default::default() };
    // A manual backup has all labels and the owner of the target.
    let backup = desired(&json!({"name": "backup"}));
    let owned = [(&old, &written), (&current, &written), (&backup, &copied)].map(|(desired, by)| {
        let mut metadata = rendered(desired).config_map.metadata;
        metadata.managed_fields = Some(vec![by.clone()]);
        Arc::new(Watched::of(&metadata))
    });
    let names = |desired: &Desired| -> Vec<String> {
        strays(desired, &owned).into_iter().map(|object| object.name.to_string()).collect()
    };
    assert_eq!(names(&current), ["old"]);
    assert!(names(&desired(&json!({"name": "new", "deletionPolicy": "Retain"}))).is_empty());
}

/// A resource must not use the operator's rights to write certificates that every pod trusts.
#[test]
fn nothing_is_merged_into_what_the_cluster_publishes() {
    for name in ["kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"] {
        let desired = desired(&json!({"name": name, "creationPolicy": "Merge"}));
        let failure = admit(&desired, Some(&ConfigMap::default()), &[]).unwrap_err();
        assert_eq!(failure.reason, Reason::TargetConflict);
        assert!(failure.message.contains(name), "{}", failure.message);
    }
}

/// The record of the API server names the manager that undoes our changes.
#[test]
fn the_last_writer_besides_the_operator_is_the_rival() {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    let entry = |manager: &str, second| ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        time: Some(Time(jiff::Timestamp::from_second(second).unwrap())),
        ..Default::default()
    };
    let desired = desired(&json!({}));
    let mut observed = rendered(&desired).config_map;
    assert_eq!(rival(&desired, &observed), None);
    observed.metadata.managed_fields =
        Some(vec![entry("helm", 2), entry("kubectl-edit", 1), entry(FIELD_MANAGER, 3)]);
    assert_eq!(rival(&desired, &observed).as_deref(), Some("helm"));
}

/// No change, no write: revisions of earlier versions, without a manifest, stay unchanged.
#[test]
fn a_revision_without_a_manifest_is_kept_as_it_is() {
    use api::annotation::MANIFEST;

    use crate::numbers::Stamp;
    let desired = desired(&json!({}));
    let stamp = Stamp { number: 1, applied_at: jiff::Timestamp::UNIX_EPOCH };
    let mut rendered = rendered(&desired);
    let old = crate::revision::assemble(&rendered, stamp);
    rendered.manifest = Some("{}".into());
    let wanted = crate::revision::assemble(&rendered, stamp);
    assert_eq!(revision(&desired, &wanted, Some(&old)).unwrap(), RevisionStep::Keep);
    let mut tampered = wanted.clone();
    tampered.annotations_mut().insert(MANIFEST.to_owned(), "{ }".to_owned());
    assert_eq!(revision(&desired, &wanted, Some(&tampered)).unwrap(), RevisionStep::Relabel);
}
