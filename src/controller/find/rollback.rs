//! The config that `spec.rollbackTo` names: from a revision that proves it, else from the registry, else from a revision that
//! only says so.

use api::Reason;
use decide::Failure;
use decide::goal::Trigger;
use decide::kept::Kept;
use decide::plan::{Applied, Origin};
use futures::TryFutureExt as _;
use oci::{Digest, text};
use registry::{Artifact, Registry};

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

/// Finds the config of a digest. An object without proof comes last, and counts only while the registry is
/// silent.
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
            // It is asked for again each time, and is no answer to the question once the registry gives one.
            Found { notes: vec![note], ..Found::of(Ok(Some(restored(pass, kept, true)))) }
        }
        (fetched, _) => Found::of(fetched.map(|wanted| Some(Config::Wanted(Box::new(wanted))))),
    }
}

/// The rollback that is done already, where nobody touched it since.
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

/// From the registry, where it is attached to the image, or to the one that it was applied for before.
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
    let mut images: Vec<Digest> = pass.history.of(digest).map(|before| before.image.clone()).collect();
    if !is_attached_to(&artifact, &images) {
        let resolving = pass.context.registry.resolve(&access, &desired.image, freshness(trigger));
        images.push(pass.in_time(resolving.map_err(unanswered::failure)).await?.digest);
    }
    let Some(image) = artifact.subject.clone().filter(|_| is_attached_to(&artifact, &images)) else {
        let why = format!("it is not attached to {}", desired.image);
        return Err(not_found(pass, digest, &why, said).into());
    };
    let content = newest::content(pass, &access, &artifact).await?;
    let question = pass.question(&image, digest);
    let origin = Origin::of(desired.image.to_string(), image, &artifact);
    Ok(Wanted { question, origin, content })
}

fn is_attached_to(artifact: &Artifact, images: &[Digest]) -> bool {
    artifact.subject.as_ref().is_some_and(|subject| images.contains(subject))
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

/// Whether nobody answered: the registry is down, or wants to be left alone. An answer, be it no, can be acted upon, and no
/// object's own word takes its place.
const fn is_silence(reason: Reason) -> bool {
    matches!(reason, Reason::RegistryUnavailable | Reason::RateLimited)
}
