//! The API server by itself: refusals at admission, defaults, and the output of `kubectl explain`.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::support::{Bench, cases, checked, same};

cases! {
    Embedded [
        what_cannot_work_is_refused_at_once,
        what_is_at_the_bounds_is_taken,
        defaults_are_filled_in,
        kubectl_explain_has_the_documentation,
        the_operator_may_do_little,
    ]
}

fn spec(extra: Value) -> Value {
    let mut spec = json!({"image": "registry.example.com/shop/web:v1", "artifactType": "custom/config", "suspend": true});
    if let (Value::Object(spec), Value::Object(extra)) = (&mut spec, extra) {
        spec.extend(extra);
    }
    spec
}

/// Each rule of the definition refuses, and says which field and why.
async fn what_cannot_work_is_refused_at_once(bench: Bench) -> Result<()> {
    let many: Vec<_> = (0..17).map(|number| json!({"name": format!("s{number}")})).collect();
    let refused = [
        (json!({"interval": "soon"}), "spec.interval"),
        (json!({"interval": "10ms"}), "interval must be from 1s to 24h"),
        (json!({"interval": "0s"}), "interval must be from 1s to 24h"),
        (json!({"interval": "25h"}), "interval must be from 1s to 24h"),
        (json!({"interval": "-5m"}), "spec.interval"),
        (json!({"interval": ""}), "spec.interval"),
        (json!({"timeout": "11m"}), "timeout must be from 1s to 10m"),
        (json!({"image": ""}), "spec.image"),
        (json!({"image": null}), "exactly one of image and workloadRef"),
        (json!({"image": "https://registry.example.com/web:v1"}), "without 'https://' or 'http://'"),
        (json!({"image": "http://registry.example.com/web:v1"}), "spec.registry.plainHttp"),
        (json!({"image": "oci://registry.example.com/web:v1"}), "image is registry/repository:tag"),
        (
            json!({"referrersRepository": "https://registry.example.com/web"}),
            "referrersRepository is registry/repository",
        ),
        (json!({"artifactType": ""}), "spec.artifactType"),
        (json!({"artifactType": null}), "spec.artifactType"),
        (json!({"selection": {"policy": "Latest"}}), "spec.selection.policy"),
        (json!({"files": [{"path": "*.ini", "key": "a"}]}), "path must name one file"),
        (json!({"files": [{"path": "a?.ini", "key": "a"}]}), "path must name one file"),
        (json!({"files": [{"path": "[ab].ini", "key": "a"}]}), "path must name one file"),
        (json!({"files": [{"path": "[[]a]*", "key": "a"}]}), "path must name one file"),
        (json!({"files": [{"path": "a", "key": "x/y"}]}), "spec.files[0].key"),
        (json!({"files": [{"path": "a", "key": "..x"}]}), "key must not be '.' or start with '..'"),
        (json!({"files": [{"path": "a", "key": "."}]}), "key must not be '.' or start with '..'"),
        (json!({"files": [{"path": ""}]}), "spec.files[0].path"),
        (json!({"target": {"name": "Web_1"}}), "spec.target.name"),
        (json!({"target": {"name": ""}}), "spec.target.name"),
        (json!({"target": {"creationPolicy": "Steal"}}), "spec.target.creationPolicy"),
        (json!({"target": {"deletionPolicy": "Forget"}}), "spec.target.deletionPolicy"),
        (json!({"target": {"labels": {"artifactconfig.dev/name": "x"}}}), "are set by the operator"),
        (json!({"target": {"labels": {"app.kubernetes.io/managed-by": "x"}}}), "are set by the operator"),
        (json!({"target": {"annotations": {"artifactconfig.dev/image": "x"}}}), "are set by the operator"),
        (json!({"registry": {"pullSecrets": [{"name": ""}]}}), "spec.registry.pullSecrets[0].name"),
        (json!({"registry": {"pullSecrets": many}}), "spec.registry.pullSecrets"),
    ];
    for (extra, says) in refused {
        refuses(&bench, "web", &spec(extra), says).await?;
    }
    refuses(&bench, &"n".repeat(64), &spec(json!({})), "metadata.name must be at most 63 characters").await
}

async fn refuses(bench: &Bench, name: &str, spec: &Value, says: &str) -> Result<()> {
    match bench.apply_raw(name, spec).await {
        Err(kube::Error::Api(status)) => {
            same(&format!("code for {spec}"), status.code, 422)?;
            checked(
                &format!("the refusal of {spec} says {says:?}"),
                status.message.contains(says),
                &status.message,
            )
        }
        Err(other) => bail!("{spec}: {other}"),
        Ok(_) => bail!("the API server takes {spec}, should say {says:?}"),
    }
}

/// The rules refuse nothing that works.
async fn what_is_at_the_bounds_is_taken(bench: Bench) -> Result<()> {
    let taken = [
        json!({"interval": "1s", "timeout": "1s"}),
        json!({"interval": "24h", "timeout": "10m"}),
        json!({"interval": "1h30m", "timeout": "1.5s"}),
        json!({"image": format!("registry.example.com/web@sha256:{}", "0".repeat(64))}),
        json!({"files": [{"path": "a/b.ini", "key": "-._aZ0"}, {"path": "**/*.ini"}, {"path": "c", "key": "a..b"}]}),
        json!({"files": (0..256).map(|number| json!({"path": number.to_string()})).collect::<Vec<_>>()}),
        json!({"target": {"name": "a.b-c.0", "labels": {"app": "x"}, "annotations": {"example.com/a": "x"}}}),
        json!({"target": {"name": "n".repeat(242)}}),
        json!({"selection": {"policy": "Only", "matchAnnotations": {"any key": "any value \u{e4}"}}}),
    ];
    for extra in taken {
        bench.apply_raw("web", &spec(extra.clone())).await.with_context(|| extra.to_string())?;
    }
    bench.apply_raw(&"n".repeat(63), &spec(json!({}))).await?;
    Ok(())
}

/// A person who reads the resource back sees the values that apply.
async fn defaults_are_filled_in(bench: Bench) -> Result<()> {
    let minimal = json!({"image": "registry.example.com/shop/web:v1", "artifactType": "custom/config"});
    bench.apply_raw("web", &minimal).await?;
    let object: Value =
        serde_json::from_str(&bench.kubectl(&["get", "acfg", "web", "--output=json"]).await?)?;
    let spec = &object["spec"];
    same("interval", &spec["interval"], &json!("5m"))?;
    same("timeout", &spec["timeout"], &json!("60s"))?;
    same("suspend", &spec["suspend"], &json!(false))?;
    same("selection", &spec["selection"], &json!({"policy": "Newest"}))?;
    same("target", &spec["target"], &json!({"creationPolicy": "Owner", "deletionPolicy": "Delete"}))?;
    same("registry", &spec["registry"], &json!({"plainHttp": false}))
}

/// The definition carries its documentation.
async fn kubectl_explain_has_the_documentation(bench: Bench) -> Result<()> {
    let image = bench.kubectl(&["explain", "artifactconfig.spec.image"]).await?;
    checked("the field is explained", image.contains("The image that the config is attached to"), &image)?;
    let policy = bench.kubectl(&["explain", "acfg.spec.selection.policy"]).await?;
    for word in ["Newest", "HighestVersion", "Only", "org.opencontainers.image.created"] {
        checked(&format!("the policy {word} is explained"), policy.contains(word), &policy)?;
    }
    let whole = bench.kubectl(&["explain", "artifactconfig", "--recursive"]).await?;
    for field in ["matchAnnotations", "pullSecrets", "deletionPolicy", "observedGeneration", "shortDigest"] {
        checked(&format!("{field} is listed"), whole.contains(field), &whole)?;
    }
    let all = bench.kubectl(&["explain", "artifactconfig.spec"]).await?;
    same("fields without a description", all.contains("<no description>"), false)
}

/// The chart grants the rights that the operator needs, and no rights that would do harm in other hands.
async fn the_operator_may_do_little(bench: Bench) -> Result<()> {
    let operator = "--as=system:serviceaccount:artifactconfig-system:artifactconfig";
    let may_not = [
        ["list", "secrets"],
        ["watch", "secrets"],
        ["create", "secrets"],
        ["delete", "secrets"],
        ["update", "artifactconfigs.artifactconfig.dev"],
        ["patch", "artifactconfigs.artifactconfig.dev"],
        ["delete", "artifactconfigs.artifactconfig.dev"],
        ["create", "pods"],
        ["patch", "deployments.apps"],
        ["list", "nodes"],
        ["create", "clusterrolebindings.rbac.authorization.k8s.io"],
        ["impersonate", "users"],
        ["deletecollection", "configmaps"],
    ];
    for [verb, resource] in may_not {
        let args = ["--namespace", &bench.namespace, "auth", "can-i", verb, resource, operator];
        let answer = bench.world.cluster.kubectl(&args).await?;
        same(&format!("may {verb} {resource}"), answer.stdout.trim(), "no")?;
    }
    for [verb, resource] in
        [["get", "secrets"], ["create", "configmaps"], ["watch", "artifactconfigs.artifactconfig.dev"]]
    {
        let answer = bench.kubectl(&["auth", "can-i", verb, resource, operator]).await?;
        same(&format!("may {verb} {resource}"), answer.trim(), "yes")?;
    }
    Ok(())
}
