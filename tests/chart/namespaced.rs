//! A release for some namespaces: its rights there, and no rights elsewhere.

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::registry::EmbeddedRegistry;
use testbed::{OperatorOptions, OperatorProcess, Oras};

use crate::release::{args, objects};
use crate::stage::{Shared, eventually, same};

crate::stage::cases! {
    Shared [
        its_rights_end_at_its_namespaces,
        it_works_in_its_namespaces_and_in_no_other,
        those_who_edit_a_namespace_may_use_it_where_that_is_wanted,
    ]
}

/// The rights that the operator needs in a namespace that it watches.
const NEEDED: [[&str; 2]; 12] = [
    ["list", "artifactconfigs.artifactconfig.dev"],
    ["watch", "artifactconfigs.artifactconfig.dev"],
    ["patch", "artifactconfigs.artifactconfig.dev/status"],
    ["watch", "configmaps"],
    ["create", "configmaps"],
    ["patch", "configmaps"],
    ["delete", "configmaps"],
    ["get", "secrets"],
    ["get", "serviceaccounts"],
    ["list", "pods"],
    ["list", "replicasets.apps"],
    ["create", "events.events.k8s.io"],
];

/// Rights that would do harm in other hands, in any namespace.
const FORBIDDEN: [[&str; 2]; 9] = [
    ["list", "secrets"],
    ["watch", "secrets"],
    ["create", "secrets"],
    ["list", "serviceaccounts"],
    ["create", "serviceaccounts/token"],
    ["create", "pods"],
    ["patch", "deployments.apps"],
    ["patch", "artifactconfigs.artifactconfig.dev"],
    ["create", "rolebindings.rbac.authorization.k8s.io"],
];

struct Installed {
    home: String,
    watched: String,
    other: String,
    user: String,
}

async fn install(shared: &Shared) -> Result<Installed> {
    let home = shared.namespace("team-a").await?;
    let watched = shared.namespace("team-a-staging").await?;
    let other = shared.namespace("team-b").await?;
    let chart = shared.tools.chart();
    let namespaces = format!("--set=namespaces={{{home},{watched}}}");
    let install =
        ["install", "team-a", &chart, "--namespace", &home, "--set=crds.install=false", &namespaces];
    shared.cluster.helm(&install).await?.ok("helm install")?;
    let user = format!("system:serviceaccount:{home}:team-a-artifactconfig");
    Ok(Installed { home, watched, other, user })
}

async fn may(shared: &Shared, user: &str, namespace: &str, [verb, resource]: [&str; 2]) -> Result<bool> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (user, subresource) = (format!("--as={user}"), format!("--subresource={subresource}"));
    let ask = ["auth", "can-i", verb, resource, &subresource, "--namespace", namespace, &user];
    let answer = shared.cluster.kubectl(&ask).await?;
    match answer.stdout.trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => anyhow::bail!("kubectl auth can-i {verb} {resource}: {answer:?}"),
    }
}

async fn its_rights_end_at_its_namespaces(shared: Shared) -> Result<()> {
    let Installed { home, watched, other, user } = install(&shared).await?;
    let selector = "--selector=app.kubernetes.io/instance=team-a";
    let wide = ["get", "clusterroles,clusterrolebindings", selector, "-o", "name"];
    same(
        "objects outside of namespaces",
        shared.cluster.kubectl(&wide).await?.ok("kubectl get")?.stdout,
        "",
    )?;
    // RBAC takes a moment to know a new role.
    eventually("the first right", || async {
        Ok(if may(&shared, &user, &watched, NEEDED[0]).await? { Ok(()) } else { Err("no".to_owned()) })
    })
    .await?;
    for right in NEEDED {
        for (namespace, wanted) in [(&home, true), (&watched, true), (&other, false)] {
            same(
                &format!("may {right:?} in {namespace}"),
                may(&shared, &user, namespace, right).await?,
                wanted,
            )?;
        }
    }
    for right in FORBIDDEN {
        for namespace in [&home, &watched, &other] {
            same(
                &format!("may {right:?} in {namespace}"),
                may(&shared, &user, namespace, right).await?,
                false,
            )?;
        }
    }
    for (verb, wanted) in [("create", true), ("list", false), ("delete", false)] {
        let right = [verb, "leases.coordination.k8s.io"];
        same(&format!("may {right:?} in {home}"), may(&shared, &user, &home, right).await?, wanted)?;
        same(&format!("may {right:?} in {watched}"), may(&shared, &user, &watched, right).await?, false)?;
    }
    Ok(())
}

async fn it_works_in_its_namespaces_and_in_no_other(shared: Shared) -> Result<()> {
    let (registry, oras) = tokio::try_join!(EmbeddedRegistry::start(), Oras::locate())?;
    let image = format!("{}/shop/web:v1", registry.host());
    oras.push_image(&image).await?;
    oras.attach(&image, "custom/config", &[("config.json", b"{}")], &[]).await?;

    let Installed { home, watched, other, .. } = install(&shared).await?;
    let manifest = ["get", "manifest", "team-a", "--namespace", &home];
    let rendered = objects(&shared.cluster.helm(&manifest).await?.ok("helm get manifest")?.stdout)?;
    let kubeconfig = shared.cluster.service_account_kubeconfig(&home, "team-a-artifactconfig").await?;
    let mut options = OperatorOptions::new(env!("CARGO_BIN_EXE_artifactconfig"), kubeconfig);
    options.args = args(&rendered)?;
    let operator = OperatorProcess::start(options).await?;
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = &crate::release::container(&rendered)?[probe]["httpGet"]["path"];
        same(probe, operator.get(path.as_str().unwrap_or_default()).await?.0, 200)?;
    }

    // The resource in the unwatched namespace exists first, and is unchanged when the others are synced.
    for namespace in [&other, &home, &watched] {
        let resource = format!(
            "apiVersion: artifactconfig.dev/v1alpha1
kind: ArtifactConfig
metadata: {{name: web, namespace: {namespace}}}
spec: {{image: '{image}', artifactType: custom/config, registry: {{plainHttp: true}}}}
"
        );
        shared.cluster.apply(&resource).await?;
    }
    for namespace in [&home, &watched] {
        let wait = ["wait", "acfg/web", "--namespace", namespace, "--for=condition=Ready", "--timeout=60s"];
        shared.cluster.kubectl(&wait).await?.ok("kubectl wait")?;
    }
    let get = ["get", "acfg/web", "--namespace", &other, "-o", "json"];
    let seen: Value = serde_json::from_str(&shared.cluster.kubectl(&get).await?.ok("kubectl get")?.stdout)?;
    same("conditions in a namespace that is not watched", &seen["status"]["conditions"], &Value::Null)?;
    let log = operator.log();
    ensure!(!log.contains(&other), "the operator speaks of {other}:\n{log}");
    ensure!(!log.contains("orbidden"), "the operator asks for what it may not:\n{log}");
    let ended = operator.terminate().await?;
    ensure!(ended.success(), "it ended with {ended}");
    Ok(())
}

async fn those_who_edit_a_namespace_may_use_it_where_that_is_wanted(shared: Shared) -> Result<()> {
    let namespace = shared.namespace("aggregate").await?;
    let bind = |role: &str| {
        let (name, role, user) =
            (format!("{role}s"), format!("--clusterrole={role}"), format!("--user={role}or"));
        let (cluster, namespace) = (shared.cluster.clone(), namespace.clone());
        async move {
            let bind = ["create", "rolebinding", &name, &role, &user, "--namespace", &namespace];
            cluster.kubectl(&bind).await?.ok("kubectl create rolebinding").map(drop)
        }
    };
    tokio::try_join!(bind("view"), bind("edit"))?;
    let create = ["create", "artifactconfigs.artifactconfig.dev"];
    let list = ["list", "artifactconfigs.artifactconfig.dev"];
    same("before", may(&shared, "editor", &namespace, create).await?, false)?;
    let chart = shared.tools.chart();
    let install = ["install", "aggregate", &chart, "--namespace", &namespace, "--set=crds.install=false"];
    let install = [&install[..], &["--set=rbac.aggregate=true,namespaces={default}"]].concat();
    shared.cluster.helm(&install).await?.ok("helm install")?;
    eventually("the roles to be aggregated", || async {
        let all = may(&shared, "editor", &namespace, create).await?
            && may(&shared, "viewor", &namespace, list).await?;
        Ok(if all { Ok(()) } else { Err("not yet".to_owned()) })
    })
    .await?;
    same("a viewer creates", may(&shared, "viewor", &namespace, create).await?, false)
}
