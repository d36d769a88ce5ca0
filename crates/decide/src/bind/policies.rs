//! The admission policies, generated.

use api::label;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::keys::{BOUND, MIRROR, MUTATING, REVISION, VALIDATING, VERSION};
use super::message::{self, cut_in_cel, in_cel};
use super::{image, places};

const CONFIG: &str = "params.metadata.name";

/// The container that the config belongs to, or all if that is not known.
const OF_CONFIG: &str = r#".filter(c, variables.container == "" || c.name == variables.container)"#;

/// The four objects: a `MutatingAdmissionPolicy`, a `ValidatingAdmissionPolicy`, and the binding of each.
///
/// Without the label of the pod neither is evaluated. A resource whose target the pod does not name costs one expression.
#[must_use]
pub fn policies() -> [Value; 4] {
    let objects = objects();
    let version = version_of(&objects);
    objects.map(|(kind, name, spec)| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name, "labels": {VERSION: version}},
            "spec": spec,
        })
    })
}

/// A short hash of the policies' content: the value of the label [`VERSION`].
#[must_use]
pub fn version() -> String {
    version_of(&objects())
}

/// Kind, name and `spec`.
type Object = (&'static str, &'static str, Value);

fn version_of(objects: &[Object]) -> String {
    let text: String = objects.iter().map(|(.., spec)| spec.to_string()).collect();
    Sha256::digest(text).iter().take(5).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn objects() -> [Object; 4] {
    [
        ("MutatingAdmissionPolicy", MUTATING, mutating()),
        ("MutatingAdmissionPolicyBinding", MUTATING, binding(MUTATING, None)),
        ("ValidatingAdmissionPolicy", VALIDATING, validating()),
        ("ValidatingAdmissionPolicyBinding", VALIDATING, binding(VALIDATING, Some("Deny"))),
    ]
}

/// `Ignore`: if the API server cannot evaluate it, the other policy refuses those pods that need it.
fn mutating() -> Value {
    json!({
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "paramKind": param_kind(),
        "matchConstraints": pods(&["require", "prefer"]),
        "matchConditions": [
            not_mirror(),
            names_target(),
            {"name": "not-merge", "expression": format!("!({})", is_merge())},
        ],
        "variables": [
            {"name": "target", "expression": target()},
            {"name": "candidates", "expression": candidates()},
            {"name": "chosen", "expression": chosen()},
        ],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patches()}}],
    })
}

/// The API server evaluates the expression of a message for every pod, also for one that it admits. So the condition decides,
/// and a pod that it leaves is refused.
fn validating() -> Value {
    json!({
        "failurePolicy": "Fail",
        "paramKind": param_kind(),
        "matchConstraints": pods(&["require"]),
        "matchConditions": [not_mirror(), names_target()],
        "variables": [
            {"name": "candidates", "expression": candidates()},
            {"name": "container", "expression": container()},
            {"name": "containers", "expression": listed(message::CONTAINER, "")},
            {"name": "images", "expression": listed(message::IMAGE, OF_CONFIG)},
            {"name": "ready", "expression": r#"params.?status.?conditions.orValue([]).filter(c, c.type == "Ready")"#},
            {"name": "why", "expression": why()},
        ],
        "validations": [{
            "expression": "false",
            "message": message::OTHERWISE,
            "messageExpression": refusal(),
            "reason": "Forbidden",
        }],
    })
}

/// All `ArtifactConfigs` of the namespace of the pod. A namespace without them has no targets.
fn binding(policy: &str, action: Option<&str>) -> Value {
    let mut spec = json!({
        "policyName": policy,
        "paramRef": {"selector": {}, "parameterNotFoundAction": "Allow"},
    });
    if let Some(action) = action {
        spec["validationActions"] = json!([action]);
    }
    spec
}

fn param_kind() -> Value {
    json!({"apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig"})
}

fn pods(binds: &[&str]) -> Value {
    json!({
        "objectSelector": {"matchExpressions": [{"key": label::BIND, "operator": "In", "values": binds}]},
        "resourceRules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }],
    })
}

/// The kubelet has started a mirror pod already.
fn not_mirror() -> Value {
    json!({"name": "not-mirror", "expression": format!(r#"!("{MIRROR}" in {})"#, annotations())})
}

fn names_target() -> Value {
    json!({"name": "names-target", "expression": places::is_named(&target())})
}

fn annotations() -> &'static str {
    "object.metadata.?annotations.orValue({})"
}

/// A condition cannot use variables, so this stands in several places of the output.
fn target() -> String {
    format!("{}.orValue({CONFIG})", given("params.spec.?target.?name"))
}

/// CEL of an optional text that counts as missing where it is null.
fn given(optional: &str) -> String {
    format!(r#"optional.ofNonZeroValue({optional}.orValue(""))"#)
}

/// The target of such a resource has keys that no revision holds.
fn is_merge() -> &'static str {
    r#"params.spec.?target.?creationPolicy.orValue("") == "Merge""#
}

fn bindings() -> &'static str {
    "params.?status.?bindings"
}

/// The bindings of the images of this pod.
fn candidates() -> String {
    format!(
        "{}.orValue([]).filter(b,\n  object.spec.containers.exists(c, {}))",
        bindings(),
        image::is_bound()
    )
}

/// The one that the pod asks for, otherwise the first.
fn chosen() -> String {
    format!(
        "(variables.candidates.filter(b, b.configMap == object.metadata.?annotations[?{CONFIG} + \"{REVISION}\"].orValue(\"\")) +\nvariables.candidates)[?0]"
    )
}

fn patches() -> String {
    let chosen = |field: &str| format!("variables.chosen.value().{field}");
    let revision = chosen("configMap");
    format!(
        r#"!variables.chosen.hasValue() ? [] :
{rewritten} +
object.spec.containers.transformList(x, c, c.name == {container} && {is_open},
  JSONPatch{{op: "replace", path: "/spec/containers/" + string(x) + "/image", value: {pinned}}}) +
[JSONPatch{{op: "add", path: "/metadata/annotations", value: {annotations}}},
  JSONPatch{{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey({CONFIG} + "{BOUND}"), value: {revision}}}]"#,
        rewritten = places::rewritten("variables.target", &revision),
        container = chosen("container"),
        is_open = image::is_without_digest(),
        pinned = chosen("pinned"),
        annotations = annotations(),
    )
}

/// The container that the config belongs to; empty if that is not known.
fn container() -> String {
    let named = given("params.spec.workloadRef.?container");
    format!(r#"{named}.or({}[?0].?container).orValue("")"#, bindings())
}

/// The containers that the filter keeps, in a sentence.
fn listed(message: &'static str, filter: &str) -> String {
    let value = |name: &str| if name == "image" { image::image().to_owned() } else { "c.name".to_owned() };
    format!(r#"object.spec.containers{filter}.map(c, {}).join(", ")"#, in_cel(message, value))
}

fn why() -> String {
    let workload =
        || r#"params.spec.workloadRef.kind + " '" + params.spec.workloadRef.name + "'""#.to_owned();
    format!(
        r#"variables.ready.size() == 0 ? {} :
variables.ready[0].status == "True" ? {} :
variables.ready[0].message"#,
        in_cel(message::UNSEEN, |_| String::new()),
        in_cel(message::ANOTHER, |_| workload()),
    )
}

/// A line break would make the API server drop the message.
fn refusal() -> String {
    let value = |name: &str| match name {
        "config" => CONFIG.to_owned(),
        "policy" => format!(r#""{MUTATING}""#),
        "revision" => "variables.candidates[0].configMap".to_owned(),
        "why" => cut_in_cel("variables.why", message::LONGEST_WHY),
        "container" => "variables.container".to_owned(),
        list => cut_in_cel(&format!("variables.{list}"), message::LONGEST_LIST),
    };
    format!(
        r#"({} ? {} :
params.spec.?workloadRef.orValue(null) == null ? {} :
variables.candidates.size() > 0 ? {} :
variables.images == "" ? {} :
{}).replace("\n", " ")"#,
        is_merge(),
        in_cel(message::MERGED, value),
        in_cel(message::UNFOLLOWED, value),
        in_cel(message::UNCHANGED, value),
        in_cel(message::NO_CONTAINER, value),
        in_cel(message::UNKNOWN, value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_has_the_version_of_all() {
        for policy in policies() {
            assert_eq!(policy["metadata"]["labels"][VERSION], version(), "{policy}");
        }
        assert_eq!(version().len(), 10);
        let mut changed = objects();
        changed[3].2["validationActions"] = json!(["Warn"]);
        assert_ne!(version_of(&changed), version());
    }

    /// Names that pods, resources and other programs depend on stand in one place each, before the tests.
    #[test]
    fn no_piece_is_written_twice() {
        let code = |text: &'static str| text.split("#[cfg(test)]").next().unwrap();
        let sources = [
            include_str!("admit.rs"),
            include_str!("image.rs"),
            include_str!("keys.rs"),
            include_str!("places.rs"),
            include_str!("policies.rs"),
        ];
        let all: String = sources.into_iter().map(code).collect();
        let pieces = [
            "\"configMapRef\"",
            "\"configMapKeyRef\"",
            "\"envFrom\"",
            "\"sources\"",
            "\"initContainers\"",
            "kubernetes.io/config.mirror",
            "artifactconfig.dev/bound",
            "artifactconfig.dev/revision",
            "artifactconfig.dev/policy",
            "\"bind.artifactconfig.dev\"",
            "require.bind.artifactconfig.dev",
            "params.spec.?target.?name",
            "params.?status.?bindings",
            "[^@]*/",
        ];
        for piece in pieces {
            assert_eq!(all.matches(piece).count(), 1, "{piece}");
        }
    }

    /// The API server drops a message above 5 KiB, and shows its constant text in its place.
    #[test]
    fn the_longest_message_is_not_dropped() {
        let longest = [
            message::MERGED,
            message::UNFOLLOWED,
            message::UNCHANGED,
            message::NO_CONTAINER,
            message::UNKNOWN,
        ];
        let text = longest.iter().map(|message| message.len()).max().unwrap();
        // Names of Kubernetes have one byte for each character.
        let names = 63 + 253 + 63 + MUTATING.len();
        let others = 4 * (message::LONGEST_LIST + message::LONGEST_WHY);
        assert!(text + names + others <= 5 * 1024);
    }
}
