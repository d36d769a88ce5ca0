//! Resource as it was written and as it is now → whether the operator has done what was asked. Pure.

use api::{ArtifactConfig, Class, NEXT_UNKNOWN, Reason, annotation, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use strum::VariantArray as _;

use super::table::short;

/// The operator's progress after a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, with the operator's message.
    Done(String),
    /// Not yet, with the cause.
    Waiting(String),
    /// Failed: it will not be done without a person.
    Failed(String),
}

/// The write whose result is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A change of the spec. It is done when the operator has applied it.
    Change,
    /// A request for a sync. It is done after the reconcile, with or without success.
    Look,
}

/// Judges the progress of a resource since `written`, which holds the spec and the request of that time.
#[must_use]
pub fn verdict(asked: Asked, written: &ArtifactConfig, now: &ArtifactConfig) -> Verdict {
    if let Some(changed) = changed(written, now) {
        return Verdict::Failed(changed);
    }
    let status = now.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation).unwrap_or(-1);
    let generation = written.metadata.generation.unwrap_or_default();
    if observed < generation {
        return Verdict::Waiting("the operator has not reconciled it yet".to_owned());
    }
    let handled = status.and_then(|status| status.last_handled_requested_at.as_ref());
    let requested = written.annotations().get(annotation::REQUESTED_AT);
    if asked == Asked::Look && handled != requested {
        return Verdict::Waiting("the operator has not reconciled it yet".to_owned());
    }
    let Some(ready) = ready(now) else {
        return Verdict::Waiting("there is no Ready condition yet".to_owned());
    };
    let said = format!("{}: {}", ready.reason, ready.message);
    let expected = match &written.spec {
        spec if spec.suspend => Reason::Suspended,
        spec if spec.rollback_to.is_some() => Reason::RolledBack,
        _ => Reason::Synced,
    };
    if ready.reason == expected.as_str() {
        let applied = status.and_then(|status| status.artifact.as_ref()).map(|artifact| &artifact.digest);
        return match &written.spec.rollback_to {
            Some(wanted) if expected == Reason::RolledBack && applied != Some(wanted) => {
                Verdict::Waiting(format!("the status does not name config {} yet", short(wanted)))
            }
            // It is held where it was, but the question that was asked had no answer.
            _ if asked == Asked::Look && ready.message.contains(NEXT_UNKNOWN) => Verdict::Failed(said),
            _ => Verdict::Done(ready.message.clone()),
        };
    }
    match class(&ready.reason) {
        _ if asked == Asked::Look => Verdict::Failed(said),
        // A waiting resource is reconciled again only at the next interval.
        Class::Terminal | Class::Waiting => Verdict::Failed(said),
        Class::Transient | Class::Done => Verdict::Waiting(said),
    }
}

/// The sentence for the case that someone else has changed the resource, so that this write will not be done.
fn changed(written: &ArtifactConfig, now: &ArtifactConfig) -> Option<String> {
    if written.metadata.uid != now.metadata.uid {
        return Some("it was deleted and created again meanwhile".to_owned());
    }
    if now.spec.rollback_to != written.spec.rollback_to {
        let by = applier_of(now, "rollbackTo").map(|manager| format!(" by {manager}")).unwrap_or_default();
        return Some(match &now.spec.rollback_to {
            Some(digest) => format!("spec.rollbackTo was set to {digest}{by} meanwhile"),
            None => "spec.rollbackTo was removed meanwhile by somebody else".to_owned(),
        });
    }
    (now.spec.suspend != written.spec.suspend).then(|| {
        let by = applier_of(now, "suspend").map(|manager| format!(" by {manager}")).unwrap_or_default();
        format!("spec.suspend was set to {}{by} meanwhile", now.spec.suspend)
    })
}

/// The condition `Ready`.
#[must_use]
pub fn ready(config: &ArtifactConfig) -> Option<&Condition> {
    config.status.as_ref()?.condition(condition::READY)
}

/// The class of a reason. An unknown reason of a newer operator counts as one that may pass by itself.
fn class(reason: &str) -> Class {
    let known = Reason::VARIANTS.iter().find(|known| known.as_str() == reason);
    known.map_or(Class::Transient, |known| known.class())
}

/// The managers that set a field of `spec` by server-side apply, and will set it again.
#[must_use]
pub fn applier_of<'a>(config: &'a ArtifactConfig, field: &str) -> Option<&'a str> {
    let key = format!("f:{field}");
    let entries = config.metadata.managed_fields.iter().flatten();
    let mut appliers = entries.filter(|entry| {
        entry.operation.as_deref() == Some("Apply")
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get(&key).is_some())
    });
    appliers.next()?.manager.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CONFIG: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// A resource at generation 2 whose status speaks of `observed` and is Ready for this reason.
    fn config(spec: &serde_json::Value, observed: i64, reason: &str) -> ArtifactConfig {
        let mut whole = json!({"image": "r.example/web:v1", "artifactType": "custom/config"});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 2},
            "spec": whole,
            "status": {
                "observedGeneration": observed,
                "artifact": {"digest": CONFIG, "size": 2},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": reason, "message": "said",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"
                }]
            }
        }))
        .unwrap()
    }

    fn back() -> serde_json::Value {
        json!({"rollbackTo": CONFIG})
    }

    #[rstest::rstest]
    #[case::old_status(back(), 1, "Synced", Verdict::Waiting("the operator has not reconciled it yet".into()))]
    #[case::no_operator(back(), -1, "Synced", Verdict::Waiting("the operator has not reconciled it yet".into()))]
    #[case::back(back(), 2, "RolledBack", Verdict::Done("said".into()))]
    #[case::back_fails(back(), 2, "RevisionNotFound", Verdict::Failed("RevisionNotFound: said".into()))]
    #[case::back_waits(back(), 2, "RegistryUnavailable", Verdict::Waiting("RegistryUnavailable: said".into()))]
    #[case::forward(json!({}), 2, "Synced", Verdict::Done("said".into()))]
    #[case::forward_finds_nothing(json!({}), 2, "ArtifactNotFound", Verdict::Failed("ArtifactNotFound: said".into()))]
    #[case::forward_waits(json!({}), 2, "RegistryUnavailable", Verdict::Waiting("RegistryUnavailable: said".into()))]
    #[case::reason_of_a_newer_operator(json!({}), 2, "Tired", Verdict::Waiting("Tired: said".into()))]
    #[case::suspended(json!({"suspend": true}), 2, "Suspended", Verdict::Done("said".into()))]
    #[case::suspended_while_back(json!({"suspend": true, "rollbackTo": CONFIG}), 2, "Suspended", Verdict::Done("said".into()))]
    fn after_a_change(
        #[case] spec: serde_json::Value,
        #[case] observed: i64,
        #[case] reason: &str,
        #[case] expected: Verdict,
    ) {
        let mut written = config(&spec, 1, "Synced");
        written.metadata.generation = Some(2);
        assert_eq!(verdict(Asked::Change, &written, &config(&spec, observed, reason)), expected);
    }

    /// The artifact of the status decides, not the reason alone.
    #[test]
    fn a_rollback_from_one_config_to_another_waits_for_the_right_one() {
        let other = json!({"rollbackTo": CONFIG.replace('b', "c")});
        let (written, now) = (config(&other, 1, "RolledBack"), config(&other, 2, "RolledBack"));
        assert!(matches!(verdict(Asked::Change, &written, &now), Verdict::Waiting(_)));
    }

    #[test]
    fn a_requested_sync_is_over_however_it_ended() {
        let mut written = config(&json!({}), 2, "Synced");
        written.annotations_mut().insert(annotation::REQUESTED_AT.to_owned(), "now".to_owned());
        let mut now = written.clone();
        assert!(matches!(verdict(Asked::Look, &written, &now), Verdict::Waiting(_)), "not handled yet");
        now.status.as_mut().unwrap().last_handled_requested_at = Some("now".to_owned());
        assert_eq!(verdict(Asked::Look, &written, &now), Verdict::Done("said".to_owned()));
        now.status.as_mut().unwrap().conditions[0].reason = "RegistryUnavailable".to_owned();
        assert_eq!(
            verdict(Asked::Look, &written, &now),
            Verdict::Failed("RegistryUnavailable: said".to_owned())
        );
    }

    /// The hold is kept by its revision while the registry is down; whoever asked what comes next has no answer.
    #[test]
    fn a_sync_without_an_answer_of_the_registry_has_failed() {
        let mut written = config(&back(), 2, "RolledBack");
        written.annotations_mut().insert(annotation::REQUESTED_AT.to_owned(), "now".to_owned());
        let mut now = written.clone();
        let status = now.status.as_mut().unwrap();
        status.last_handled_requested_at = Some("now".to_owned());
        status.conditions[0].message = format!("config is held; {NEXT_UNKNOWN}; note: refused");
        assert!(
            matches!(verdict(Asked::Look, &written, &now), Verdict::Failed(said) if said.contains("refused"))
        );
        assert!(
            matches!(verdict(Asked::Change, &written, &now), Verdict::Done(_)),
            "going back needs no registry"
        );
    }

    #[test]
    fn somebody_else_decides_meanwhile() {
        let written = config(&back(), 1, "Synced");
        let said = |now: &ArtifactConfig| match verdict(Asked::Change, &written, now) {
            Verdict::Failed(said) => said,
            other => panic!("{other:?}"),
        };
        assert!(said(&config(&json!({}), 2, "Synced")).contains("was removed meanwhile"));
        assert!(
            said(&config(&json!({"rollbackTo": CONFIG, "suspend": true}), 2, "Suspended"))
                .contains("spec.suspend")
        );
        let mut theirs = config(&json!({"rollbackTo": CONFIG.replace('b', "c")}), 2, "RolledBack");
        theirs.metadata.managed_fields = serde_json::from_value(json!([
            {"manager": "artifactconfig-cli", "operation": "Update", "fieldsV1": {"f:spec": {"f:rollbackTo": {}}}},
            {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:rollbackTo": {}}}},
        ]))
        .unwrap();
        assert!(said(&theirs).ends_with("by kustomize-controller meanwhile"), "{}", said(&theirs));
        assert_eq!(applier_of(&theirs, "suspend"), None);
        let mut anew = config(&back(), 2, "RolledBack");
        anew.metadata.uid = Some("u-2".to_owned());
        assert!(said(&anew).contains("created again"));
    }
}
