//! Before a config is applied: whether it has every key that the pods of its workload cannot start without.
//!
//! A missing key is the commonest way for a config to break pods: the kubelet then creates no container
//! (`CreateContainerConfigError`), or mounts no volume. It is decided here, before any pod is touched.

use api::{CreationPolicy, Reason};
use oci::text;

use crate::Failure;
use crate::render::Content;
use crate::spec::Desired;
use crate::workload::shown;

/// Most keys that a message lists.
const LISTED: usize = 5;

/// Checks a config.
///
/// # Errors
/// `KeyMissing`, with the workload and the keys.
pub fn check(desired: &Desired, content: &Content) -> Result<(), Failure> {
    let Some(workload) = &desired.workload else { return Ok(()) };
    // What is merged is only a part of the target.
    let is_whole = desired.target.creation_policy != CreationPolicy::Merge;
    let named = workload.keys.get(&desired.target.name).filter(|_| is_whole).into_iter().flatten();
    let missing: Vec<&str> = named.map(String::as_str).filter(|key| !content.has(key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let quoted = missing.iter().map(|key| format!("'{key}'"));
    Err(Failure::new(
        Reason::KeyMissing,
        format!(
            "the config lacks {} of ConfigMap '{}', and {} names it without optional; attach a config with this key, or change the pod template",
            text::list(quoted, LISTED),
            desired.target.name,
            shown(&workload.reference)
        ),
    ))
}
