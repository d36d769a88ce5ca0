//! `artifactconfig render`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use api::ArtifactConfig;
use decide::Failure;
use decide::{plan, render};
use registry::{OciRegistry, Registry as _, Settings};

use crate::{unanswered, wanted};

use super::applied;
use super::docker::RegistryArgs;
use super::manifests;
use super::output::{Format, print, say};
use super::said;
use super::selected::{Found, selected};

/// Print the `ConfigMap` that an `ArtifactConfig` would produce now, with no cluster.
///
/// Asks the registry with your own Docker credentials. The pull secrets of the resource are not read.
#[derive(clap::Args)]
pub struct Args {
    /// File with one or more `ArtifactConfigs`, in YAML or JSON, also in lists; - for standard input. Other kinds are
    /// skipped; unknown fields are refused.
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// Prints one `ConfigMap` for each resource.
///
/// # Errors
/// If a resource cannot be read, or would have no `ConfigMap` now.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let configs = manifests::read(&args.filename)?;
    let registry = OciRegistry::new(Settings::default(), Arc::new(|_| {}))?;
    for (index, config) in configs.iter().enumerate() {
        let name = config.metadata.name.as_deref().unwrap_or_default();
        let rendered = Box::pin(one(&registry, config, &args.registry))
            .await
            .with_context(|| format!("ArtifactConfig '{name}'"))?;
        let separator = if index > 0 && args.output == Format::Yaml { "---\n" } else { "" };
        print(&format!("{separator}{}", args.output.text(&rendered.config_map)?))?;
    }
    Ok(())
}

/// The stages of a reconcile up to the first write.
async fn one(
    registry: &OciRegistry,
    config: &ArtifactConfig,
    args: &RegistryArgs,
) -> anyhow::Result<plan::Rendered> {
    let desired =
        applied::parse(config).map_err(|failure| anyhow!("{}: {}", failure.reason, failure.message))?;
    let explained = |failure: Failure| anyhow!(said::failure(&failure, desired.image.repository().host()));
    let access = args.access(&[&desired.image.repository(), &desired.referrers], desired.plain_http)?;
    let pipeline = Box::pin(async {
        let Found { subject, artifact, notes } = selected(registry, &access, &desired).await?;
        for note in notes {
            say!("note: {note}");
        }
        let pulled = registry
            .pull(&access, &desired.referrers, &artifact, wanted::by_rules(&desired.files))
            .await
            .map_err(unanswered::failure)?;
        let content = render::render(&pulled.files, &pulled.others, &desired.files)?;
        let origin = plan::Origin::of(desired.image.to_string(), subject.digest, &artifact);
        Ok(plan::assemble(&desired, origin, content))
    });
    tokio::time::timeout(desired.timeout, pipeline)
        .await
        .with_context(|| format!("no result within spec.timeout ({} s)", desired.timeout.as_secs()))?
        .map_err(explained)
}
