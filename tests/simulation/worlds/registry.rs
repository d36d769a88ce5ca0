//! A registry with one repository, and the port to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::Reason;
use oci::{CREATED, ConfigFile, Digest, ImageRef, RepositoryRef, TITLE, media_type, read_artifact};
use registry::{
    Access, Artifact, Cause, Defect, Error, Freshness, Kind, Listing, Login, Party, Pulled, Query, Registry,
    Subject, Wanted,
};
use serde_json::{Value, json};

use super::{State, Turn, World};
use crate::names::{self, IMAGES, TAGS};
use crate::prng::Prng;

/// An attached artifact.
#[derive(Clone, Debug)]
pub struct Attached {
    pub artifact: Artifact,
    pub files: Vec<ConfigFile>,
    /// The defect of the artifact itself.
    pub defect: Option<Reason>,
}

/// The content of the registry at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub tags: BTreeMap<String, Digest>,
    pub artifacts: BTreeSet<Digest>,
}

/// The registry. `known` has all artifacts that were ever attached, `held` the present ones.
pub struct Store {
    pub up: bool,
    pub held: Held,
    /// The content before the last change, for answers of a replica that lags behind.
    pub past: Held,
    pub known: BTreeMap<Digest, Attached>,
}

impl Store {
    pub fn new() -> Self {
        let tags = TAGS.iter().enumerate().map(|(index, tag)| ((*tag).to_owned(), names::image(index)));
        let held = Held { tags: tags.collect(), artifacts: BTreeSet::new() };
        Self { up: true, past: held.clone(), held, known: BTreeMap::new() }
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Held)) {
        let before = self.held.clone();
        change(&mut self.held);
        if self.held != before {
            self.past = before;
        }
    }

    /// Attaches, as `oras attach` does: equal bytes at the same time are the same artifact.
    pub fn attach(
        &mut self,
        image: usize,
        artifact_type: &str,
        files: Vec<ConfigFile>,
        created: Option<String>,
        defect: Option<Reason>,
    ) -> Digest {
        let layers: Vec<_> = files.iter().map(layer).collect();
        let mut annotations: BTreeMap<&str, String> =
            created.into_iter().map(|created| (CREATED, created)).collect();
        annotations.extend(defect.map(|defect| ("defect", defect.as_str().to_owned())));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": artifact_type,
            "layers": layers, "subject": {"digest": names::image(image % IMAGES).to_string(), "size": 1},
            "annotations": annotations,
        })
        .to_string();
        let digest = Digest::sha256(manifest.as_bytes());
        let artifact = read_artifact(digest.clone(), manifest.as_bytes(), None, |why| panic!("{why}"));
        self.known.insert(digest.clone(), Attached { artifact, files, defect });
        self.change(|held| {
            held.artifacts.insert(digest.clone());
        });
        digest
    }

    /// The list of referrers of an image, as a replica answers it.
    pub fn listing(&self, held: &Held, subject: &Digest, artifact_type: Option<&str>) -> Vec<Artifact> {
        let artifacts = held.artifacts.iter().filter_map(|digest| self.known.get(digest));
        artifacts
            .map(|attached| &attached.artifact)
            .filter(|artifact| artifact.subject.as_ref() == Some(subject))
            .filter(|artifact| artifact_type.is_none_or(|wanted| artifact.artifact_type == wanted))
            .cloned()
            .collect()
    }
}

fn layer(file: &ConfigFile) -> Value {
    json!({"mediaType": "application/octet-stream", "digest": Digest::sha256(&file.bytes).to_string(),
        "size": file.bytes.len(), "annotations": {TITLE: file.path}})
}

/// An error of a registry that does not work well.
fn trouble(random: &mut Prng) -> Error {
    let kinds = [
        UNAVAILABLE,
        Kind::RateLimited(Party::Elsewhere),
        Kind::Unauthorized(Login::Unsent),
        Kind::Forbidden(Login::Unsent),
        Kind::DigestMismatch,
    ];
    let kind = random.pick(&kinds).cloned().unwrap_or(UNAVAILABLE);
    Error::new(kind, "the simulated registry has a fault")
}

const UNAVAILABLE: Kind = Kind::Unavailable(Cause::Other);

fn reachable(state: &State) -> Result<(), Error> {
    if state.registry.up {
        return Ok(());
    }
    Err(Error::new(UNAVAILABLE, "the simulated registry is down"))
}

impl World {
    /// A step that waits for the registry.
    async fn ask<T>(
        &self,
        what: impl FnOnce() -> String,
        effect: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.lock().run().turn = Turn::Registry;
        let answer = self.step(what, trouble, effect).await;
        let mut state = self.lock();
        if state.run().turn == Turn::Registry {
            state.run().turn = Turn::Cluster;
        }
        drop(state);
        answer
    }
}

impl Registry for World {
    async fn resolve(&self, _: &Access, image: &ImageRef, _: Freshness) -> Result<Subject, Error> {
        if let Some(digest) = image.digest() {
            // A pinned reference is its own answer and costs no request.
            let subject = Subject { image: image.clone(), digest: digest.clone() };
            self.lock().run().subject = Some(digest.clone());
            return Ok(subject);
        }
        self.ask(
            || format!("resolve {image}"),
            |state| {
                reachable(state)?;
                let stale = state.answers_stale();
                let held = if stale { &state.registry.past } else { &state.registry.held };
                let found = image.tag().and_then(|tag| held.tags.get(tag)).cloned();
                let Some(digest) = found else {
                    state.run().no_image = true;
                    return Err(Error::new(Kind::ImageNotFound, format!("there is no {image}")));
                };
                state.run().subject = Some(digest.clone());
                state.run().resolved.insert(image.to_string(), digest.clone());
                Ok(Subject { image: image.clone(), digest })
            },
        )
        .await
    }

    async fn referrers(&self, _: &Access, subject: &Subject, query: Query<'_>) -> Result<Listing, Error> {
        let (artifact_type, digest) = (query.artifact_type, &subject.digest);
        self.ask(
            || format!("referrers of {}", digest.short()),
            |state| {
                reachable(state)?;
                let stale = state.answers_stale();
                let held = if stale { &state.registry.past } else { &state.registry.held };
                let artifacts = state.registry.listing(held, digest, artifact_type);
                state.run().listed = Some(artifacts.clone());
                Ok(Listing { artifacts, ..Listing::default() })
            },
        )
        .await
    }

    async fn artifact(
        &self,
        _: &Access,
        _: &RepositoryRef,
        digest: &Digest,
    ) -> Result<Option<Artifact>, Error> {
        self.ask(
            || format!("artifact {}", digest.short()),
            |state| {
                reachable(state)?;
                let there = state.registry.held.artifacts.contains(digest);
                let found = state.registry.known.get(digest).filter(|_| there);
                let found = found.map(|attached| attached.artifact.clone());
                let run = state.run();
                run.fetched += 1;
                run.artifact_answered = true;
                Ok(found)
            },
        )
        .await
    }

    async fn pull(
        &self,
        _: &Access,
        _: &RepositoryRef,
        artifact: &Artifact,
        wanted: Arc<dyn Wanted>,
    ) -> Result<Pulled, Error> {
        self.ask(
            || format!("pull {}", artifact.digest.short()),
            |state| {
                reachable(state)?;
                state.run().fetched += 1;
                if !state.registry.held.artifacts.contains(&artifact.digest) {
                    return Err(Error::new(UNAVAILABLE, "its blobs are gone"));
                }
                let attached = &state.registry.known[&artifact.digest];
                if attached.defect.is_some() {
                    // The only one that is made here.
                    return Err(Error::new(Kind::Invalid(Defect::Other), "it contradicts itself"));
                }
                let (files, others): (Vec<_>, Vec<_>) =
                    attached.files.iter().cloned().partition(|file| wanted.wants(&file.path).unwrap());
                Ok(Pulled { files, others: others.into_iter().map(|file| file.path).collect() })
            },
        )
        .await
    }
}
