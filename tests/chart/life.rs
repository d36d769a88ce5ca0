//! The life of a release: installed, upgraded with its definition, taken back, uninstalled, installed again; with an
//! operator that works meanwhile as the `ServiceAccount` that the chart made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::registry::EmbeddedRegistry;
use testbed::{Cluster, OperatorOptions, OperatorProcess, Oras};

use crate::release::{args, objects};
use crate::stage::{Tools, cluster, eventually, restrict, same, served};

crate::stage::cases! {
    Alone [a_release_from_its_first_day_to_its_last]
}

const NAMESPACE: &str = "artifactconfig-system";
const DEFINITION: &str = "customresourcedefinition/artifactconfigs.artifactconfig.dev";

/// What the older release does not know.
const FIELD: &str = "revisionHistoryLimit";

/// Longest wait for the garbage collector. It looks for kinds that came and went every 30 s, and waits 30 s for one that
/// went in the meantime.
const COLLECTED: Duration = Duration::from_mins(2);

async fn a_release_from_its_first_day_to_its_last(tools: Tools) -> Result<()> {
    let packages = tempfile::tempdir()?;
    let older = older_chart(&tools, packages.path())?;
    let (cluster, registry, oras) =
        tokio::try_join!(cluster(Vec::new()), EmbeddedRegistry::start(), Oras::locate())?;
    let kubectl = async |args: &[&str]| -> Result<String> {
        Ok(cluster.kubectl(args).await?.ok(&format!("kubectl {}", args.join(" ")))?.stdout)
    };
    let helm = async |args: &[&str]| -> Result<String> {
        let whole = [args, &["--namespace", NAMESPACE]].concat();
        Ok(cluster.helm(&whole).await?.ok(&format!("helm {}", args.join(" ")))?.stdout)
    };
    kubectl(&["create", "namespace", NAMESPACE]).await?;
    restrict(&cluster, NAMESPACE).await?;
    kubectl(&["create", "namespace", "shop"]).await?;
    let empty = settled(&cluster).await?;
    let chart = tools.chart();

    // Installed, by an older release whose definition lacks a field.
    let notes = helm(&["install", "artifactconfig", &older]).await?;
    ensure!(notes.contains("rollout status deployment/artifactconfig"), "the notes teach nothing:\n{notes}");
    same("the field, in the older definition", knows_field(&cluster).await?, false)?;
    // The garbage collector looks for new kinds at its start, and then every 30 s.
    cluster.stop_controller_manager().await?;
    cluster.start_controller_manager().await?;
    let kubeconfig = cluster.service_account_kubeconfig(NAMESPACE, "artifactconfig").await?;
    let mut options = OperatorOptions::new(env!("CARGO_BIN_EXE_artifactconfig"), kubeconfig);
    options.args = args(&objects(&helm(&["get", "manifest", "artifactconfig"]).await?)?)?;
    let operator = OperatorProcess::start(options).await?;
    let image = format!("{}/shop/web:v1", registry.host());
    oras.push_image(&image).await?;
    oras.attach(&image, "custom/config", &[("config.json", b"{}")], &[]).await?;
    cluster.apply(&resource(&image, None)).await?;
    ready(&cluster).await?;

    // Upgraded: the definition first, so that what the new operator reads is kept.
    helm(&["upgrade", "artifactconfig", &chart]).await?;
    same("the field, after the upgrade", knows_field(&cluster).await?, true)?;
    // The API server hears of the new definition a moment after it took it, and until then refuses the field.
    eventually("the field to be taken", || async {
        let with_field = resource(&image, Some(3));
        let output = cluster.kubectl_with_stdin(&["apply", "--server-side", "-f", "-"], &with_field).await?;
        Ok(if output.success() { Ok(()) } else { Err(output.stderr) })
    })
    .await?;
    same("the field, as written", limit(&cluster).await?, json!(3))?;
    ready(&cluster).await?;

    // Taken back and forth: the config stays in place.
    helm(&["rollback", "artifactconfig", "1"]).await?;
    same("the field, after going back", knows_field(&cluster).await?, false)?;
    same(
        "config",
        kubectl(&["get", "configmap", "web", "-n", "shop", "-o", "jsonpath={.data.config\\.json}"]).await?,
        "{}",
    )?;
    helm(&["upgrade", "artifactconfig", &chart]).await?;
    same("the field, after going forward again", knows_field(&cluster).await?, true)?;
    ready(&cluster).await?;
    ensure!(operator.exit_status().await.is_none(), "the operator has ended:\n{}", operator.log());

    // Another release does not take the definition away unasked.
    let second = ["install", "second", &chart, "--namespace", "shop", "--dry-run=server"];
    let refused = cluster.helm(&second).await?;
    ensure!(
        !refused.success() && refused.stderr.contains("ownership"),
        "a second release may have it: {refused:?}"
    );
    cluster.helm(&[&second[..], &["--set=crds.install=false"]].concat()).await?.ok("helm install second")?;

    // Uninstalled: what people made stays, and of the release nothing.
    ensure!(operator.terminate().await?.success(), "the operator did not end well:\n{}", operator.log());
    helm(&["uninstall", "artifactconfig"]).await?;
    let kept = [
        "/customresourcedefinition.apiextensions.k8s.io/artifactconfigs.artifactconfig.dev",
        "shop/artifactconfig.artifactconfig.dev/web",
        "shop/configmap/web",
        &format!("shop/configmap/{}", revision(&cluster).await?),
    ];
    only_left(&cluster, &empty, &kept).await?;
    // And stays: the garbage collector, which takes the rest, is not about to take that as well.
    let rest: BTreeSet<_> = settled(&cluster).await?.difference(&empty).cloned().collect();
    same("what is left for good", rest, kept.map(str::to_owned).into())?;

    // Installed again under its name it takes up what it left. Removing everything, as the README says.
    helm(&["install", "artifactconfig", &chart]).await?;
    kubectl(&["delete", "artifactconfigs", "--all", "--all-namespaces", "--cascade=foreground"]).await?;
    helm(&["uninstall", "artifactconfig"]).await?;
    kubectl(&["delete", "crd", "artifactconfigs.artifactconfig.dev"]).await?;
    only_left(&cluster, &empty, &[]).await?;

    // Without `keep` uninstalling is enough.
    helm(&["install", "artifactconfig", &chart, "--set=crds.keep=false"]).await?;
    served(&cluster).await?;
    helm(&["uninstall", "artifactconfig"]).await?;
    only_left(&cluster, &empty, &[]).await?;
    cluster.stop().await
}

/// Waits until nothing is there but what was before, and these. The garbage collector takes its time.
async fn only_left(cluster: &Cluster, before: &BTreeSet<String>, these: &[&str]) -> Result<()> {
    let these: BTreeSet<_> = these.iter().map(|&object| object.to_owned()).collect();
    testbed::eventually("everything else to go", COLLECTED, || async {
        Ok(everything(cluster).await?.and_then(|now| {
            let left: BTreeSet<_> = now.difference(before).cloned().collect();
            if left == these { Ok(()) } else { Err(format!("there are {left:?}, not {these:?}")) }
        }))
    })
    .await
}

/// A copy of the chart, of the release before, whose definition lacks a field.
fn older_chart(tools: &Tools, below: &Path) -> Result<String> {
    let older = below.join("artifactconfig");
    copy(&tools.manifests.chart(), &older)?;
    let edit = |name: &str, change: &dyn Fn(&mut Value) -> Result<()>| -> Result<()> {
        let path = older.join(name);
        let mut value: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
        change(&mut value)?;
        // JSON is YAML.
        Ok(std::fs::write(&path, value.to_string())?)
    };
    edit("Chart.yaml", &|chart| {
        chart["version"] = json!("0.0.9");
        Ok(())
    })?;
    edit("files/crd.yaml", &|crd| {
        let spec = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let fields = spec["properties"].as_object_mut().context("the definition has no fields")?;
        fields.remove(FIELD).with_context(|| format!("the definition has no {FIELD}"))?;
        Ok(())
    })?;
    Ok(older.display().to_string())
}

fn copy(from: &Path, to: &PathBuf) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn resource(image: &str, limit: Option<u32>) -> String {
    let limit = limit.map_or(String::new(), |limit| format!("  {FIELD}: {limit}\n"));
    format!(
        "apiVersion: artifactconfig.dev/v1alpha1
kind: ArtifactConfig
metadata: {{name: web, namespace: shop}}
spec:
  image: {image}
  artifactType: custom/config
  registry: {{plainHttp: true}}
{limit}"
    )
}

async fn ready(cluster: &Cluster) -> Result<()> {
    let wait = ["wait", "artifactconfig/web", "--namespace=shop", "--for=condition=Ready", "--timeout=60s"];
    cluster.kubectl(&wait).await?.ok("kubectl wait artifactconfig/web")?;
    Ok(())
}

async fn knows_field(cluster: &Cluster) -> Result<bool> {
    let path = "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties}";
    let fields = cluster.kubectl(&["get", DEFINITION, "-o", path]).await?.ok("kubectl get crd")?.stdout;
    ensure!(fields.contains("artifactType"), "the definition has no fields: {fields}");
    Ok(fields.contains(FIELD))
}

/// Name of the one revision.
async fn revision(cluster: &Cluster) -> Result<String> {
    let history = "jsonpath={.status.history[*].configMap}";
    let get = ["get", "artifactconfig/web", "--namespace=shop", "-o", history];
    Ok(cluster.kubectl(&get).await?.ok("kubectl get")?.stdout)
}

async fn limit(cluster: &Cluster) -> Result<Value> {
    let get = ["get", "artifactconfig/web", "--namespace=shop", "-o", "json"];
    let object: Value = serde_json::from_str(&cluster.kubectl(&get).await?.ok("kubectl get")?.stdout)?;
    Ok(object["spec"][FIELD].clone())
}

/// What there is, once it no longer changes.
async fn settled(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let last = std::sync::Mutex::new(None);
    eventually("the cluster to come to rest", || async {
        let now = everything(cluster).await?;
        let mut last = last.lock().map_err(|_| anyhow::anyhow!("a probe panicked"))?;
        Ok(now.and_then(|now| {
            let before = last.replace(now.clone());
            if before.as_ref() == Some(&now) { Ok(now) } else { Err("it still changes".to_owned()) }
        }))
    })
    .await
}

/// `namespace/kind/name` of everything in the cluster, but for what comes and goes by itself; or why it cannot be listed
/// just now: a kind whose definition is being deleted is offered a moment longer than it can be listed.
async fn everything(cluster: &Cluster) -> Result<Result<BTreeSet<String>, String>> {
    let kinds = ["api-resources", "--verbs=list", "--output=name", "--no-headers", "--cached=false"];
    let kinds = cluster.kubectl(&kinds).await?.ok("kubectl api-resources")?.stdout;
    let kinds: Vec<_> = kinds
        .lines()
        // Events go after an hour; what the API server says of itself is no object of anybody's.
        .filter(|kind| !["events", "events.events.k8s.io", "componentstatuses"].contains(kind))
        .filter(|kind| !kind.ends_with(".apiregistration.k8s.io"))
        .collect();
    let columns = "custom-columns=A:.metadata.namespace,B:.kind,C:.apiVersion,D:.metadata.name";
    let get =
        ["get", &kinds.join(","), "--all-namespaces", "--no-headers", "-o", columns, "--ignore-not-found"];
    let output = cluster.kubectl(&get).await?;
    if !output.success() {
        return Ok(Err(output.stderr));
    }
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap_or_default().to_owned();
        let (namespace, kind, version, name) = (next(), next().to_lowercase(), next(), next());
        let namespace = if namespace == "<none>" { String::new() } else { namespace };
        let kind = version.split_once('/').map_or(kind.clone(), |(group, _)| format!("{kind}.{group}"));
        format!("{namespace}/{kind}/{name}")
    };
    // What the controllers of Kubernetes make for themselves, and in each namespace, comes when they get to it.
    let is_of_kubernetes = |object: &String| {
        let its_own = ["/serviceaccount/", "/lease.coordination.k8s.io/"];
        let everywhere = ["/configmap/kube-root-ca.crt", "/serviceaccount/default"];
        (object.starts_with("kube-") && its_own.iter().any(|kind| object.contains(kind)))
            || everywhere.iter().any(|name| object.ends_with(name))
    };
    Ok(Ok(output.stdout.lines().map(entry).filter(|object| !is_of_kubernetes(object)).collect()))
}
