//! [`OciRegistry`]: the port answered from real registries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::{Method, StatusCode};
use moka::future::Cache as SharedCache;
use moka::sync::Cache;
use reqwest::Url;
use tokio::sync::Semaphore;

use crate::types::{Digest, ImageRef, ManifestError, RepositoryRef, parse_artifact};

use super::access::{Access, Repository, RepositoryKey};
use super::answer::Answer;
use super::auth::Authorizer;
use super::content::{ContentCache, MAX_MANIFEST, accept_manifests};
use super::error::{Defect, Error, Kind, Login};
use super::guard::Guard;
use super::observe::{CacheKind, Observation, Observer};
use super::plugins::Plugins;
use super::referrers::Memory;
use super::room::Room;
use super::throttle::Rate;
use super::transport::{Call, Transport};
use super::wanted::Wanted;
use super::{Artifact, Freshness, Listing, Pulled, Query, Registry, Subject};

/// Blobs or manifests of one artifact that are fetched side by side: a config has few files, and a registry counts
/// connections.
pub(super) const FETCHES: usize = 4;

/// Artifacts that are sorted or unpacked side by side in the whole process: each may take 16 MiB while it is.
const UNPACKS: usize = 2;

/// How long an image that has nothing attached is taken to exist, once the registry has said so.
const CONFIRMED_FOR: Duration = Duration::from_mins(10);

/// How long it counts that a repository has answered: for the questions of one look.
const ADMITTED_FOR: Duration = Duration::from_mins(1);

/// The operation that asks for an image: the first of a look, and the one that may be refused to nobody who may pull.
const RESOLVE: &str = "resolve";

/// How old an answer that may change can be and still serve another resource. Shorter than the shortest interval, so
/// that no resource is ever served its own last answer.
pub(super) const RECENT: Duration = Duration::from_millis(900);

/// Repositories of which something is remembered.
pub(super) const REPOSITORIES: u64 = 10_000;

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
    pub(super) unpacking: Arc<Semaphore>,
    pub(super) room: Room,
    /// What is remembered of lists.
    pub(super) memory: Memory,
    /// Repositories that have answered lately.
    admitted: Cache<RepositoryKey, ()>,
    confirmed: Cache<(RepositoryKey, Digest), ()>,
    digests: Answers<(RepositoryKey, String), Digest>,
}

impl OciRegistry {
    /// A client whose requests are reported to `observer`.
    ///
    /// # Errors
    /// Where the system's certificates cannot be loaded.
    pub fn new(settings: Settings, observer: Observer) -> Result<Self, Error> {
        let Settings { content_cache, guard, rate, plugins } = settings;
        Ok(Self {
            transport: Transport::new(guard.clone(), rate, observer)
                .map_err(|why| Error::new(Kind::Internal, why))?,
            authorizer: Authorizer::new(),
            guard,
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

    /// Reports whether an answer was there.
    pub(super) fn looked(&self, cache: CacheKind, hit: bool) {
        (self.transport.observer())(Observation::Cached { cache, hit });
    }

    async fn session(&self, access: &Access, repository: &RepositoryRef) -> Result<Session<'_>, Error> {
        self.guard.check(repository)?;
        let more = self.plugins.credentials(repository).await;
        Ok(Session { client: self, repository: access.repository(repository, more)? })
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
    ) -> Result<Call, Error> {
        let repository = &self.repository;
        let url = format!("{}://{}/v2/{}/{path}", repository.scheme(), repository.host, repository.path);
        let url: Url = url.parse().map_err(|error| {
            Error::new(Kind::Host, format!("'{}' is not a registry host: {error}", repository.host))
        })?;
        Ok(Call { operation, method, url, accept, take_foreign_answer: false, take_last_answer: false })
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Answer, Error> {
        let client = self.client;
        let answer = client.authorizer.send(&client.transport, &self.repository, call).await;
        match answer {
            Ok(answer) => {
                if answer.status.is_success() && !answer.moved {
                    client.admitted.insert(self.repository.key(), ());
                }
                Ok(answer)
            }
            Err(error) => Err(self.explained(error, call)),
        }
    }

    /// What the status of an answer means.
    pub(super) fn refusal(&self, answer: &Answer, call: &Call) -> Error {
        let error = answer.to_error(&self.repository, call);
        if answer.moved { error } else { self.explained(error, call) }
    }

    /// Credentials that have just been good enough are not what is wrong.
    fn explained(&self, error: Error, call: &Call) -> Error {
        let admitted = match error.kind() {
            Kind::Unauthorized(Login::Refused) => Kind::Unauthorized(Login::Admitted),
            Kind::Forbidden(Login::Refused) => Kind::Forbidden(Login::Admitted),
            _ => return error,
        };
        let is_admitted =
            call.operation != RESOLVE && self.client.admitted.contains_key(&self.repository.key());
        if is_admitted { error.of_kind(admitted) } else { error }
    }

    /// The digest of a tag or digest, asked at most once at a time.
    async fn resolve(
        &self,
        image: &ImageRef,
        reference: &str,
        freshness: Freshness,
    ) -> Result<Digest, Error> {
        let key = (self.repository.key(), reference.to_owned());
        let (digest, hit) =
            shared(&self.client.digests, key, freshness, || self.ask_digest(image, reference)).await?;
        self.client.looked(CacheKind::Digest, hit);
        Ok(digest)
    }

    /// `HEAD`, and `GET` wherever that does not tell the digest: registries need not say it in a header, and what stands
    /// in front of them may know `GET` alone. Nothing is said about an image that rests on `HEAD`.
    async fn ask_digest(&self, image: &ImageRef, reference: &str) -> Result<Digest, Error> {
        let path = format!("manifests/{reference}");
        match self.head(RESOLVE, &path, accept_manifests()).await? {
            Some(digest) => Ok(digest),
            None => self.digest_of_content(image, &path).await,
        }
    }

    /// The digest that `HEAD` tells, or nothing where it is for `GET` to say what there is.
    ///
    /// # Errors
    /// Where nobody answers, or who does wants to be asked less.
    pub(super) async fn head(
        &self,
        operation: &'static str,
        path: &str,
        accept: String,
    ) -> Result<Option<Digest>, Error> {
        let mut call = self.call(operation, Method::HEAD, path, Some(accept))?;
        call.take_last_answer = true;
        match self.send(&call).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(digest_header(&answer)),
            Ok(answer) if answer.wants_less() => Err(self.refusal(&answer, &call)),
            Ok(_) => Ok(None),
            Err(error) if error.kind().is_unauthorized() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The digest of what stands under a tag, once it is known to be a manifest: the page of a gateway has a digest too.
    async fn digest_of_content(&self, image: &ImageRef, path: &str) -> Result<Digest, Error> {
        let Some(content) = self.get(RESOLVE, path, Some(accept_manifests()), MAX_MANIFEST).await? else {
            return Err(self.image_not_found(image));
        };
        let bytes = content.inflated(MAX_MANIFEST).unwrap_or_else(|| content.bytes.clone());
        let digest = Digest::sha256(&bytes);
        match parse_artifact(digest.clone(), &bytes, content.content_type.as_deref()) {
            // That it is an image is all that has to be known of it.
            Ok(_)
            | Err(ManifestError::Member(..) | ManifestError::Entry { .. } | ManifestError::TooMany(..)) => {
                Ok(digest)
            }
            Err(why) => Err(Error::new(
                Kind::Invalid(Defect::Other),
                format!("{}: what the registry has as {image} is no image: {why}", self.repository),
            )),
        }
    }

    /// Makes sure that the registry has a manifest of this digest, where nothing else has shown it lately: "nothing is
    /// attached" to what does not exist would mislead, and the digest of a tag is only what a header said.
    async fn confirm(&self, subject: &Subject, freshness: Freshness) -> Result<(), Error> {
        let key = (self.repository.key(), subject.digest.clone());
        if !self.client.confirmed.contains_key(&key) {
            self.resolve(&subject.image, &subject.digest.to_string(), freshness).await?;
            self.client.confirmed.insert(key, ());
        }
        Ok(())
    }

    fn image_not_found(&self, image: &ImageRef) -> Error {
        let message = format!("the registry {} does not have the image {image}", self.repository.host);
        Error::new(Kind::ImageNotFound, message)
    }
}

/// The digest that an answer names, where it can be read.
fn digest_header(answer: &Answer) -> Option<Digest> {
    answer.headers.get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?.trim().parse().ok()
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
) -> Result<(V, bool), Error>
where
    K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    A: Future<Output = Result<V, Error>>,
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
            .map_err(|error: Arc<Error>| Error::clone(&error))?;
        // Ends at the second turn at the latest: whatever is fetched from now on is begun after `asked`.
        if freshness == Freshness::Recent || begun >= asked {
            return Ok((answer, hit));
        }
    }
}

impl OciRegistry {
    async fn digest_of(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> Result<Digest, Error> {
        match (image.digest(), image.tag()) {
            (Some(digest), _) => {
                self.guard.check(&image.repository())?;
                Ok(digest.clone())
            }
            (None, tag) => {
                let session = self.session(access, &image.repository()).await?;
                session.resolve(image, tag.unwrap_or("latest"), freshness).await
            }
        }
    }

    async fn list(&self, access: &Access, subject: &Subject, query: Query<'_>) -> Result<Listing, Error> {
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
                    listing.types.append(&mut below.types);
                }
                None => listing.notes.push(format!("the image has no {platform} manifest")),
            }
        }
        Ok(listing)
    }
}

impl Registry for OciRegistry {
    async fn resolve(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> Result<Subject, Error> {
        let digest = self.digest_of(access, image, freshness).await;
        let digest = digest.map_err(|error| error.asked(&image.repository(), image.digest()))?;
        Ok(Subject { image: image.clone(), digest })
    }

    async fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        query: Query<'_>,
    ) -> Result<Listing, Error> {
        let listing = self.list(access, subject, query).await;
        listing.map_err(|error| error.asked(query.repository, Some(&subject.digest)))
    }

    async fn artifact(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        digest: &Digest,
    ) -> Result<Option<Artifact>, Error> {
        let found = async { self.session(access, repository).await?.sound_manifest(digest).await };
        found.await.map_err(|error| error.asked(repository, Some(digest)))
    }

    async fn pull(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        artifact: &Artifact,
        wanted: Arc<dyn Wanted>,
    ) -> Result<Pulled, Error> {
        let pulled = async { self.session(access, repository).await?.pull(artifact, wanted).await };
        pulled.await.map_err(|error| error.asked(repository, Some(&artifact.digest)))
    }
}
