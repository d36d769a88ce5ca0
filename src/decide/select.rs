//! Which of the attached artifacts to take. The order in which a registry lists them never matters.

use std::cmp::Ordering;

use jiff::Timestamp;
use semver::Version;

use crate::api::{Reason, SelectionPolicy};
use crate::types::{Artifact, ImageRef, Digest, VERSION};

use crate::types::Failure;
use super::spec::Selector;

/// The choice, and what a person should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected<'a> {
    /// The artifact.
    pub artifact: &'a Artifact,
    /// Remarks: ties, unreadable dates.
    pub notes: Vec<String>,
}

/// What was asked, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The image as the resource names it.
    pub image: &'a ImageRef,
    /// What it resolved to.
    pub subject: &'a Digest,
    /// Artifact type.
    pub artifact_type: &'a str,
}

impl std::fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.image, self.subject)
    }
}

/// Chooses one of `candidates`, all of which are of the type asked for and attached to the subject.
///
/// # Errors
/// `ArtifactNotFound` where nothing is attached or nothing matches; `AmbiguousArtifact` where the policy cannot choose.
pub fn select<'a>(
    question: Question<'_>,
    candidates: &'a [Artifact],
    selector: &Selector,
) -> Result<Selected<'a>, Failure> {
    if candidates.is_empty() {
        return Err(Failure::new(
            Reason::ArtifactNotFound,
            format!(
                "nothing of type '{}' is attached to {question}; attach it with 'oras attach --artifact-type {} {} FILE'",
                question.artifact_type, question.artifact_type, question.image
            ),
        ));
    }
    let matching: Vec<&Artifact> = candidates.iter().filter(|artifact| matches(artifact, selector)).collect();
    if matching.is_empty() {
        return Err(Failure::new(
            Reason::ArtifactNotFound,
            format!(
                "{} of type '{}' attached to {question}, but none has the annotations of spec.selection.matchAnnotations ({})",
                candidates.len(),
                question.artifact_type,
                selector.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    match selector.policy {
        SelectionPolicy::Newest => Ok(newest(&matching)),
        SelectionPolicy::HighestVersion => highest_version(question, &matching),
        SelectionPolicy::Only => only(question, &matching),
    }
}

fn matches(artifact: &Artifact, selector: &Selector) -> bool {
    selector.annotations.iter().all(|(key, value)| artifact.annotations.get(key) == Some(value))
}

/// Time of creation; what has none, or none that can be read, is older than everything that has.
fn created(artifact: &Artifact) -> Option<Timestamp> {
    artifact.created().and_then(|created| created.parse().ok())
}

/// Total order by time of creation, then digest.
fn by_age(left: &Artifact, right: &Artifact) -> Ordering {
    created(left).cmp(&created(right)).then_with(|| left.digest.cmp(&right.digest))
}

fn newest<'a>(matching: &[&'a Artifact]) -> Selected<'a> {
    let artifact = first_by(matching, by_age);
    // ORAS writes whole seconds, so two attaches in one second cannot be told apart by time.
    let second = |artifact: &Artifact| created(artifact).map(Timestamp::as_second);
    let tied = matching.iter().filter(|other| second(other) == second(artifact)).count();
    let mut notes = Vec::new();
    if tied > 1 {
        notes.push(match artifact.created() {
            Some(created) if second(artifact).is_some() => {
                format!("{tied} artifacts were created in the same second ({created}); the digest decided")
            }
            _ => format!("{tied} artifacts have no readable creation time; the digest decided"),
        });
    }
    Selected { artifact, notes }
}

fn highest_version<'a>(question: Question<'_>, matching: &[&'a Artifact]) -> Result<Selected<'a>, Failure> {
    let versioned: Vec<(Version, &Artifact)> =
        matching.iter().filter_map(|artifact| version(artifact).map(|version| (version, *artifact))).collect();
    let Some(highest) = versioned.iter().map(|(version, _)| version).max_by(|left, right| left.cmp_precedence(right)) else {
        return Err(Failure::new(
            Reason::AmbiguousArtifact,
            format!(
                "none of the {} matching artifacts of {question} has a semantic version in the annotation {VERSION}, which the policy HighestVersion goes by",
                matching.len()
            ),
        ));
    };
    // Build metadata takes no part in precedence (SemVer 2.0.0, item 10); age decides among equals.
    let highest_ones: Vec<&Artifact> = versioned
        .iter()
        .filter(|(version, _)| version.cmp_precedence(highest) == Ordering::Equal)
        .map(|(_, artifact)| *artifact)
        .collect();
    let mut notes = Vec::new();
    if highest_ones.len() > 1 {
        notes.push(format!("{} artifacts have the highest version; the newest of them was taken", highest_ones.len()));
    }
    let unversioned = matching.len() - versioned.len();
    if unversioned > 0 {
        notes.push(format!("{unversioned} artifacts without a semantic version in {VERSION} were left out"));
    }
    Ok(Selected { artifact: first_by(&highest_ones, by_age), notes })
}

fn version(artifact: &Artifact) -> Option<Version> {
    let text = artifact.annotations.get(VERSION)?.trim();
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

fn only<'a>(question: Question<'_>, matching: &[&'a Artifact]) -> Result<Selected<'a>, Failure> {
    match matching {
        [artifact] => Ok(Selected { artifact, notes: Vec::new() }),
        several => {
            let mut digests: Vec<String> = several.iter().map(|artifact| artifact.digest.to_string()).collect();
            digests.sort();
            let count = digests.len();
            digests.truncate(LISTED);
            Err(Failure::new(
                Reason::AmbiguousArtifact,
                format!(
                    "{count} artifacts match on {question}, and the policy Only does not choose: {}{}; remove all but one, narrow spec.selection.matchAnnotations, or set another policy",
                    digests.join(", "),
                    if count > LISTED { ", …" } else { "" }
                ),
            ))
        }
    }
}

/// How many digests a message lists: enough to recognise the case, few enough for an event's 1 kB.
const LISTED: usize = 5;

/// The greatest in a total order. `matching` is never empty.
fn first_by<'a>(matching: &[&'a Artifact], order: fn(&Artifact, &Artifact) -> Ordering) -> &'a Artifact {
    matching.iter().copied().fold(matching[0], |best, next| if order(next, best) == Ordering::Greater { next } else { best })
}
