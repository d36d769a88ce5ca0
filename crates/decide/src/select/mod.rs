//! Selects one of the attached artifacts. The order in which a registry lists them never matters. An artifact that
//! cannot be used does not matter either, if it would not have been selected.

mod rank;
mod refusal;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use api::SelectionPolicy;
use oci::{Artifact, Digest, ImageRef, VERSION};
use semver::Version;

use crate::Failure;
use crate::near;
use crate::spec::Selector;
use rank::{Rank, by_age, created, version};

/// The choice, and what a person should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected<'a, E> {
    /// The artifact.
    pub artifact: &'a Artifact<E>,
    /// Remarks: ties, unreadable dates.
    pub notes: Vec<String>,
}

/// The query, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The image as the resource names it.
    pub image: &'a ImageRef,
    /// The digest that it resolved to.
    pub subject: &'a Digest,
    /// Artifact type.
    pub artifact_type: &'a str,
    /// If nothing of the type is attached, the types of the attached artifacts.
    pub attached: &'a [String],
}

impl std::fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.image, self.subject)
    }
}

/// The candidates that match: the usable ones, and the unusable ones that might have been selected.
struct Matching<'a, E> {
    sound: Vec<&'a Artifact<E>>,
    faulty: Vec<&'a Artifact<E>>,
    failure: fn(E) -> Failure,
}

/// Selects one of `candidates`. All have the requested type and subject, except for unreadable ones, which may have
/// them. `failure` turns the fault of such an artifact into a failure for the reader.
///
/// # Errors
/// `ArtifactNotFound` if nothing is attached or nothing matches; `AmbiguousArtifact` if the policy cannot select; the
/// fault of the artifact that is selected, or that might be selected if its unknown members were known.
pub fn select<'a, E: Clone>(
    question: Question<'_>,
    candidates: &'a [Artifact<E>],
    selector: &Selector,
    failure: fn(E) -> Failure,
) -> Result<Selected<'a, E>, Failure> {
    if candidates.is_empty() {
        return Err(refusal::nothing_of_the_type(question));
    }
    let matching = Matching {
        sound: candidates
            .iter()
            .filter(|artifact| artifact.fault.is_none() && rank::matches(artifact, selector) == Some(true))
            .collect(),
        faulty: candidates
            .iter()
            .filter(|artifact| artifact.fault.is_some() && rank::matches(artifact, selector) != Some(false))
            .collect(),
        failure,
    };
    if matching.sound.is_empty() && matching.faulty.is_empty() {
        return Err(refusal::nothing_matches(question, candidates.len(), selector));
    }
    match selector.policy {
        SelectionPolicy::Newest => newest(&matching),
        SelectionPolicy::HighestVersion => highest_version(question, &matching),
        SelectionPolicy::Only => only(question, &matching, selector),
    }
}

impl<'a, E: Clone> Matching<'a, E> {
    /// The greatest usable artifact, unless an unusable one is greater, or may be.
    fn greatest(
        &self,
        sound: &[&'a Artifact<E>],
        may_beat: impl Fn(&Artifact<E>, &Artifact<E>) -> bool,
    ) -> Result<&'a Artifact<E>, Failure> {
        let Some(best) = sound.iter().copied().max_by(|left, right| by_age(left, right)) else {
            return Err(self.fault_of(|_| true).unwrap_or_else(refusal::no_candidate));
        };
        self.fault_of(|faulty| may_beat(faulty, best)).map_or(Ok(best), Err)
    }

    /// The failure of one unusable artifact: always the same one, for every order.
    fn fault_of(&self, which: impl Fn(&Artifact<E>) -> bool) -> Option<Failure> {
        let faulty = self.faulty.iter().filter(|artifact| which(artifact));
        let first = faulty.max_by(|left, right| by_age(left, right))?;
        first.fault.as_ref().map(|fault| (self.failure)(fault.error.clone()))
    }
}

fn newest<'a, E: Clone>(matching: &Matching<'a, E>) -> Result<Selected<'a, E>, Failure> {
    let artifact = matching.greatest(&matching.sound, rank::may_be_newer)?;
    // ORAS writes whole seconds, so the times of two attaches in one second are equal.
    let tied = matching.sound.iter().filter(|other| created(other) == created(artifact)).count();
    let mut notes = Vec::new();
    if tied > 1 {
        notes.push(match (created(artifact), artifact.created()) {
            (Some(_), Some(text)) => {
                format!("{tied} artifacts were created in the same second ({text}); the digest decided")
            }
            _ => format!("{tied} artifacts have no readable creation time; the digest decided"),
        });
    }
    // The person who attached it may have intended it as the newest.
    let garbled = |other: &&&Artifact<E>| {
        other.created().is_some_and(|text| !text.is_empty()) && created(other).is_none()
    };
    let others = matching.sound.iter().filter(garbled).filter(|other| other.digest != artifact.digest);
    let mut digests: Vec<String> = others.map(|other| other.digest.to_string()).collect();
    digests.sort_unstable();
    if !digests.is_empty() {
        notes.push(format!(
            "{} artifacts have a creation time that is not RFC 3339, and count as older: {}",
            digests.len(),
            near::listed(&digests)
        ));
    }
    Ok(Selected { artifact, notes })
}

fn highest_version<'a, E: Clone>(
    question: Question<'_>,
    matching: &Matching<'a, E>,
) -> Result<Selected<'a, E>, Failure> {
    let versioned: Vec<(Version, &Artifact<E>)> = matching
        .sound
        .iter()
        .filter_map(|artifact| version(artifact).map(|version| (version, *artifact)))
        .collect();
    let Some(highest) =
        versioned.iter().map(|(version, _)| version).max_by(|left, right| left.cmp_precedence(right))
    else {
        let may_have_one = |artifact: &Artifact<E>| rank::version_of_faulty(artifact) != Rank::Is(None);
        let count = matching.sound.len();
        return Err(matching.fault_of(may_have_one).unwrap_or_else(|| refusal::no_version(question, count)));
    };
    // Build metadata takes no part in precedence (SemVer 2.0.0, item 10); age decides among equals.
    let highest_ones: Vec<&Artifact<E>> = versioned
        .iter()
        .filter(|(version, _)| version.cmp_precedence(highest) == Ordering::Equal)
        .map(|(_, artifact)| *artifact)
        .collect();
    let artifact =
        matching.greatest(&highest_ones, |faulty, best| match rank::version_of_faulty(faulty) {
            Rank::Unknown => true,
            Rank::Is(None) => false,
            Rank::Is(Some(version)) => match version.cmp_precedence(highest) {
                Ordering::Greater => true,
                Ordering::Equal => rank::may_be_newer(faulty, best),
                Ordering::Less => false,
            },
        })?;
    let mut notes = Vec::new();
    if highest_ones.len() > 1 {
        notes.push(format!(
            "{} artifacts have the highest version; the newest of them was taken",
            highest_ones.len()
        ));
    }
    let unversioned = matching.sound.len() - versioned.len();
    if unversioned > 0 {
        notes.push(format!("{unversioned} artifacts without a semantic version in {VERSION} were left out"));
    }
    Ok(Selected { artifact, notes })
}

/// An unusable artifact still counts as one of several, if it is known to match.
fn only<'a, E: Clone>(
    question: Question<'_>,
    matching: &Matching<'a, E>,
    selector: &Selector,
) -> Result<Selected<'a, E>, Failure> {
    let certain = matching.faulty.iter().filter(|artifact| {
        let known = artifact.fault.as_ref().map(|fault| fault.known).unwrap_or_default();
        known.artifact_type && known.subject && rank::matches(artifact, selector) == Some(true)
    });
    let several: Vec<&Artifact<E>> = matching.sound.iter().chain(certain).copied().collect();
    if several.len() > 1 {
        return Err(refusal::several(question, &several));
    }
    match (matching.fault_of(|_| true), matching.sound.first()) {
        (None, Some(artifact)) => Ok(Selected { artifact, notes: Vec::new() }),
        (Some(failure), _) => Err(failure),
        (None, None) => Err(refusal::no_candidate()),
    }
}
