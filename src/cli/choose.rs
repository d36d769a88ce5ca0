//! Selects the config of a rollback, from the history and the arguments. Pure.

use std::collections::BTreeSet;

use api::{HistoryEntry, HistoryOutcome};
use decide::history;
use decide::near;
use oci::Digest;

use super::table::short;

/// Fewest characters that can abbreviate a digest. Fewer are more likely a typing error.
const ABBREVIATION: usize = 6;

/// The config that the arguments name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The config that was applied before the current one.
    Before,
    /// The config that was applied under this number.
    Revision(i64),
    /// The artifact with this digest, or with the only known digest that begins with it.
    Digest(String),
}

/// The selected config: its digest, and its entry in the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Digest of the artifact.
    pub artifact: String,
    /// Its last application.
    pub entry: Option<HistoryEntry>,
}

impl Choice {
    fn of(entry: &HistoryEntry) -> Self {
        Self { artifact: entry.artifact.clone(), entry: Some(entry.clone()) }
    }
}

/// Selects the config that a wish names.
///
/// # Errors
/// A sentence that names the configs that exist.
pub fn choose(history: &[HistoryEntry], latest: Option<&str>, wish: &Wish) -> Result<Choice, String> {
    match wish {
        Wish::Before => before(history).map(Choice::of),
        Wish::Revision(number) => {
            let entry = numbered(history, *number)?;
            match entry.outcome {
                HistoryOutcome::Failed => Err(format!(
                    "cannot roll back to revision {number}: it failed and was never applied; its config is {}",
                    entry.artifact
                )),
                _ => Ok(Choice::of(entry)),
            }
        }
        Wish::Digest(digest) => known(history, latest, digest).map(|artifact| Choice {
            entry: applications(history).find(|entry| entry.artifact == artifact).cloned(),
            artifact,
        }),
    }
}

/// The entry of a number.
///
/// # Errors
/// A sentence that names the numbers that exist.
pub fn numbered(history: &[HistoryEntry], number: i64) -> Result<&HistoryEntry, String> {
    history.iter().find(|entry| entry.revision == number).ok_or_else(|| no_revision(history, number))
}

/// A sentence that names the revisions that exist.
#[must_use]
pub fn no_revision(history: &[HistoryEntry], number: i64) -> String {
    let numbers: Vec<String> = history.iter().map(|entry| entry.revision.to_string()).collect();
    match numbers.as_slice() {
        [] => format!("there is no revision {number}; nothing has been applied yet"),
        [only] => format!("there is no revision {number}; there is only {only}"),
        several => format!("there is no revision {number}; there are {}", near::listed(several)),
    }
}

/// Entries of configs that were in the target. Failed ones never were.
fn applications(history: &[HistoryEntry]) -> impl Iterator<Item = &HistoryEntry> {
    history.iter().filter(|entry| entry.outcome != HistoryOutcome::Failed)
}

/// The newest application before the current one with another config and other content, which was not rolled back.
///
/// If a config was applied several times, its last application counts: a config that was rolled back and applied again
/// later is as good as any. A config that stayed rolled back is skipped. So two rollbacks in a row return two configs,
/// and do not end at the first one.
fn before(history: &[HistoryEntry]) -> Result<&HistoryEntry, String> {
    let Some(current) = history::current(history) else {
        return Err("nothing has been applied yet, so no earlier config exists".to_owned());
    };
    let mut seen = BTreeSet::from([current.artifact.as_str()]);
    let mut given_up = Vec::new();
    for entry in applications(history) {
        let is_news = seen.insert(&entry.artifact);
        let is_other = current.hash.is_none() || entry.hash != current.hash;
        match entry.outcome {
            _ if !is_news || !is_other => {}
            HistoryOutcome::RolledBack => given_up.push(entry.revision.to_string()),
            _ => return Ok(entry),
        }
    }
    let rest = match given_up.as_slice() {
        [] => "the history holds no other config".to_owned(),
        numbers => format!(
            "all others were rolled back before (revision {}); to apply one of them again, name it with --to-revision",
            numbers.join(", ")
        ),
    };
    Err(format!("no config to roll back to from revision {}: {rest}", current.revision))
}

/// The digest that `wanted` names: in full, or the only known one that begins with it.
fn known(history: &[HistoryEntry], latest: Option<&str>, wanted: &str) -> Result<String, String> {
    if let Ok(digest) = wanted.parse::<Digest>() {
        return Ok(digest.to_string());
    }
    let mut all: Vec<&str> = Vec::new();
    for digest in history.iter().map(|entry| entry.artifact.as_str()).chain(latest) {
        if !all.contains(&digest) {
            all.push(digest);
        }
    }
    let hex = wanted.split_once(':').map_or(wanted, |(_, hex)| hex).trim_end_matches('…');
    let begins = |digest: &&str| {
        digest.split_once(':').is_some_and(|(_, known)| hex.len() >= ABBREVIATION && known.starts_with(hex))
    };
    let found: Vec<&str> = all.iter().copied().filter(begins).collect();
    match found.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] if all.is_empty() => {
            Err(format!("'{wanted}' is not a digest, and no config is known yet whose digest begins with it"))
        }
        [] => Err(format!(
            "no known config has a digest that begins with '{wanted}'; there are {}",
            near::listed(&all)
        )),
        several => {
            Err(format!("'{wanted}' matches several digests: {}; write more of it", near::listed(several)))
        }
    }
}

/// Remarks that a person should read before a rollback.
#[must_use]
pub fn remarks(history: &[HistoryEntry], to: &Choice) -> Vec<String> {
    let mut remarks = Vec::new();
    let current = history::current(history);
    if let Some(failed) = history.first().filter(|entry| entry.outcome == HistoryOutcome::Failed) {
        remarks.push(format!(
            "config {} (revision {}) failed and was never applied; it is not applied now",
            short(&failed.artifact),
            failed.revision
        ));
    }
    if current.is_some_and(|current| current.artifact == to.artifact) {
        remarks.push("this config is applied now; it will stay, even if newer ones are attached".to_owned());
    }
    let Some(entry) = &to.entry else {
        remarks.push(
            "it is not in the history, so it comes from the registry, if it is attached to the image"
                .to_owned(),
        );
        return remarks;
    };
    if entry.config_map.is_none() {
        remarks.push("no revision keeps it, so it comes from the registry".to_owned());
    }
    if let Some(current) = current.filter(|current| current.image != entry.image) {
        remarks.push(format!(
            "it was applied for another image ({}) than the present one ({}); the rollback changes only the config",
            short(&entry.image),
            short(&current.image)
        ));
    }
    // `spec.rollbackTo` names an artifact. If it was rendered in several ways, the newest revision is applied.
    let newest = applications(history)
        .find(|other| other.artifact == entry.artifact && other.config_map.is_some())
        .filter(|newest| newest.hash != entry.hash);
    if let Some(newest) = newest {
        remarks.push(format!(
            "the same artifact was applied again with other spec.files as revision {}; the rollback applies that revision",
            newest.revision
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use HistoryOutcome::{Applied, Failed, RolledBack, Superseded};

    /// Artifact and content go by one letter each: "a" is artifact a with content a, "ab" artifact a with content b.
    fn entry(revision: i64, config: &str, outcome: HistoryOutcome) -> HistoryEntry {
        let (artifact, content) = (&config[..1], &config[config.len() - 1..]);
        HistoryEntry {
            revision,
            artifact: Digest::sha256(artifact.as_bytes()).to_string(),
            image: Digest::sha256(b"image").to_string(),
            image_reference: Some("r.example/web:v1".to_owned()),
            config_map: (outcome != Failed).then(|| format!("web-{config}")),
            hash: (outcome != Failed).then(|| content.to_owned()),
            applied_at: "2026-01-01T00:00:00Z".to_owned(),
            outcome,
        }
    }

    fn history(entries: &[(i64, &str, HistoryOutcome)]) -> Vec<HistoryEntry> {
        entries.iter().map(|(revision, config, outcome)| entry(*revision, config, *outcome)).collect()
    }

    #[rstest::rstest]
    #[case::the_one_before(&[(3, "c", Applied), (2, "b", Superseded), (1, "a", Superseded)], 2)]
    #[case::not_what_failed(&[(4, "d", Failed), (3, "c", Applied), (2, "b", Failed), (1, "a", Superseded)], 1)]
    #[case::not_the_same_artifact_in_other_files(&[(3, "b", Applied), (2, "bc", Superseded), (1, "a", Superseded)], 1)]
    #[case::not_the_same_content(&[(3, "c", Applied), (2, "bc", Superseded), (1, "a", Superseded)], 1)]
    #[case::twice_goes_back_two(&[(4, "b", Applied), (3, "c", RolledBack), (2, "b", Superseded), (1, "a", Superseded)], 1)]
    #[case::given_up_and_taken_up_again(
        &[(5, "c", Applied), (4, "b", Superseded), (3, "a", Superseded), (2, "b", RolledBack), (1, "a", Superseded)], 4
    )]
    #[case::status_was_lost(&[(2, "b", Superseded), (1, "a", Superseded)], 1)]
    fn the_config_before_the_current_one(
        #[case] entries: &[(i64, &str, HistoryOutcome)],
        #[case] expected: i64,
    ) {
        let chosen = choose(&history(entries), None, &Wish::Before).unwrap();
        assert_eq!(chosen.entry.unwrap().revision, expected);
    }

    #[rstest::rstest]
    #[case::nothing_applied(&[], "nothing has been applied yet")]
    #[case::only_failures(&[(1, "a", Failed)], "nothing has been applied yet")]
    #[case::the_first(&[(1, "a", Applied)], "the history holds no other config")]
    #[case::as_far_as_it_goes(
        &[(5, "a", Applied), (4, "b", RolledBack), (3, "c", RolledBack), (2, "b", Superseded), (1, "a", Superseded)],
        "all others were rolled back before (revision 4, 3)"
    )]
    fn nowhere_to_go(#[case] entries: &[(i64, &str, HistoryOutcome)], #[case] says: &str) {
        let message = choose(&history(entries), None, &Wish::Before).unwrap_err();
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn revisions_by_number() {
        let history = history(&[(9, "d", Failed), (7, "c", Applied), (4, "b", Superseded)]);
        assert_eq!(choose(&history, None, &Wish::Revision(4)).unwrap().artifact, history[2].artifact);
        let message = choose(&history, None, &Wish::Revision(5)).unwrap_err();
        assert_eq!(message, "there is no revision 5; there are 9, 7, 4");
        assert!(choose(&history, None, &Wish::Revision(9)).unwrap_err().contains("never applied"));
        assert!(no_revision(&[], 1).contains("nothing has been applied yet"));
        assert!(no_revision(&history[..1], 1).contains("there is only 9"));
    }

    #[test]
    fn digests_and_their_beginnings() {
        let history = history(&[(2, "b", Applied), (1, "a", Superseded)]);
        let wish = |digest: &str| choose(&history, None, &Wish::Digest(digest.to_owned()));
        let full = &history[1].artifact;
        for written in [full.as_str(), &full[..19], &full[7..17], &format!("{}…", &full[..19])] {
            assert_eq!(wish(written).unwrap().entry.unwrap().revision, 1, "{written}");
        }
        let unknown = Digest::sha256(b"z").to_string();
        assert_eq!(wish(&unknown).unwrap(), Choice { artifact: unknown.clone(), entry: None });
        assert!(wish(&unknown[..19]).unwrap_err().contains(full), "the known ones are listed");
        assert!(wish(&full[..9]).is_err(), "too short to be meant");
        let latest = choose(&history, Some(&unknown), &Wish::Digest(unknown[..19].to_owned()));
        assert_eq!(latest.unwrap().artifact, unknown, "what would come next is known as well");
    }

    #[test]
    fn what_to_know_before() {
        let mut plain = history(&[(3, "c", Applied), (2, "b", Superseded), (1, "bd", Superseded)]);
        let remarks_on = |history: &[HistoryEntry], number| {
            remarks(history, &choose(history, None, &Wish::Revision(number)).unwrap()).join("\n")
        };
        assert_eq!(remarks_on(&plain, 2), "");
        assert!(remarks_on(&plain, 1).contains("other spec.files as revision 2"));
        assert!(remarks_on(&plain, 3).contains("applied now"));
        plain[1].image = Digest::sha256(b"other").to_string();
        assert!(remarks_on(&plain, 2).contains("another image"));
        plain[1].config_map = None;
        assert!(remarks_on(&plain, 2).contains("from the registry"));
        plain.insert(0, entry(4, "e", Failed));
        assert!(remarks_on(&plain, 2).contains("was never applied"));
        let elsewhere = Choice { artifact: Digest::sha256(b"z").to_string(), entry: None };
        assert!(remarks(&plain, &elsewhere).iter().any(|remark| remark.contains("not in the history")));
    }
}
