//! Ownership: the operator never touches objects of others.

use std::collections::BTreeSet;

use api::{ArtifactConfig, CreationPolicy, FIELD_MANAGER, MANAGER, Reason, label};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube_core::Resource as _;

use crate::Failure;
use crate::spec::{Desired, Owner};
use crate::watched::{Holder, holder, labelled};

/// Checks that the target may be written. Runs before a revision is kept for it. `living` are the [`rivals`] that
/// exist.
///
/// # Errors
/// `TargetConflict` if the object belongs to someone else; `TargetNotFound` if no object to merge into exists.
pub fn admit(desired: &Desired, observed: Option<&ConfigMap>, living: &[String]) -> Result<(), Failure> {
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
        (CreationPolicy::Merge, Some(observed)) => refuse_merging(desired, observed, living),
    }
}

/// `Merge` writes into objects of others, but not into a target of another resource, and not over keys that another
/// resource merges: the two would undo each other again and again.
fn refuse_merging(desired: &Desired, observed: &ConfigMap, living: &[String]) -> Result<(), Failure> {
    if NEVER_MERGED.contains(&desired.target.name.as_str()) {
        return Err(Failure::new(
            Reason::TargetConflict,
            format!(
                "ConfigMap '{}' holds certificates that the cluster publishes in every namespace, and nothing is merged into it. Choose another spec.target.name",
                desired.target.name
            ),
        ));
    }
    let refuse = |whose: String| {
        Err(Failure::new(
            Reason::TargetConflict,
            format!(
                "ConfigMap '{}' {whose}; it was not touched. Choose another spec.target.name",
                desired.target.name
            ),
        ))
    };
    // The controller counts as well: anybody can remove a label, and the resource that owns the object restores it.
    if let Holder::Controller(owner) = holder(&observed.metadata)
        && owner.kind == ArtifactConfig::kind(&())
    {
        return refuse(format!("is the target of ArtifactConfig '{}'", owner.name));
    }
    if labelled(&observed.metadata, label::MANAGED_BY) == Some(MANAGER) {
        let name = labelled(&observed.metadata, label::NAME).unwrap_or("another");
        return refuse(format!("is the target of ArtifactConfig '{name}'"));
    }
    match living.first() {
        // The keys of the next config are not known here, so two resources never share one target.
        Some(name) => refuse(format!("holds keys that ArtifactConfig '{name}' merges")),
        None => Ok(()),
    }
}

/// `ConfigMaps` with certificates that every pod trusts, published by the cluster in each namespace: Kubernetes,
/// `OpenShift`, Istio. A tenant must not add to them with the operator's rights.
const NEVER_MERGED: [&str; 3] = ["kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"];

/// The other resources whose keys are merged into an object. The caller asks the API server which of them still exist.
#[must_use]
pub fn rivals(desired: &Desired, observed: Option<&ConfigMap>) -> Vec<String> {
    if desired.target.creation_policy != CreationPolicy::Merge {
        return Vec::new();
    }
    let entries =
        observed.and_then(|observed| observed.metadata.managed_fields.as_ref()).into_iter().flatten();
    let merging = entries
        .filter(|entry| {
            !keys_of(entry, &["f:data"]).is_empty() || !keys_of(entry, &["f:binaryData"]).is_empty()
        })
        .filter_map(|entry| entry.manager.as_deref()?.strip_prefix(MERGE_MANAGER));
    merging.filter(|name| *name != desired.owner.name).map(str::to_owned).collect()
}

/// The field manager that changed an object last, other than the one of this resource. If our change was undone, it is
/// the one that undid it.
#[must_use]
pub fn rival(desired: &Desired, observed: &ConfigMap) -> Option<String> {
    let ours = field_manager(desired);
    let entries = observed.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| entry.manager.as_deref() != Some(&ours));
    let last = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    last.manager.clone()
}

/// Prefix of the field managers for `Merge`. Each resource has its own: with a common one, an apply of one resource
/// would remove the keys of another.
const MERGE_MANAGER: &str = "artifactconfig/merge/";

/// The field manager that writes the target of a resource.
#[must_use]
pub fn field_manager(desired: &Desired) -> String {
    match desired.target.creation_policy {
        CreationPolicy::Owner | CreationPolicy::Orphan => FIELD_MANAGER.to_owned(),
        CreationPolicy::Merge => format!("{MERGE_MANAGER}{}", desired.owner.name),
    }
}

/// Keys below a member of an object that a field manager owns, by all kinds of writes.
pub(super) fn owned_keys(metadata: &ObjectMeta, manager: &str, path: &[&str]) -> BTreeSet<String> {
    let entries = metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(manager));
    ours.flat_map(|entry| keys_of(entry, path)).collect()
}

fn keys_of(entry: &ManagedFieldsEntry, path: &[&str]) -> Vec<String> {
    let Some(fields) = &entry.fields_v1 else { return Vec::new() };
    let member = path.iter().try_fold(&fields.0, |fields, member| fields.get(member));
    let keys = member.and_then(serde_json::Value::as_object).into_iter().flatten();
    keys.filter_map(|(key, _)| Some(key.strip_prefix("f:")?.to_owned())).collect()
}

pub(super) fn refuse_foreign(desired: &Desired, metadata: &ObjectMeta) -> Result<(), Failure> {
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

/// Names the owner of an object; `None` if it is ours.
///
/// An object is ours if it carries our UID, as controller or as label. It is also ours if an earlier resource of the
/// same name left it without a controller (deletion policy `Retain`, or a deletion that orphaned it): names are unique
/// in a namespace, so no one else can claim it.
fn foreign_owner(owner: &Owner, metadata: &ObjectMeta) -> Option<String> {
    match holder(metadata) {
        Holder::Controller(controller) if controller.uid == owner.uid => None,
        Holder::Controller(controller)
            if controller.kind == ArtifactConfig::kind(&()) && controller.name == owner.name =>
        {
            Some("still belongs to an earlier ArtifactConfig of this name, whose garbage collection is pending".to_owned())
        }
        Holder::Controller(controller) => Some(format!("belongs to {} '{}'", controller.kind, controller.name)),
        Holder::Named(name) if name == owner.name => None,
        Holder::Named(name) => Some(format!("belongs to ArtifactConfig '{name}'")),
        Holder::Nobody => Some("was not made by this operator".to_owned()),
    }
}
