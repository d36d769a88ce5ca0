//! `artifactconfig rollback`.

use anyhow::{Context as _, anyhow, bail};
use api::{ArtifactConfig, HistoryEntry};
use decide::history;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use super::choose::{self, Choice, Wish};
use super::kubectl_flags::{ClusterArgs, Connection};
use super::output::{print, say};
use super::resource;
use super::table::age;
use super::verdict::{Awaited, applier_of};
use super::wait::WaitArgs;

/// Apply an earlier config and stay on it.
///
/// Sets spec.rollbackTo, and waits until the operator has applied the config. A config that a revision keeps needs no
/// registry. Without --to-revision and --to-digest, the command selects the config that was applied before the current one.
/// It skips configs that failed, that have the same content, or that were rolled back before. 'resume' follows the selected
/// config again.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// Roll back to the config that was applied under this number.
    #[arg(long, value_name = "N", conflicts_with = "to_digest")]
    to_revision: Option<i64>,

    /// Roll back to the artifact with this digest. If it is in the history, its first characters are enough.
    #[arg(long, value_name = "DIGEST")]
    to_digest: Option<String>,

    /// Print what would be done. The API server checks the change, and nothing is written.
    #[arg(long)]
    dry_run: bool,

    /// Set spec.suspend to false in the same write. While it is true, the operator does not roll back.
    #[arg(long)]
    unsuspend: bool,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Args {
    fn wish(&self) -> Wish {
        match (self.to_revision, &self.to_digest) {
            (Some(number), _) => Wish::Revision(number),
            (None, Some(digest)) => Wish::Digest(digest.clone()),
            (None, None) => Wish::Before,
        }
    }
}

/// Sets the field and waits for the operator.
///
/// # Errors
/// If no earlier config exists, or the operator has not applied it in time.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let history = resource::history(&config);
    let latest = config.status.as_ref().and_then(|status| status.latest.as_deref());
    let choice = choose::choose(history, latest, &args.wish()).map_err(|why| anyhow!(why))?;
    print(&plan(&config, &choice, Timestamp::now()))?;
    for remark in choose::remarks(history, &choice) {
        say!("note: {remark}");
    }
    if config.spec.suspend && !args.unsuspend {
        bail!(
            "'{}' is suspended, so the operator would not roll back, and nothing was changed; '{}' rolls back and ends the suspension",
            args.name,
            connection.command(&format!("rollback {} --unsuspend", again(&args)))
        );
    }
    warn_of_appliers(&config, &["rollbackTo"]);
    let suspend = if args.unsuspend && config.spec.suspend { json!({"suspend": null}) } else { json!({}) };
    let mut patch = json!({"spec": suspend});
    patch["spec"]["rollbackTo"] = json!(choice.artifact);
    let written = resource::write(&connection, &config, patch, args.dry_run).await?;
    if args.dry_run {
        return print("dry run: the API server would accept it; nothing was changed\n");
    }
    wait(&args, &connection, &written).await
}

async fn wait(args: &Args, connection: &Connection, written: &ArtifactConfig) -> anyhow::Result<()> {
    let resume = connection.command(&format!("resume {}", args.name));
    let started = std::time::Instant::now();
    let (_, message) =
        args.wait.until_done(connection, Awaited::Change, written).await.with_context(|| {
            format!("spec.rollbackTo is set and stays set until '{resume}', but it is not applied")
        })?;
    print(&format!("rolled back after {:.1} s: {message}\n", started.elapsed().as_secs_f64()))?;
    say!("note: to follow the selected config again: {resume}");
    Ok(())
}

/// The arguments that name the config, for the next try.
fn again(args: &Args) -> String {
    match args.wish() {
        Wish::Before => args.name.clone(),
        Wish::Revision(number) => format!("{} --to-revision {number}", args.name),
        Wish::Digest(digest) => format!("{} --to-digest {digest}", args.name),
    }
}

/// Warns about other managers that set these fields of `spec` by server-side apply, and will set them again.
pub fn warn_of_appliers(config: &ArtifactConfig, fields: &[&str]) {
    for field in fields {
        if let Some(manager) = applier_of(config, field) {
            say!(
                "note: spec.{field} is set by {manager}, which will set it again when it applies the next time; change it there as well"
            );
        }
    }
}

/// The plan: from which config to which, both with their images. Digests are in full, because people copy them from here.
fn plan(config: &ArtifactConfig, to: &Choice, now: Timestamp) -> String {
    let current = history::current(resource::history(config));
    let from = current.map_or_else(|| "nothing".to_owned(), |entry| described(entry, now));
    let to =
        to.entry.as_ref().map_or_else(|| format!("config {}", to.artifact), |entry| described(entry, now));
    let name = config.name_any();
    format!("rollback of {}/{name}\nfrom {from}\nto   {to}\n", config.namespace().unwrap_or_default())
}

fn described(entry: &HistoryEntry, now: Timestamp) -> String {
    format!(
        "config {}, revision {}, applied {} ago\n     of image {} ({})",
        entry.artifact,
        entry.revision,
        age(&entry.applied_at, now),
        entry.image_reference.as_deref().unwrap_or("unknown"),
        entry.image
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_names_both_configs_and_both_images() {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"image": "r.example/web:v2", "artifactType": "custom/config"},
            "status": {"history": [
                {"revision": 2, "artifact": "sha256:b", "image": "sha256:2", "imageReference": "r.example/web:v2",
                 "hash": "b", "appliedAt": "2026-01-01T00:09:00Z", "outcome": "Applied"},
                {"revision": 1, "artifact": "sha256:a", "image": "sha256:1", "imageReference": "r.example/web:v1",
                 "hash": "a", "appliedAt": "2026-01-01T00:00:00Z", "outcome": "Superseded"},
            ]}
        }))
        .unwrap();
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let choice = choose::choose(resource::history(&config), None, &Wish::Before).unwrap();
        insta::assert_snapshot!(plan(&config, &choice, now));
        let elsewhere = Choice { artifact: "sha256:c".to_owned(), entry: None };
        assert!(plan(&config, &elsewhere, now).ends_with("to   config sha256:c\n"));
    }
}
