//! Lists of referrers, entry by entry. Only the digest of an entry is needed, and its type for the filter. The manifest
//! has everything else, so the other members of an entry do not matter.

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

/// Most entries of one list that may be of the requested type. All their manifests are fetched, so the number of
/// requests is the reason for the bound.
pub const MAX_ENTRIES: usize = 1000;

/// Most other entries that are kept, in case their manifests have the requested type. An image has a signature, an
/// SBOM, an attestation.
const MAX_OTHERS: usize = 8;

/// Types of other entries that are kept, for a message.
const MAX_TYPES: usize = 50;

/// Longest type that is compared or kept. Media types have at most 127 characters on each side (RFC 6838, 4.2).
const MAX_TYPE: usize = 512;

/// Longest text of an entry's annotations that is kept, in bytes. They only matter if the manifest cannot be read.
const MAX_ANNOTATIONS: usize = 2048;

/// The members of one entry of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its type; `None` if the entry has no readable type.
    pub artifact_type: Option<Box<str>>,
    /// Its annotations, unparsed.
    annotations: Option<Box<str>>,
}

impl Entry {
    /// Its annotations. If the manifest can be read, its own annotations count instead.
    #[must_use]
    pub fn annotations(&self) -> Annotations {
        let raw = self.annotations.as_deref().and_then(|text| serde_json::from_str::<Raw<'_>>(text).ok());
        raw.map(|raw| annotations_of(raw).0).unwrap_or_default()
    }

    /// Its approximate size in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len() + 16);
        192 + length(&self.artifact_type) + length(&self.annotations)
    }
}

/// A list of the Referrers API or the referrers tag, with the entries that may be of the requested type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Entries that may be of the type.
    pub entries: BTreeMap<Digest, Entry>,
    /// Entries that have another type in the list, the first few.
    pub others: BTreeSet<Digest>,
    /// Some of the other types.
    pub types: BTreeSet<Box<str>>,
    /// A remark about the reason for an empty list.
    pub note: Option<String>,
}

impl Index {
    /// Adds the entries of another page.
    ///
    /// # Errors
    /// If both together have too many entries.
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

    /// Several entries of one digest become one. If they contradict each other, the manifest decides.
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

/// Parses a list of descriptors. `wanted` is the requested type, if any.
///
/// # Errors
/// [`ManifestError`] if the document is not an OCI image index, or if an entry that may be of the type cannot be read.
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
    // Required (image-spec, image-index.md): a document without it is invalid, and not an empty list.
    listed("manifests", manifests, wanted)
}

/// Reads the list of ORAS artifact manifests (`_oras/artifacts/referrers`, before OCI 1.1).
///
/// # Errors
/// [`ManifestError`] if the document is not such a list: `Missing` if it does not even have the members of one.
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

/// An unreadable entry that may be of the type makes the list unknown. An entry that is certainly of another type does
/// not matter.
fn read_entry(
    index: &mut Index,
    list: &'static str,
    number: usize,
    entry: Raw<'_>,
    wanted: Option<&str>,
) -> Result<(), ManifestError> {
    let names = ["digest", "artifactType", "annotations"];
    let ([digest, artifact_type, annotations], _) = members(entry.get(), names);
    // If a pusher leaves the type out, or writes the empty one (cosign#4641), the manifest decides.
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
