//! Whether pods of a workload that ask for binding can be bound, for the message of the resource.

use api::{CreationPolicy, Resolve, label};

use crate::spec::Desired;
use crate::workload::shown;

/// What the cluster offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The policies of this version are installed.
    Yes,
    /// The API server has no `MutatingAdmissionPolicy` in v1.
    NotServed,
    /// A policy, or the binding of one, is missing. Its kind and name.
    Missing(String),
    /// A policy is of another version of the operator. Its kind and name.
    OtherVersion(String),
    /// The API server does not tell, or the operator may not ask.
    Unknown,
}

/// Why pods that ask for binding by their label are not bound. `None` if they are, if none asks, or if it is not known.
#[must_use]
pub fn hindrance(desired: &Desired, offer: &Offer) -> Option<String> {
    let workload = desired.workload.as_ref().filter(|workload| workload.bind.is_some())?;
    let why = by_spec(desired).map(str::to_owned).or_else(|| by_cluster(offer))?;
    Some(format!("{} asks for binding by the label {}, but {why}", shown(&workload.reference), label::BIND))
}

/// Whether the cluster must be asked at all.
#[must_use]
pub fn needs_offer(desired: &Desired) -> bool {
    desired.workload.as_ref().is_some_and(|workload| workload.bind.is_some()) && by_spec(desired).is_none()
}

/// Why the spec does not let pods of the workload be bound, in any cluster.
#[must_use]
pub fn by_spec(desired: &Desired) -> Option<&'static str> {
    let workload = desired.workload.as_ref()?;
    if desired.target.creation_policy == CreationPolicy::Merge {
        Some("spec.target.creationPolicy is Merge, and a revision holds only a part of that ConfigMap")
    } else if workload.reference.resolve == Resolve::Pods {
        Some("spec.workloadRef.resolve is Pods; bound pods need Template")
    } else if desired.history_limit == 0 {
        Some("spec.revisionHistoryLimit is 0, and pods are bound to revisions; set it to 1 or more")
    } else {
        None
    }
}

fn by_cluster(offer: &Offer) -> Option<String> {
    match offer {
        Offer::Yes | Offer::Unknown => None,
        Offer::NotServed => Some(
            "this API server does not offer it: MutatingAdmissionPolicy v1 comes with Kubernetes 1.36"
                .to_owned(),
        ),
        Offer::Missing(object) => Some(format!(
            "{object} is not installed; set bind.enabled in the chart, or run kubectl apply -k deploy/bind"
        )),
        Offer::OtherVersion(object) => {
            Some(format!("{object} is of another version than this operator; install both from one release"))
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::spec::{self, Following};
    use crate::workload::{Bind, Workload};

    fn desired(bind: Option<Bind>, resolve: &str, more: &serde_json::Value) -> Desired {
        let mut spec = json!({"artifactType": "a/b", "workloadRef": {"kind": "Deployment", "name": "web", "resolve": resolve}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: api::ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": spec,
        }))
        .unwrap();
        let reference = config.spec.workload_ref.as_ref().unwrap();
        let mut workload = Box::new(Workload::named(reference, "r.example/web:v1".to_owned()));
        workload.bind = bind;
        let image = workload.image().unwrap();
        spec::parse(&config, Some(Ok(Following { workload, image }))).unwrap()
    }

    #[rstest]
    #[case::nobody_asks(None, "Template", json!({}), Offer::NotServed, None)]
    #[case::offered(Some(Bind::Require), "Template", json!({}), Offer::Yes, None)]
    #[case::not_told(Some(Bind::Require), "Template", json!({}), Offer::Unknown, None)]
    #[case::older_cluster(Some(Bind::Prefer), "Template", json!({}), Offer::NotServed, Some("Kubernetes 1.36"))]
    #[case::missing(Some(Bind::Require), "Template", json!({}), Offer::Missing("ValidatingAdmissionPolicy 'x'".to_owned()), Some("'x' is not installed"))]
    #[case::older(Some(Bind::Require), "Template", json!({}), Offer::OtherVersion("MutatingAdmissionPolicy 'x'".to_owned()), Some("another version"))]
    #[case::of_the_pods(Some(Bind::Require), "Pods", json!({}), Offer::Yes, Some("resolve is Pods"))]
    #[case::merged(Some(Bind::Require), "Template", json!({"target": {"creationPolicy": "Merge"}}), Offer::Yes, Some("Merge"))]
    #[case::no_revisions(Some(Bind::Require), "Template", json!({"revisionHistoryLimit": 0}), Offer::Yes, Some("revisionHistoryLimit"))]
    fn what_hinders_binding_is_said(
        #[case] bind: Option<Bind>,
        #[case] resolve: &str,
        #[case] more: serde_json::Value,
        #[case] offer: Offer,
        #[case] expected: Option<&str>,
    ) {
        let said = hindrance(&desired(bind, resolve, &more), &offer);
        match expected {
            None => assert_eq!(said, None),
            Some(expected) => {
                assert!(said.as_deref().is_some_and(|said| said.contains(expected)), "{said:?}");
            }
        }
    }
}
