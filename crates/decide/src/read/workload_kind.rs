//! The kinds that a resource can follow.

use api::{GROUP, Reason, WorkloadRef};
use kube_core::GroupVersionKind;

use crate::Failure;

/// The kinds of Kubernetes that have a pod template, each with its group, version and plural name.
const KNOWN: [(&str, &str, &str, &str); 5] = [
    ("Deployment", "apps", "v1", "deployments"),
    ("StatefulSet", "apps", "v1", "statefulsets"),
    ("DaemonSet", "apps", "v1", "daemonsets"),
    ("CronJob", "batch", "v1", "cronjobs"),
    ("Job", "batch", "v1", "jobs"),
];

/// A kind with a pod template.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version of the API.
    pub version: String,
    /// The kind.
    pub kind: String,
}

impl WorkloadKind {
    /// The kind that a resource names.
    #[must_use]
    pub fn of(reference: &WorkloadRef) -> Self {
        let known = KNOWN.iter().find(|(kind, ..)| *kind == reference.kind);
        let (group, version) = match (&reference.api_version, known) {
            (Some(version), _) => version.split_once('/').unwrap_or(("", version)),
            (None, Some((_, group, version, _))) => (*group, *version),
            (None, None) => ("", ""),
        };
        Self { group: group.to_owned(), version: version.to_owned(), kind: reference.kind.clone() }
    }

    /// Whether a resource may follow it. The core group has no workloads beside the old `ReplicationController`, but Secrets
    /// and `ConfigMaps`, which the operator may read for other reasons: nobody must make it read or watch these.
    ///
    /// # Errors
    /// `InvalidSpec`.
    pub fn admit(&self) -> Result<(), Failure> {
        if self.group.is_empty() || self.group == GROUP {
            let why = format!(
                "spec.workloadRef: kind {} cannot be followed; name a kind with a pod template, and its group in apiVersion, such as apps/v1",
                self.kind
            );
            return Err(Failure::new(Reason::InvalidSpec, why));
        }
        Ok(())
    }

    /// The same in the form of kube.
    #[must_use]
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::gvk(&self.group, &self.version, &self.kind)
    }

    /// The kinds of Kubernetes.
    pub fn known() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(|(kind, group, version, _)| Self {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
            kind: (*kind).to_owned(),
        })
    }

    /// The plural name of a kind of Kubernetes. Only the API server knows that of another kind.
    #[must_use]
    pub fn plural(&self) -> Option<&'static str> {
        let is_this = |(kind, group, version, _): &&(&str, &str, &str, &str)| {
            (*kind, *group, *version) == (&*self.kind, &*self.group, &*self.version)
        };
        KNOWN.iter().find(is_this).map(|(.., plural)| *plural)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[rstest::rstest]
    #[case(json!({"kind": "Deployment", "name": "web"}), true)]
    #[case(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}), true)]
    #[case::secrets(json!({"apiVersion": "v1", "kind": "Secret", "name": "web"}), false)]
    #[case::of_no_group(json!({"kind": "ConfigMap", "name": "web"}), false)]
    #[case::core_in_disguise(json!({"apiVersion": "/v1", "kind": "Secret", "name": "web"}), false)]
    #[case::our_own(json!({"apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "name": "web"}), false)]
    fn what_is_no_workload_is_never_read(#[case] reference: serde_json::Value, #[case] expected: bool) {
        let reference: WorkloadRef = serde_json::from_value(reference).unwrap();
        assert_eq!(WorkloadKind::of(&reference).admit().is_ok(), expected);
    }
}
