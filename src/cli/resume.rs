//! `artifactconfig resume`.

use anyhow::{Context as _, anyhow};
use kube::ResourceExt as _;
use serde_json::{Map, Value};

use crate::api::{ArtifactConfig, ArtifactConfigSpec};

use super::docker::RegistryArgs;
use super::kubectl_flags::{ClusterArgs, Connection};
use super::next::{self, Next};
use super::output::{print, say};
use super::resource;
use super::rollback::warn_of_appliers;
use super::verdict::Asked;
use super::wait::WaitArgs;

/// Go forward again: after 'suspend', or after 'rollback'.
///
/// Takes away what holds the config: spec.suspend where that is true, else spec.rollbackTo. Where both are set the
/// suspension ends first and the config stays where it was rolled back to, so that ending a suspension never brings back
/// what was rolled back; calling it again, or --all, goes forward.
///
/// First the registry is asked what would come: by the operator where spec.rollbackTo holds the config, with your own
/// Docker credentials where it is suspended. What comes is shown, with what it changes. Where the registry does not
/// answer, nothing is taken away. Waits until the operator has applied it.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// Take away both, where both are set.
    #[arg(long)]
    all: bool,

    /// Do not ask what comes: go forward whatever that is, also while the registry does not answer.
    #[arg(long)]
    force: bool,

    /// Say what would be done; the API server checks it and changes nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Fields that hold the config, in the order in which they are taken away.
fn holds(spec: &ArtifactConfigSpec) -> Vec<&'static str> {
    let suspend = spec.suspend.then_some("suspend");
    let back = spec.rollback_to.is_some().then_some("rollbackTo");
    suspend.into_iter().chain(back).collect()
}

/// Goes forward.
///
/// # Errors
/// Where it is not known what would come, or the operator does not get there in time.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let mut lifted = holds(&config.spec);
    if lifted.is_empty() {
        return print(&format!(
            "nothing holds '{}': neither spec.suspend nor spec.rollbackTo is set\n",
            args.name
        ));
    }
    let left = if args.all { Vec::new() } else { lifted.split_off(1) };
    if args.dry_run {
        return tried(&args, &connection, &config, &lifted, left.is_empty()).await;
    }
    // One hold after the other: while spec.rollbackTo still holds the config, the operator can say what would come.
    let (last, before) = lifted.split_last().context("nothing is to be taken away")?;
    let mut config = config;
    for field in before {
        config = lift(&args, &connection, &config, field, None).await?;
    }
    let next = if left.is_empty() { ask(&args, &connection, &config, last).await? } else { None };
    lift(&args, &connection, &config, last, next.as_ref()).await?;
    if !left.is_empty() {
        say!(
            "note: spec.rollbackTo still keeps it there; to go forward: {}",
            connection.command(&format!("resume {}", args.name))
        );
    }
    Ok(())
}

/// What comes once the last hold is gone. Nothing where it is not asked for, or cannot be seen from here only.
async fn ask(
    args: &Args,
    connection: &Connection,
    config: &ArtifactConfig,
    field: &str,
) -> anyhow::Result<Option<Next>> {
    if args.force {
        return Ok(None);
    }
    let asked = if config.spec.suspend {
        match next::from_here(config, &args.registry).await {
            Err(failure) if next::is_refused_here(failure.reason) => {
                say!(
                    "note: what comes next is not known here; the operator has credentials of its own: {}",
                    next::told(config, &failure)
                );
                return Ok(None);
            }
            asked => asked.map_err(|failure| anyhow!(next::told(config, &failure))),
        }
    } else {
        next::by_operator(connection, config, &args.wait, &args.registry).await
    };
    asked.map(Some).with_context(|| {
        format!(
            "spec.{field} stays set and the config stays as it is, because it is not known what would come next; '{}' takes it away all the same",
            connection.command(&format!("resume {} --force", args.name))
        )
    })
}

/// Takes away one hold, says what comes of it, and waits until it has come.
async fn lift(
    args: &Args,
    connection: &Connection,
    config: &ArtifactConfig,
    field: &str,
    next: Option<&Next>,
) -> anyhow::Result<ArtifactConfig> {
    announce(args, connection, config, &[field], next).await?;
    warn_of_appliers(config, &[field]);
    let written = resource::write(connection, config, without(&[field]), false).await?;
    let (now, message) =
        args.wait.until_done(connection, Asked::Change, &written).await.with_context(|| {
            let again = config.spec.rollback_to.as_ref().filter(|_| field == "rollbackTo");
            let again = again.map(|digest| {
                let command = connection.command(&format!("rollback {} --to-digest {digest}", args.name));
                format!("; to hold it again: '{command}'")
            });
            format!(
                "spec.{field} is taken away, but no config was applied since{}",
                again.unwrap_or_default()
            )
        })?;
    print(&format!("resumed: {message}\n"))?;
    if let Some(surprise) = next.and_then(|next| next.surprise(config, &now)) {
        say!("note: {surprise}");
    }
    Ok(now)
}

async fn announce(
    args: &Args,
    connection: &Connection,
    config: &ArtifactConfig,
    fields: &[&str],
    next: Option<&Next>,
) -> anyhow::Result<()> {
    let fields = fields.iter().map(|field| format!("spec.{field}")).collect::<Vec<_>>().join(" and ");
    let forward = next.map(|next| next.sentence(config)).unwrap_or_default();
    let namespace = config.namespace().unwrap_or_default();
    print(&format!("resume of {namespace}/{}: takes away {fields}{forward}\n", args.name))?;
    let Some(Next::Other(digest)) = next else { return Ok(()) };
    match next::difference(connection, config, digest, &args.registry).await {
        Ok(text) if text.is_empty() => print("its content is the same\n"),
        Ok(text) => print(&text),
        Err(why) => {
            say!("note: what it changes cannot be shown here: {why}");
            Ok(())
        }
    }
}

/// A dry run: it asks from here, because to ask the operator is to write.
async fn tried(
    args: &Args,
    connection: &Connection,
    config: &ArtifactConfig,
    fields: &[&str],
    forward: bool,
) -> anyhow::Result<()> {
    let next = match next::from_here(config, &args.registry).await {
        _ if !forward => None,
        Ok(next) => Some(next),
        Err(failure) => {
            say!("note: what comes next is not known here: {}", next::told(config, &failure));
            None
        }
    };
    announce(args, connection, config, fields, next.as_ref()).await?;
    warn_of_appliers(config, fields);
    resource::write(connection, config, without(fields), true).await?;
    print("dry run: the API server would accept it; nothing was changed\n")
}

/// Null removes a field in a merge patch, and with it our claim to it.
fn without(fields: &[&str]) -> Value {
    let spec: Map<String, Value> = fields.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
    serde_json::json!({"spec": spec})
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[rstest::rstest]
    #[case(json!({}), &[])]
    #[case(json!({"rollbackTo": "sha256:0"}), &["rollbackTo"])]
    #[case(json!({"suspend": true}), &["suspend"])]
    #[case(json!({"suspend": true, "rollbackTo": "sha256:0"}), &["suspend", "rollbackTo"])]
    fn the_suspension_ends_first(#[case] fields: Value, #[case] expected: &[&str]) {
        let mut spec = json!({"image": "r.example/web", "artifactType": "a/b"});
        for (key, value) in fields.as_object().unwrap() {
            spec[key] = value.clone();
        }
        assert_eq!(holds(&serde_json::from_value(spec).unwrap()), expected);
    }
}
