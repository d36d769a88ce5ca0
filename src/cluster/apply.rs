//! [`Rendered`] → [`Applied`]: what was decided, done.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::api::Reason;
use crate::decide::plan::{self, Applied, Rendered, TargetStep};
use crate::decide::spec::Desired;
use crate::types::Failure;

use super::{Cluster, WriteError};

/// How often an object that changes under one's hands is looked at again before the next reconcile gets it.
const ATTEMPTS: usize = 3;

/// Brings the target to what was rendered, then takes away what an earlier target name left.
///
/// Every write is bound to the object that was looked at, so that one which somebody else made or took over in between
/// is judged anew instead of overwritten.
///
/// # Errors
/// `TargetConflict` where the target belongs to someone else, `ApplyFailed` where the API server did not take it.
pub async fn apply(cluster: &impl Cluster, desired: &Desired, rendered: Rendered) -> Result<Applied, Failure> {
    for _ in 0..ATTEMPTS {
        let (object, changed) = match write(cluster, desired, &rendered).await {
            Ok(written) => written,
            Err(WriteError::Conflict) => continue,
            Err(WriteError::Failure(failure)) => return Err(failure),
        };
        remove_strays(cluster, desired).await?;
        let version = object.metadata.resource_version.unwrap_or_default();
        return Ok(Applied::confirmed(rendered.facts, version, changed));
    }
    Err(Failure::new(
        Reason::ApplyFailed,
        format!("ConfigMap '{}' changed each time it was to be written; somebody else keeps writing to it", desired.target.name),
    ))
}

async fn write(
    cluster: &impl Cluster,
    desired: &Desired,
    rendered: &Rendered,
) -> Result<(ConfigMap, bool), WriteError> {
    let observed =
        cluster.target(&desired.owner, &desired.target.name).await.map_err(WriteError::Failure)?;
    let step = plan::target(desired, rendered, observed.as_ref()).map_err(WriteError::Failure)?;
    let written = match (step, observed) {
        (TargetStep::Keep, Some(observed)) => return Ok((observed, false)),
        (TargetStep::Update, Some(mut observed)) => {
            if let Some(patch) = plan::misplaced(&rendered.config_map, &observed) {
                observed = cluster.merge(&observed, patch).await?;
            }
            cluster.update(&rendered.config_map, &observed).await?
        }
        (_, _) => cluster.create(&rendered.config_map).await?,
    };
    match plan::leftovers(&rendered.config_map, &written) {
        Some(patch) => Ok((cluster.merge(&written, patch).await?, true)),
        None => Ok((written, true)),
    }
}

async fn remove_strays(cluster: &impl Cluster, desired: &Desired) -> Result<(), Failure> {
    let owned = cluster.owned(&desired.owner);
    for stray in plan::strays(desired, owned.iter()) {
        cluster.delete(&desired.owner, stray).await?;
    }
    Ok(())
}
