//! `artifactconfig render`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use api::{ArtifactConfig, Reason};
use decide::Failure;
use decide::spec::Desired;
use decide::{plan, render};
use oci::ImageRef;
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

    /// Image for the resources with spec.workloadRef, whose image only a cluster knows [default: that of their status].
    #[arg(long, value_name = "IMAGE")]
    image: Option<ImageRef>,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// Prints one `ConfigMap` for each resource.
///
/// # Errors
/// If a resource cannot be read, or would have no `ConfigMap` now.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let configs = manifests::read(&args.filename)?;
    if args.image.is_some() && configs.iter().all(|config| config.spec.workload_ref.is_none()) {
        bail!(
            "--image: {} has no resource with spec.workloadRef; remove the flag, or change spec.image of the resource",
            args.filename.display()
        );
    }
    let registry = OciRegistry::new(Settings::default(), Arc::new(|_| {}))?;
    for (index, config) in configs.iter().enumerate() {
        let name = config.metadata.name.as_deref().unwrap_or_default();
        let rendered = Box::pin(one(&registry, config, &args))
            .await
            .with_context(|| format!("ArtifactConfig '{name}'"))?;
        let separator = if index > 0 && args.output == Format::Yaml { "---\n" } else { "" };
        print(&format!("{separator}{}", args.output.text(&rendered.config_map)?))?;
    }
    Ok(())
}

/// The spec, with the image of the flag if only the workload names it.
fn desired(config: &ArtifactConfig, image: Option<&ImageRef>) -> anyhow::Result<Desired> {
    let parsed = match image {
        Some(image) => applied::with_image(config, image),
        None => applied::parse(config),
    };
    parsed.map_err(|failure| {
        let advice = match failure.reason {
            Reason::WorkloadUnavailable => "; name the image: --image IMAGE",
            _ => "",
        };
        anyhow!("{}: {}{advice}", failure.reason, failure.message)
    })
}

/// The stages of a reconcile up to the first write.
async fn one(registry: &OciRegistry, config: &ArtifactConfig, args: &Args) -> anyhow::Result<plan::Rendered> {
    let desired = desired(config, args.image.as_ref())?;
    let explained = |failure: Failure| anyhow!(said::failure(&failure, desired.image.repository().host()));
    let access =
        args.registry.access(&[&desired.image.repository(), &desired.referrers], desired.plain_http)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_image_of_a_workload_is_named_by_the_flag_or_the_error_names_the_flag() {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "metadata": {"name": "web"},
            "spec": {"workloadRef": {"kind": "Deployment", "name": "web"}, "artifactType": "custom/config"},
        }))
        .unwrap();
        let error = desired(&config, None).unwrap_err().to_string();
        assert!(error.contains("Deployment 'web'") && error.ends_with("--image IMAGE"), "{error}");
        let image: ImageRef = "r.example/web:v2".parse().unwrap();
        assert_eq!(desired(&config, Some(&image)).unwrap().image, image);
    }

    #[test]
    fn a_resource_that_names_its_image_keeps_it() {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "metadata": {"name": "web"},
            "spec": {"image": "r.example/web:v1", "artifactType": "custom/config"},
        }))
        .unwrap();
        let image: ImageRef = "r.example/web:v2".parse().unwrap();
        assert_eq!(desired(&config, Some(&image)).unwrap().image.tag(), Some("v1"));
    }
}
