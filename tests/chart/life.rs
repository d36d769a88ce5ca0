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
    let image = format!("{}/shop/web:v1", registry.host());
    oras.push_image(&image).await?;
    oras.attach(&image, "custom/config", &[("config.json", b"{}")], &[]).await?;
    let release = Release { cluster: &cluster, chart: tools.chart(), image };
    release.kubectl(&["create", "namespace", NAMESPACE]).await?;
    restrict(&cluster, NAMESPACE).await?;
    release.kubectl(&["create", "namespace", "shop"]).await?;
    let empty = settled(&cluster).await?;

    let operator = release.install_older(&older).await?;
    release.upgrade().await?;
    release.roll_back_and_upgrade_again().await?;
    ensure!(operator.exit_status().await.is_none(), "the operator has ended:\n{}", operator.log());
    release.refuse_a_second_release().await?;
    ensure!(operator.terminate().await?.success(), "the operator did not end well:\n{}", operator.log());
    release.uninstall(&empty).await?;
    release.install_again_and_remove_everything(&empty).await?;
    release.uninstall_without_keep(&empty).await?;
    cluster.stop().await
}

/// A release of the chart in a cluster, with one resource for an image.
struct Release<'a> {
    cluster: &'a Cluster,
    chart: String,
    image: String,
}

impl Release<'_> {
    async fn kubectl(&self, args: &[&str]) -> Result<String> {
        Ok(self.cluster.kubectl(args).await?.ok(&format!("kubectl {}", args.join(" ")))?.stdout)
    }

    async fn helm(&self, args: &[&str]) -> Result<String> {
        let whole = [args, &["--namespace", NAMESPACE]].concat();
        Ok(self.cluster.helm(&whole).await?.ok(&format!("helm {}", args.join(" ")))?.stdout)
    }

    /// Installs a release whose definition lacks a field, and starts its operator.
    async fn install_older(&self, older: &str) -> Result<OperatorProcess> {
        let cluster = self.cluster;
        let notes = self.helm(&["install", "artifactconfig", older]).await?;
        ensure!(
            notes.contains("rollout status deployment/artifactconfig"),
            "the notes teach nothing:\n{notes}"
        );
        same("the field, in the older definition", knows_field(cluster).await?, false)?;
        // The garbage collector looks for new kinds at its start, and then every 30 s.
        cluster.stop_controller_manager().await?;
        cluster.start_controller_manager().await?;
        let kubeconfig = cluster.service_account_kubeconfig(NAMESPACE, "artifactconfig").await?;
        let mut options = OperatorOptions::new(env!("CARGO_BIN_EXE_artifactconfig"), kubeconfig);
        options.args = args(&objects(&self.helm(&["get", "manifest", "artifactconfig"]).await?)?)?;
        let operator = OperatorProcess::start(options).await?;
        cluster.apply(&resource(&self.image, None)).await?;
        ready(cluster).await?;
        Ok(operator)
    }

    /// An upgrade installs the definition first, so that the API server keeps the fields that the new operator reads.
    async fn upgrade(&self) -> Result<()> {
        let cluster = self.cluster;
        self.helm(&["upgrade", "artifactconfig", &self.chart]).await?;
        same("the field, after the upgrade", knows_field(cluster).await?, true)?;
        // The API server uses the new definition a moment after it stored it, and refuses the field until then.
        eventually("the field to be taken", || async {
            let with_field = resource(&self.image, Some(3));
            let output =
                cluster.kubectl_with_stdin(&["apply", "--server-side", "-f", "-"], &with_field).await?;
            Ok(if output.success() { Ok(()) } else { Err(output.stderr) })
        })
        .await?;
        same("the field, as written", limit(cluster).await?, json!(3))?;
        ready(cluster).await
    }

    /// The config stays in place.
    async fn roll_back_and_upgrade_again(&self) -> Result<()> {
        self.helm(&["rollback", "artifactconfig", "1"]).await?;
        same("the field, after the rollback", knows_field(self.cluster).await?, false)?;
        let path = "jsonpath={.data.config\\.json}";
        same("config", self.kubectl(&["get", "configmap", "web", "-n", "shop", "-o", path]).await?, "{}")?;
        self.helm(&["upgrade", "artifactconfig", &self.chart]).await?;
        same("the field, after the second upgrade", knows_field(self.cluster).await?, true)?;
        ready(self.cluster).await
    }

    /// Another release does not take over the definition, unless a flag says that it does not need it.
    async fn refuse_a_second_release(&self) -> Result<()> {
        let second = ["install", "second", &self.chart, "--namespace", "shop", "--dry-run=server"];
        let refused = self.cluster.helm(&second).await?;
        ensure!(
            !refused.success() && refused.stderr.contains("ownership"),
            "a second release may have it: {refused:?}"
        );
        let without = [&second[..], &["--set=crds.install=false"]].concat();
        self.cluster.helm(&without).await?.ok("helm install second")?;
        Ok(())
    }

    /// The objects of users stay, and no object of the release.
    async fn uninstall(&self, empty: &BTreeSet<String>) -> Result<()> {
        let cluster = self.cluster;
        self.helm(&["uninstall", "artifactconfig"]).await?;
        let kept = [
            "/customresourcedefinition.apiextensions.k8s.io/artifactconfigs.artifactconfig.dev",
            "shop/artifactconfig.artifactconfig.dev/web",
            "shop/configmap/web",
            &format!("shop/configmap/{}", revision(cluster).await?),
        ];
        only_left(cluster, empty, &kept).await?;
        // The garbage collector does not delete them later either.
        let rest: BTreeSet<_> = settled(cluster).await?.difference(empty).cloned().collect();
        same("the objects that stay", rest, kept.map(str::to_owned).into())
    }

    /// A release of the same name takes over the objects that the first one left. Then everything is removed, as the
    /// README says.
    async fn install_again_and_remove_everything(&self, empty: &BTreeSet<String>) -> Result<()> {
        self.helm(&["install", "artifactconfig", &self.chart]).await?;
        self.kubectl(&["delete", "artifactconfigs", "--all", "--all-namespaces", "--cascade=foreground"])
            .await?;
        self.helm(&["uninstall", "artifactconfig"]).await?;
        self.kubectl(&["delete", "crd", "artifactconfigs.artifactconfig.dev"]).await?;
        only_left(self.cluster, empty, &[]).await
    }

    async fn uninstall_without_keep(&self, empty: &BTreeSet<String>) -> Result<()> {
        self.helm(&["install", "artifactconfig", &self.chart, "--set=crds.keep=false"]).await?;
        served(self.cluster).await?;
        self.helm(&["uninstall", "artifactconfig"]).await?;
        only_left(self.cluster, empty, &[]).await
    }
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
