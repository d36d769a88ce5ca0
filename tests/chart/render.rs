//! Tests without a cluster: the rendered chart, and the committed files that are rendered from it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::release::{container, objects, of_kind, the};
use crate::stage::{Tools, same};

crate::stage::cases! {
    Alone [
        what_is_committed_is_what_the_chart_renders,
        helm_lint_finds_nothing,
        the_versions_are_the_operators,
        the_definition_is_rendered_whole,
        every_role_is_small,
        pods_are_restricted_by_default,
        it_works_below_another_chart,
        the_image_is_where_all_images_are,
        it_is_pushed_to_a_registry_and_comes_back,
        a_changed_plugin_configuration_makes_new_pods,
        objects_are_named_apart_from_another_releases,
        replicas_are_spread,
    ]
}

const SETS: [&str; 3] = ["full", "minimal", "namespaced"];

/// `deploy/install.yaml` and the values in the chart's README are written by `make manifests`.
async fn what_is_committed_is_what_the_chart_renders(tools: Tools) -> Result<()> {
    for file in tools.manifests.rendered(&tools.helm).await? {
        let committed = std::fs::read_to_string(tools.manifests.path(file.path))?;
        ensure!(
            committed == file.text,
            "{} is not what the chart renders: run 'make manifests' and commit the result",
            file.path
        );
    }
    Ok(())
}

async fn helm_lint_finds_nothing(tools: Tools) -> Result<()> {
    let chart = tools.chart();
    let lint = ["lint", "--strict", &chart];
    tools.helm.run(&lint).await?.ok("helm lint --strict")?;
    for set in SETS {
        let values = format!("--values={}", tools.values(set));
        tools.helm.run(&[&lint[..], &[&values]].concat()).await?.ok(&format!("helm lint {values}"))?;
    }
    Ok(())
}

/// Chart, operator and default image carry one number.
async fn the_versions_are_the_operators(tools: Tools) -> Result<()> {
    let text = std::fs::read_to_string(tools.manifests.chart().join("Chart.yaml"))?;
    let chart: Value = serde_saphyr::from_str(&text)?;
    same("version", &chart["version"], env!("CARGO_PKG_VERSION"))?;
    same("appVersion", &chart["appVersion"], env!("CARGO_PKG_VERSION"))?;
    let rendered = objects(&tools.template(&[]).await?)?;
    let image = container(&rendered)?["image"].as_str().context("no image")?;
    ensure!(image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "the image is {image}");
    Ok(())
}

/// Read and written again by Helm, whose numbers are floats: nothing of it may change.
async fn the_definition_is_rendered_whole(tools: Tools) -> Result<()> {
    let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(tools.manifests.crd())?)?;
    let rendered = objects(&tools.template(&[]).await?)?;
    let found = the(&rendered, "CustomResourceDefinition")?;
    same("name", &found["metadata"]["name"], &definition["metadata"]["name"])?;
    ensure!(
        numbers_as_floats(&found["spec"]) == numbers_as_floats(&definition["spec"]),
        "the rendered definition is not crds/artifactconfigs.yaml"
    );
    let policy = |object: &Value| object["metadata"]["annotations"]["helm.sh/resource-policy"].clone();
    same("kept by default", policy(found), "keep")?;
    let rendered = objects(&tools.template(&["--set=crds.keep=false"]).await?)?;
    same("not kept", policy(the(&rendered, "CustomResourceDefinition")?), Value::Null)
}

/// 1 and 1.0 are the same number in JSON, and not to `Value`.
fn numbers_as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(numbers_as_floats).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), numbers_as_floats(value))).collect()
        }
        plain => plain.clone(),
    }
}

/// Secrets and `ServiceAccounts` only by name, and no wildcard, for all values.
async fn every_role_is_small(tools: Tools) -> Result<()> {
    let mut seen = 0;
    for set in SETS.into_iter().chain([""]) {
        let values = tools.values(set);
        let args: &[&str] = if set.is_empty() { &[] } else { &["--values", &values] };
        let rendered = objects(&tools.template(args).await?)?;
        let roles = [of_kind(&rendered, "Role"), of_kind(&rendered, "ClusterRole")].concat();
        for rule in roles.iter().flat_map(|role| role["rules"].as_array().into_iter().flatten()) {
            seen += 1;
            let text = rule.to_string();
            ensure!(!text.contains('*'), "a wildcard: {text}");
            if text.contains("secrets") || text.contains("serviceaccounts") {
                same(&text, &rule["verbs"], &json!(["get"]))?;
            }
        }
    }
    ensure!(seen > 30, "only {seen} rules were looked at");
    Ok(())
}

async fn pods_are_restricted_by_default(tools: Tools) -> Result<()> {
    let rendered = objects(&tools.template(&[]).await?)?;
    let pod = &the(&rendered, "Deployment")?["spec"]["template"]["spec"];
    same("runAsNonRoot", &pod["securityContext"]["runAsNonRoot"], true)?;
    same("seccompProfile", &pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")?;
    same(
        "container",
        &pod["containers"][0]["securityContext"],
        &json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        }),
    )?;
    same(
        "requests and limits",
        pod["containers"][0]["resources"].as_object().map(serde_json::Map::len),
        Some(2),
    )
}

/// A parent chart passes `global`, and often switches by `enabled`: a schema that knows neither would refuse both.
async fn it_works_below_another_chart(tools: Tools) -> Result<()> {
    let parent = tempfile::tempdir()?;
    let below = parent.path().join("charts");
    std::fs::create_dir(&below)?;
    std::fs::write(
        parent.path().join("Chart.yaml"),
        "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n- {name: artifactconfig, version: 0.x.x, condition: artifactconfig.enabled}\n",
    )?;
    std::fs::write(
        parent.path().join("values.yaml"),
        "global: {region: here}\nartifactconfig: {enabled: true, replicas: 3}\n",
    )?;
    let (chart, below) = (tools.chart(), below.display().to_string());
    tools.helm.run(&["package", &chart, "--destination", &below]).await?.ok("helm package")?;
    let parent = parent.path().display().to_string();
    let output = tools.helm.run(&["template", "platform", &parent]).await?.ok("helm template")?;
    let rendered = objects(&output.stdout)?;
    same("replicas", &the(&rendered, "Deployment")?["spec"]["replicas"], 3)?;
    same("name", &the(&rendered, "Deployment")?["metadata"]["name"], "platform-artifactconfig")
}

/// What a parent chart sets for all its images, as most charts take it.
async fn the_image_is_where_all_images_are(tools: Tools) -> Result<()> {
    let pod = async |args: &[&str]| -> Result<(Value, Value)> {
        let rendered = objects(&tools.template(args).await?)?;
        let secrets = the(&rendered, "Deployment")?["spec"]["template"]["spec"]["imagePullSecrets"].clone();
        Ok((container(&rendered)?["image"].clone(), secrets))
    };
    let version = env!("CARGO_PKG_VERSION");
    let image = |repository: &str| json!(format!("{repository}:{version}"));
    let registry = "--set=global.imageRegistry=registry.example.com:5000/mirror";
    same(
        "registry",
        pod(&[registry]).await?.0,
        image("registry.example.com:5000/mirror/artifactconfig/artifactconfig"),
    )?;
    let hub = pod(&[registry, "--set=image.repository=team/operator"]).await?.0;
    same("of an image without registry", hub, image("registry.example.com:5000/mirror/team/operator"))?;
    let digest = format!("sha256:{}", "0".repeat(64));
    let pinned = pod(&[registry, &format!("--set=image.digest={digest}")]).await?.0;
    ensure!(pinned.as_str().is_some_and(|image| image.ends_with(&format!("@{digest}"))), "{pinned}");
    let own = "--set=imagePullSecrets[0].name=own";
    let shared = ["--set=global.imagePullSecrets[0].name=shared", own];
    same("secrets", pod(&shared).await?.1, json!([{"name": "shared"}, {"name": "own"}]))?;
    let by_name = ["--set=global.imagePullSecrets={shared,own}", own];
    same("secrets by name", pod(&by_name).await?.1, json!([{"name": "shared"}, {"name": "own"}]))?;
    let none = pod(&["--set=global=null"]).await?;
    same("nothing", none, (image("ghcr.io/artifactconfig/artifactconfig"), Value::Null))
}

/// As a release does, and as the README installs it. What `.helmignore` leaves out is not in the package.
async fn it_is_pushed_to_a_registry_and_comes_back(tools: Tools) -> Result<()> {
    let registry = testbed::registry::EmbeddedRegistry::start().await?;
    let packages = tempfile::tempdir()?;
    let (chart, directory) = (tools.chart(), packages.path().display().to_string());
    tools.helm.run(&["package", &chart, "--destination", &directory]).await?.ok("helm package")?;
    let version = env!("CARGO_PKG_VERSION");
    let package = format!("{directory}/artifactconfig-{version}.tgz");
    let charts = format!("oci://{}/charts", registry.host());
    tools.helm.run(&["push", &package, &charts, "--plain-http"]).await?.ok("helm push")?;

    let pushed = format!("{charts}/artifactconfig");
    let from_registry = ["template", "artifactconfig", &pushed, "--version", version, "--plain-http"];
    let from_registry = [&from_registry[..], &["--namespace=operator"]].concat();
    let rendered = tools.helm.run(&from_registry).await?.ok("helm template oci://…")?.stdout;
    ensure!(rendered == tools.template(&[]).await?, "what comes from the registry renders something else");
    let pull =
        ["pull", &pushed, "--version", version, "--plain-http", "--untar", "--destination", &directory];
    tools.helm.run(&pull).await?.ok("helm pull")?;
    let pulled = packages.path().join("artifactconfig");
    ensure!(pulled.join("values.schema.json").is_file(), "the package has no schema");
    ensure!(!pulled.join("ci").exists(), "the package has values for tests");
    Ok(())
}

async fn a_changed_plugin_configuration_makes_new_pods(tools: Tools) -> Result<()> {
    let values = tools.values("full");
    let args = ["--values", &values];
    let longer =
        [&args[..], &["--set=credentialProviders.config.providers[0].defaultCacheDuration=1h"]].concat();
    let pod = async |args: &[&str]| -> Result<Value> {
        let rendered = objects(&tools.template(args).await?)?;
        Ok(the(&rendered, "Deployment")?["spec"]["template"]["metadata"]["annotations"].clone())
    };
    let (before, after) = (pod(&args).await?, pod(&longer).await?);
    ensure!(before != after, "the Pods are the same: {before}");
    Ok(())
}

/// Objects without a namespace, or in another one, have the release's namespace in their name.
async fn objects_are_named_apart_from_another_releases(tools: Tools) -> Result<()> {
    let names = async |kind: &str, set: &str| -> Result<Vec<String>> {
        let rendered = objects(&tools.template(&[set]).await?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = |object: &&Value| {
            let metadata = &object["metadata"];
            format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"]))
        };
        let mut names: Vec<_> = of_kind(&rendered, kind).iter().map(name).collect();
        names.sort();
        Ok(names)
    };
    same(
        "ClusterRoles",
        names("ClusterRole", "--set=rbac.aggregate=true").await?,
        ["/operator:artifactconfig", "/operator:artifactconfig-edit", "/operator:artifactconfig-view"],
    )?;
    same(
        "Roles",
        names("Role", "--set=namespaces={a,operator}").await?,
        ["a/operator:artifactconfig", "operator/artifactconfig", "operator/artifactconfig-leader-election"],
    )
}

/// The constraints select the release's Pods, and those of one rollout: a surge would be counted twice otherwise.
async fn replicas_are_spread(tools: Tools) -> Result<()> {
    let rendered = objects(&tools.template(&[]).await?)?;
    let deployment = the(&rendered, "Deployment")?;
    same("replicas", &deployment["spec"]["replicas"], 2)?;
    let constraints =
        deployment["spec"]["template"]["spec"]["topologySpreadConstraints"].as_array().context("none")?;
    same("constraints", constraints.len(), 2)?;
    for constraint in constraints {
        same("whose", &constraint["labelSelector"], &deployment["spec"]["selector"])?;
        same("of which rollout", &constraint["matchLabelKeys"], &json!(["pod-template-hash"]))?;
    }
    the(&rendered, "PodDisruptionBudget")?;
    let single = objects(&tools.template(&["--set=replicas=1"]).await?)?;
    same("budgets of one replica", of_kind(&single, "PodDisruptionBudget").len(), 0)
}
