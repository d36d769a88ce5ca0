//! `artifactconfig resume`.

use anyhow::Context as _;
use kube::ResourceExt as _;
use serde_json::{Map, Value};

use crate::api::ArtifactConfigSpec;

use super::kubectl_flags::ClusterArgs;
use super::output::print;
use super::resource;
use super::rollback::warn_of_appliers;
use super::table::short;
use super::verdict::Asked;
use super::wait::WaitArgs;

/// Go forward again: after 'suspend', or after 'rollback'.
///
/// Takes away what holds the config: spec.suspend where that is true, else spec.rollbackTo. Where both are set the
/// suspension ends first and the config stays where it was rolled back to, so that ending a suspension never brings back
/// what was rolled back; calling it again, or --all, goes forward. Waits until the operator has done it.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// Take away both, where both are set.
    #[arg(long)]
    all: bool,

    /// Say what would be done; the API server checks it and changes nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    wait: WaitArgs,

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
/// Where the operator does not get there in time.
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
    let fields = lifted.iter().map(|field| format!("spec.{field}")).collect::<Vec<_>>().join(" and ");
    let next = config.status.as_ref().and_then(|status| status.latest.as_ref());
    let forward = match (left.is_empty(), next) {
        (true, Some(next)) => format!("; config {} comes next", short(next)),
        _ => String::new(),
    };
    print(&format!(
        "resume of {}/{}: takes away {fields}{forward}\n",
        config.namespace().unwrap_or_default(),
        args.name
    ))?;
    warn_of_appliers(&config, &lifted);
    // Null removes a field in a merge patch, and with it our claim to it.
    let spec: Map<String, Value> = lifted.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
    let written =
        resource::write(&connection, &config, serde_json::json!({"spec": spec}), args.dry_run).await?;
    if args.dry_run {
        return print("dry run: the API server would accept it; nothing was changed\n");
    }
    let (_, message) = args
        .wait
        .until_done(&connection, Asked::Change, &written)
        .await
        .with_context(|| format!("{fields} is taken away, but no config was applied since"))?;
    print(&format!("resumed: {message}\n"))?;
    if !left.is_empty() {
        eprintln!(
            "note: spec.rollbackTo still keeps it there; to go forward: {}",
            connection.command(&format!("resume {}", args.name))
        );
    }
    Ok(())
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
