//! [`OciRegistry`]: the port answered from real registries.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http::header::HeaderName;
use http::{Method, StatusCode};
use moka::sync::Cache;
use reqwest::Url;

use crate::api::Reason;
use crate::decide::files::FileRules;
use crate::decide::render::{MAX_CONFIG_MAP, check_size};
use crate::types::{Artifact, ConfigFile, Descriptor, Digest, Failure, ImageRef, normalize_path};

use super::access::{Access, Repository, RepositoryKey};
use super::archive::{self, Archive};
use super::auth::Authorizer;
use super::content::{ContentCache, MAX_MANIFEST, accept_manifests};
use super::transport::{Answer, Call, Observer, Transport};
use super::{Listing, Registry, Subject};

/// Blobs or manifests of one artifact that are fetched side by side: a config has few files, and a registry counts
/// connections.
pub(super) const FETCHES: usize = 4;

/// How long a registry that lacks the Referrers API is not asked for it again. It is per repository and credential,
/// so an upgraded registry is noticed within this.
const UNSUPPORTED_FOR: Duration = Duration::from_mins(10);

/// Layers of one artifact that are looked at: far above what one `ConfigMap` holds.
const MAX_LAYERS: usize = 4096;

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Bounds of the client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of verified blobs that are kept in memory; manifests get half as much on top.
    pub content_cache: u64,
}

impl Default for Limits {
    /// 16 MiB: the content of some thousand typical configs.
    fn default() -> Self {
        Self { content_cache: 16 * 1024 * 1024 }
    }
}

/// A client for any registry that follows the distribution specification.
pub struct OciRegistry {
    transport: Transport,
    authorizer: Authorizer,
    pub(super) cache: ContentCache,
    pub(super) without_referrers_api: Cache<RepositoryKey, ()>,
}

impl OciRegistry {
    /// A client whose requests are reported to `observer`.
    ///
    /// # Errors
    /// Where the system's certificates cannot be loaded.
    pub fn new(limits: Limits, observer: Observer) -> anyhow::Result<Self> {
        Ok(Self {
            transport: Transport::new(observer)?,
            authorizer: Authorizer::new(),
            cache: ContentCache::new(limits.content_cache),
            without_referrers_api: Cache::builder().max_capacity(10_000).time_to_live(UNSUPPORTED_FOR).build(),
        })
    }

    fn session(&self, access: &Access, image: &ImageRef) -> Session<'_> {
        Session { client: self, repository: access.repository(image) }
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
        let url = format!("{}://{}/v2/{}/{path}", repository.scheme(), repository.host, repository.name);
        let url: Url = url.parse().map_err(|error| {
            Failure::new(Reason::InvalidSpec, format!("spec.image: '{}' is not a registry host: {error}", repository.host))
        })?;
        Ok(Call { operation, method, url, accept })
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        self.client.authorizer.send(&self.client.transport, &self.repository, call).await
    }

    /// The digest of a tag: `HEAD`, and `GET` where the registry does not say it in a header (old ones need not).
    async fn resolve(&self, image: &ImageRef, reference: &str) -> Result<Digest, Failure> {
        let path = format!("manifests/{reference}");
        let call = self.call("resolve", Method::HEAD, &path, Some(accept_manifests()))?;
        let answer = self.send(&call).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.image_not_found(image)),
            StatusCode::METHOD_NOT_ALLOWED => return self.resolve_by_content(image, &path).await,
            _ => return Err(answer.into_failure(&self.repository, &call).await),
        }
        let header = answer.headers.get(DOCKER_CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        match header.and_then(|digest| digest.parse().ok()) {
            Some(digest) => Ok(digest),
            None => self.resolve_by_content(image, &path).await,
        }
    }

    async fn resolve_by_content(&self, image: &ImageRef, path: &str) -> Result<Digest, Failure> {
        match self.get("resolve", path, Some(accept_manifests()), MAX_MANIFEST).await? {
            Some((bytes, _)) => Ok(Digest::sha256(&bytes)),
            None => Err(self.image_not_found(image)),
        }
    }

    fn image_not_found(&self, image: &ImageRef) -> Failure {
        Failure::new(
            Reason::ImageNotFound,
            format!("the registry {} does not have the image {image}; push it, or correct spec.image", self.repository.host),
        )
    }

    async fn pull(&self, artifact: &Artifact, rules: &FileRules) -> Result<Vec<ConfigFile>, Failure> {
        let layers = self.wanted_layers(artifact, rules)?;
        // Collected before they are polled: a closure that borrows per item defeats the proof that this is Send.
        let downloads: Vec<_> = layers.into_iter().map(|layer| self.files_of(layer, rules)).collect();
        let files: Vec<Vec<ConfigFile>> =
            futures::stream::iter(downloads).buffered(FETCHES).try_collect().await?;
        Ok(files.into_iter().flatten().collect())
    }

    async fn files_of(&self, layer: Layer<'_>, rules: &FileRules) -> Result<Vec<ConfigFile>, Failure> {
        let bytes = self.blob(layer.descriptor).await?;
        match layer.form {
            Form::File { path } => Ok(vec![ConfigFile { path, bytes }]),
            Form::Directory => {
                let archive = Archive::of(layer.descriptor, bytes)?;
                let rules = rules.clone();
                // Inflating and hashing is work for the processor, not for the threads that wait on sockets.
                tokio::task::spawn_blocking(move || archive::unpack(&archive, |path| rules.wants(path)))
                    .await
                    .unwrap_or_else(|error| {
                        Err(Failure::new(Reason::InternalError, format!("unpacking did not finish: {error}")))
                    })
            }
        }
    }

    /// The layers to fetch, with everything refused that can be told from the manifest alone.
    fn wanted_layers<'l>(&self, artifact: &'l Artifact, rules: &FileRules) -> Result<Vec<Layer<'l>>, Failure> {
        let place = format!("{}@{}", self.repository, artifact.digest);
        let unsupported = |why: String| Failure::new(Reason::UnsupportedArtifact, format!("{place}: {why}"));
        if artifact.is_index {
            return Err(unsupported("the artifact is an index, which holds no files itself; attach the files directly".to_owned()));
        }
        if artifact.layers.len() > MAX_LAYERS {
            return Err(unsupported(format!("the artifact has {} layers; at most {MAX_LAYERS} are read", artifact.layers.len())));
        }
        let mut wanted = Vec::new();
        let mut untitled = 0;
        for descriptor in &artifact.layers {
            let Some(title) = descriptor.title() else {
                untitled += 1;
                continue;
            };
            if archive::is_directory(descriptor) {
                if descriptor.size > archive::MAX_ARCHIVE {
                    return Err(Failure::new(
                        Reason::TooLarge,
                        format!("{place}: the directory '{title}' has {} bytes packed; at most {} are read", descriptor.size, archive::MAX_ARCHIVE),
                    ));
                }
                wanted.push(Layer { descriptor, form: Form::Directory });
                continue;
            }
            let path = normalize_path(title)
                .map_err(|error| Failure::new(Reason::InvalidFiles, format!("{place}: {error}")))?;
            if rules.wants(&path) {
                wanted.push(Layer { descriptor, form: Form::File { path } });
            }
        }
        if untitled > 0 && untitled == artifact.layers.len() {
            return Err(unsupported(format!(
                "none of its {untitled} layers has the annotation {} with a file name; attach the files with 'oras attach'",
                crate::types::TITLE
            )));
        }
        check_size(wanted.iter().filter_map(Layer::declared_size))?;
        Ok(wanted)
    }
}

/// A layer to fetch, and what it holds.
struct Layer<'a> {
    descriptor: &'a Descriptor,
    form: Form,
}

enum Form {
    File { path: String },
    Directory,
}

impl Layer<'_> {
    fn declared_size(&self) -> Option<(&str, u64)> {
        match &self.form {
            Form::File { path } => Some((path, self.descriptor.size)),
            Form::Directory => None,
        }
    }
}

// A single file can be as large as a ConfigMap, and a directory at least as large.
const _: () = assert!(archive::MAX_ARCHIVE >= MAX_CONFIG_MAP);

impl Registry for OciRegistry {
    async fn resolve(&self, access: &Access, image: &ImageRef) -> Result<Subject, Failure> {
        let digest = match (image.digest(), image.tag()) {
            (Some(digest), _) => digest.clone(),
            (None, tag) => self.session(access, image).resolve(image, tag.unwrap_or("latest")).await?,
        };
        Ok(Subject { image: image.clone(), digest })
    }

    async fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        artifact_type: Option<&str>,
    ) -> Result<Listing, Failure> {
        let session = self.session(access, &subject.image);
        let listing = session.list(&subject.digest, artifact_type).await?;
        if listing.artifacts.is_empty() && subject.image.digest().is_some() {
            // Nobody has asked yet whether a pinned image exists at all, and "nothing attached" would mislead.
            session.resolve(&subject.image, &subject.digest.to_string()).await?;
        }
        Ok(listing)
    }

    async fn pull(
        &self,
        access: &Access,
        subject: &Subject,
        artifact: &Artifact,
        rules: &FileRules,
    ) -> Result<Vec<ConfigFile>, Failure> {
        self.session(access, &subject.image).pull(artifact, rules).await
    }
}
