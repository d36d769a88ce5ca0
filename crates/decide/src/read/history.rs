//! The history of a resource: which configs were applied, for which image, and how each of them ended.
//!
//! It is read once for each pass, so that no later stage can fail on the form of a digest or a time.
//!
//! ```text
//!              applied                    a newer one applied
//! (nothing) ────────────▶ Applied ──────────────────────────────▶ Superseded
//!     │                      └──────────────────────────────────▶ RolledBack
//!     │ cannot be applied           an earlier one applied by spec.rollbackTo
//!     └─────────────────▶ Failed
//! ```
//!
//! At most one entry is `Applied`, and no entry that did not fail stands above it.

use std::collections::BTreeSet;

use api::{HistoryEntry, HistoryOutcome};
use jiff::Timestamp;
use oci::Digest;

use crate::plan::Facts;
use crate::stamp::{LIMIT, Stamp, is_plausible};

/// One application of a config, or one attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Counts up with each application.
    pub number: i64,
    /// Digest of the artifact.
    pub artifact: Digest,
    /// Digest of the image that it was applied for.
    pub image: Digest,
    /// The image as the resource named it then.
    pub image_reference: Option<String>,
    /// Name of the revision that keeps it.
    pub config_map: Option<String>,
    /// Hash over the content, if the content is proven.
    pub hash: Option<String>,
    /// When it was applied or failed. Whole seconds.
    pub applied_at: Timestamp,
    /// How it ended.
    pub outcome: HistoryOutcome,
}

impl Application {
    /// Parses an entry of the status. `None` if a digest or the time cannot be read; the operator never writes such an
    /// entry.
    #[must_use]
    pub fn read(entry: &HistoryEntry) -> Option<Self> {
        Some(Self {
            number: entry.revision,
            artifact: entry.artifact.parse().ok()?,
            image: entry.image.parse().ok()?,
            image_reference: entry.image_reference.clone(),
            config_map: entry.config_map.clone(),
            hash: entry.hash.clone(),
            applied_at: entry.applied_at.parse().ok()?,
            outcome: entry.outcome,
        })
    }

    /// The entry as the status holds it.
    #[must_use]
    pub fn to_entry(&self) -> HistoryEntry {
        HistoryEntry {
            revision: self.number,
            artifact: self.artifact.to_string(),
            image: self.image.to_string(),
            image_reference: self.image_reference.clone(),
            config_map: self.config_map.clone(),
            hash: self.hash.clone(),
            applied_at: self.applied_at.to_string(),
            outcome: self.outcome,
        }
    }

    /// Whether applying `facts` again belongs to this application: the same config for the same image, kept under the
    /// same name, because revisions of a renamed target have other names. If the revision is no longer kept, it is
    /// still the same application.
    #[must_use]
    pub fn is_of(&self, facts: &Facts) -> bool {
        let kept = facts.revision.is_none() || self.config_map == facts.revision;
        // Content without proof has no hash in the history. But the name of its revision follows from the content.
        let unproven = facts.revision.is_some() || !facts.proven;
        let same = self.hash.as_ref().map_or(unproven, |hash| *hash == facts.hash);
        self.artifact == facts.artifact && self.image == facts.image_digest && kept && same
    }

    fn of(facts: &Facts, stamp: Stamp) -> Self {
        Self {
            number: stamp.number,
            artifact: facts.artifact.clone(),
            image: facts.image_digest.clone(),
            image_reference: Some(facts.image.clone()),
            config_map: facts.revision.clone(),
            hash: facts.proven.then(|| facts.hash.clone()),
            applied_at: stamp.applied_at,
            outcome: HistoryOutcome::Applied,
        }
    }
}

/// The entry of the config in the target, in the history of a status: the newest that did not fail.
#[must_use]
pub fn current(entries: &[HistoryEntry]) -> Option<&HistoryEntry> {
    entries.iter().find(|entry| entry.outcome != HistoryOutcome::Failed)
}

/// An entry of the history. An unreadable entry is kept unchanged. Decisions only use its number, which must not be
/// used again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Read(Application),
    Unread(HistoryEntry),
}

impl Entry {
    const fn application(&self) -> Option<&Application> {
        match self {
            Self::Read(application) => Some(application),
            Self::Unread(_) => None,
        }
    }

    const fn number(&self) -> i64 {
        match self {
            Self::Read(application) => application.number,
            Self::Unread(entry) => entry.revision,
        }
    }

    const fn outcome(&self) -> HistoryOutcome {
        match self {
            Self::Read(application) => application.outcome,
            Self::Unread(entry) => entry.outcome,
        }
    }
}

/// The applications of a resource, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<Entry>);

impl FromIterator<Application> for History {
    fn from_iter<T: IntoIterator<Item = Application>>(applications: T) -> Self {
        Self(applications.into_iter().map(Entry::Read).collect())
    }
}

impl History {
    /// Reads the history of a status.
    #[must_use]
    pub fn read(entries: &[HistoryEntry]) -> Self {
        let read = |entry: &HistoryEntry| {
            Application::read(entry).map_or_else(|| Entry::Unread(entry.clone()), Entry::Read)
        };
        Self(entries.iter().map(read).collect())
    }

    /// The history as the status holds it.
    #[must_use]
    pub fn to_entries(&self) -> Vec<HistoryEntry> {
        let entry = |entry: &Entry| match entry {
            Entry::Read(application) => application.to_entry(),
            Entry::Unread(entry) => entry.clone(),
        };
        self.0.iter().map(entry).collect()
    }

    /// Whether it has no entry, readable or not.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The applications, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Application> {
        self.0.iter().filter_map(Entry::application)
    }

    /// The applications of an artifact, newest first.
    pub fn of<'h>(&'h self, artifact: &'h Digest) -> impl Iterator<Item = &'h Application> {
        self.iter().filter(move |application| application.artifact == *artifact)
    }

    /// The number of every entry, newest first.
    pub fn numbers(&self) -> impl Iterator<Item = i64> {
        self.0.iter().map(Entry::number)
    }

    /// Highest number that counts. A number beyond the limit is ignored.
    #[must_use]
    pub fn highest_number(&self) -> i64 {
        self.numbers().filter(|number| is_plausible(*number)).max().unwrap_or(0)
    }

    /// The number after the highest one, here or elsewhere. If that is beyond the limit, the lowest number that the history
    /// does not have.
    #[must_use]
    pub fn next_number(&self, elsewhere: i64) -> i64 {
        let after = self.highest_number().max(elsewhere).checked_add(1).filter(|next| is_plausible(*next));
        after.unwrap_or_else(|| {
            let used: BTreeSet<i64> = self.numbers().collect();
            (1..LIMIT).find(|number| !used.contains(number)).unwrap_or(1)
        })
    }

    /// The application that is in the target: the newest that did not fail.
    #[must_use]
    pub fn current(&self) -> Option<&Application> {
        let newest = self.0.iter().find(|entry| entry.outcome() != HistoryOutcome::Failed);
        newest.and_then(Entry::application)
    }

    /// Whether a remembered application can be in the target: it is the last one here, or a later one for which no
    /// status was written. An application that followed from an older history is neither. Another application may have
    /// its number by now.
    #[must_use]
    pub fn admits(&self, facts: &Facts, stamp: Stamp) -> bool {
        let is_current =
            self.current().is_some_and(|current| current.number == stamp.number && current.is_of(facts));
        is_current || self.numbers().all(|number| number < stamp.number)
    }

    /// The history after applying: a new entry first, and the one before it marked by how it ended. The same entry again
    /// changes nothing. `rolled_back`: an earlier config takes the place of a later one.
    #[must_use]
    pub fn applied(&self, facts: &Facts, stamp: Stamp, rolled_back: bool, limit: usize) -> Self {
        let mut next = self.clone();
        if next.current().is_none_or(|current| !current.is_of(facts)) {
            next.end_current(if rolled_back {
                HistoryOutcome::RolledBack
            } else {
                HistoryOutcome::Superseded
            });
            next.0.insert(0, Entry::Read(Application::of(facts, stamp)));
        } else if let Some(current) = next.current_mut() {
            // A rebuilt history does not know yet which of its entries is applied, and has no unproven hash.
            current.outcome = HistoryOutcome::Applied;
            // The same digest under another name: the newer name is what the next repair writes.
            current.image_reference = Some(facts.image.clone());
            if facts.proven {
                current.hash = Some(facts.hash.clone());
            }
        }
        if facts.revision.is_none() {
            // With a limit of 0 no revision is kept, and earlier revisions are released.
            next.forget_revisions();
        }
        next.bounded(limit)
    }

    /// The history after an artifact could not be applied. Each artifact has one entry, even if it fails several times.
    /// `highest` is the highest number in use.
    #[must_use]
    pub fn failed(
        &self,
        artifact: &Digest,
        image: &Digest,
        highest: i64,
        now: Timestamp,
        limit: usize,
    ) -> Self {
        let is_known = self.of(artifact).any(|known| known.outcome == HistoryOutcome::Failed);
        if is_known {
            return self.clone();
        }
        let mut next = self.clone();
        let failed = Application {
            number: self.next_number(highest),
            artifact: artifact.clone(),
            image: image.clone(),
            image_reference: None,
            config_map: None,
            hash: None,
            applied_at: Timestamp::from_second(now.as_second()).unwrap_or(now),
            outcome: HistoryOutcome::Failed,
        };
        next.0.insert(0, Entry::Read(failed));
        next.bounded(limit)
    }

    fn current_mut(&mut self) -> Option<&mut Application> {
        match self.0.iter_mut().find(|entry| entry.outcome() != HistoryOutcome::Failed) {
            Some(Entry::Read(application)) => Some(application),
            Some(Entry::Unread(_)) | None => None,
        }
    }

    fn end_current(&mut self, outcome: HistoryOutcome) {
        for entry in self.0.iter_mut().filter(|entry| entry.outcome() == HistoryOutcome::Applied) {
            match entry {
                Entry::Read(application) => application.outcome = outcome,
                Entry::Unread(entry) => entry.outcome = outcome,
            }
        }
    }

    fn forget_revisions(&mut self) {
        for entry in &mut self.0 {
            match entry {
                Entry::Read(application) => application.config_map = None,
                Entry::Unread(entry) => entry.config_map = None,
            }
        }
    }

    /// The application in the target, and as many others as the limit allows. The one in the target is never dropped.
    /// Failed ones are counted separately, so that they do not replace applications that a rollback can name. The
    /// newest entry always stays, because the numbers continue from it.
    fn bounded(self, limit: usize) -> Self {
        let (mut others, mut failed) = (0, 0);
        let kept = self.0.into_iter().enumerate().filter(|(index, entry)| {
            let counted = match entry.outcome() {
                HistoryOutcome::Applied => return true,
                HistoryOutcome::Superseded | HistoryOutcome::RolledBack => &mut others,
                HistoryOutcome::Failed => &mut failed,
            };
            *counted += 1;
            *index == 0 || *counted <= limit
        });
        Self(kept.map(|(_, entry)| entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::tests::{applied, at, rendered, stamp};

    /// Somebody else, or a later version of the operator, may have written the status: an unreadable entry stays
    /// unchanged.
    #[test]
    fn an_entry_that_cannot_be_read_is_kept_and_its_number_is_taken() {
        let history = applied(&[("a", false), ("b", false)], 10);
        let mut entries = history.to_entries();
        entries[1].artifact = "sha256:short".to_owned();
        let history = History::read(&entries);
        assert_eq!(history.to_entries(), entries);
        assert_eq!((history.iter().count(), history.numbers().collect::<Vec<_>>()), (1, vec![2, 1]));
        let facts = rendered("c", "c").facts;
        let stamp = stamp(&history, &facts, at(9));
        let next = history.applied(&facts, stamp, false, 10).to_entries();
        assert_eq!((next[0].revision, &next[2]), (3, &entries[1]));
    }

    /// An application that followed from an earlier status is not the recorded one, even with the same number.
    #[test]
    fn an_application_of_an_older_history_is_not_admitted() {
        let first = applied(&[("a", false)], 10);
        let (a, b) = (rendered("a", "a").facts, rendered("b", "b").facts);
        let stamp = |number| Stamp { number, applied_at: at(0) };
        assert!(first.admits(&a, stamp(1)) && first.admits(&b, stamp(2)), "recorded, and not yet recorded");
        let second = applied(&[("a", false), ("b", false)], 10);
        assert!(!second.admits(&a, stamp(1)), "another took its place");
        assert!(!second.admits(&a, stamp(2)), "the number is another's");
        assert!(second.admits(&b, stamp(2)) && second.admits(&a, stamp(3)));
    }

    /// Design §2.4: a status that is parsed and written again is the same.
    #[test]
    fn reading_and_writing_changes_nothing() {
        let entries = applied(&[("a", false), ("b", false), ("a", true)], 10).to_entries();
        assert_eq!(History::read(&entries).to_entries(), entries);
    }
}
