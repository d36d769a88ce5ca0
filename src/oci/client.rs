//! [`OciRegistry`]: the port answered from real registries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use http::header::HeaderName;
use http::{Method, StatusCode};
use moka::future::Cache as SharedCache;
use moka::sync::Cache;
use reqwest::Url;
use tokio::sync::Semaphore;

use crate::api::Reason;
use crate::decide::files::FileRules;
use crate::types::{Advice, Artifact, Digest, Failure, ImageRef, Index, RepositoryRef, parse_artifact};

use super::access::{Access, Repository, RepositoryKey};
use super::answer::Answer;
use super::auth::Authorizer;
use super::content::{ContentCache, MAX_MANIFEST, accept_manifests};
use super::guard::Guard;
use super::observe::{CacheKind, Observation, Observer};
use super::plugins::Plugins;
use super::throttle::Rate;
use super::transport::{Call, Transport};
use super::{Freshness, Listing, Pulled, Query, Registry, Subject};

/// Blobs or manifests of one artifact that are fetched side by side: a config has few files, and a registry counts
/// connections.
pub(super) const FETCHES: usize = 4;

/// Directories that are unpacked side by side in the whole process: each may take 16 MiB while it is.
const UNPACKS: usize = 2;

/// How long a registry that lacks the Referrers API is not asked for it again. It is per repository and credential,
/// so an upgraded registry is noticed within this.
const UNSUPPORTED_FOR: Duration = Duration::from_mins(10);

/// How long a registry that lacks the list of ORAS artifact manifests, as all do by now, is not asked for it again.
const LEGACY_UNSUPPORTED_FOR: Duration = Duration::from_hours(24);

/// How long an image that has nothing attached is taken to exist, once the registry has said so.
const CONFIRMED_FOR: Duration = Duration::from_mins(10);

/// How old an answer that may change can be and still serve another resource. Shorter than the shortest interval, so
/// that no resource is ever served its own last answer.
const RECENT: Duration = Duration::from_millis(900);

/// Repositories of which something is remembered.
const REPOSITORIES: u64 = 10_000;

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Bounds and permissions of the client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of verified blobs that are kept in memory; manifests get half as much on top.
    pub content_cache: u64,
    /// Which registries may be asked.
    pub guard: Guard,
    /// How much one registry is asked.
    pub rate: Rate,
    /// Programs that know credentials.
    pub plugins: Plugins,
}

impl Default for Settings {
    /// 16 MiB of content, which is that of some thousand typical configs; every registry; no plugins.
    fn default() -> Self {
        Self {
            content_cache: 16 * 1024 * 1024,
            guard: Guard::default(),
            rate: Rate::default(),
            plugins: Plugins::default(),
        }
    }
}

/// A client for any registry that follows the distribution specification.
pub struct OciRegistry {
    transport: Transport,
    authorizer: Authorizer,
    guard: Guard,
    plugins: Plugins,
    pub(super) cache: ContentCache,
    pub(super) unpacking: Semaphore,
    pub(super) without_referrers_api: Cache<RepositoryKey, ()>,
    pub(super) without_legacy_list: Cache<RepositoryKey, ()>,
    confirmed: Cache<(RepositoryKey, Digest), ()>,
    digests: Answers<(RepositoryKey, String), Digest>,
    pub(super) lists: Answers<(RepositoryKey, Digest, Option<String>), Arc<Index>>,
}

impl OciRegistry {
    /// A client whose requests are reported to `observer`.
    ///
    /// # Errors
    /// Where the system's certificates cannot be loaded.
    pub fn new(settings: Settings, observer: Observer) -> anyhow::Result<Self> {
        let Settings { content_cache, guard, rate, plugins } = settings;
        let remember = |time| Cache::builder().max_capacity(REPOSITORIES).time_to_live(time).build();
        Ok(Self {
            transport: Transport::new(guard.clone(), rate, observer).map_err(|why| anyhow!(why))?,
            authorizer: Authorizer::new(),
            guard,
            plugins,
            cache: ContentCache::new(content_cache),
            unpacking: Semaphore::new(UNPACKS),
            without_referrers_api: remember(UNSUPPORTED_FOR),
            without_legacy_list: remember(LEGACY_UNSUPPORTED_FOR),
            confirmed: Cache::builder().max_capacity(REPOSITORIES).time_to_live(CONFIRMED_FOR).build(),
            digests: SharedCache::builder().max_capacity(REPOSITORIES).time_to_live(RECENT).build(),
            lists: SharedCache::builder().max_capacity(REPOSITORIES).time_to_live(RECENT).build(),
        })
    }

    /// Reports whether an answer was there.
    pub(super) fn looked(&self, cache: CacheKind, hit: bool) {
        (self.transport.observer())(Observation::Cached { cache, hit });
    }

    async fn session(&self, access: &Access, repository: &RepositoryRef) -> Result<Session<'_>, Failure> {
        self.guard.check(repository)?;
        let more = self.plugins.credentials(repository).await;
        Ok(Session { client: self, repository: access.repository(repository, more) })
    }
}

/// One repository, reached with one set of rights.
pub(super) struct Session<'a> {
    pub(super) client: &'a OciRegistry,
    pub(super) repository: Repository,
}

impl Session<'_> {
    pub(super) fn call(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        accept: Option<String>,
    ) -> Result<Call, Failure> {
        let repository = &self.repository;
        let url = format!("{}://{}/v2/{}/{path}", repository.scheme(), repository.host, repository.path);
        let url: Url = url.parse().map_err(|error| {
            Failure::new(
                Reason::InvalidSpec,
                format!("'{}' is not a registry host: {error}", repository.host),
            )
        })?;
        Ok(Call { operation, method, url, accept, take_foreign_answer: false })
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        self.client.authorizer.send(&self.client.transport, &self.repository, call).await
    }

    /// The digest of a tag or digest, asked at most once at a time.
    async fn resolve(
        &self,
        image: &ImageRef,
        reference: &str,
        freshness: Freshness,
    ) -> Result<Digest, Failure> {
        let key = (self.repository.key(), reference.to_owned());
        let (digest, hit) =
            shared(&self.client.digests, key, freshness, || self.ask_digest(image, reference)).await?;
        self.client.looked(CacheKind::Digest, hit);
        Ok(digest)
    }

    /// `HEAD`, and `GET` where the registry does not say the digest in a header (old ones need not).
    async fn ask_digest(&self, image: &ImageRef, reference: &str) -> Result<Digest, Failure> {
        let path = format!("manifests/{reference}");
        let call = self.call("resolve", Method::HEAD, &path, Some(accept_manifests()))?;
        let answer = self.send(&call).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if !answer.moved => return Err(self.image_not_found(image)),
            StatusCode::METHOD_NOT_ALLOWED => return self.digest_of_content(image, &path).await,
            _ => return Err(answer.to_failure(&self.repository, &call)),
        }
        let header = answer.headers.get(DOCKER_CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        match header.and_then(|digest| digest.parse().ok()) {
            Some(digest) => Ok(digest),
            None => self.digest_of_content(image, &path).await,
        }
    }

    /// The digest of what stands under a tag, once it is known to be a manifest: the page of a gateway has a digest too.
    async fn digest_of_content(&self, image: &ImageRef, path: &str) -> Result<Digest, Failure> {
        let Some((bytes, content_type)) =
            self.get("resolve", path, Some(accept_manifests()), MAX_MANIFEST).await?
        else {
            return Err(self.image_not_found(image));
        };
        let digest = Digest::sha256(&bytes);
        parse_artifact(digest.clone(), &bytes, content_type.as_deref()).map_err(|why| {
            Failure::new(
                Reason::InvalidContent,
                format!("{}: what the registry has as {image} is no image: {why}", self.repository),
            )
        })?;
        Ok(digest)
    }

    /// Makes sure that the registry has a manifest of this digest, where nothing else has shown it lately: "nothing is
    /// attached" to what does not exist would mislead, and the digest of a tag is only what a header said.
    async fn confirm(&self, subject: &Subject, freshness: Freshness) -> Result<(), Failure> {
        let key = (self.repository.key(), subject.digest.clone());
        if !self.client.confirmed.contains_key(&key) {
            self.resolve(&subject.image, &subject.digest.to_string(), freshness).await?;
            self.client.confirmed.insert(key, ());
        }
        Ok(())
    }

    fn image_not_found(&self, image: &ImageRef) -> Failure {
        let message = format!("the registry {} does not have the image {image}", self.repository.host);
        Failure::new(Reason::ImageNotFound, message).advised(Advice::PushImage)
    }
}

/// Answers that may change, each with the time at which it was asked for.
pub(super) type Answers<K, V> = SharedCache<K, (Instant, V)>;

/// An answer that may change: the recent one of somebody with the same rights, or the one that is being fetched for
/// them, or a new one.
///
/// Where it has to be new, an answer counts that was asked for after this question: many who ask anew at the same time
/// still share, except for the one question that is under way when they come.
///
/// Also returns whether the answer was had without asking for it here.
pub(super) async fn shared<K, V, A>(
    answers: &Answers<K, V>,
    key: K,
    freshness: Freshness,
    ask: impl Fn() -> A,
) -> Result<(V, bool), Failure>
where
    K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    A: Future<Output = Result<V, Failure>>,
{
    let asked = Instant::now();
    loop {
        if freshness == Freshness::Now && answers.get(&key).await.is_some_and(|(begun, _)| begun < asked) {
            answers.invalidate(&key).await;
        }
        let mut hit = true;
        let fetch = async {
            hit = false;
            Ok((Instant::now(), ask().await?))
        };
        let (begun, answer) = answers
            .try_get_with(key.clone(), fetch)
            .await
            .map_err(|failure: Arc<Failure>| Failure::clone(&failure))?;
        // Ends at the second turn at the latest: whatever is fetched from now on is begun after `asked`.
        if freshness == Freshness::Recent || begun >= asked {
            return Ok((answer, hit));
        }
    }
}

impl Registry for OciRegistry {
    async fn resolve(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> Result<Subject, Failure> {
        let digest = match (image.digest(), image.tag()) {
            (Some(digest), _) => {
                self.guard.check(&image.repository())?;
                digest.clone()
            }
            (None, tag) => {
                let session = self.session(access, &image.repository()).await?;
                session.resolve(image, tag.unwrap_or("latest"), freshness).await?
            }
        };
        Ok(Subject { image: image.clone(), digest })
    }

    async fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        query: Query<'_>,
    ) -> Result<Listing, Failure> {
        let session = self.session(access, query.repository).await?;
        let mut listing = session.list(&subject.digest, query.artifact_type, query.freshness).await?;
        if !listing.artifacts.is_empty() {
            return Ok(listing);
        }
        let image = self.session(access, &subject.image.repository()).await?;
        image.confirm(subject, query.freshness).await?;
        if let Some(platform) = query.platform {
            match image.platform_manifest(&subject.digest, platform).await? {
                Some(manifest) => {
                    let mut below = session.list(&manifest, query.artifact_type, query.freshness).await?;
                    below.notes.insert(0, format!("looked at the {platform} manifest {manifest}"));
                    listing.notes.append(&mut below.notes);
                    listing.artifacts = below.artifacts;
                }
                None => listing.notes.push(format!("the image has no {platform} manifest")),
            }
        }
        Ok(listing)
    }

    async fn artifact(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        digest: &Digest,
    ) -> Result<Option<Artifact>, Failure> {
        let found = self.session(access, repository).await?.manifest(digest).await?;
        Ok(found.map(|artifact| (*artifact).clone()))
    }

    async fn pull(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        artifact: &Artifact,
        rules: &FileRules,
    ) -> Result<Pulled, Failure> {
        self.session(access, repository).await?.pull(artifact, rules).await
    }
}
