//! The selection for a resource, made by this command with the operator's stages: resolve, discover, select.

use decide::Failure;
use decide::select;
use decide::spec::Desired;
use registry::{Access, Artifact, Freshness, OciRegistry, Query, Registry as _, Subject};

use crate::unanswered;

/// The selection from the present list of referrers.
pub struct Found {
    /// The image.
    pub subject: Subject,
    /// The artifact that the policy selects.
    pub artifact: Artifact,
    /// Notes on the selection and on the list.
    pub notes: Vec<String>,
}

/// Resolves the image, lists its referrers, and selects one.
///
/// # Errors
/// If the registry does not answer, or nothing can be selected.
pub async fn selected(registry: &OciRegistry, access: &Access, desired: &Desired) -> Result<Found, Failure> {
    let subject =
        registry.resolve(access, &desired.image, Freshness::Now).await.map_err(unanswered::failure)?;
    let query = Query {
        repository: &desired.referrers,
        artifact_type: Some(&desired.artifact_type),
        platform: desired.platform.as_ref(),
        freshness: Freshness::Now,
    };
    let listing = registry.referrers(access, &subject, query).await.map_err(unanswered::failure)?;
    let question = select::Question {
        image: &desired.image,
        subject: &subject.digest,
        artifact_type: &desired.artifact_type,
        attached: &listing.types,
    };
    let selected = select::select(question, &listing.artifacts, &desired.selector, unanswered::failure)
        .map_err(|failure| failure.with_notes(&listing.notes))?;
    let (artifact, mut notes) = (selected.artifact.clone(), selected.notes);
    notes.extend(listing.notes);
    Ok(Found { subject, artifact, notes })
}
