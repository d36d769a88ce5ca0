//! The config that `spec.rollbackTo` names: from a revision that proves it, otherwise from the registry, otherwise from
//! a revision that only claims it.

use api::Reason;
use decide::Failure;
use decide::goal::Trigger;
use decide::kept::Kept;
use decide::plan::{Applied, Origin};
use futures::TryFutureExt as _;
use oci::{Digest, text};
use registry::Registry;

use crate::cluster::Cluster;
use crate::spans::{self, stage};
use crate::unanswered;

use super::super::halt::Halt;
use super::super::memory::{Question, Recall};
use super::super::pass::{Pass, freshness};
use super::found::{Config, Found, Wanted};
use super::{newest, revisions};

/// How many digests a message lists.
const LISTED: usize = 5;

/// Finds the config of a digest. An object without proof comes last, and counts only while the registry gives no
/// answer.
pub(super) async fn find<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    digest: &Digest,
    trigger: Trigger,
    recall: &Recall,
) -> Found {
    if let Some(applied) = still_applied(pass, digest, recall).await {
        return Found::of(Ok(Some(Config::InPlace(applied))));
    }
    let said = match spans::within(stage!("read"), revisions::of_artifact(pass, digest)).await {
        Ok(Some((_, kept))) if kept.origin.proven => return Found::of(Ok(Some(restored(pass, kept, false)))),
        Ok(said) => said,
        Err(failure) => return Found::of(Err(failure.into())),
    };
    match (fetch(pass, digest, said.as_ref(), trigger).await, said) {
        (Err(Halt::Failed(failure)), Some((name, kept))) if is_silence(failure.reason) => {
            let note = format!(
                "{}; so this was taken from ConfigMap '{name}', which has no proof: neither the history nor a manifest proves its content, and it is verified as soon as the registry answers",
                failure.message
            );
            // The next pass asks the registry again. Its answer then replaces this config.
            Found { notes: vec![note], ..Found::of(Ok(Some(restored(pass, kept, true)))) }
        }
        (fetched, _) => Found::of(fetched.map(|wanted| Some(Config::Wanted(Box::new(wanted))))),
    }
}

/// A rollback that is already done, if nobody changed the target since.
async fn still_applied<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    digest: &Digest,
    recall: &Recall,
) -> Option<Applied> {
    let (question, _) = recall.applied.as_ref()?;
    let same = question.artifact == *digest
        && question.generation == pass.desired.generation
        && !question.provisional;
    if same { pass.still_applied(recall, question).await } else { None }
}

fn restored<R: Registry, C: Cluster>(pass: &Pass<'_, R, C>, kept: Kept, provisional: bool) -> Config {
    let question =
        Question { provisional, ..pass.question(&kept.origin.image_digest, &kept.origin.artifact) };
    Config::Wanted(Box::new(Wanted::kept(kept, question)))
}

/// From the registry, if it is attached to the image, or to the image that it was applied for before.
async fn fetch<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    digest: &Digest,
    said: Option<&(String, Kept)>,
    trigger: Trigger,
) -> Result<Wanted, Halt> {
    let desired = pass.desired;
    let access = pass.access().await?;
    let asking = pass.context.registry.artifact(&access, &desired.referrers, digest);
    let Some(artifact) = pass.in_time(asking.map_err(unanswered::failure)).await? else {
        return Err(not_found(pass, digest, "the registry does not have it", said).into());
    };
    if artifact.artifact_type != desired.artifact_type {
        let why = format!("its type is '{}'", artifact.artifact_type);
        return Err(not_found(pass, digest, &why, said).into());
    }
    let before = pass.history.of(digest).find(|before| artifact.subject.as_ref() == Some(&before.image));
    let (image, reference) = if let Some(before) = before {
        // The image has another name by now, or its name leads to another image.
        let reference = before.image_reference.clone().unwrap_or_else(|| desired.image.to_string());
        (before.image.clone(), reference)
    } else {
        let resolving = pass.context.registry.resolve(&access, &desired.image, freshness(trigger));
        let image = pass.in_time(resolving.map_err(unanswered::failure)).await?.digest;
        if artifact.subject.as_ref() != Some(&image) {
            let why = format!("it is not attached to {}", desired.image);
            return Err(not_found(pass, digest, &why, said).into());
        }
        (image, desired.image.to_string())
    };
    let content = newest::content(pass, &access, &artifact).await?;
    let question = pass.question(&image, digest);
    let origin = Origin::of(reference, image, &artifact);
    Ok(Wanted { question, origin, content })
}

fn not_found<R, C>(
    pass: &Pass<'_, R, C>,
    digest: &Digest,
    why: &str,
    said: Option<&(String, Kept)>,
) -> Failure {
    let kept = pass.history.iter().filter(|known| known.config_map.is_some());
    let mut known: Vec<String> = kept.map(|known| known.artifact.to_string()).collect();
    known.dedup();
    let known = if known.is_empty() {
        "there is no revision yet".to_owned()
    } else {
        format!("revisions are kept of {}", text::list(known, LISTED))
    };
    let keeps = said.map_or_else(
        || format!("no revision keeps {digest}"),
        |(name, _)| format!("nothing proves that ConfigMap '{name}' keeps {digest}"),
    );
    Failure::new(Reason::RevisionNotFound, format!("spec.rollbackTo: {keeps}, and {why}; {known}"))
}

/// Whether no answer came: the registry is down, or limits requests. After an answer, even a refusal, somebody can act,
/// and the claim of an object does not replace it.
const fn is_silence(reason: Reason) -> bool {
    matches!(reason, Reason::RegistryUnavailable | Reason::RateLimited)
}
