use std::convert::identity;

use api::Reason;
use oci::{CREATED, Fault, Known};

use super::*;
use proptest::prelude::*;

/// An artifact whose digest follows from `seed`, with annotations.
fn artifact(seed: &str, annotations: &[(&str, &str)]) -> Artifact<Failure> {
    Artifact {
        digest: Digest::sha256(seed.as_bytes()),
        media_type: String::new(),
        artifact_type: "custom/config".to_owned(),
        subject: None,
        annotations: annotations.iter().copied().collect(),
        layers: Box::default(),
        children: Box::default(),
        unreadable_children: 0,
        fault: None,
        manifest: None,
    }
}

fn choose(
    candidates: &[Artifact<Failure>],
    policy: SelectionPolicy,
) -> Result<Selected<'_, Failure>, Failure> {
    let image: ImageRef = "r.example/web:v1".parse().unwrap();
    let subject = Digest::sha256(b"image");
    let question =
        Question { image: &image, subject: &subject, artifact_type: "custom/config", attached: &[] };
    select(question, candidates, &Selector { policy, ..Selector::default() }, identity)
}

fn dated(dates: &[&str]) -> Vec<Artifact<Failure>> {
    dates.iter().enumerate().map(|(index, date)| artifact(&index.to_string(), &[(CREATED, date)])).collect()
}

fn versioned(versions: &[&str]) -> Vec<Artifact<Failure>> {
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

/// An artifact without a date counts as older than all others, and a note says so.
#[test]
fn an_unreadable_date_is_reported() {
    let candidates = dated(&["2026-01-01T00:00:00Z", "yesterday"]);
    let selected = choose(&candidates, SelectionPolicy::Newest).unwrap();
    assert_eq!(selected.artifact, &candidates[0]);
    let digest = candidates[1].digest.to_string();
    assert!(selected.notes.iter().any(|note| note.contains(&digest)), "{:?}", selected.notes);
    let undated = [candidates[0].clone(), artifact("undated", &[])];
    assert!(choose(&undated, SelectionPolicy::Newest).unwrap().notes.is_empty(), "no date is no slip");
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
    assert_eq!(choose(&candidates, SelectionPolicy::HighestVersion).unwrap().artifact, &candidates[expected]);
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
    let question =
        Question { image: &image, subject: &subject, artifact_type: "custom/config", attached: &[] };
    let selector = |value: &str| Selector {
        annotations: [("environment".to_owned(), value.to_owned())].into(),
        policy: SelectionPolicy::Only,
    };
    assert_eq!(select(question, &candidates, &selector("test"), identity).unwrap().artifact, &candidates[1]);
    let failure = select(question, &candidates, &selector("staging"), identity).unwrap_err();
    assert_eq!(failure.reason, Reason::ArtifactNotFound);
    assert!(failure.message.contains("environment=staging"), "{}", failure.message);
    let failure = select::<Failure>(question, &[], &Selector::default(), identity).unwrap_err();
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
        let mut candidates: Vec<Artifact<Failure>> = kinds
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

/// The same, but unusable. All its members may be known, or only its digest.
fn faulty(sound: &Artifact<Failure>, known: Known) -> Artifact<Failure> {
    let failure = Failure::new(Reason::InvalidContent, format!("{} is damaged", sound.digest));
    let mut artifact =
        Artifact { fault: Some(Box::new(Fault { error: failure, known, lasting: true })), ..sound.clone() };
    if !known.annotations {
        artifact.annotations = oci::Annotations::default();
    }
    artifact
}

const ALL: Known = Known { artifact_type: true, subject: true, annotations: true };

#[rstest::rstest]
#[case::older(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"], Some(1))]
#[case::without_a_date(&["", "2026-01-02T00:00:00Z"], Some(1))]
#[case::newer(&["2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z"], None)]
fn a_faulty_one_counts_where_it_would_be_the_newest(#[case] dates: &[&str], #[case] expected: Option<usize>) {
    let mut candidates = dated(dates);
    candidates[0] = faulty(&candidates[0], ALL);
    let chosen = choose(&candidates, SelectionPolicy::Newest);
    if let Some(index) = expected {
        assert_eq!(chosen.unwrap().artifact, &candidates[index]);
    } else {
        let failure = chosen.unwrap_err();
        assert!(failure.message.contains(&candidates[0].digest.to_string()), "{}", failure.message);
    }
}

#[rstest::rstest]
#[case::lower(&["1.0.0", "1.1.0"], true)]
#[case::none(&["latest", "1.1.0"], true)]
#[case::higher(&["2.0.0", "1.1.0"], false)]
fn a_faulty_one_counts_where_it_would_be_the_highest(#[case] versions: &[&str], #[case] chosen: bool) {
    let mut candidates = versioned(versions);
    candidates[0] = faulty(&candidates[0], ALL);
    assert_eq!(choose(&candidates, SelectionPolicy::HighestVersion).is_ok(), chosen);
}

/// It still counts as one of several, if it is known to match. If that is unknown, the result is unknown.
#[test]
fn a_faulty_one_is_one_of_several() {
    let sound = versioned(&["1", "2"]);
    let reason =
        |candidates: &[Artifact<Failure>]| choose(candidates, SelectionPolicy::Only).unwrap_err().reason;
    assert_eq!(reason(&[faulty(&sound[0], ALL), sound[1].clone()]), Reason::AmbiguousArtifact);
    assert_eq!(reason(&[faulty(&sound[0], Known::default()), sound[1].clone()]), Reason::InvalidContent);
    assert_eq!(reason(&[faulty(&sound[0], ALL)]), Reason::InvalidContent);
}

/// An unusable artifact without the required annotations does not matter. It matters if its annotations are unknown.
#[test]
fn a_faulty_one_that_does_not_match_does_not_matter() {
    let sound = artifact("a", &[("environment", "production"), (CREATED, "2026-01-01T00:00:00Z")]);
    let other = artifact("b", &[("environment", "test"), (CREATED, "2026-01-02T00:00:00Z")]);
    let image: ImageRef = "r.example/web:v1".parse().unwrap();
    let subject = Digest::sha256(b"image");
    let question =
        Question { image: &image, subject: &subject, artifact_type: "custom/config", attached: &[] };
    let selector = Selector {
        annotations: [("environment".to_owned(), "production".to_owned())].into(),
        policy: SelectionPolicy::Newest,
    };
    let candidates = [sound.clone(), faulty(&other, ALL)];
    assert_eq!(select(question, &candidates, &selector, identity).unwrap().artifact, &sound);
    let candidates = [sound, faulty(&other, Known::default())];
    assert!(select(question, &candidates, &selector, identity).is_err());
}

#[test]
fn a_slip_in_the_type_is_answered_with_what_is_attached() {
    let image: ImageRef = "r.example/web:v1".parse().unwrap();
    let subject = Digest::sha256(b"image");
    let message = |artifact_type: &str, attached: &[&str]| {
        let attached: Vec<String> = attached.iter().map(|name| (*name).to_owned()).collect();
        let question = Question { image: &image, subject: &subject, artifact_type, attached: &attached };
        select::<Failure>(question, &[], &Selector::default(), identity).unwrap_err().message
    };
    let slip = message("custom/conifg", &["custom/config", "x/y"]);
    assert!(slip.contains("did you mean 'custom/config'?") && slip.contains("'x/y'"), "{slip}");
    assert!(!slip.contains("oras attach"), "nobody is to attach the slip: {slip}");
    let other = message("custom/config", &["x/y"]);
    assert!(
        other.contains("'x/y'") && other.contains("oras attach --artifact-type custom/config"),
        "{other}"
    );
    let many: Vec<String> = (0..50).map(|number| format!("a/{number}{}", "x".repeat(500))).collect();
    let many = message("custom/config", &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(many.contains("and 45 more") && many.len() < 1000, "{many}");
    let odd = message("custom/config", &["evil\u{1b}\n"]);
    assert!(!odd.contains(['\u{1b}', '\n']), "{odd:?}");
}

proptest! {
    /// If an artifact that was not selected becomes unusable, the selection stays or becomes unknown. It never changes
    /// to another artifact.
    #[test]
    fn damage_to_one_never_changes_the_choice(
        kinds in proptest::collection::vec((0usize..5, 0usize..5), 2..8),
        damaged in any::<prop::sample::Index>(),
        known in any::<[bool; 3]>(),
        policy in prop_oneof![Just(SelectionPolicy::Newest), Just(SelectionPolicy::HighestVersion), Just(SelectionPolicy::Only)],
    ) {
        const DATES: [&str; 5] = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "garbled", ""];
        const VERSIONS: [&str; 5] = ["1.0.0", "1.0.0+build", "1.1.0-rc.1", "v1.0.0", "garbled"];
        let mut candidates: Vec<Artifact<Failure>> = kinds
            .iter()
            .enumerate()
            .map(|(index, (date, version))| artifact(&index.to_string(), &[(CREATED, DATES[*date]), (VERSION, VERSIONS[*version])]))
            .collect();
        let before = choose(&candidates, policy).map(|selected| selected.artifact.digest.clone());
        let damaged = damaged.index(candidates.len());
        let [artifact_type, subject, annotations] = known;
        candidates[damaged] = faulty(&candidates[damaged], Known { artifact_type, subject, annotations });
        let after = choose(&candidates, policy).map(|selected| selected.artifact.digest.clone());
        match (before, after) {
            (Ok(before), Ok(after)) => {
                prop_assert_eq!(&before, &after);
                prop_assert_ne!(&before, &candidates[damaged].digest);
            }
            (Ok(before), Err(failure)) => {
                let chosen = candidates[damaged].digest == before;
                prop_assert!(chosen || !annotations, "{failure:?}");
            }
            (Err(_), Ok(_)) => prop_assert!(false, "damage does not make a choice"),
            (Err(_), Err(_)) => {}
        }
    }
}
