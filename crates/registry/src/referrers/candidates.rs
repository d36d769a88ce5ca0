//! From a list to artifacts: reads the manifest of every entry that may be of the type. The manifest decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use oci::{Digest, Entry, Index, text};

use crate::content::cache::weight;
use crate::error::{Error, Kind};
use crate::port::{Artifact, Listing};
use crate::session::{FETCHES, Session};

/// Memory that the manifests of all candidates may take: a thousand with a dozen files each. With 16 lists side by
/// side that is 128 MiB.
const MAX_CANDIDATE_BYTES: u64 = 8 * 1024 * 1024;

/// Most failed requests for manifests before the whole listing fails. One manifest may be damaged in the registry's
/// storage; if more fail, the registry is down.
const MAX_UNANSWERED: usize = 3;

/// How many digests a note lists.
const LISTED: usize = 5;

/// Types of other artifacts that are kept, for a message.
const MAX_TYPES: usize = 50;

/// The query, and the candidates that match it.
pub(crate) struct Kept<'a> {
    subject: &'a Digest,
    wanted: Option<&'a str>,
    artifacts: Vec<Artifact>,
    held: u64,
    stale: usize,
    elsewhere: usize,
    unreadable: Vec<(Digest, &'static str)>,
    types: BTreeSet<String>,
}

impl Session<'_> {
    /// Reads the manifest of every entry that may be of the type. Keeps those that have the type and the subject.
    pub(crate) async fn read_candidates(
        &self,
        subject: &Digest,
        wanted: Option<&str>,
        index: &Index,
    ) -> Result<Listing, Error> {
        let mut listing = self.read_entries(subject, wanted, index.entries.iter()).await?;
        if listing.artifacts.is_empty() {
            listing.types.extend(index.types.iter().map(ToString::to_string));
        }
        listing.notes.extend(index.note.clone());
        Ok(listing)
    }

    /// Reads some manifests that have another type in the list: registries confuse the type of the config with the type
    /// of the artifact, and the manifest has the right one. If a manifest cannot be fetched, the type in the list
    /// counts.
    pub(crate) async fn read_others(
        &self,
        subject: &Digest,
        wanted: Option<&str>,
        index: &Index,
    ) -> Result<Listing, Error> {
        let mut kept = Kept::new(subject, wanted);
        for digest in index.others.iter().filter(|digest| *digest != subject) {
            match self.manifest(digest).await {
                Ok(Some(artifact)) if artifact.fault.is_none() => kept.add(&artifact, &Entry::default()),
                Err(error) if is_of_all(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Listing { notes: Vec::new(), ..kept.into_listing() })
    }

    async fn read_entries<'e>(
        &self,
        subject: &Digest,
        wanted: Option<&str>,
        entries: impl Iterator<Item = (&'e Digest, &'e Entry)>,
    ) -> Result<Listing, Error> {
        let mut kept = Kept::new(subject, wanted);
        let mut unanswered = 0;
        let fetches: Vec<_> = entries
            .filter(|(digest, _)| *digest != subject)
            .map(|(digest, entry)| async move { (digest, entry, self.manifest(digest).await) })
            .collect();
        // In the order in which they come, so that none is held in memory while another one is slow.
        let mut manifests = futures::stream::iter(fetches).buffer_unordered(FETCHES);
        while let Some((digest, entry, manifest)) = manifests.next().await {
            let artifact = match manifest {
                Ok(Some(artifact)) => artifact,
                Ok(None) => {
                    kept.stale += 1;
                    continue;
                }
                // Rights and rate limits are the same for all artifacts of the repository.
                Err(error) if is_of_all(&error) => return Err(error),
                Err(error) => {
                    unanswered += usize::from(error.kind().is_unavailable());
                    if unanswered > MAX_UNANSWERED {
                        return Err(error);
                    }
                    Arc::new(Artifact::unknown(
                        digest.clone(),
                        error.at(&format!("{}@{digest}", self.repository)),
                    ))
                }
            };
            kept.add(&artifact, entry);
            if kept.held > MAX_CANDIDATE_BYTES {
                let most = format!(
                    "the manifests of what is of the type have more than {MAX_CANDIDATE_BYTES} bytes"
                );
                return Err(self.too_much(subject, &most));
            }
        }
        Ok(kept.into_listing())
    }
}

fn is_of_all(error: &Error) -> bool {
    matches!(error.kind(), Kind::RateLimited(_)) || error.kind().is_unauthorized()
}

impl<'a> Kept<'a> {
    fn new(subject: &'a Digest, wanted: Option<&'a str>) -> Self {
        Self {
            subject,
            wanted,
            artifacts: Vec::new(),
            held: 0,
            stale: 0,
            elsewhere: 0,
            unreadable: Vec::new(),
            types: BTreeSet::new(),
        }
    }

    /// Anybody can push a list under the tag, so the subject and the type in the artifact itself decide. If the
    /// manifest cannot be read, either may be unknown. Then it counts as possibly matching.
    fn add(&mut self, artifact: &Artifact, entry: &Entry) {
        let known = artifact.fault.as_ref().map(|fault| fault.known);
        let knows_subject = known.is_none_or(|known| known.subject);
        let knows_type = known.is_none_or(|known| known.artifact_type);
        if knows_subject && artifact.subject.as_ref() != Some(self.subject) {
            self.elsewhere += 1;
            return;
        }
        if let Some(fault) = &artifact.fault {
            self.unreadable.push((artifact.digest.clone(), fault.error.kind().word()));
        }
        if knows_type && self.wanted.is_some_and(|wanted| artifact.artifact_type != wanted) {
            if self.types.len() < MAX_TYPES && !artifact.artifact_type.is_empty() {
                self.types.insert(artifact.artifact_type.clone());
            }
            return;
        }
        self.held += u64::from(weight(artifact));
        self.artifacts.push(complemented(artifact.clone(), entry));
    }

    fn into_listing(mut self) -> Listing {
        self.artifacts.sort_by(|left, right| left.digest.cmp(&right.digest));
        let note = |count: usize, what: &str| (count > 0).then(|| format!("{count} listed {what}"));
        let notes = [
            note(self.stale, "artifacts are gone from the registry"),
            note(self.elsewhere, "artifacts are attached to something else"),
            unreadable(self.unreadable),
        ];
        let types = if self.artifacts.is_empty() { self.types.into_iter().collect() } else { Vec::new() };
        Listing { artifacts: self.artifacts, notes: notes.into_iter().flatten().collect(), types }
    }
}

/// If the manifest of an artifact cannot be read, the annotations in the list count, and only to rank it among others.
fn complemented(mut artifact: Artifact, entry: &Entry) -> Artifact {
    if let Some(fault) = &mut artifact.fault {
        if let Some(listed) = entry.artifact_type.as_deref().filter(|_| !fault.known.artifact_type) {
            listed.clone_into(&mut artifact.artifact_type);
            fault.known.artifact_type = true;
        }
        if !fault.known.annotations && artifact.annotations.is_empty() {
            artifact.annotations = entry.annotations();
        }
    }
    artifact
}

/// Names the unreadable manifests, so that somebody can delete them.
fn unreadable(mut all: Vec<(Digest, &'static str)>) -> Option<String> {
    all.sort_by(|(left, _), (right, _)| left.cmp(right));
    let count = all.len();
    let shown = all.iter().map(|(digest, word)| format!("{digest} ({word})"));
    let listed = if count == 1 { "1 listed artifact" } else { &format!("{count} listed artifacts") };
    (count > 0)
        .then(|| format!("{listed} cannot be read; delete what is of no use: {}", text::list(shown, LISTED)))
}
