//! The memory of lists, so that a detour does not cost its requests in each reconcile.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache as SharedCache;
use moka::sync::Cache;
use oci::{Digest, Index};

use crate::credentials::access::RepositoryKey;
use crate::fresh::{Answers, RECENT, REPOSITORIES};

/// How long a detour is remembered: a registry without the Referrers API, a filter that leaves out matching artifacts,
/// a tag that does not exist. An upgraded registry is noticed within this time.
const DETOUR: Duration = Duration::from_mins(10);

/// How long a registry that lacks the list of ORAS artifact manifests, as all do by now, is not asked for it again.
const WITHOUT_LEGACY_LIST: Duration = Duration::from_hours(24);

/// Memory that the lists of the last second may take. A larger list is not shared between callers.
const RECENT_LISTS: u64 = 8 * 1024 * 1024;

/// Memory that the lists under tags may take. One has some hundred bytes. A list without room is fetched again.
const TAGGED_LISTS: u64 = 8 * 1024 * 1024;

/// How long an unused list under a tag is kept.
const TAGGED_IDLE: Duration = Duration::from_hours(24);

/// A request for a list of referrers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub repository: RepositoryKey,
    pub subject: Digest,
    pub artifact_type: Option<String>,
}

/// The list that a tag held, and its digest.
pub(crate) struct Tagged {
    pub digest: Digest,
    pub index: Arc<Index>,
}

/// The memory of lists, per repository and credential.
pub(crate) struct Memory {
    pub(crate) without_api: Cache<RepositoryKey, ()>,
    pub(crate) without_legacy_list: Cache<RepositoryKey, ()>,
    /// Questions that are asked without a filter.
    pub(crate) unfiltered: Cache<Asked, ()>,
    /// Questions for which the tag has no more artifacts than the Referrers API.
    pub(crate) without_tag: Cache<Asked, ()>,
    pub(crate) tagged: Cache<Asked, Arc<Tagged>>,
    pub(crate) recent: Answers<(Asked, bool), Arc<Index>>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let repositories = |time| Cache::builder().max_capacity(REPOSITORIES).time_to_live(time).build();
        let questions = || Cache::builder().max_capacity(REPOSITORIES).time_to_live(DETOUR).build();
        Self {
            without_api: repositories(DETOUR),
            without_legacy_list: repositories(WITHOUT_LEGACY_LIST),
            unfiltered: questions(),
            without_tag: questions(),
            tagged: Cache::builder()
                .max_capacity(TAGGED_LISTS)
                .weigher(|_, tagged: &Arc<Tagged>| weight(&tagged.index))
                .time_to_idle(TAGGED_IDLE)
                .build(),
            recent: SharedCache::builder()
                .max_capacity(RECENT_LISTS)
                .weigher(|_, (_, index): &(_, Arc<Index>)| weight(index))
                .time_to_live(RECENT)
                .build(),
        }
    }
}

/// The approximate size of a list with its key in memory.
fn weight(index: &Index) -> u32 {
    let entries: usize = index.entries.values().map(oci::Entry::weight).sum();
    let others = index.others.len() * 128;
    let types: usize = index.types.iter().map(|text| text.len() + 32).sum();
    u32::try_from(512 + entries + others + types).unwrap_or(u32::MAX)
}
