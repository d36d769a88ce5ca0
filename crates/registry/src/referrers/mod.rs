//! Lists of referrers: the Referrers API, page by page, or the referrers tag if the registry has no such API
//! (distribution-spec, "Listing Referrers").
//!
//! `Client::pull_referrers` of `oci-client` 0.18 is not used: it reads one page, trusts the filter, and takes 403 and
//! 429 on the tag for "nothing is attached".
//!
//! "Nothing is attached" needs the most general requests: without a filter, by the manifests' own types, and under the
//! referrers tag as well. They are only sent before that answer, and remembered.

mod api;
mod candidates;
pub(crate) mod link;
pub(crate) mod memory;
mod tag;

use std::sync::Arc;

use oci::{Digest, Index, ManifestError};

use crate::error::{Bound, Defect, Error, Kind};
use crate::fresh::shared;
use crate::observe::CacheKind;
use crate::port::{Freshness, Listing};
use crate::session::Session;
use memory::Asked;

impl Session<'_> {
    /// All artifacts of a type (or of any) that are attached to `subject`, complete and verified.
    pub(crate) async fn list(
        &self,
        subject: &Digest,
        wanted: Option<&str>,
        freshness: Freshness,
    ) -> Result<Listing, Error> {
        let asked = Asked {
            repository: self.repository.key(),
            subject: subject.clone(),
            artifact_type: wanted.map(str::to_owned),
        };
        let memory = &self.client.memory;
        let filter = wanted.is_some() && !memory.unfiltered.contains_key(&asked);
        let mut index = self.ask(&asked, filter, freshness).await?;
        let mut listing = self.read_candidates(subject, wanted, &index).await?;
        let by_api = !memory.without_api.contains_key(&asked.repository);
        if by_api && filter && listing.artifacts.is_empty() {
            // The registry may filter by another field than the type of the artifact.
            memory.unfiltered.insert(asked.clone(), ());
            index = self.ask(&asked, false, freshness).await?;
            listing = self.read_candidates(subject, wanted, &index).await?;
        }
        if listing.artifacts.is_empty() {
            let others = self.read_others(subject, wanted, &index).await?;
            also(&mut listing, others);
        }
        if by_api && listing.artifacts.is_empty() {
            self.under_the_tag(&asked, &mut listing).await?;
        }
        if listing.artifacts.is_empty()
            && let Some(index) = self.list_by_legacy_api(subject, wanted).await?
        {
            let older = self.read_candidates(subject, wanted, &index).await?;
            also(&mut listing, older);
        }
        Ok(listing)
    }

    /// The list. Callers at the same time share one request.
    async fn ask(&self, asked: &Asked, filter: bool, freshness: Freshness) -> Result<Arc<Index>, Error> {
        let recent = &self.client.memory.recent;
        let key = (asked.clone(), filter);
        let (index, hit) = shared(recent, key, freshness, || self.ask_list(asked, filter)).await?;
        self.client.note_cached(CacheKind::List, hit);
        Ok(index)
    }

    async fn ask_list(&self, asked: &Asked, filter: bool) -> Result<Arc<Index>, Error> {
        let unsupported = &self.client.memory.without_api;
        if !unsupported.contains_key(&asked.repository) {
            let wanted = asked.artifact_type.as_deref();
            if let Some(index) = self.list_by_api(&asked.subject, wanted, filter).await? {
                return Ok(Arc::new(index));
            }
            unsupported.insert(asked.repository.clone(), ());
        }
        Ok(self.list_by_tag(asked).await?.unwrap_or_default())
    }

    /// A registry that was upgraded to the Referrers API may not list by it the artifacts under the tag. But the API
    /// has answered, so a refused request for the tag is not an error.
    async fn under_the_tag(&self, asked: &Asked, listing: &mut Listing) -> Result<(), Error> {
        let without = &self.client.memory.without_tag;
        if without.contains_key(asked) {
            return Ok(());
        }
        let index = match self.list_by_tag(asked).await {
            Ok(index) => index.unwrap_or_default(),
            Err(error) if error.kind().is_unavailable() || matches!(error.kind(), Kind::RateLimited(_)) => {
                return Err(error);
            }
            Err(_) => Arc::default(),
        };
        let wanted = asked.artifact_type.as_deref();
        let mut tagged = self.read_candidates(&asked.subject, wanted, &index).await?;
        if tagged.artifacts.is_empty() {
            without.insert(asked.clone(), ());
        } else {
            tagged.notes.push(format!(
                "the registry's Referrers API does not list what the tag {} does",
                asked.subject.referrers_tag()
            ));
        }
        also(listing, tagged);
        Ok(())
    }

    fn too_much(&self, subject: &Digest, what: &str) -> Error {
        Error::new(Kind::TooLarge(Bound::Listing), format!("{}@{subject}: {what}", self.repository))
    }

    fn broken_listing(&self, subject: &Digest, why: &str) -> Error {
        Error::new(
            Kind::Invalid(Defect::Other),
            format!("{}@{subject}: the registry's list of referrers is not used: {why}", self.repository),
        )
    }

    fn refused_list(&self, subject: &Digest, why: &ManifestError) -> Error {
        match why {
            ManifestError::TooMany(_, most) => {
                self.too_much(subject, &format!("more than {most} artifacts may be of the type"))
            }
            _ => Error::new(
                Kind::Invalid(Defect::Other),
                format!("{}@{subject}: the list of referrers is refused: {why}", self.repository),
            ),
        }
    }
}

/// Adds the artifacts of another way, or its reason for finding none.
fn also(listing: &mut Listing, mut more: Listing) {
    listing.artifacts.append(&mut more.artifacts);
    for note in more.notes {
        if !listing.notes.contains(&note) {
            listing.notes.push(note);
        }
    }
    listing.types.append(&mut more.types);
    listing.types.sort();
    listing.types.dedup();
    if !listing.artifacts.is_empty() {
        listing.types.clear();
    }
}
