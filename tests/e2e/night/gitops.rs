//! `rollbackTo` beside tools that apply the resource from Git again and again.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use api::{ArtifactConfig, Reason};
use serde_json::{Value, json};

use super::{Night, Person, TEXTS, applied};
use crate::support::{Bench, CONFIG_TYPE, Ready as _, cases, checked, same};

cases! {
    Embedded [
        flux_leaves_what_git_does_not_set,
        argo_cd_leaves_what_git_does_not_set,
        client_side_apply_leaves_what_git_does_not_set,
        the_value_of_git_comes_back_and_the_command_says_so,
    ]
}

/// Field manager of the command line.
const OURS: &str = "artifactconfig-cli";

/// Applies what is in Git as these tools do: server-side, under their name, by force.
async fn git_applies(bench: &Bench, manager: &str, spec: &Value) -> Result<()> {
    let object = json!({
        "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
        "metadata": {"name": "web", "namespace": bench.namespace}, "spec": spec,
    });
    let manager = format!("--field-manager={manager}");
    let args = ["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"];
    bench.world.cluster.kubectl_with_stdin(&args, &object.to_string()).await?.ok("kubectl apply")?;
    Ok(())
}

fn in_git(night: &Night) -> Value {
    json!({
        "image": night.image, "artifactType": CONFIG_TYPE, "interval": "1h", "registry": {"plainHttp": true},
    })
}

/// Fields of `spec` that a manager set.
fn owned(config: &ArtifactConfig, manager: &str) -> BTreeSet<String> {
    let entries = config.metadata.managed_fields.iter().flatten();
    let fields = entries
        .filter(|entry| entry.manager.as_deref() == Some(manager))
        .filter_map(|entry| entry.fields_v1.as_ref());
    fields
        .filter_map(|fields| fields.0["f:spec"].as_object())
        .flat_map(|spec| spec.keys().filter_map(|key| key.strip_prefix("f:")).map(str::to_owned))
        .collect()
}

async fn flux_leaves_what_git_does_not_set(bench: Bench) -> Result<()> {
    a_hurried_rollback_outlives(&bench, "kustomize-controller").await
}

async fn argo_cd_leaves_what_git_does_not_set(bench: Bench) -> Result<()> {
    a_hurried_rollback_outlives(&bench, "argocd-controller").await
}

async fn a_hurried_rollback_outlives(bench: &Bench, manager: &str) -> Result<()> {
    let (night, person) = (Night::begins(bench).await?, Person::at(bench)?);
    let mut spec = in_git(&night);
    git_applies(bench, manager, &spec).await?;
    person.types(&["rollback", "web"]).await?.ok()?;
    let back = Some(night.artifacts[1].as_str());
    // The same again, and then a change to something else.
    for interval in ["1h", "2h"] {
        spec["interval"] = json!(interval);
        git_applies(bench, manager, &spec).await?;
        let config =
            bench.wait("web", "to be looked at", |config| config.expect("True", Reason::RolledBack)).await?;
        same("interval", config.spec.interval.as_str(), interval)?;
        same("rollbackTo", config.spec.rollback_to.as_deref(), back)?;
        same("it is ours", owned(&config, OURS), ["rollbackTo".to_owned()].into())?;
        checked("and not theirs", !owned(&config, manager).contains("rollbackTo"), owned(&config, manager))?;
    }
    same("still back", applied(bench).await?.as_str(), TEXTS[1])?;

    person.types(&["resume", "web"]).await?.ok()?;
    let config = bench.get("web").await?;
    same("nothing is ours any more", owned(&config, OURS), BTreeSet::new())?;
    git_applies(bench, manager, &spec).await?;
    let config = bench.ready("web").await?;
    same("rollbackTo", &config.spec.rollback_to, &None)?;
    same("forward", applied(bench).await?.as_str(), TEXTS[2])?;

    // `suspend` likewise, where Git does not speak of it.
    person.types(&["suspend", "web"]).await?.ok()?;
    git_applies(bench, manager, &spec).await?;
    same("suspended", bench.get("web").await?.spec.suspend, true)?;
    person.types(&["resume", "web"]).await?.ok()?;
    git_applies(bench, manager, &spec).await?;
    same("resumed", bench.get("web").await?.spec.suspend, false)
}

/// Argo CD without `ServerSideApply=true`: three-way merge with the annotation that kubectl keeps.
async fn client_side_apply_leaves_what_git_does_not_set(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    bench.delete("web").await?;
    bench.wait_gone("web").await?;
    let object = json!({
        "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
        "metadata": {"name": "web", "namespace": bench.namespace}, "spec": in_git(&night),
    });
    let apply = async || {
        let args = ["apply", "-f", "-"];
        bench.world.cluster.kubectl_with_stdin(&args, &object.to_string()).await?.ok("kubectl apply")
    };
    apply().await?;
    bench.ready("web").await?;
    let first = night.artifacts[0].as_str();
    person.types(&["rollback", "web", "--to-digest", first]).await?.ok()?;
    apply().await?;
    let config = bench.get("web").await?;
    same("rollbackTo", config.spec.rollback_to.as_deref(), Some(first))?;
    same("still back", applied(&bench).await?.as_str(), TEXTS[0])
}

/// Rolling back in Git: then Git decides, and a hurry lasts until the next apply.
async fn the_value_of_git_comes_back_and_the_command_says_so(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let manager = "kustomize-controller";
    let mut spec = in_git(&night);
    spec["rollbackTo"] = json!(night.artifacts[0]);
    git_applies(&bench, manager, &spec).await?;
    bench.wait("web", "to be back", |config| config.expect("True", Reason::RolledBack)).await?;
    same("as Git says", applied(&bench).await?.as_str(), TEXTS[0])?;

    let ran = person.types(&["resume", "web"]).await?;
    checked("whose it is", ran.stderr.contains(&format!("spec.rollbackTo is set by {manager}")), &ran)?;
    ran.ok()?;
    same("forward for now", applied(&bench).await?.as_str(), TEXTS[2])?;
    let ran = person.types(&["rollback", "web", "--to-revision", "2"]).await?;
    ran.ok()?;
    git_applies(&bench, manager, &spec).await?;
    let config = bench
        .wait("web", "to be where Git says", |config| {
            config.expect("True", Reason::RolledBack)?;
            same("artifact", config.artifact()?, &night.artifacts[0])
        })
        .await?;
    checked("it is theirs alone", !owned(&config, OURS).contains("rollbackTo"), owned(&config, OURS))?;
    // Taken out of Git, it goes forward.
    spec.as_object_mut().context("no object")?.remove("rollbackTo");
    git_applies(&bench, manager, &spec).await?;
    bench.ready("web").await?;
    same("forward", applied(&bench).await?.as_str(), TEXTS[2])
}
