//! Which of the attached artifacts to take. The order in which a registry lists them never matters.

use std::cmp::Ordering;

use jiff::Timestamp;
use semver::Version;

use crate::api::{Reason, SelectionPolicy};
use crate::types::{Artifact, Digest, ImageRef, VERSION};

use super::spec::Selector;
use crate::types::Failure;

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
                selector
                    .annotations
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect::<Vec<_>>()
                    .join(", ")
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
    selector.annotations.iter().all(|(key, value)| artifact.annotations.get(key) == Some(value.as_str()))
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
    let tied = matching.iter().filter(|other| created(other) == created(artifact)).count();
    let mut notes = Vec::new();
    if tied > 1 {
        notes.push(match (created(artifact), artifact.created()) {
            (Some(_), Some(text)) => {
                format!("{tied} artifacts were created in the same second ({text}); the digest decided")
            }
            _ => format!("{tied} artifacts have no readable creation time; the digest decided"),
        });
    }
    Selected { artifact, notes }
}

fn highest_version<'a>(question: Question<'_>, matching: &[&'a Artifact]) -> Result<Selected<'a>, Failure> {
    let versioned: Vec<(Version, &Artifact)> = matching
        .iter()
        .filter_map(|artifact| version(artifact).map(|version| (version, *artifact)))
        .collect();
    let Some(highest) =
        versioned.iter().map(|(version, _)| version).max_by(|left, right| left.cmp_precedence(right))
    else {
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
        notes.push(format!(
            "{} artifacts have the highest version; the newest of them was taken",
            highest_ones.len()
        ));
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
            let mut digests: Vec<String> =
                several.iter().map(|artifact| artifact.digest.to_string()).collect();
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
    matching
        .iter()
        .copied()
        .fold(matching[0], |best, next| if order(next, best) == Ordering::Greater { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CREATED;
    use proptest::prelude::*;

    /// An artifact whose digest follows from `seed`, with annotations.
    fn artifact(seed: &str, annotations: &[(&str, &str)]) -> Artifact {
        Artifact {
            digest: Digest::sha256(seed.as_bytes()),
            media_type: String::new(),
            artifact_type: "custom/config".to_owned(),
            subject: None,
            annotations: annotations.iter().copied().collect(),
            layers: Box::default(),
            children: Box::default(),
            unreadable_children: 0,
            manifest: None,
        }
    }

    fn choose(candidates: &[Artifact], policy: SelectionPolicy) -> Result<Selected<'_>, Failure> {
        let image: ImageRef = "r.example/web:v1".parse().unwrap();
        let subject = Digest::sha256(b"image");
        let question = Question { image: &image, subject: &subject, artifact_type: "custom/config" };
        select(question, candidates, &Selector { policy, ..Selector::default() })
    }

    fn dated(dates: &[&str]) -> Vec<Artifact> {
        dates
            .iter()
            .enumerate()
            .map(|(index, date)| artifact(&index.to_string(), &[(CREATED, date)]))
            .collect()
    }

    fn versioned(versions: &[&str]) -> Vec<Artifact> {
        versions
            .iter()
            .enumerate()
            .map(|(index, version)| artifact(&index.to_string(), &[(VERSION, version)]))
            .collect()
    }

    #[rstest::rstest]
    #[case::later(&["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"], 1)]
    #[case::time_zones(&["2026-01-01T12:00:00+02:00", "2026-01-01T11:00:00Z"], 1)]
    #[case::fractions(&["2026-01-01T00:00:00.9Z", "2026-01-01T00:00:00.1Z"], 0)]
    #[case::garbled_is_oldest(&["1999-01-01T00:00:00Z", "yesterday", ""], 0)]
    fn newest(#[case] dates: &[&str], #[case] expected: usize) {
        let candidates = dated(dates);
        assert_eq!(choose(&candidates, SelectionPolicy::Newest).unwrap().artifact, &candidates[expected]);
    }

    /// Checklist A14: ORAS writes whole seconds, so two attaches in one second tie.
    #[test]
    fn two_attaches_in_one_second_are_decided_by_the_digest_and_reported() {
        let candidates = dated(&["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]);
        let selected = choose(&candidates, SelectionPolicy::Newest).unwrap();
        let greatest = candidates.iter().max_by(|left, right| left.digest.cmp(&right.digest)).unwrap();
        assert_eq!(selected.artifact, greatest);
        assert!(
            selected.notes[0].contains("2 artifacts were created in the same second"),
            "{:?}",
            selected.notes
        );
    }

    #[test]
    fn artifacts_without_a_date_are_chosen_among_by_digest_and_reported() {
        let candidates = [artifact("a", &[]), artifact("b", &[(CREATED, "soon")])];
        let selected = choose(&candidates, SelectionPolicy::Newest).unwrap();
        assert!(selected.notes[0].contains("no readable creation time"), "{:?}", selected.notes);
    }

    #[rstest::rstest]
    #[case::numeric(&["1.9.0", "1.10.0"], 1)]
    #[case::release_over_candidate(&["2.0.0-rc.1", "2.0.0"], 1)]
    #[case::candidate_over_older(&["2.0.0-rc.1", "1.9.9"], 0)]
    #[case::leading_v(&["v1.2.3", "1.2.2"], 0)]
    #[case::unreadable_left_out(&["latest", "0.0.1"], 1)]
    fn highest_version(#[case] versions: &[&str], #[case] expected: usize) {
        let candidates = versioned(versions);
        assert_eq!(
            choose(&candidates, SelectionPolicy::HighestVersion).unwrap().artifact,
            &candidates[expected]
        );
    }

    /// `SemVer` 2.0.0, item 10: build metadata takes no part in precedence, so the newer one wins.
    #[test]
    fn build_metadata_does_not_decide() {
        let candidates = [
            artifact("a", &[(VERSION, "1.0.0+9"), (CREATED, "2026-01-01T00:00:00Z")]),
            artifact("b", &[(VERSION, "1.0.0+1"), (CREATED, "2026-01-02T00:00:00Z")]),
        ];
        let selected = choose(&candidates, SelectionPolicy::HighestVersion).unwrap();
        assert_eq!(selected.artifact, &candidates[1]);
        assert!(selected.notes[0].contains("2 artifacts have the highest version"), "{:?}", selected.notes);
    }

    #[test]
    fn no_version_at_all_is_no_choice() {
        let failure = choose(&versioned(&["latest", ""]), SelectionPolicy::HighestVersion).unwrap_err();
        assert_eq!(failure.reason, Reason::AmbiguousArtifact);
        assert!(failure.message.contains(VERSION), "{}", failure.message);
    }

    #[test]
    fn only_refuses_to_choose_and_names_the_candidates() {
        let candidates = versioned(&["1.0.0", "2.0.0"]);
        assert_eq!(choose(&candidates[..1], SelectionPolicy::Only).unwrap().artifact, &candidates[0]);
        let failure = choose(&candidates, SelectionPolicy::Only).unwrap_err();
        assert_eq!(failure.reason, Reason::AmbiguousArtifact);
        for candidate in &candidates {
            assert!(failure.message.contains(&candidate.digest.to_string()), "{}", failure.message);
        }
    }

    #[test]
    fn annotations_narrow_and_an_empty_result_says_why() {
        let candidates =
            [artifact("a", &[("environment", "production")]), artifact("b", &[("environment", "test")])];
        let image: ImageRef = "r.example/web:v1".parse().unwrap();
        let subject = Digest::sha256(b"image");
        let question = Question { image: &image, subject: &subject, artifact_type: "custom/config" };
        let selector = |value: &str| Selector {
            annotations: [("environment".to_owned(), value.to_owned())].into(),
            policy: SelectionPolicy::Only,
        };
        assert_eq!(select(question, &candidates, &selector("test")).unwrap().artifact, &candidates[1]);
        let failure = select(question, &candidates, &selector("staging")).unwrap_err();
        assert_eq!(failure.reason, Reason::ArtifactNotFound);
        assert!(failure.message.contains("environment=staging"), "{}", failure.message);
        let failure = select(question, &[], &Selector::default()).unwrap_err();
        assert_eq!(failure.reason, Reason::ArtifactNotFound);
        assert!(
            failure.message.contains("oras attach --artifact-type custom/config r.example/web:v1"),
            "{}",
            failure.message
        );
    }

    proptest! {
        /// Registries list in any order, so the choice, or the refusal to choose, must not depend on it.
        #[test]
        fn the_order_of_descriptors_never_matters(
            kinds in proptest::collection::vec((0usize..5, 0usize..5), 1..8),
            seed in any::<u64>(),
            policy in prop_oneof![Just(SelectionPolicy::Newest), Just(SelectionPolicy::HighestVersion), Just(SelectionPolicy::Only)],
        ) {
            const DATES: [&str; 5] = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "garbled", ""];
            const VERSIONS: [&str; 5] = ["1.0.0", "1.0.0+build", "1.1.0-rc.1", "v1.0.0", "garbled"];
            let mut candidates: Vec<Artifact> = kinds
                .iter()
                .enumerate()
                .map(|(index, (date, version))| artifact(&index.to_string(), &[(CREATED, DATES[*date]), (VERSION, VERSIONS[*version])]))
                .collect();
            let forward = candidates.clone();
            // A shuffle that follows from the seed alone.
            candidates.sort_by_key(|artifact| Digest::sha256(format!("{seed}{}", artifact.digest).as_bytes()));
            prop_assert_eq!(choose(&forward, policy), choose(&candidates, policy));
        }
    }
}
