//! The kinds that a resource can follow.

use api::WorkloadRef;
use kube_core::GroupVersionKind;

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
