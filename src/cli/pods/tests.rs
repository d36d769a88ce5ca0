use super::*;
use serde_json::json;

const IMAGE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn config(change: &Value) -> ArtifactConfig {
    let mut config = json!({
        "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
        "spec": {"workloadRef": {"kind": "Deployment", "name": "web"}, "artifactType": "custom/config"},
        "status": {
            "bindings": [{
                "image": "r.example/web:v1", "digest": IMAGE, "container": "web", "artifact": "sha256:bound",
                "pinned": format!("r.example/web:v1@{IMAGE}"), "configMap": "web-1", "hash": "sha256:0",
            }],
            "history": [
                {
                    "revision": 2, "artifact": "sha256:current", "image": OTHER, "configMap": "web-2",
                    "appliedAt": "2026-01-01T02:00:00Z", "outcome": "Applied",
                },
            ],
        },
    });
    for (key, value) in change.as_object().unwrap() {
        config["spec"][key] = value.clone();
    }
    serde_json::from_value(config).unwrap()
}

/// A pod that mounts this `ConfigMap`; it started at three o'clock.
fn pod(image: &str, config_map: &str, change: &Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "web-x", "labels": {}, "annotations": {}},
        "spec": {
            "containers": [{"name": "web", "image": image}, {"name": "log", "image": "r.example/log:v1"}],
            "volumes": [{"name": "config", "configMap": {"name": config_map}}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "web", "imageID": format!("r.example/web@{OTHER}"),
                "state": {"running": {"startedAt": "2026-01-01T03:00:00Z"}},
            }],
        },
    });
    for (pointer, value) in change.as_object().unwrap() {
        let (parent, key) = pointer.rsplit_once(' ').unwrap();
        let parent = parent.replace(' ', "/");
        pod.pointer_mut(&format!("/{parent}")).unwrap()[key] = value.clone();
    }
    pod
}

fn bound(config_map: &str) -> Value {
    json!({"metadata annotations": {"web.artifactconfig.dev/bound": config_map}})
}

fn joined(config: &ArtifactConfig, pod: &Value) -> Vec<Row> {
    let known = |name: &str, artifact: Option<&str>| (name.to_owned(), artifact.map(str::to_owned));
    let revisions =
        [known("web-1", None), known("web-2", None), known("web-3", Some("sha256:annotated"))].into();
    rows(&Seen { config, revisions }, pod)
}

fn only(config: &ArtifactConfig, pod: &Value) -> Row {
    let rows = joined(config, pod);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

#[test]
fn a_bound_pod_needs_no_reason() {
    let image = format!("r.example/web:v1@{IMAGE}");
    let row = only(&config(&json!({})), &pod(&image, "web-1", &bound("web-1")));
    assert_eq!(row.short_image(), "v1@sha256:111111111111");
    assert_eq!(
        row,
        Row {
            pod: "web-x".to_owned(),
            image: Some(image),
            image_digest: Some(IMAGE.to_owned()),
            artifact: Some("sha256:bound".to_owned()),
            config_map: "web-1".to_owned(),
            bound: true,
            since: Some("2026-01-01T03:00:00Z".to_owned()),
            ready: true,
            reason: None,
        }
    );
}

/// The history knows revisions without a binding, and the annotation those that the status has lost.
#[rstest::rstest]
#[case("web-1", "sha256:bound")]
#[case("web-2", "sha256:current")]
#[case("web-3", "sha256:annotated")]
fn the_config_of_a_revision_is_known(#[case] revision: &str, #[case] artifact: &str) {
    let row = only(&config(&json!({})), &pod("r.example/web:v1", revision, &json!({})));
    assert_eq!((row.artifact.as_deref(), row.bound), (Some(artifact), false));
    assert_eq!(row.reason.as_deref(), Some("the pod template names the revision"));
    assert_eq!(row.short_image(), "v1@sha256:222222222222", "the digest that the kubelet reports");
}

#[rstest::rstest]
#[case::no_label("r.example/web:v2", json!({}), "no label artifactconfig.dev/bind")]
#[case::unknown_label(
    "r.example/web:v2", json!({"artifactconfig.dev/bind": "yes"}),
    "label artifactconfig.dev/bind is 'yes'; expected require or prefer"
)]
#[case::prefer("r.example/web:v2", json!({"artifactconfig.dev/bind": "prefer"}), "prefer: its image has no binding")]
#[case::too_early(
    "r.example/web:v1", json!({"artifactconfig.dev/bind": "prefer"}),
    "prefer: the pod was created before the binding of its image, or without policy bind.artifactconfig.dev"
)]
#[case::no_policy(
    "r.example/web:v1", json!({"artifactconfig.dev/bind": "require"}),
    "the pod was created without policy bind.artifactconfig.dev; create it again when the policy exists"
)]
fn a_pod_with_the_target_has_a_reason(#[case] image: &str, #[case] labels: Value, #[case] why: &str) {
    let row = only(&config(&json!({})), &pod(image, "web", &json!({"metadata labels": labels})));
    assert_eq!((row.artifact.as_deref(), row.bound), (Some("sha256:current"), false));
    assert_eq!(row.reason, Some(format!("target, since 2026-01-01T02:00:00Z: {why}")));
}

#[rstest::rstest]
#[case(json!({"target": {"creationPolicy": "Merge"}}), "spec.target.creationPolicy is Merge")]
#[case(json!({"workloadRef": null, "image": "r.example/web:v1"}), "spec.workloadRef is not set")]
fn a_resource_that_binds_no_pods_is_the_reason(#[case] change: Value, #[case] why: &str) {
    let row = only(&config(&change), &pod("r.example/web:v1", "web", &json!({})));
    assert_eq!(row.reason, Some(format!("target, since 2026-01-01T02:00:00Z: {why}")));
}

/// The target at the start may have had any content.
#[test]
fn the_content_of_a_target_that_changed_later_is_not_known() {
    let early = json!({"status containerStatuses": [
        {"name": "web", "state": {"running": {"startedAt": "2026-01-01T01:00:00Z"}}}
    ]});
    let row = only(&config(&json!({})), &pod("r.example/web:v1", "web", &early));
    assert_eq!(row.artifact, None);
    assert!(row.reason.unwrap().ends_with("so the content at the start is not known"));
}

#[test]
fn a_pod_that_has_not_started_gets_the_present_target() {
    let waits = json!({"status containerStatuses": [], "status conditions": []});
    let row = only(&config(&json!({})), &pod("r.example/web:v1", "web", &waits));
    assert_eq!((row.artifact.as_deref(), row.since, row.ready), (Some("sha256:current"), None, false));
}

#[rstest::rstest]
#[case::another_image("r.example/web:v2", "web-1", "web-1", "runs another image than the one of its binding")]
#[case::gone("r.example/web:v1", "web-9", "web-9", "this ConfigMap is gone")]
fn a_binding_that_does_not_fit_is_named(
    #[case] image: &str,
    #[case] named: &str,
    #[case] annotated: &str,
    #[case] why: &str,
) {
    let row = only(&config(&json!({})), &pod(image, named, &bound(annotated)));
    assert!(row.bound && row.reason.as_deref().unwrap().starts_with(why), "{row:?}");
}

/// Two rows tell more than a guess.
#[test]
fn each_config_map_of_a_pod_has_a_row() {
    let rows = joined(&config(&json!({})), &pod("r.example/web:v1", "web", &bound("web-1")));
    let reasons: Vec<_> = rows.iter().map(|row| (&*row.config_map, row.reason.as_deref().unwrap())).collect();
    assert_eq!(reasons[0].0, "web");
    assert!(reasons[1].1.contains("web.artifactconfig.dev/bound names this ConfigMap"), "{reasons:?}");
}

#[test]
fn other_pods_have_no_row() {
    let config = config(&json!({}));
    assert!(joined(&config, &pod("r.example/web:v1", "other", &json!({}))).is_empty());
    let ended = pod("r.example/web:v1", "web", &json!({"status phase": "Succeeded"}));
    assert!(joined(&config, &ended).is_empty());
}
