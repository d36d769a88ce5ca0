//! [`OciRegistry`]: the client with its bounds and its memory.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache as SharedCache;
use moka::sync::Cache;
use oci::Digest;
use tokio::sync::Semaphore;

use crate::content::cache::ContentCache;
use crate::credentials::access::RepositoryKey;
use crate::credentials::plugins::Plugins;
use crate::error::{Error, Kind};
use crate::fresh::{Answers, RECENT, REPOSITORIES};
use crate::http::policy::AddressPolicy;
use crate::http::room::Room;
use crate::http::throttle::Rate;
use crate::http::transport::Transport;
use crate::login::authorizer::Authorizer;
use crate::observe::{CacheKind, Observation, Observer};
use crate::referrers::memory::Memory;

/// Artifacts that are sorted or unpacked side by side in the whole process. Each may take 16 MiB meanwhile.
const UNPACKS: usize = 2;

/// How long an image without attached artifacts counts as existing after the registry has confirmed it.
const CONFIRMED_FOR: Duration = Duration::from_mins(10);

/// How long the answer of a repository counts: long enough for the requests of one reconcile.
const ADMITTED_FOR: Duration = Duration::from_mins(1);

/// Bounds and permissions of the client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of verified blobs that are kept in memory; manifests get half as much on top.
    pub content_cache: u64,
    /// Which registries may be asked.
    pub policy: AddressPolicy,
    /// Bounds of the requests to one registry.
    pub rate: Rate,
    /// Programs that give credentials.
    pub plugins: Plugins,
}

impl Default for Settings {
    /// 16 MiB of content, which is enough for some thousand typical configs; every registry; no plugins.
    fn default() -> Self {
        Self {
            content_cache: 16 * 1024 * 1024,
            policy: AddressPolicy::default(),
            rate: Rate::default(),
            plugins: Plugins::default(),
        }
    }
}

/// A client for any registry that follows the distribution specification.
pub struct OciRegistry {
    pub(crate) transport: Transport,
    pub(crate) authorizer: Authorizer,
    pub(crate) policy: AddressPolicy,
    pub(crate) plugins: Plugins,
    pub(crate) cache: ContentCache,
    pub(crate) unpacking: Arc<Semaphore>,
    pub(crate) room: Room,
    /// Facts about lists of referrers.
    pub(crate) memory: Memory,
    /// Repositories that have answered lately.
    pub(crate) admitted: Cache<RepositoryKey, ()>,
    pub(crate) confirmed: Cache<(RepositoryKey, Digest), ()>,
    pub(crate) digests: Answers<(RepositoryKey, String), Digest>,
}

impl OciRegistry {
    /// A client whose requests are reported to `observer`.
    ///
    /// # Errors
    /// If the system's certificates cannot be loaded.
    pub fn new(settings: Settings, observer: Observer) -> Result<Self, Error> {
        let Settings { content_cache, policy, rate, plugins } = settings;
        Ok(Self {
            transport: Transport::new(policy.clone(), rate, observer)
                .map_err(|why| Error::new(Kind::Internal, why))?,
            authorizer: Authorizer::new(),
            policy,
            plugins,
            cache: ContentCache::new(content_cache),
            unpacking: Arc::new(Semaphore::new(UNPACKS)),
            room: Room::new(),
            memory: Memory::new(),
            admitted: Cache::builder().max_capacity(REPOSITORIES).time_to_live(ADMITTED_FOR).build(),
            confirmed: Cache::builder().max_capacity(REPOSITORIES).time_to_live(CONFIRMED_FOR).build(),
            digests: SharedCache::builder().max_capacity(REPOSITORIES).time_to_live(RECENT).build(),
        })
    }

    /// Reports whether an answer was in the cache.
    pub(crate) fn note_cached(&self, cache: CacheKind, hit: bool) {
        (self.transport.observer())(Observation::Cached { cache, hit });
    }
}
