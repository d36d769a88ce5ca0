//! The admission policies of the chart and of `deploy/`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::release::{objects, of_kind, the};
use crate::stage::{Shared, Tools, cluster, eventually, same};

crate::stage::cases! {
    Alone [
        policies_are_rendered_only_on_request,
        a_cluster_that_does_not_know_them_is_refused,
        kubectl_applies_them_by_directory,
    ]
    Shared [a_release_switches_them_on_and_off]
}

const ON: &str = "--set=bind.enabled=true,workloads.enabled=true";
const KINDS: [&str; 4] = [
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Read and written again by Helm: nothing of their content may change, because their hash speaks of it.
async fn policies_are_rendered_only_on_request(tools: Tools) -> Result<()> {
    let without = objects(&tools.template(&[]).await?)?;
    for kind in KINDS {
        same(kind, of_kind(&without, kind).len(), 0)?;
    }
    let committed = objects(&std::fs::read_to_string(tools.manifests.path("deploy/bind/policies.yaml"))?)?;
    let rendered = objects(&tools.template(&[ON]).await?)?;
    for kind in KINDS {
        let (rendered, committed) = (the(&rendered, kind)?, the(&committed, kind)?);
        same("name", &rendered["metadata"]["name"], &committed["metadata"]["name"])?;
        same("spec", &rendered["spec"], &committed["spec"])?;
        for (key, value) in committed["metadata"]["labels"].as_object().context("no labels")? {
            same(key, &rendered["metadata"]["labels"][key], value)?;
        }
    }
    Ok(())
}

/// By the kinds that Helm learns from a cluster, or that Argo CD passes on. Without any of them it is rendered.
async fn a_cluster_that_does_not_know_them_is_refused(tools: Tools) -> Result<()> {
    let chart = tools.chart();
    let older = ["template", "artifactconfig", &chart, ON, "--api-versions=v1/Pod"];
    let refused = tools.helm.run(&older).await?;
    ensure!(
        !refused.success() && refused.stderr.contains("bind.enabled") && refused.stderr.contains("1.36"),
        "it is not refused: {refused:?}"
    );
    let newer = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
    tools.helm.run(&[&older[..], &[newer]].concat()).await?.ok("helm template")?;
    Ok(())
}

async fn kubectl_applies_them_by_directory(tools: Tools) -> Result<()> {
    let cluster = cluster(vec![tools.manifests.crd()]).await?;
    let directory = tools.manifests.path("deploy/bind").display().to_string();
    for form in ["-f", "-k"] {
        let applied = cluster.kubectl(&["apply", form, &directory]).await?.ok("kubectl apply")?;
        same(form, applied.stdout.lines().count(), KINDS.len())?;
    }
    // The operator itself comes without them.
    let deploy = tools.manifests.path("deploy").display().to_string();
    for form in ["-f", "-k"] {
        let shown = cluster.kubectl(&["create", form, &deploy, "--dry-run=client", "-o=name"]).await?;
        let shown = shown.ok("kubectl create --dry-run=client")?.stdout;
        ensure!(!shown.contains("admissionpolicy"), "{form}: {shown}");
    }
    cluster.stop().await
}

/// On a real cluster the chart sees its kinds. A second release cannot have the policies of the first.
async fn a_release_switches_them_on_and_off(shared: Shared) -> Result<()> {
    let Shared { tools, cluster } = &shared;
    let (first, second) = (shared.namespace("bind").await?, shared.namespace("bind").await?);
    let helm = async |verb: &str, name: &str, namespace: &str, bind: &str| {
        let chart = tools.chart();
        let values = [
            format!("--set=bind.enabled={bind},workloads.enabled=true"),
            format!("--set=namespaces={{{namespace}}}"),
        ];
        let fixed = ["--set=crds.install=false", "--set=replicas=0", "--namespace", namespace];
        let args = [&[verb, name, &chart, &values[0], &values[1]], &fixed[..]].concat();
        cluster.helm(&args).await
    };
    helm("install", "bind-first", &first, "true").await?.ok("helm install")?;
    same("policies", policies(&shared).await?, KINDS.len())?;
    let refused = helm("install", "bind-second", &second, "true").await?;
    ensure!(
        !refused.success() && refused.stderr.contains("bind.artifactconfig.dev"),
        "it is not refused: {refused:?}"
    );
    helm("upgrade", "bind-first", &first, "true").await?.ok("helm upgrade")?;
    same("policies", policies(&shared).await?, KINDS.len())?;
    helm("upgrade", "bind-first", &first, "false").await?.ok("helm upgrade")?;
    eventually("the policies to go", || async {
        let left = policies(&shared).await?;
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} are there")) })
    })
    .await
}

/// The number of our policies and bindings in the cluster.
async fn policies(shared: &Shared) -> Result<usize> {
    let kinds = KINDS.map(str::to_lowercase).join(",");
    let get = ["get", &kinds, "--selector=artifactconfig.dev/policy", "-o=json"];
    let list: Value = serde_json::from_str(&shared.cluster.kubectl(&get).await?.ok("kubectl get")?.stdout)?;
    Ok(list["items"].as_array().map_or(0, Vec::len))
}
