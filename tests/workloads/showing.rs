//! The command line shows workloads, their pods and their bindings.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::shop::{Release, all_run, bound, deploy, follow, own, release, types};
use crate::support::{Bench, cases, checked, eventually, same};

cases! {
    Embedded [
        pods_shows_what_each_pod_runs_with,
        pods_says_why_a_pod_is_not_bound,
        pods_says_that_pods_are_refused,
        get_and_tree_show_workload_and_bindings,
    ]
}

/// Image, artifact and revision of each pod.
async fn joined(bench: &Bench) -> Result<BTreeSet<(String, String, String)>> {
    let (report, _) = types(bench, &["pods", "web", "-o", "json"]).await?;
    let report: Value = serde_json::from_str(&report)?;
    let rows = report["pods"].as_array().context("no pods")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| (text(&row["image"]), text(&row["artifact"]), text(&row["configMap"]));
    Ok(rows.iter().map(row).collect())
}

async fn expected(bench: &Bench, release: &Release) -> Result<(String, String, String)> {
    let binding = bound(bench, &release.image).await?;
    Ok((binding.pinned, binding.artifact, binding.config_map))
}

/// Both images run while the rollout is stopped half way.
async fn pods_shows_what_each_pod_runs_with(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    deploy(&bench, &first.image, Some("require"), 2).await?;
    follow(&bench, "Deployment").await?;
    all_run(&bench, 2, &own(&bench, &first).await?).await?;
    let old = expected(&bench, &first).await?;
    same("pods", joined(&bench).await?, BTreeSet::from([old.clone()]))?;
    let (table, notes) = types(&bench, &["pods", "web"]).await?;
    let short = format!("v1@{}", &first.digest[..19]);
    for word in ["POD", &short, &old.1[..19], &old.2, "True"] {
        checked(&format!("the table has {word}"), table.contains(word), &table)?;
    }
    same("notes", notes, String::new())?;
    bench.world.cluster.player()?.set_fate(&second.image, testbed::Fate::Exits(1));
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", second.image)]).await?;
    let both = BTreeSet::from([old, expected(&bench, &second).await?]);
    eventually("pods of both images", || async {
        let joined = joined(&bench).await?;
        Ok(if joined == both { Ok(()) } else { Err(format!("{joined:?}")) })
    })
    .await
}

async fn pods_says_why_a_pod_is_not_bound(bench: Bench) -> Result<()> {
    let release = release(&bench, "v1", "one").await?;
    deploy(&bench, &release.image, None, 1).await?;
    follow(&bench, "Deployment").await?;
    bound(&bench, &release.image).await?;
    eventually("a pod that is ready", || async {
        let (table, _) = types(&bench, &["pods", "web"]).await?;
        let is_shown = table.contains("target, since ") && table.contains("no label artifactconfig.dev/bind");
        Ok(if is_shown && table.contains("True") { Ok(()) } else { Err(table) })
    })
    .await
}

/// No config is attached to the image, so no pod comes.
async fn pods_says_that_pods_are_refused(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    follow(&bench, "Deployment").await?;
    deploy(&bench, &image, Some("require"), 1).await?;
    eventually("a note on refused pods", || async {
        let (_, notes) = types(&bench, &["pods", "web"]).await?;
        let is_said = notes.contains("note: Deployment 'web' cannot create pods:")
            && notes.contains("no config is known yet")
            && notes.contains("No pod of namespace");
        Ok(if is_said { Ok(()) } else { Err(notes) })
    })
    .await
}

async fn get_and_tree_show_workload_and_bindings(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    deploy(&bench, &first.image, Some("require"), 1).await?;
    follow(&bench, "Deployment").await?;
    all_run(&bench, 1, &own(&bench, &first).await?).await?;
    let (table, _) = types(&bench, &["get", "web", "-o", "wide"]).await?;
    checked("workload and image", table.contains("Deployment/web") && table.contains(&first.image), table)?;
    let binding = bound(&bench, &first.image).await?;
    let (tree, _) = types(&bench, &["tree", "web", "--offline"]).await?;
    let line = format!("binding {} (container web, ConfigMap {})", first.image, binding.config_map);
    checked("the tree has the binding", tree.contains(&line), &tree)?;
    // A suspended operator applies nothing, but the tree asks for the image that the workload names now.
    bench.ready("web").await?;
    types(&bench, &["suspend", "web"]).await?;
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", second.image)]).await?;
    let config = bench.get("web").await?;
    same(
        "the applied image",
        config.status.and_then(|status| status.image).map(|image| image.digest),
        Some(first.digest),
    )?;
    let (tree, _) = types(&bench, &["tree", "web", "--plain-http"]).await?;
    checked("the tree has the present image", tree.contains(&second.digest[..19]), &tree)
}
