//! What is attached to a digest: the Referrers API, page by page, or the referrers tag where there is none
//! (distribution-spec, "Listing Referrers").
//!
//! `Client::pull_referrers` of `oci-client` 0.18 is not used: it reads one page, trusts the filter, and takes 403 and
//! 429 on the tag for "nothing is attached".

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use http::header::LINK;
use http::{HeaderMap, Method, StatusCode};
use reqwest::Url;

use crate::api::Reason;
use crate::types::{
    Artifact, Descriptor, Digest, Failure, Index, ManifestError, media_type, parse_index, parse_legacy_list,
};

use super::answer::Answer;
use super::client::{FETCHES, Session, shared};
use super::content::{MAX_MANIFEST, weight};
use super::observe::CacheKind;
use super::transport::Call;
use super::{Freshness, Listing};

/// Pages of one listing. At 4 MiB a page that is far more than can be attached with a straight face.
const MAX_PAGES: usize = 100;

/// Artifacts of the type asked for, whose manifests are all read: their dates and subjects stand nowhere else.
const MAX_CANDIDATES: usize = 1000;

/// Bytes of all pages of one listing.
const MAX_LISTING: u64 = 32 * 1024 * 1024;

/// Memory that the manifests of all candidates may take.
const MAX_CANDIDATE_BYTES: u64 = 64 * 1024 * 1024;

/// What the Referrers API said.
enum Page {
    /// A page of the list, and where the next one is.
    Listed { index: Index, size: u64, next: Option<Url> },
    /// This registry, or what stands in front of it, has no such API.
    Unsupported,
}

impl Session<'_> {
    /// Everything of a type (or of any) that is attached to `subject`, complete and verified.
    pub(super) async fn list(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        freshness: Freshness,
    ) -> Result<Listing, Failure> {
        let key = (self.repository.key(), subject.clone(), artifact_type.map(str::to_owned));
        let (index, hit) =
            shared(&self.client.lists, key, freshness, || self.ask_list(subject, artifact_type)).await?;
        self.client.looked(CacheKind::List, hit);
        let listing = self.read_candidates(subject, artifact_type, &index).await?;
        if !listing.artifacts.is_empty() {
            return Ok(listing);
        }
        match self.list_by_legacy_api(subject, artifact_type).await? {
            Some(index) => self.read_candidates(subject, artifact_type, &index).await,
            None => Ok(listing),
        }
    }

    async fn ask_list(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Arc<Index>, Failure> {
        let (key, unsupported) = (self.repository.key(), &self.client.without_referrers_api);
        if !unsupported.contains_key(&key) {
            if let Some(index) = self.list_by_api(subject, artifact_type).await? {
                return Ok(Arc::new(index));
            }
            unsupported.insert(key, ());
        }
        self.list_by_tag(subject).await.map(Arc::new)
    }

    /// The Referrers API, or nothing where it is not supported.
    async fn list_by_api(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Index>, Failure> {
        let mut call = self.call(
            "referrers",
            Method::GET,
            &format!("referrers/{subject}"),
            Some(media_type::OCI_INDEX.to_owned()),
        )?;
        call.take_foreign_answer = true;
        if let Some(artifact_type) = artifact_type {
            call.url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut all = Index::default();
        let mut read = 0;
        let mut seen = HashSet::from([call.url.clone()]);
        loop {
            let asked = call.url.clone();
            let (page, next) = match self.page(&call).await? {
                Page::Listed { index, size, next } => {
                    read += size;
                    (index, next)
                }
                Page::Unsupported if seen.len() == 1 => return Ok(None),
                // It has answered with a list before: this is a failure, not an answer.
                Page::Unsupported => return Err(self.broken_listing(subject, "a later page is no list")),
            };
            all.manifests.extend(page.manifests);
            all.unreadable += page.unreadable;
            if read > MAX_LISTING {
                return Err(self.too_much(subject, &format!("the list has more than {MAX_LISTING} bytes")));
            }
            let Some(next) = next else { return Ok(Some(all)) };
            if next.origin() != asked.origin() {
                return Err(self.broken_listing(subject, "the next page is on another host"));
            }
            if !seen.insert(next.clone()) {
                return Err(self.broken_listing(subject, "the pages go in a circle"));
            }
            if seen.len() > MAX_PAGES {
                return Err(self.broken_listing(subject, &format!("it has more than {MAX_PAGES} pages")));
            }
            call.url = next;
        }
    }

    async fn page(&self, call: &Call) -> Result<Page, Failure> {
        let answer = self.send(call).await?;
        let is_index = answer.content_type().is_some_and(|header| header.starts_with(media_type::OCI_INDEX));
        match answer.status {
            StatusCode::OK if is_index => {
                let next = next_page(&answer);
                let bytes = answer.bytes(&self.repository, "list of referrers", MAX_MANIFEST).await?;
                let index = parse_index(&bytes, None).map_err(|why| self.refused_list(&why))?;
                Ok(Page::Listed { index, size: bytes.len() as u64, next })
            }
            // A login page, a gateway's answer, a registry that does not know the route: see oras-go#633, zot#4060,
            // PROJQUAY-7523 and olareg with the API switched off. The digest is well-formed, so 400 is no answer to it.
            StatusCode::OK
            | StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED => Ok(Page::Unsupported),
            _ if answer.moved => Ok(Page::Unsupported),
            _ => Err(answer.to_failure(&self.repository, call)),
        }
    }

    /// The list of ORAS artifact manifests (`oras` 0.14 and 0.15), or nothing where it is not supported.
    async fn list_by_legacy_api(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Index>, Failure> {
        let (key, unsupported) = (self.repository.key(), &self.client.without_legacy_list);
        if unsupported.contains_key(&key) {
            return Ok(None);
        }
        let mut call = self.call("referrers", Method::GET, "_oras/artifacts/referrers", None)?;
        call.take_foreign_answer = true;
        call.url.query_pairs_mut().append_pair("digest", &subject.to_string());
        if let Some(artifact_type) = artifact_type {
            call.url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let answer = self.send(&call).await?;
        // Nothing but a list counts: the standard ways have answered already, and few registries know this one.
        let index = match answer.status {
            StatusCode::OK if !answer.moved => {
                if next_page(&answer).is_some() {
                    return Err(self.broken_listing(
                        subject,
                        "the list of ORAS artifact manifests has several pages, and only one is read",
                    ));
                }
                let bytes = answer.bytes(&self.repository, "list of referrers", MAX_MANIFEST).await?;
                parse_legacy_list(&bytes).ok()
            }
            _ => None,
        };
        if index.is_none() {
            unsupported.insert(key, ());
        }
        Ok(index)
    }

    /// The list that pushers keep under a tag. A missing tag is the word of the registry that there is nothing.
    async fn list_by_tag(&self, subject: &Digest) -> Result<Index, Failure> {
        let path = format!("manifests/{}", subject.referrers_tag());
        let accept = Some(media_type::OCI_INDEX.to_owned());
        let Some((bytes, content_type)) = self.get("referrers", &path, accept, MAX_MANIFEST).await? else {
            return Ok(Index::default());
        };
        // GitLab reads the tag as a digest and returns the subject itself, whose children would pass for referrers
        // (oras-go#1396).
        if Digest::of(subject.algorithm(), &bytes) == *subject {
            return Ok(no_list(subject, "the image itself"));
        }
        match parse_index(&bytes, content_type.as_deref()) {
            Ok(index) => Ok(index),
            // "If the tag is not a valid image index, assume that there are no referrers."
            Err(ManifestError::Kind(found, _)) => Ok(no_list(subject, &found)),
            Err(why) => Err(self.refused_list(&why)),
        }
    }

    /// Reads the manifest of everything that may be of the type, and keeps what is, and is attached to the subject.
    async fn read_candidates(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        index: &Index,
    ) -> Result<Listing, Failure> {
        let mut candidates: BTreeSet<Digest> = BTreeSet::new();
        let mut unreadable = index.unreadable;
        for descriptor in &index.manifests {
            if !is_manifest(&descriptor.media_type) {
                unreadable += 1;
            } else if descriptor.digest != *subject && may_be_of_type(descriptor, artifact_type) {
                candidates.insert(descriptor.digest.clone());
            }
        }
        if candidates.len() > MAX_CANDIDATES {
            let count = candidates.len();
            return Err(self.too_much(
                subject,
                &format!("{count} artifacts may be of the type; at most {MAX_CANDIDATES} are read"),
            ));
        }
        let mut kept = Kept { unreadable, ..Kept::default() };
        let mut manifests = futures::stream::iter(candidates)
            .map(|digest| async move { self.manifest(&digest).await })
            .buffered(FETCHES);
        let mut held = 0_u64;
        while let Some(manifest) = manifests.next().await {
            let manifest = manifest?;
            held += manifest.as_deref().map_or(0, |manifest| u64::from(weight(manifest)));
            if held > MAX_CANDIDATE_BYTES {
                let most = format!(
                    "the manifests of what may be of the type have more than {MAX_CANDIDATE_BYTES} bytes"
                );
                return Err(self.too_much(subject, &most));
            }
            kept.add(manifest.as_deref(), subject, artifact_type);
        }
        let mut listing = kept.into_listing();
        listing.notes.extend(index.note.clone());
        Ok(listing)
    }

    fn too_much(&self, subject: &Digest, what: &str) -> Failure {
        Failure::new(
            Reason::TooLarge,
            format!("{}@{subject}: {what}; delete old artifacts from the registry", self.repository),
        )
    }

    fn broken_listing(&self, subject: &Digest, why: &str) -> Failure {
        Failure::new(
            Reason::InvalidContent,
            format!("{}@{subject}: the registry's list of referrers is not used: {why}", self.repository),
        )
    }

    fn refused_list(&self, why: &ManifestError) -> Failure {
        Failure::new(
            Reason::InvalidContent,
            format!("{}: the list of referrers is refused: {why}", self.repository),
        )
    }
}

/// Nothing is attached, but a person should know what stands where the list would.
fn no_list(subject: &Digest, found: &str) -> Index {
    let note = format!("what the tag {} holds is no list of referrers but {found}", subject.referrers_tag());
    Index { note: Some(note), ..Index::default() }
}

/// What of the candidates holds, and how much does not.
#[derive(Default)]
struct Kept {
    artifacts: Vec<Artifact>,
    stale: usize,
    elsewhere: usize,
    unreadable: usize,
}

impl Kept {
    fn add(&mut self, manifest: Option<&Artifact>, subject: &Digest, artifact_type: Option<&str>) {
        match manifest {
            // Deleting an artifact leaves its entry under the referrers tag.
            None => self.stale += 1,
            // Anybody can push a list under the tag; the artifact itself says what it is attached to.
            Some(artifact) if artifact.subject.as_ref() != Some(subject) => self.elsewhere += 1,
            Some(artifact) if artifact_type.is_none_or(|wanted| artifact.artifact_type == wanted) => {
                self.artifacts.push(artifact.clone());
            }
            Some(_) => {}
        }
    }

    fn into_listing(self) -> Listing {
        let note = |count: usize, what: &str| (count > 0).then(|| format!("{count} listed {what}"));
        let notes = [
            note(self.stale, "artifacts are gone from the registry"),
            note(self.elsewhere, "artifacts are attached to something else"),
            note(self.unreadable, "entries are of an unknown kind"),
        ];
        Listing { artifacts: self.artifacts, notes: notes.into_iter().flatten().collect() }
    }
}

/// Descriptors without a media type are given the benefit of the doubt; the manifest will tell.
fn is_manifest(media_type: &str) -> bool {
    media_type.is_empty()
        || matches!(
            media_type,
            media_type::OCI_MANIFEST
                | media_type::OCI_INDEX
                | media_type::DOCKER_MANIFEST
                | media_type::DOCKER_LIST
                | media_type::OCI_ARTIFACT
                | media_type::ORAS_ARTIFACT
        )
}

/// A filter is applied here whatever the registry claims. Pushers that leave the type out, or write the empty one
/// (cosign#4641), leave the question to the manifest.
fn may_be_of_type(descriptor: &Descriptor, artifact_type: Option<&str>) -> bool {
    match (artifact_type, descriptor.artifact_type.as_deref()) {
        (None, _) | (Some(_), None | Some("" | media_type::EMPTY)) => true,
        (Some(wanted), Some(listed)) => wanted == listed,
    }
}

/// The `rel="next"` of `Link` (RFC 8288), relative to the page it stands on.
fn next_page(answer: &Answer) -> Option<Url> {
    next_link(&answer.headers).and_then(|link| answer.url.join(&link).ok())
}

fn next_link(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|mut rest| {
        // `<` and `>` cannot stand in a URL, commas and semicolons can.
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>')?;
            let target = &rest[start + 1..end];
            rest = &rest[end + 1..];
            let parameters = &rest[..rest.find('<').unwrap_or(rest.len())];
            if parameters.split([';', ',']).any(is_next) {
                return Some(target.to_owned());
            }
        }
        None
    })
}

fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .trim()
                .trim_matches('"')
                .split_ascii_whitespace()
                .any(|rel| rel.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(value: &str) -> Option<String> {
        next_link(&HeaderMap::from_iter([(LINK, value.parse().unwrap())]))
    }

    #[rstest::rstest]
    #[case(r#"</v2/a/referrers/x?n=2>; rel="next""#, Some("/v2/a/referrers/x?n=2"))]
    #[case("<https://r.example/x,y;z>;title=a; rel=next", Some("https://r.example/x,y;z"))]
    #[case(r#"<first>; rel="first", <second>; rel="prev next""#, Some("second"))]
    #[case(r#"<first>; rel="prev""#, None)]
    #[case("<open; rel=next", None)]
    #[case("nothing", None)]
    fn finds_the_next_page(#[case] value: &str, #[case] expected: Option<&str>) {
        assert_eq!(link(value).as_deref(), expected);
    }

    proptest! {
        #[test]
        fn any_link_header_is_survived(value in "[ -~]{0,200}") {
            let _ = link(&value);
        }
    }
}
