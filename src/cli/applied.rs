//! The `spec` for a command that does not read the workload of `spec.workloadRef`: with the image that was applied last, or
//! with the one that a person names.

use api::{ArtifactConfig, Reason};
use decide::Failure;
use decide::spec::{self, Desired, Followed, Following};
use decide::workload::{self, Workload};
use oci::ImageRef;

/// Parses the resource.
///
/// # Errors
/// `InvalidSpec`, naming the field; `WorkloadUnavailable` if no config was applied for the workload yet.
pub fn parse(config: &ArtifactConfig) -> Result<Desired, Failure> {
    spec::parse(config, followed(config))
}

/// The same with this image in place of the one that the workload names.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn with_image(config: &ArtifactConfig, image: &ImageRef) -> Result<Desired, Failure> {
    let following = |reference| {
        let workload = Box::new(Workload::named(reference, image.to_string()));
        Ok(Following { workload, image: image.clone() })
    };
    spec::parse(config, config.spec.workload_ref.as_ref().map(following))
}

fn followed(config: &ArtifactConfig) -> Option<Followed> {
    let reference = config.spec.workload_ref.as_ref()?;
    let image = config.status.as_ref().and_then(|status| status.image.as_ref());
    let Some(image) = image else {
        let why =
            format!("{} names the image, and no config was applied for it yet", workload::shown(reference));
        return Some(Err(Failure::new(Reason::WorkloadUnavailable, why)));
    };
    let workload = Workload::named(reference, image.reference.clone());
    let image = workload.image();
    Some(image.map(|image| Following { workload: Box::new(workload), image }))
}

/// The image that the resource names, or that its workload named when a config was applied; otherwise the workload.
#[must_use]
pub fn image(config: &ArtifactConfig) -> String {
    let applied = || Some(config.status.as_ref()?.image.as_ref()?.reference.clone());
    let workload = || config.spec.workload_ref.as_ref().map(workload::shown);
    config.spec.image.clone().or_else(applied).or_else(workload).unwrap_or_default()
}
