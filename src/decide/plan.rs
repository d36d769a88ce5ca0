//! Desired and observed `ConfigMap` → what to write, if anything.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};

use crate::api::{CreationPolicy, DeletionPolicy, FIELD_MANAGER, GROUP, MANAGER, Reason, annotation, label};
use crate::types::{Artifact, Digest};

use super::render::Content;
use super::revision::{self, Stamp};
use super::spec::{Desired, Owner, Target};
use super::status::truncate;
use crate::types::Failure;

/// Where content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The image as the resource names it, or named it then.
    pub image: String,
    /// What it resolved to.
    pub image_digest: Digest,
    /// Digest of the artifact.
    pub artifact: Digest,
    /// `org.opencontainers.image.created` of the artifact.
    pub created: Option<String>,
    /// Annotations of the artifact, at most [`MAX_ANNOTATIONS`] bytes of them; not kept by revisions.
    pub annotations: BTreeMap<String, String>,
}

impl Origin {
    /// Of an artifact that is attached to an image.
    #[must_use]
    pub fn of(image: String, image_digest: Digest, artifact: &Artifact) -> Self {
        Self {
            image,
            image_digest,
            artifact: artifact.digest.clone(),
            created: artifact.created().map(|created| truncate(created, MAX_CREATED)),
            annotations: bounded(&artifact.annotations),
        }
    }

    /// Of a revision, by its annotations.
    #[must_use]
    pub fn of_revision(revision: &ConfigMap) -> Option<Self> {
        let annotated = |key: &str| revision.metadata.annotations.as_ref().and_then(|all| all.get(key));
        Some(Self {
            image: annotated(annotation::IMAGE)?.clone(),
            image_digest: annotated(annotation::IMAGE_DIGEST)?.parse().ok()?,
            artifact: annotated(annotation::ARTIFACT_DIGEST)?.parse().ok()?,
            created: annotated(annotation::ARTIFACT_CREATED).cloned(),
            annotations: BTreeMap::new(),
        })
    }
}

/// What a `ConfigMap` holds and where it came from: everything that status says of it. Small, because one is kept in
/// memory for each resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Name of the `ConfigMap`.
    pub target: String,
    /// The image as the resource names it.
    pub image: String,
    /// What it resolved to.
    pub image_digest: Digest,
    /// Digest of the artifact.
    pub artifact: Digest,
    /// `org.opencontainers.image.created` of the artifact.
    pub created: Option<String>,
    /// Annotations of the artifact, at most 4 KiB of them.
    pub annotations: BTreeMap<String, String>,
    /// Bytes of content.
    pub size: u64,
    /// Hash over the content.
    pub hash: String,
    /// Name of the revision that keeps it, where one does.
    pub revision: Option<String>,
}

/// What is to be in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The whole object.
    pub config_map: ConfigMap,
    /// What there is to say of it.
    pub facts: Facts,
}

/// Proof that a [`Rendered`] is in the cluster. Only applying makes one, and status takes nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    facts: Facts,
    stamp: Stamp,
    resource_version: String,
    changed: bool,
}

impl Applied {
    /// For `cluster::apply` alone, once the API server has confirmed the object.
    pub(crate) fn confirmed(facts: Facts, stamp: Stamp, resource_version: String, changed: bool) -> Self {
        Self { facts, stamp, resource_version, changed }
    }

    /// The same, found unchanged by a later reconcile.
    #[must_use]
    pub fn unchanged(&self) -> Self {
        Self { changed: false, ..self.clone() }
    }

    /// What is in the cluster.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Which application it is.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// `resourceVersion` of the `ConfigMap` that holds it.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// Whether anything had to be written.
    #[must_use]
    pub const fn changed(&self) -> bool {
        self.changed
    }
}

/// Bytes of manifest annotations that are kept and repeated in status.
const MAX_ANNOTATIONS: usize = 4096;

/// Longest `created` that is repeated; RFC 3339 with nanoseconds takes 35.
const MAX_CREATED: usize = 64;

/// Annotations in key order until their bytes are used up: a manifest may carry 4 MiB of them.
fn bounded(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut left = MAX_ANNOTATIONS;
    annotations
        .iter()
        .take_while(|(key, value)| {
            let size = key.len() + value.len();
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Builds the object.
#[must_use]
pub fn assemble(desired: &Desired, origin: Origin, content: Content) -> Rendered {
    let (size, hash) = (content.size(), content.hash());
    let Origin { image, image_digest, artifact, created, annotations: artifact_annotations } = origin;
    let mut labels = desired.target.labels.clone();
    labels.insert(label::MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(label::NAME.to_owned(), desired.owner.name.clone());
    if !desired.owner.uid.is_empty() {
        labels.insert(label::OWNER_UID.to_owned(), desired.owner.uid.clone());
    }
    let mut annotations = desired.target.annotations.clone();
    for (key, value) in [
        (annotation::ARTIFACT_DIGEST, Some(artifact.to_string())),
        (annotation::ARTIFACT_CREATED, created.clone()),
        (annotation::IMAGE, Some(image.clone())),
        (annotation::IMAGE_DIGEST, Some(image_digest.to_string())),
        (annotation::CONTENT_HASH, Some(hash.clone())),
    ] {
        annotations.extend(value.map(|value| (key.to_owned(), value)));
    }
    let Content { data, binary_data } = content;
    let config_map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(desired.target.name.clone()),
            namespace: Some(desired.owner.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: owner_reference(desired).map(|reference| vec![reference]),
            ..ObjectMeta::default()
        },
        data: (!data.is_empty()).then_some(data),
        binary_data: (!binary_data.is_empty())
            .then(|| binary_data.into_iter().map(|(key, value)| (key, ByteString(value))).collect()),
        immutable: None,
    };
    let facts = Facts {
        target: desired.target.name.clone(),
        revision: (desired.history_limit > 0).then(|| revision::name(&desired.target.name, &artifact, &hash)),
        image,
        image_digest,
        artifact,
        created,
        annotations: artifact_annotations,
        size,
        hash,
    };
    Rendered { config_map, facts }
}

impl Rendered {
    /// The target says which application it holds.
    #[must_use]
    pub fn stamped(mut self, stamp: Stamp) -> Self {
        let annotations = self.config_map.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::REVISION.to_owned(), stamp.number.to_string());
        self
    }
}

/// The reference by which the garbage collector takes an object along; none where it is to stay. Merging owns no target,
/// but its revisions are nobody else's.
fn owner_reference(desired: &Desired) -> Option<OwnerReference> {
    let Target { creation_policy, deletion_policy, .. } = &desired.target;
    let wanted = !desired.owner.uid.is_empty()
        && match creation_policy {
            CreationPolicy::Owner => *deletion_policy == DeletionPolicy::Delete,
            CreationPolicy::Orphan => false,
            CreationPolicy::Merge => true,
        };
    wanted.then(|| OwnerReference {
        api_version: format!("{GROUP}/v1alpha1"),
        kind: "ArtifactConfig".to_owned(),
        name: desired.owner.name.clone(),
        uid: desired.owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}

/// What there is to do for a revision.
#[derive(Clone, Debug, PartialEq)]
pub enum RevisionStep {
    /// It does not exist.
    Create,
    /// It exists with this content; its labels and annotations are to be brought up to date.
    Relabel,
    /// It exists, is ours, and holds something else: somebody made it anew. It has to go first, being immutable.
    Replace,
    /// It is as it should be.
    Keep,
}

/// Compares a revision that is there with what it should be.
///
/// # Errors
/// `TargetConflict` where the object belongs to someone else.
pub fn revision(
    desired: &Desired,
    wanted: &ConfigMap,
    observed: Option<&ConfigMap>,
) -> Result<RevisionStep, Failure> {
    let Some(observed) = observed else { return Ok(RevisionStep::Create) };
    refuse_foreign(desired, &observed.metadata)?;
    let same_content = same_entries(observed.data.as_ref(), wanted.data.as_ref())
        && same_entries(observed.binary_data.as_ref(), wanted.binary_data.as_ref());
    Ok(if !same_content {
        RevisionStep::Replace
    } else if differs(wanted, observed) || observed.immutable != Some(true) {
        RevisionStep::Relabel
    } else {
        RevisionStep::Keep
    })
}

/// What there is to do for the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetStep {
    /// It does not exist.
    Create,
    /// It exists, is ours, and differs.
    Update,
    /// It is as it should be.
    Keep,
}

/// Whether the target may be written to at all. Asked before anything is kept for it.
///
/// # Errors
/// `TargetConflict` where the object belongs to someone else; `TargetNotFound` where there is none to merge into.
pub fn admit(desired: &Desired, observed: Option<&ConfigMap>) -> Result<(), Failure> {
    match (desired.target.creation_policy, observed) {
        (CreationPolicy::Owner | CreationPolicy::Orphan, None) => Ok(()),
        (CreationPolicy::Owner | CreationPolicy::Orphan, Some(observed)) => {
            refuse_foreign(desired, &observed.metadata)
        }
        (CreationPolicy::Merge, None) => Err(Failure::new(
            Reason::TargetNotFound,
            format!(
                "there is no ConfigMap '{}' to merge into; create it, or set spec.target.creationPolicy to Owner in another ArtifactConfig",
                desired.target.name
            ),
        )),
        (CreationPolicy::Merge, Some(observed)) => refuse_merging(desired, observed),
    }
}

/// Merging goes into what others keep, but not into what this operator keeps for another resource, nor over keys that
/// another resource merges: the two would undo each other for ever.
fn refuse_merging(desired: &Desired, observed: &ConfigMap) -> Result<(), Failure> {
    let refuse = |whose: String| {
        Err(Failure::new(
            Reason::TargetConflict,
            format!(
                "ConfigMap '{}' {whose}; it was not touched. Choose another spec.target.name",
                desired.target.name
            ),
        ))
    };
    let labelled = |key: &str| observed.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    if labelled(label::MANAGED_BY).is_some_and(|manager| manager == MANAGER) {
        let name = labelled(label::NAME).map_or("another", String::as_str);
        return refuse(format!("is the target of ArtifactConfig '{name}'"));
    }
    let ours = field_manager(desired);
    let others = observed.metadata.managed_fields.iter().flatten().filter_map(|entry| {
        let name = entry.manager.as_deref()?.strip_prefix(MERGE_MANAGER)?;
        (entry.manager.as_deref() != Some(&ours)).then_some((name, entry))
    });
    for (name, entry) in others {
        if !owned_keys(entry, "f:data").is_empty() || !owned_keys(entry, "f:binaryData").is_empty() {
            // Which keys the next config has is not known here, so no two resources share one target.
            return refuse(format!("holds keys that ArtifactConfig '{name}' merges"));
        }
    }
    Ok(())
}

/// Field managers of merging begin with this. One for each resource: under a common one, what one resource applies would
/// take away what another one has.
const MERGE_MANAGER: &str = "artifactconfig/merge/";

/// The field manager that writes the target of a resource.
#[must_use]
pub fn field_manager(desired: &Desired) -> String {
    match desired.target.creation_policy {
        CreationPolicy::Owner | CreationPolicy::Orphan => FIELD_MANAGER.to_owned(),
        CreationPolicy::Merge => format!("{MERGE_MANAGER}{}", desired.owner.name),
    }
}

/// Keys below a member that an entry of `managedFields` owns.
fn owned_keys(entry: &ManagedFieldsEntry, member: &str) -> Vec<String> {
    let fields =
        entry.fields_v1.as_ref().and_then(|fields| fields.0.get(member)).and_then(|value| value.as_object());
    fields.into_iter().flatten().filter_map(|(key, _)| Some(key.strip_prefix("f:")?.to_owned())).collect()
}

/// The target as it is written: the whole object, or where it is somebody else's what is merged into it, which is
/// neither our labels nor our annotations.
#[must_use]
pub fn written(desired: &Desired, rendered: &Rendered) -> ConfigMap {
    let mut object = rendered.config_map.clone();
    if desired.target.creation_policy == CreationPolicy::Merge {
        let some = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
        object.metadata.labels = some(&desired.target.labels);
        object.metadata.annotations = some(&desired.target.annotations);
        object.metadata.owner_references = None;
    }
    object
}

/// Compares what is there with what should be.
#[must_use]
pub fn target(desired: &Desired, wanted: &ConfigMap, observed: Option<&ConfigMap>) -> TargetStep {
    let Some(observed) = observed else { return TargetStep::Create };
    let drifted = match desired.target.creation_policy {
        CreationPolicy::Owner | CreationPolicy::Orphan => differs(wanted, observed),
        CreationPolicy::Merge => is_unmerged(&field_manager(desired), wanted, observed),
    };
    if drifted { TargetStep::Update } else { TargetStep::Keep }
}

/// Whether something of ours is missing in somebody else's object, or something that was ours is left in it.
fn is_unmerged(manager: &str, wanted: &ConfigMap, observed: &ConfigMap) -> bool {
    let entries = observed.metadata.managed_fields.iter().flatten();
    let left = entries.filter(|entry| entry.manager.as_deref() == Some(manager)).any(|entry| {
        let gone = |key: &String, map: bool| {
            if map { !has(wanted.data.as_ref(), key) } else { !has(wanted.binary_data.as_ref(), key) }
        };
        owned_keys(entry, "f:data").iter().any(|key| gone(key, true))
            || owned_keys(entry, "f:binaryData").iter().any(|key| gone(key, false))
    });
    left || !includes(observed.data.as_ref(), wanted.data.as_ref())
        || !includes(observed.binary_data.as_ref(), wanted.binary_data.as_ref())
        || !includes(observed.metadata.labels.as_ref(), wanted.metadata.labels.as_ref())
        || !includes(observed.metadata.annotations.as_ref(), wanted.metadata.annotations.as_ref())
}

fn has<V>(map: Option<&BTreeMap<String, V>>, key: &str) -> bool {
    map.is_some_and(|map| map.contains_key(key))
}

/// Whether every entry of `want` is in `have`.
fn includes<V: PartialEq>(have: Option<&BTreeMap<String, V>>, want: Option<&BTreeMap<String, V>>) -> bool {
    want.into_iter().flatten().all(|(key, value)| have.and_then(|have| have.get(key)) == Some(value))
}

fn refuse_foreign(desired: &Desired, metadata: &ObjectMeta) -> Result<(), Failure> {
    match foreign_owner(&desired.owner, metadata) {
        None => Ok(()),
        Some(owner) => Err(Failure::new(
            Reason::TargetConflict,
            format!(
                "ConfigMap '{}' exists and {owner}; it was not touched. Choose another spec.target.name, or delete it if nobody needs it",
                metadata.name.as_deref().unwrap_or_default()
            ),
        )),
    }
}

/// Says whose an object is, unless it is ours.
///
/// Ours is what carries our UID, as controller or as label; and what a namesake left behind without a controller
/// (deletion policy `Retain`, or a deletion that orphaned it): names are unique in a namespace, so nobody else can
/// claim it.
fn foreign_owner(owner: &Owner, metadata: &ObjectMeta) -> Option<String> {
    let labelled =
        |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let controller =
        metadata.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
    if let Some(controller) = controller {
        if controller.uid == owner.uid {
            return None;
        }
        if controller.kind == "ArtifactConfig" && controller.name == owner.name {
            return Some("still belongs to an earlier ArtifactConfig of this name, whose garbage collection is pending".to_owned());
        }
        return Some(format!("belongs to {} '{}'", controller.kind, controller.name));
    }
    let managed = labelled(label::MANAGED_BY) == Some(MANAGER);
    match (managed, labelled(label::NAME)) {
        (true, Some(name)) if name == owner.name => None,
        (true, Some(name)) => Some(format!("belongs to ArtifactConfig '{name}'")),
        _ => Some("was not made by this operator".to_owned()),
    }
}

/// Whether a write is needed. What others added to labels and annotations is theirs and stays; a key they added to
/// the content is drift.
fn differs(desired: &ConfigMap, observed: &ConfigMap) -> bool {
    let (have, want) = (&observed.metadata, &desired.metadata);
    let controller = |metadata: &ObjectMeta| {
        metadata
            .owner_references
            .iter()
            .flatten()
            .find(|reference| reference.controller == Some(true))
            .cloned()
    };
    !includes(have.labels.as_ref(), want.labels.as_ref())
        || !includes(have.annotations.as_ref(), want.annotations.as_ref())
        || controller(have) != controller(want)
        || abandoned(have, want)
        || !same_entries(observed.data.as_ref(), desired.data.as_ref())
        || !same_entries(observed.binary_data.as_ref(), desired.binary_data.as_ref())
}

/// Whether a label or annotation stands there only because an earlier version of the resource asked for it. The API
/// server keeps the record of that: what our field manager owns and the object no longer names.
fn abandoned(have: &ObjectMeta, want: &ObjectMeta) -> bool {
    let ours =
        have.managed_fields.iter().flatten().filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    ours.filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:metadata")).any(|fields| {
        [("f:labels", &want.labels), ("f:annotations", &want.annotations)].into_iter().any(
            |(member, wanted)| {
                let owned = fields.get(member).and_then(serde_json::Value::as_object);
                owned
                    .into_iter()
                    .flatten()
                    .filter_map(|(key, _)| key.strip_prefix("f:"))
                    .any(|key| !wanted.as_ref().is_some_and(|wanted| wanted.contains_key(key)))
            },
        )
    })
}

/// An absent map and an empty one hold the same.
fn same_entries<V: PartialEq>(
    left: Option<&BTreeMap<String, V>>,
    right: Option<&BTreeMap<String, V>>,
) -> bool {
    left.into_iter().flatten().eq(right.into_iter().flatten())
}

/// Keys that stand in the other of the two maps: an apply that adds a key to one is refused while it stands in both, and
/// who moved it owns it there.
#[must_use]
pub fn misplaced(desired: &ConfigMap, observed: &ConfigMap) -> Option<serde_json::Value> {
    fn both<V, W>(have: Option<&BTreeMap<String, V>>, want: Option<&BTreeMap<String, W>>) -> Nulls {
        let wanted = |key: &&String| want.is_some_and(|want| want.contains_key(*key));
        nulls(have.into_iter().flatten().map(|(key, _)| key).filter(wanted))
    }
    removal(
        &both(observed.data.as_ref(), desired.binary_data.as_ref()),
        &both(observed.binary_data.as_ref(), desired.data.as_ref()),
    )
}

type Nulls = serde_json::Map<String, serde_json::Value>;

fn nulls<'a>(keys: impl Iterator<Item = &'a String>) -> Nulls {
    keys.map(|key| (key.clone(), serde_json::Value::Null)).collect()
}

/// A merge patch that removes keys, where there are any.
fn removal(data: &Nulls, binary_data: &Nulls) -> Option<serde_json::Value> {
    (!data.is_empty() || !binary_data.is_empty())
        .then(|| serde_json::json!({"data": data, "binaryData": binary_data}))
}

/// Keys that others added to the content of an object that is ours: server-side apply leaves them, because it never
/// owned them.
#[must_use]
pub fn leftovers(desired: &Desired, wanted: &ConfigMap, observed: &ConfigMap) -> Option<serde_json::Value> {
    fn extra<V>(have: Option<&BTreeMap<String, V>>, want: Option<&BTreeMap<String, V>>) -> Nulls {
        let unwanted = |key: &&String| !want.is_some_and(|want| want.contains_key(*key));
        nulls(have.into_iter().flatten().map(|(key, _)| key).filter(unwanted))
    }
    if desired.target.creation_policy == CreationPolicy::Merge {
        return None;
    }
    removal(
        &extra(observed.data.as_ref(), wanted.data.as_ref()),
        &extra(observed.binary_data.as_ref(), wanted.binary_data.as_ref()),
    )
}

/// Objects that an earlier `spec.target.name` left behind: ours by UID, and not the target.
#[must_use]
pub fn strays<'a>(desired: &Desired, owned: impl Iterator<Item = &'a ObjectMeta>) -> Vec<&'a ObjectMeta> {
    if desired.target.deletion_policy == DeletionPolicy::Retain
        || desired.target.creation_policy != CreationPolicy::Owner
    {
        return Vec::new();
    }
    owned
        .filter(|metadata| foreign_owner(&desired.owner, metadata).is_none())
        .filter(|metadata| metadata.name.as_ref() != Some(&desired.target.name))
        .filter(|metadata| !revision::is_revision(metadata))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ArtifactConfig;
    use crate::decide::spec;
    use serde_json::json;

    fn desired(target: &serde_json::Value) -> Desired {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"image": "r.example/web:v1", "artifactType": "custom/config", "target": target}
        }))
        .unwrap();
        spec::parse(&config).unwrap()
    }

    fn artifact() -> Artifact {
        Artifact {
            digest: Digest::sha256(b"artifact"),
            media_type: String::new(),
            artifact_type: "custom/config".to_owned(),
            subject: None,
            annotations: BTreeMap::new(),
            layers: Vec::new(),
            children: Vec::new(),
            unreadable_children: 0,
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
    fn what_is_as_it_should_be_is_kept_whatever_others_added_to_its_metadata() {
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

    /// A label that the resource no longer asks for is the operator's to take away; one that somebody else owns is not.
    #[rstest::rstest]
    #[case(FIELD_MANAGER, TargetStep::Update)]
    #[case("kubectl-edit", TargetStep::Keep)]
    fn a_label_that_is_no_longer_asked_for_is_drift(#[case] manager: &str, #[case] expected: TargetStep) {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
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
    }

    #[test]
    fn keys_that_others_added_are_taken_away() {
        let desired = desired(&json!({}));
        let rendered = rendered(&desired);
        let mut observed = rendered.config_map.clone();
        observed.data.as_mut().unwrap().insert("x".into(), "y".into());
        assert_eq!(
            leftovers(&desired, &rendered.config_map, &observed).unwrap(),
            json!({"data": {"x": null}, "binaryData": {}})
        );
    }

    /// The API server refuses a key in both maps, so one that somebody moved has to go before it can come back.
    #[test]
    fn a_key_that_was_moved_to_the_other_map_goes_first() {
        let rendered = rendered(&desired(&json!({})));
        let mut observed = rendered.config_map.clone();
        assert_eq!(misplaced(&rendered.config_map, &observed), None);
        observed.data = None;
        observed.binary_data.as_mut().unwrap().insert("a.json".into(), ByteString(vec![0xff]));
        assert_eq!(
            misplaced(&rendered.config_map, &observed).unwrap(),
            json!({"data": {}, "binaryData": {"a.json": null}})
        );
    }

    fn managed(manager: &str, keys: &[&str]) -> ManagedFieldsEntry {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
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
        assert_eq!(admit(&merging, None).unwrap_err().reason, Reason::TargetNotFound);
        let mut theirs =
            ConfigMap { data: Some([("theirs".to_owned(), "x".to_owned())].into()), ..ConfigMap::default() };
        admit(&merging, Some(&theirs)).unwrap();
        assert_eq!(target(&merging, &wanted, Some(&theirs)), TargetStep::Update);
        theirs.data.as_mut().unwrap().extend(wanted.data.clone().unwrap());
        theirs.binary_data.clone_from(&wanted.binary_data);
        theirs.metadata.labels.clone_from(&wanted.metadata.labels);
        assert_eq!(target(&merging, &wanted, Some(&theirs)), TargetStep::Keep);
        // A key that the config had before and has no longer.
        theirs.metadata.managed_fields =
            Some(vec![managed(&field_manager(&merging), &["a.json", "old.json"])]);
        assert_eq!(target(&merging, &wanted, Some(&theirs)), TargetStep::Update);
    }

    #[test]
    fn two_resources_never_merge_into_one_target() {
        let merging = desired(&json!({"creationPolicy": "Merge"}));
        let mut theirs = ConfigMap::default();
        theirs.metadata.managed_fields = Some(vec![managed("artifactconfig/merge/api", &["k"])]);
        let failure = admit(&merging, Some(&theirs)).unwrap_err();
        assert_eq!(failure.reason, Reason::TargetConflict);
        assert!(failure.message.contains("ArtifactConfig 'api'"), "{}", failure.message);
        let owned = rendered(&desired(&json!({}))).config_map;
        assert_eq!(admit(&merging, Some(&owned)).unwrap_err().reason, Reason::TargetConflict);
    }

    #[test]
    fn an_orphan_is_kept_but_not_owned() {
        let orphan = desired(&json!({"creationPolicy": "Orphan"}));
        assert_eq!(rendered(&orphan).config_map.metadata.owner_references, None);
        admit(&orphan, None).unwrap();
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

    /// Design §2.5: an object that is not ours is never touched, and the message says whose it is.
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
        edit(&mut observed.metadata);
        let failure = admit(&desired, Some(&observed)).unwrap_err();
        assert_eq!(failure.reason, Reason::TargetConflict);
        assert!(failure.message.contains(says), "{}", failure.message);
    }

    #[test]
    fn what_a_namesake_left_behind_is_taken_up_again() {
        let desired = desired(&json!({}));
        let rendered = rendered(&desired);
        let mut observed = rendered.config_map.clone();
        observed.metadata.owner_references = None;
        observed.metadata.labels.as_mut().unwrap().insert(label::OWNER_UID.into(), "u-0".into());
        assert_eq!(target(&desired, &rendered.config_map, Some(&observed)), TargetStep::Update);
    }

    #[test]
    fn retaining_needs_no_owner_reference_and_leaves_earlier_targets() {
        let retained = desired(&json!({"deletionPolicy": "Retain"}));
        assert_eq!(rendered(&retained).config_map.metadata.owner_references, None);
        let (old, current) = (desired(&json!({"name": "old"})), desired(&json!({"name": "new"})));
        let owned = [rendered(&old).config_map.metadata, rendered(&current).config_map.metadata];
        let names = |desired: &Desired| -> Vec<Option<String>> {
            strays(desired, owned.iter()).into_iter().map(|metadata| metadata.name.clone()).collect()
        };
        assert_eq!(names(&current), [Some("old".to_owned())]);
        assert!(names(&desired(&json!({"name": "new", "deletionPolicy": "Retain"}))).is_empty());
    }
}
