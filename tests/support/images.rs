//! The registry's side of a bench: images, artifacts and requests.

use std::time::SystemTime;

use anyhow::Result;
use testbed::registry::{Fault, FaultId, RecordedRequest};

use super::Bench;
use super::world::Kind;

/// The artifact type that tests attach, as in the documentation of ORAS.
pub const CONFIG_TYPE: &str = "custom/config";

/// Key and text of a file, for comparisons with `data`.
pub fn text(files: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    files.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Bench {
    /// A reference into a repository that is this test's alone: `host/<namespace>/<name>`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.world.host(self.kind), self.namespace)
    }

    /// Pushes a new image; returns its digest.
    pub async fn push(&self, image: &str) -> Result<String> {
        self.world.oras.push_image(image).await
    }

    /// Attaches text files; returns the artifact's digest. Without an explicit date, the later of two attaches within
    /// one second is not the newer one: see [`Bench::attach_at`].
    pub async fn attach(&self, image: &str, files: &[(&str, &str)]) -> Result<String> {
        self.attach_with(image, CONFIG_TYPE, files, &[]).await
    }

    /// Attaches text files that were created at that minute of a day.
    pub async fn attach_at(&self, image: &str, minute: u32, files: &[(&str, &str)]) -> Result<String> {
        self.attach_with(image, CONFIG_TYPE, files, &[("org.opencontainers.image.created", &created(minute))])
            .await
    }

    /// Attaches with everything chosen.
    pub async fn attach_with(
        &self,
        image: &str,
        artifact_type: &str,
        files: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Result<String> {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        self.world.oras.attach(image, artifact_type, &files, annotations).await
    }

    /// An image with a config attached at minute 1: references and digests of both.
    pub async fn image_with(&self, name: &str, files: &[(&str, &str)]) -> Result<(String, String, String)> {
        let image = self.image(name);
        let digest = self.push(&image).await?;
        let artifact = self.attach_at(&image, 1, files).await?;
        Ok((image, digest, artifact))
    }

    /// Makes the embedded registry misbehave on this test's repositories only.
    pub fn inject(&self, part: &'static str, does: impl FnOnce(Fault) -> Fault) -> FaultId {
        let prefix = format!("/v2/{}/", self.namespace);
        let when = Fault::when(move |request| {
            let path = request.uri.path();
            path.starts_with(&prefix) && path.contains(part) && is_operator(&request.headers)
        });
        self.world.embedded.inject(does(when))
    }

    /// The operator's requests to this test's repositories since then. Only the embedded registry records them.
    pub fn requests_since(&self, since: SystemTime) -> Vec<RecordedRequest> {
        debug_assert_eq!(self.kind, Kind::Embedded);
        let prefix = format!("/v2/{}/", self.namespace);
        self.world
            .embedded
            .requests()
            .into_iter()
            .filter(|request| request.at >= since && request.path.starts_with(&prefix))
            .filter(|request| is_operator(&request.headers))
            .collect()
    }
}

/// Distinguishes the operator from `oras`.
fn is_operator(headers: &http::HeaderMap) -> bool {
    headers
        .get(http::header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.starts_with("artifactconfig/"))
}

/// `org.opencontainers.image.created` with the resolution that `oras` has.
fn created(minute: u32) -> String {
    format!("2026-01-01T{:02}:{:02}:00Z", minute / 60, minute % 60)
}

/// The question about the image's own tag. The list under the referrers tag is asked for by `HEAD` as well.
pub fn is_resolve(request: &RecordedRequest) -> bool {
    request.method == "HEAD" && !request.path.contains("/manifests/sha256-")
}
