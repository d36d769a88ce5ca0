//! Lists that registries make: the Referrers API, page by page, and the list of ORAS artifact manifests before it.

use std::collections::HashSet;

use http::{Method, StatusCode};
use oci::{Digest, Index, ManifestError, media_type, parse_index, parse_legacy_list};
use reqwest::Url;

use crate::content::fetch::MAX_MANIFEST;
use crate::error::Error;
use crate::http::answer::{Answer, Read, Sent};
use crate::http::call::Call;
use crate::session::Session;

use super::link::{self, Unclear};

/// Most pages of one listing. At 4 MiB a page, that is far more than any image has.
const MAX_PAGES: usize = 100;

/// Bytes of all pages of one listing.
const MAX_LISTING: u64 = 32 * 1024 * 1024;

/// The answer of the Referrers API.
enum Page {
    /// A page of the list, and where the next one is.
    Listed { index: Index, size: u64, next: Option<Url> },
    /// This registry, or a gateway in front of it, has no such API.
    Unsupported,
}

impl Session<'_> {
    /// Lists by the Referrers API; `None` if it is not supported. Entries that are certainly of another type are left
    /// out here, whether the registry filters or not.
    pub(crate) async fn list_by_api(
        &self,
        subject: &Digest,
        wanted: Option<&str>,
        filter: bool,
    ) -> Result<Option<Index>, Error> {
        let mut call = self.call(
            "referrers",
            Method::GET,
            &format!("referrers/{subject}"),
            Some(media_type::OCI_INDEX.to_owned()),
        )?;
        call.take_foreign_answer = true;
        if let Some(artifact_type) = wanted.filter(|_| filter) {
            call.url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut all = Index::default();
        let mut read = 0;
        let mut seen = HashSet::from([call.url.clone()]);
        loop {
            let asked = call.url.clone();
            let (page, next) = match self.page(&call, subject, wanted).await? {
                Page::Listed { index, size, next } => {
                    read += size;
                    (index, next)
                }
                Page::Unsupported if seen.len() == 1 => return Ok(None),
                // The registry has already answered with a page, so this is a failure and not "unsupported".
                Page::Unsupported => return Err(self.broken_listing(subject, "a later page is no list")),
            };
            all.merge(page).map_err(|why| self.refused_list(subject, &why))?;
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

    async fn page(&self, call: &Call, subject: &Digest, wanted: Option<&str>) -> Result<Page, Error> {
        let answer = self.send(call).await?;
        match answer.status {
            StatusCode::OK => self.read_page(answer, subject, wanted).await,
            // A gateway's answer, a registry that does not know the route: see oras-go#633, zot#4060, PROJQUAY-7523 and
            // olareg with the API switched off. The digest is well-formed, so a 400 is not about the digest.
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED => Ok(Page::Unsupported),
            _ if answer.moved => Ok(Page::Unsupported),
            _ => Err(self.refusal(&answer, call)),
        }
    }

    /// Reads a list. Its media type decides, or its form if the answer has no useful media type (Harbor before 2.11
    /// sends plain JSON). Other bodies are login pages or answers of gateways.
    async fn read_page(&self, answer: Answer, subject: &Digest, wanted: Option<&str>) -> Result<Page, Error> {
        let says = Says::of(answer.content_type());
        if says == Says::SomethingElse {
            return Ok(Page::Unsupported);
        }
        let (moved, next) = (answer.moved, link::next_page(&answer.headers, &answer.url));
        let read =
            answer.read(&self.repository, "list of referrers", MAX_MANIFEST, &self.client.room).await?;
        let content = match read {
            Read::Whole(content) => content,
            Read::TooLong { .. } if moved && says != Says::Index => return Ok(Page::Unsupported),
            Read::TooLong { error, .. } => return Err(error),
        };
        let size = content.bytes.len() as u64;
        match parse_index(&plain(&content), content.content_type.as_deref(), wanted) {
            Ok(mut index) => {
                if moved {
                    // Text of another host is not repeated.
                    index.types.clear();
                }
                let next = next.map_err(|Unclear| self.broken_listing(subject, UNCLEAR_LINK))?;
                Ok(Page::Listed { index, size, next })
            }
            Err(why) if says == Says::Index => Err(self.refused_list(subject, &why)),
            // JSON that is something else.
            Err(ManifestError::Missing(_) | ManifestError::Kind(..)) => Ok(Page::Unsupported),
            Err(ManifestError::Json { .. }) if moved || says == Says::Nothing => Ok(Page::Unsupported),
            Err(why) => Err(self.refused_list(subject, &why)),
        }
    }

    /// The list of ORAS artifact manifests (`oras` 0.14 and 0.15); `None` if it is not supported.
    pub(crate) async fn list_by_legacy_api(
        &self,
        subject: &Digest,
        wanted: Option<&str>,
    ) -> Result<Option<Index>, Error> {
        let (key, unsupported) = (self.repository.key(), &self.client.memory.without_legacy_list);
        if unsupported.contains_key(&key) {
            return Ok(None);
        }
        let mut call = self.call("referrers", Method::GET, "_oras/artifacts/referrers", None)?;
        call.take_foreign_answer = true;
        call.url.query_pairs_mut().append_pair("digest", &subject.to_string());
        if let Some(artifact_type) = wanted {
            call.url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let answer = self.send(&call).await?;
        // Only a list counts: the standard ways have answered already, and few registries know this one.
        let index = match answer.status {
            StatusCode::OK if !answer.moved => self.read_legacy_list(answer, subject, wanted).await?,
            _ => None,
        };
        if index.is_none() {
            unsupported.insert(key, ());
        }
        Ok(index)
    }

    async fn read_legacy_list(
        &self,
        answer: Answer,
        subject: &Digest,
        wanted: Option<&str>,
    ) -> Result<Option<Index>, Error> {
        let is_json = matches!(Says::of(answer.content_type()), Says::Json | Says::Index);
        let next = link::next_page(&answer.headers, &answer.url);
        let content =
            answer.content(&self.repository, "list of referrers", MAX_MANIFEST, &self.client.room).await?;
        let index = match parse_legacy_list(&plain(&content), wanted) {
            Ok(index) => index,
            Err(ManifestError::Missing(_)) => return Ok(None),
            Err(ManifestError::Json { .. }) if !is_json => return Ok(None),
            Err(why) => return Err(self.refused_list(subject, &why)),
        };
        match next {
            Ok(None) => Ok(Some(index)),
            Ok(Some(_)) => Err(self.broken_listing(
                subject,
                "the list of ORAS artifact manifests has several pages, and only one is read",
            )),
            Err(Unclear) => Err(self.broken_listing(subject, UNCLEAR_LINK)),
        }
    }
}

const UNCLEAR_LINK: &str = "its Link header cannot be read, so there may be a next page";

/// The bytes of a list, which no digest verifies.
pub(crate) fn plain(content: &Sent) -> bytes::Bytes {
    content.inflated(MAX_MANIFEST).unwrap_or_else(|| content.bytes.clone())
}

/// The `Content-Type` of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// An index.
    Index,
    /// JSON.
    Json,
    /// The header is missing, cannot be read, or is a type for any content.
    Nothing,
    /// Another type.
    SomethingElse,
}

impl Says {
    fn of(content_type: Option<&str>) -> Self {
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            media_type::OCI_INDEX => Self::Index,
            "" | "text/plain" | "application/octet-stream" => Self::Nothing,
            other if other.ends_with("json") => Self::Json,
            // A word that is not a media type is a damaged media type.
            other if !other.contains('/') => Self::Nothing,
            _ => Self::SomethingElse,
        }
    }
}
