//! Artifact → files: which layers to fetch, what they hold, and how much of it is allowed.

use std::sync::Arc;

use futures::StreamExt as _;

use crate::api::Reason;
use crate::decide::files::{Effort, FileRules, MAX_FILES};
use crate::decide::render::{MAX_CONFIG_MAP, check_size};
use crate::types::{Artifact, ConfigFile, Descriptor, Failure, TITLE, is_index, normalize_path};

use super::Pulled;
use super::archive::{self, Archive, MAX_ARCHIVE, Room};
use super::client::{FETCHES, OciRegistry, Session};

/// Manifests of an index that is attached as an artifact.
const MAX_CHILDREN: usize = 64;

// A single file can be as large as a ConfigMap, and a directory at least as large.
const _: () = assert!(MAX_ARCHIVE >= MAX_CONFIG_MAP);

/// A layer to fetch, and what it holds.
struct Layer {
    descriptor: Descriptor,
    form: Form,
}

enum Form {
    File { path: String },
    Directory,
}

/// What the manifest alone tells.
#[derive(Default)]
struct Layers {
    wanted: Vec<Layer>,
    others: Vec<String>,
}

impl Session<'_> {
    /// The files of an artifact that the rules want.
    pub(super) async fn pull(&self, artifact: &Artifact, rules: &FileRules) -> Result<Pulled, Failure> {
        let place = format!("{}@{}", self.repository, artifact.digest);
        if let Some(fault) = &artifact.fault {
            return Err(fault.failure.clone());
        }
        self.pull_from(artifact, rules, &place).await.map_err(|failure| failure.at(&place))
    }

    async fn pull_from(
        &self,
        artifact: &Artifact,
        rules: &FileRules,
        place: &str,
    ) -> Result<Pulled, Failure> {
        let descriptors = self.layers_of(artifact, place).await?;
        let room = Arc::new(Room::default());
        let sorting = (rules.clone(), place.to_owned(), Arc::clone(&room));
        let layers = self
            .client
            .apart(move || {
                let (rules, place, room) = sorting;
                sort(descriptors, &rules, &place, &room.effort)
            })
            .await?;
        let mut pulled = Pulled { files: Vec::new(), others: layers.others };
        // Collected before they are polled: a closure that borrows per item defeats the proof that this is Send.
        let downloads: Vec<_> =
            layers.wanted.into_iter().map(|layer| self.files_of(layer, rules, &room)).collect();
        let mut downloads = futures::stream::iter(downloads).buffered(FETCHES);
        let mut held = 0_u64;
        while let Some(part) = downloads.next().await {
            let Pulled { files, others } = part?;
            held = held.saturating_add(files.iter().map(|file| file.bytes.len() as u64).sum());
            pulled.files.extend(files);
            pulled.others.extend(others);
            // As they come: many small archives must not add up in memory to more than is ever used.
            if held > MAX_CONFIG_MAP {
                check_size(pulled.files.iter().map(|file| (file.path.as_str(), file.bytes.len() as u64)))?;
            }
        }
        Ok(pulled)
    }

    /// The layers, those of the children where the artifact is an index.
    async fn layers_of(&self, artifact: &Artifact, place: &str) -> Result<Vec<Descriptor>, Failure> {
        if artifact.children.len() > MAX_CHILDREN {
            return Err(unsupported(
                place,
                &format!(
                    "the index lists {} manifests; at most {MAX_CHILDREN} are read",
                    artifact.children.len()
                ),
            ));
        }
        if artifact.unreadable_children > 0 {
            return Err(unsupported(
                place,
                &format!(
                    "the index lists {} manifests that cannot be read; half a config is none",
                    artifact.unreadable_children
                ),
            ));
        }
        let mut layers = artifact.layers.to_vec();
        for child in &artifact.children {
            let manifest = self.sound_manifest(&child.digest).await?.ok_or_else(|| {
                Failure::new(
                    Reason::InvalidContent,
                    format!("{place}: the registry lost the manifest {} of this index (404); attach the config again", child.digest),
                )
            })?;
            if is_index(&manifest.media_type) {
                return Err(unsupported(place, &format!("the index lists another index, {}", child.digest)));
            }
            layers.extend(manifest.layers.iter().cloned());
        }
        Ok(layers)
    }

    async fn files_of(&self, layer: Layer, rules: &FileRules, room: &Arc<Room>) -> Result<Pulled, Failure> {
        let bytes = self.blob(&layer.descriptor).await?;
        match layer.form {
            Form::File { path } => Ok(Pulled { files: vec![ConfigFile { path, bytes }], others: Vec::new() }),
            Form::Directory => {
                let archive = Archive::of(&layer.descriptor, bytes)?;
                let (rules, room) = (rules.clone(), Arc::clone(room));
                self.client.apart(move || archive::unpack(&archive, &rules, &room)).await
            }
        }
    }
}

impl OciRegistry {
    /// Does work for the processor, whose length others choose, apart from the threads that wait on sockets: not one
    /// resource may keep all others waiting. Its turn ends with the work and not with who waits for it, because nobody
    /// can end what has begun.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.unpacking).acquire_owned().await;
        let ended = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        ended.await.unwrap_or_else(|error| {
            Err(Failure::new(Reason::InternalError, format!("unpacking did not finish: {error}")))
        })
    }
}

/// Refuses everything that can be told from the manifest alone, and sorts out what is not wanted: that cannot spoil the
/// config, whatever its name and size.
fn sort(
    descriptors: Vec<Descriptor>,
    rules: &FileRules,
    place: &str,
    effort: &Effort,
) -> Result<Layers, Failure> {
    if descriptors.len() > MAX_FILES {
        return Err(unsupported(
            place,
            &format!("it has {} layers; at most {MAX_FILES} are read", descriptors.len()),
        ));
    }
    let mut layers = Layers::default();
    let (count, mut untitled, mut packed) = (descriptors.len(), 0, 0_u64);
    for descriptor in descriptors {
        let Some(title) = descriptor.title() else {
            untitled += 1;
            continue;
        };
        let is_directory = archive::is_directory(&descriptor);
        let path = match normalize_path(title) {
            Ok(path) => path,
            // The directory that was packed itself: its entries have their own paths.
            Err(_) if is_directory && title.trim_end_matches('/') == "." => String::new(),
            Err(error) if rules.wants(title, effort)? => {
                return Err(Failure::new(Reason::InvalidFiles, format!("{place}: {error}")));
            }
            Err(_) => {
                layers.others.push(title.to_owned());
                continue;
            }
        };
        if is_directory {
            if path.is_empty() || rules.want_below(&path, effort)? {
                packed = packed.saturating_add(descriptor.size);
                layers.wanted.push(Layer { descriptor, form: Form::Directory });
            } else {
                layers.others.push(format!("{path}/"));
            }
        } else if rules.wants(&path, effort)? {
            layers.wanted.push(Layer { descriptor, form: Form::File { path } });
        } else {
            layers.others.push(path);
        }
    }
    if untitled > 0 && untitled == count {
        return Err(unsupported(
            place,
            &format!(
                "none of its {untitled} layers has the annotation {TITLE} with a file name; attach the files with 'oras attach'"
            ),
        ));
    }
    if packed > MAX_ARCHIVE {
        return Err(Failure::new(
            Reason::TooLarge,
            format!("{place}: its directories have {packed} bytes packed; at most {MAX_ARCHIVE} are read"),
        ));
    }
    check_size(layers.wanted.iter().filter_map(|layer| match &layer.form {
        Form::File { path } => Some((path.as_str(), layer.descriptor.size)),
        Form::Directory => None,
    }))?;
    Ok(layers)
}

fn unsupported(place: &str, why: &str) -> Failure {
    Failure::new(Reason::UnsupportedArtifact, format!("{place}: {why}"))
}
