//! Lists of what is attached, entry by entry. Of an entry the digest is needed, and the type for the filter; all the
//! rest stands in the manifest, so what stands here does not matter.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::annotations::annotations_of;
use super::descriptor::{optional, read_digest};
use super::error::{ManifestError, named};
use super::json::{Member, Raw, each_element, is_null, members, position, text, text_of};
use super::kind::{ambiguous, effective_media_type};
use super::media_type;
use crate::annotations::Annotations;
use crate::digest::Digest;

/// Entries of one list that may be of the type asked for: their manifests are all read, so it is the number of requests
/// that bounds it.
pub const MAX_ENTRIES: usize = 1000;

/// Other entries that are kept, in case their manifests know better. An image has a signature, an SBOM, an attestation.
const MAX_OTHERS: usize = 8;

/// Types of other entries that are kept, for a message.
const MAX_TYPES: usize = 50;

/// Longest type that is compared or kept. Media types have at most 127 characters on each side (RFC 6838, 4.2).
const MAX_TYPE: usize = 512;

/// Longest text of an entry's annotations that is kept, in bytes. They only matter where the manifest cannot be read.
const MAX_ANNOTATIONS: usize = 2048;

/// What a list says of one artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its type; `None` where the list does not say one that can be read.
    pub artifact_type: Option<Box<str>>,
    /// Its annotations as they stand there.
    annotations: Option<Box<str>>,
}

impl Entry {
    /// Its annotations. The manifest's own count wherever that can be read.
    #[must_use]
    pub fn annotations(&self) -> Annotations {
        let raw = self.annotations.as_deref().and_then(|text| serde_json::from_str::<Raw<'_>>(text).ok());
        raw.map(|raw| annotations_of(raw).0).unwrap_or_default()
    }

    /// About what it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len() + 16);
        192 + length(&self.artifact_type) + length(&self.annotations)
    }
}

/// A list, as the Referrers API and the referrers tag give it: what may be of the type asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// What may be of the type.
    pub entries: BTreeMap<Digest, Entry>,
    /// What the list calls another type, the first few.
    pub others: BTreeSet<Digest>,
    /// Those types, some of them.
    pub types: BTreeSet<Box<str>>,
    /// Why it is empty, where that is worth a remark.
    pub note: Option<String>,
}

impl Index {
    /// Adds the entries of another page.
    ///
    /// # Errors
    /// Where both together are too many.
    pub fn merge(&mut self, page: Self) -> Result<(), ManifestError> {
        for (digest, entry) in page.entries {
            self.add(digest, entry)?;
        }
        for digest in page.others {
            self.note_other(digest);
        }
        for artifact_type in page.types {
            self.note_type(artifact_type);
        }
        Ok(())
    }

    /// Several entries of one digest are one; where they contradict each other, the manifest decides.
    fn add(&mut self, digest: Digest, entry: Entry) -> Result<(), ManifestError> {
        match self.entries.entry(digest) {
            Slot::Vacant(slot) => drop(slot.insert(entry)),
            Slot::Occupied(mut known) if known.get().artifact_type != entry.artifact_type => {
                known.get_mut().artifact_type = None;
            }
            Slot::Occupied(_) => {}
        }
        if self.entries.len() > MAX_ENTRIES {
            return Err(ManifestError::TooMany("manifests", MAX_ENTRIES));
        }
        Ok(())
    }

    fn note_other(&mut self, digest: Digest) {
        if self.others.len() < MAX_OTHERS {
            self.others.insert(digest);
        }
    }

    fn note_type(&mut self, artifact_type: Box<str>) {
        if self.types.len() < MAX_TYPES {
            self.types.insert(artifact_type);
        }
    }
}

/// Reads a list of descriptors. `wanted` is the type that is asked for, if any.
///
/// # Errors
/// [`ManifestError`] where the document is no OCI image index, or where an entry cannot be read that may be of the type.
pub fn parse_index(
    bytes: &[u8],
    content_type: Option<&str>,
    wanted: Option<&str>,
) -> Result<Index, ManifestError> {
    let text = text_of(bytes);
    let names = ["mediaType", "manifests", "layers", "blobs", "config"];
    let ([kind, manifests, layers, blobs, config], read) = members(&text, names);
    read.map_err(|error| position(&error))?;
    ambiguous(manifests, layers, blobs, config)?;
    let media_type = effective_media_type(kind, content_type, manifests, layers)?;
    if *media_type != *media_type::OCI_INDEX {
        return Err(ManifestError::Kind(named(&media_type), "an OCI image index"));
    }
    // Required (image-spec, image-index.md): without it the document says nothing, which is not that there is nothing.
    listed("manifests", manifests, wanted)
}

/// Reads the list of ORAS artifact manifests (`_oras/artifacts/referrers`, before OCI 1.1).
///
/// # Errors
/// [`ManifestError`] where the document is no such list: `Missing` where it does not even look like one.
pub fn parse_legacy_list(bytes: &[u8], wanted: Option<&str>) -> Result<Index, ManifestError> {
    let text = text_of(bytes);
    // "references" in old drafts.
    let ([referrers, references], read) = members(&text, ["referrers", "references"]);
    read.map_err(|error| position(&error))?;
    match (referrers, references) {
        (Member::Missing, Member::There(_) | Member::Twice) => listed("references", references, wanted),
        (Member::Missing, Member::Missing) => Err(ManifestError::Missing("referrers")),
        (_, Member::Missing) => listed("referrers", referrers, wanted),
        _ => Err(ManifestError::Ambiguous("referrers", "references")),
    }
}

fn listed(name: &'static str, list: Member<'_>, wanted: Option<&str>) -> Result<Index, ManifestError> {
    let value = match list {
        Member::There(value) => value,
        Member::Missing => return Err(ManifestError::Missing(name)),
        Member::Twice => return Err(ManifestError::Twice(name)),
    };
    let mut index = Index::default();
    let mut wrong = Ok(());
    let mut number = 0;
    let is_list = each_element(value, |entry| {
        number += 1;
        wrong = read_entry(&mut index, name, number, entry, wanted);
        if wrong.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    wrong?;
    if is_list { Ok(index) } else { Err(ManifestError::Member(name, "a list")) }
}

/// What cannot be read and may be of the type makes the list unknown. What is certainly of another type does not matter.
fn read_entry(
    index: &mut Index,
    list: &'static str,
    number: usize,
    entry: Raw<'_>,
    wanted: Option<&str>,
) -> Result<(), ManifestError> {
    let names = ["digest", "artifactType", "annotations"];
    let ([digest, artifact_type, annotations], _) = members(entry.get(), names);
    // Pushers that leave the type out, or write the empty one (cosign#4641), leave the question to the manifest.
    let artifact_type = optional(artifact_type, text).ok().flatten();
    let artifact_type = artifact_type
        .filter(|text| !text.is_empty() && **text != *media_type::EMPTY && text.len() <= MAX_TYPE);
    if let (Some(wanted), Some(listed)) = (wanted, &artifact_type)
        && *wanted != **listed
    {
        index.note_type(listed.clone());
        if let Ok(digest) = read_digest(digest) {
            index.note_other(digest);
        }
        return Ok(());
    }
    let Ok(digest) = read_digest(digest) else {
        let expected =
            "a descriptor with a digest of sha256 or sha512; it may be of the type that is asked for";
        return Err(ManifestError::Entry { list, number, expected });
    };
    let annotations = match annotations {
        Member::There(value) if !is_null(value) && value.get().len() <= MAX_ANNOTATIONS => {
            Some(value.get().into())
        }
        _ => None,
    };
    index.add(digest, Entry { artifact_type, annotations })
}
