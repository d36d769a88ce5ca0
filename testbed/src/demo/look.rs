//! Shows the cluster with kubectl, as a viewer of the demo would.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{Cluster, eventually};

use super::Stage;
use super::narrator::Narrator;

/// Where the demo's objects are.
pub(super) const NAMESPACE: &str = "demo";

/// Everything the demo waits for takes well below a second; a loaded machine may need longer, nobody waits
/// longer.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs kubectl in the demo's namespace and prints command and output; fails when it fails.
pub(super) async fn show(narrator: &Narrator, cluster: &Cluster, args: &[&str]) -> Result<()> {
    let typed: Vec<_> = args.iter().map(|arg| quoted(arg)).collect();
    narrator.command(&format!("kubectl -n {NAMESPACE} {}", typed.join(" ")));
    let output = cluster.kubectl(&[&["-n", NAMESPACE], args].concat()).await?.ok("kubectl")?;
    narrator.output(&output.stdout);
    Ok(())
}

/// Runs the operator's own command line in the demo's namespace and prints command and output; fails unless it ends with
/// this status. Returns what it printed as its result.
pub(super) async fn types(stage: &Stage, args: &[&str], status: i32) -> Result<String> {
    let typed: Vec<_> = args.iter().map(|arg| quoted(arg)).collect();
    stage.narrator.command(&format!("artifactconfig -n {NAMESPACE} {}", typed.join(" ")));
    let mut command = tokio::process::Command::new(&stage.program);
    command.args(["-n", NAMESPACE]).args(args).stdin(Stdio::null()).kill_on_drop(true);
    command.env("KUBECONFIG", stage.world.cluster.kubeconfig());
    let output =
        command.output().await.with_context(|| format!("{} cannot be run", stage.program.display()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    stage.narrator.output(&stdout);
    stage.narrator.output(&String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.code() == Some(status),
        "it ended with {}, not with status {status}",
        output.status
    );
    Ok(stdout)
}

/// An object as JSON; `None` where there is no such object.
pub(super) async fn get(cluster: &Cluster, kind: &str, name: &str) -> Result<Option<Value>> {
    let args = ["-n", NAMESPACE, "get", kind, name, "-o", "json", "--ignore-not-found"];
    let output = cluster.kubectl(&args).await?.ok("kubectl get")?;
    if output.stdout.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&output.stdout).map(Some).context("kubectl printed no JSON")
}

/// Waits until the object is as wanted; returns how long that took.
pub(super) async fn wait_for(
    cluster: &Cluster,
    kind: &str,
    name: &str,
    wanted: impl Fn(&Value) -> Result<(), String>,
) -> Result<Duration> {
    let started = Instant::now();
    let wanted = &wanted;
    eventually(format!("{kind} {name}"), LIMIT, || async move {
        Ok(match get(cluster, kind, name).await? {
            Some(object) => wanted(&object),
            None => Err("there is none".to_owned()),
        })
    })
    .await?;
    Ok(started.elapsed())
}

/// Wants this text under this key of a ConfigMap.
pub(super) fn holds(key: &str, text: &str) -> impl Fn(&Value) -> Result<(), String> {
    let (key, text) = (key.to_owned(), text.to_owned());
    move |object| match object["data"][&key].as_str() {
        Some(found) if found == text => Ok(()),
        Some(found) => Err(format!("its {key} is {found:?}")),
        None => Err(format!("it has no {key}")),
    }
}

/// Wants the condition Ready to be so, for the present generation, with this reason where one is given.
pub(super) fn ready(status: &str, reason: Option<&str>) -> impl Fn(&Value) -> Result<(), String> {
    let (status, reason) = (status.to_owned(), reason.map(str::to_owned));
    move |object| {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let Some(ready) = conditions.iter().find(|condition| condition["type"] == "Ready") else {
            return Err("it has no condition Ready".to_owned());
        };
        let is_so = ready["status"] == status.as_str()
            && reason.as_ref().is_none_or(|reason| ready["reason"] == reason.as_str());
        if is_so {
            Ok(())
        } else {
            Err(format!("Ready is {} ({}): {}", ready["status"], ready["reason"], ready["message"]))
        }
    }
}

/// The argument as one would type it into a shell.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.:,@".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("'{arg}'") }
}
