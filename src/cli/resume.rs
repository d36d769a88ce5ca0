//! `artifactconfig resume`.

use anyhow::{Context as _, anyhow};
use api::{ArtifactConfig, ArtifactConfigSpec};
use kube::ResourceExt as _;
use serde_json::{Map, Value};

use super::docker::RegistryArgs;
use super::kubectl_flags::{ClusterArgs, Connection};
use super::next::{self, Next};
use super::output::{print, say};
use super::resource;
use super::rollback::warn_of_appliers;
use super::verdict::Awaited;
use super::wait::WaitArgs;

/// Follow the selected config again, after 'suspend' or after 'rollback'.
///
/// Ends the suspension if spec.suspend is true; otherwise it removes spec.rollbackTo. If both are set, it ends the
/// suspension first, and the operator stays on the config of the rollback. So the end of a suspension never applies a config
/// that was rolled back. To end the rollback too, call 'resume' again, or use --all.
///
/// First it asks the registry which config would come. If spec.rollbackTo is set, the operator asks. If the resource is
/// suspended, this command asks with your own Docker credentials. It prints the next config and its changes. If the registry
/// does not answer, it changes nothing. It waits until the operator has applied the config.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// End both, the suspension and the rollback.
    #[arg(long)]
    all: bool,

    /// Do not ask which config comes: resume even if that is not known, and while the registry does not answer.
    #[arg(long)]
    force: bool,

    /// Print what would be done. The API server checks the change, and nothing is written.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Fields that keep the operator from following the selected config, in the order in which they are removed.
fn holds(spec: &ArtifactConfigSpec) -> Vec<&'static str> {
    let suspend = spec.suspend.then_some("suspend");
    let back = spec.rollback_to.is_some().then_some("rollbackTo");
    suspend.into_iter().chain(back).collect()
}

/// Removes the fields and waits for the operator.
///
/// # Errors
/// If the next config is not known, or the operator has not applied it in time.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let mut lifted = holds(&config.spec);
    if lifted.is_empty() {
        return print(&format!(
            "nothing to resume for '{}': neither spec.suspend nor spec.rollbackTo is set\n",
            args.name
        ));
    }
    let remaining = if args.all { Vec::new() } else { lifted.split_off(1) };
    if args.dry_run {
        return tried(&args, &connection, &config, &lifted, remaining.is_empty()).await;
    }
    // One hold after the other: while spec.rollbackTo still holds the config, the operator can say what would come.
    let (last, before) = lifted.split_last().context("no field is to be removed")?;
    let mut config = config;
    for field in before {
        config = lift(&args, &connection, &config, field, None).await?;
    }
    let next = if remaining.is_empty() { ask(&args, &connection, &config, last).await? } else { None };
    lift(&args, &connection, &config, last, next.as_ref()).await?;
    if !remaining.is_empty() {
        say!(
            "note: spec.rollbackTo is still set; to follow the selected config again: {}",
            connection.command(&format!("resume {}", args.name))
        );
    }
    Ok(())
}

/// The config that comes after the last field is removed. `None` with `--force`, or if only the operator can find it.
async fn ask(
    args: &Args,
    connection: &Connection,
    config: &ArtifactConfig,
    field: &str,
) -> anyhow::Result<Option<Next>> {
    if args.force {
        return Ok(None);
    }
    let answer = if config.spec.suspend {
        match next::from_here(connection, config, &args.registry).await {
            Err(failure) if next::is_refused_here(failure.reason) => {
                say!(
                    "note: the next config is not known here, but the operator may find it with its own credentials: {}",
                    next::failure(config, &failure)
                );
                return Ok(None);
            }
            answer => answer.map_err(|failure| anyhow!(next::failure(config, &failure))),
        }
    } else {
        next::by_operator(connection, config, &args.wait, &args.registry).await
    };
    answer.map(Some).with_context(|| {
        format!(
            "spec.{field} stays set and the config stays, because the next config is not known; '{}' removes the field without knowing it",
            connection.command(&format!("resume {} --force", args.name))
        )
    })
}

/// Removes one field, prints what follows, and waits for it.
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
        args.wait.until_done(connection, Awaited::Change, &written).await.with_context(|| {
            let again = config.spec.rollback_to.as_ref().filter(|_| field == "rollbackTo");
            let again = again.map(|digest| {
                let command = connection.command(&format!("rollback {} --to-digest {digest}", args.name));
                format!("; to undo this: '{command}'")
            });
            format!("spec.{field} was removed, but no config was applied since{}", again.unwrap_or_default())
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
    print(&format!("resume of {namespace}/{}: removes {fields}{forward}\n", args.name))?;
    let Some(Next::Other(digest)) = next else { return Ok(()) };
    match next::difference(connection, config, digest, &args.registry).await {
        Ok(text) if text.is_empty() => print("its content is the same\n"),
        Ok(text) => print(&text),
        Err(why) => {
            say!("note: its changes cannot be shown here: {why}");
            Ok(())
        }
    }
}

/// A dry run. It asks the registry itself, because a request to the operator is a write.
async fn tried(
    args: &Args,
    connection: &Connection,
    config: &ArtifactConfig,
    fields: &[&str],
    forward: bool,
) -> anyhow::Result<()> {
    let next = match next::from_here(connection, config, &args.registry).await {
        _ if !forward => None,
        Ok(next) => Some(next),
        Err(failure) => {
            say!("note: the next config is not known here: {}", next::failure(config, &failure));
            None
        }
    };
    announce(args, connection, config, fields, next.as_ref()).await?;
    warn_of_appliers(config, fields);
    resource::write(connection, config, without(fields), true).await?;
    print("dry run: the API server would accept it; nothing was changed\n")
}

/// Null removes a field in a merge patch, and with it our ownership of the field.
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
