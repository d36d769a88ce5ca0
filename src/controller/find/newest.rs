//! The config that the policy selects among those that are attached.

use api::Reason;
use decide::Failure;
use decide::goal::Trigger;
use decide::plan::Origin;
use decide::render::{self, Content};
use decide::report::Latest;
use decide::select::{self, Selected};
use futures::TryFutureExt as _;
use registry::{Access, Artifact, Error, Listing, Query, Registry, Subject};

use crate::cluster::Cluster;
use crate::spans::{self, stage};
use crate::{unanswered, wanted};

use super::super::halt::Halt;
use super::super::memory::Recall;
use super::super::pass::{Pass, freshness};
use super::found::{Config, Found, Wanted};

/// Asks the registry which config the policy selects, and for its files unless it is in the target already.
pub(super) async fn find<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    trigger: Trigger,
    recall: &Recall,
) -> Found {
    let (access, subject, listing) = match discover(pass, trigger).await {
        Ok(discovered) => discovered,
        Err(halt) => return Found::of(Err(halt)),
    };
    let selected = match select(pass, &subject, &listing) {
        Ok(selected) => selected,
        Err(failure) => return Found::of(Err(failure.into())),
    };
    let Selected { artifact, notes } = selected;
    Found {
        config: config_of(pass, &access, &subject, artifact, recall).await.map(Some),
        latest: Some(Latest { artifact: artifact.digest.clone(), image: subject.digest }),
        notes: [notes, listing.notes.clone()].concat(),
    }
}

/// The config that the policy selects, and nothing of its content.
pub(in super::super) async fn latest<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    trigger: Trigger,
) -> Result<Latest, Halt> {
    let (_, subject, listing) = discover(pass, trigger).await?;
    let selected = select(pass, &subject, &listing)?;
    Ok(Latest { artifact: selected.artifact.digest.clone(), image: subject.digest })
}

async fn config_of<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    access: &Access,
    subject: &Subject,
    artifact: &Artifact,
    recall: &Recall,
) -> Result<Config, Halt> {
    let question = pass.question(&subject.digest, &artifact.digest);
    if let Some(applied) = pass.still_applied(recall, &question).await {
        return Ok(Config::InPlace(applied));
    }
    let content = content(pass, access, artifact).await?;
    let origin = Origin::of(pass.desired.image.to_string(), subject.digest.clone(), artifact);
    Ok(Config::Wanted(Box::new(Wanted { question, origin, content })))
}

/// Which image the reference stands for now, and what is attached to it.
async fn discover<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    trigger: Trigger,
) -> Result<(Access, Subject, Listing), Halt> {
    let access = pass.access().await?;
    let (registry, desired, freshness) = (&pass.context.registry, pass.desired, freshness(trigger));
    let asking = async {
        let resolving = registry.resolve(&access, &desired.image, freshness);
        let subject = spans::within(stage!("resolve"), resolving.map_err(unanswered::failure)).await?;
        let query = Query {
            repository: &desired.referrers,
            artifact_type: Some(&desired.artifact_type),
            platform: desired.platform.as_ref(),
            freshness,
        };
        let listing = registry.referrers(&access, &subject, query);
        let mut listing = spans::within(stage!("discover"), listing.map_err(unanswered::failure)).await?;
        listing.notes.extend_from_slice(access.notes());
        Ok((subject, listing))
    };
    let asked = pass.in_time(asking).await;
    let (subject, listing) = asked.map_err(|halt| halt.map(|failure| with_notes_of(&access, failure)))?;
    Ok((access, subject, listing))
}

/// Credentials that could not be used may have opened the door.
fn with_notes_of(access: &Access, failure: Failure) -> Failure {
    match failure.reason {
        Reason::AuthenticationFailed | Reason::Forbidden | Reason::ImageNotFound => {
            failure.with_notes(access.notes())
        }
        _ => failure,
    }
}

fn select<'l, R, C>(
    pass: &Pass<'_, R, C>,
    subject: &Subject,
    listing: &'l Listing,
) -> Result<Selected<'l, Error>, Failure> {
    let desired = pass.desired;
    let question = select::Question {
        image: &desired.image,
        subject: &subject.digest,
        artifact_type: &desired.artifact_type,
        attached: &listing.types,
    };
    spans::within_sync(&stage!("select"), || {
        select::select(question, &listing.artifacts, &desired.selector, unanswered::failure)
            .map_err(|failure| failure.with_notes(&listing.notes))
    })
}

/// The files of an artifact, every byte verified, as content.
pub(super) async fn content<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    access: &Access,
    artifact: &Artifact,
) -> Result<Content, Halt> {
    let Pass { context, desired, .. } = pass;
    let wanted = wanted::by_rules(&desired.files);
    let pulling = context.registry.pull(access, &desired.referrers, artifact, wanted);
    let pulled = pass.in_time(spans::within(stage!("pull"), pulling.map_err(unanswered::failure))).await?;
    let rendered = spans::within_sync(&stage!("render"), || {
        render::render(&pulled.files, &pulled.others, &desired.files)
    });
    Ok(rendered?)
}
