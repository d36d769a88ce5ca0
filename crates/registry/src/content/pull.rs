//! Artifact → files: which layers to fetch, which files they hold, and how many bytes are allowed.

use std::sync::Arc;

use futures::StreamExt as _;
use oci::{ConfigFile, Descriptor, TITLE, is_index, normalize_path};

use crate::client::OciRegistry;
use crate::content::archive::{self, Archive, MAX_ARCHIVE, MAX_FILES, Room};
use crate::error::{Bound, Defect, Error, Form, Kind};
use crate::port::{Artifact, Pulled};
use crate::session::{FETCHES, Session};
use crate::wanted::{Wanted, check_budget, undecided};

/// Most manifests of an index that is attached as an artifact.
const MAX_CHILDREN: usize = 64;

/// A layer to fetch, and the kind of its content.
struct Layer {
    descriptor: Descriptor,
    holds: Holds,
}

enum Holds {
    File { path: String },
    Directory,
}

/// The facts that follow from the manifest alone.
#[derive(Default)]
struct Layers {
    wanted: Vec<Layer>,
    others: Vec<String>,
}

impl Session<'_> {
    /// The files of an artifact that are wanted.
    pub(crate) async fn pull(&self, artifact: &Artifact, wanted: Arc<dyn Wanted>) -> Result<Pulled, Error> {
        let place = format!("{}@{}", self.repository, artifact.digest);
        if let Some(fault) = &artifact.fault {
            return Err(fault.error.clone());
        }
        self.pull_from(artifact, &wanted, &place).await.map_err(|error| error.at(&place))
    }

    async fn pull_from(
        &self,
        artifact: &Artifact,
        wanted: &Arc<dyn Wanted>,
        place: &str,
    ) -> Result<Pulled, Error> {
        let descriptors = self.layers_of(artifact, place).await?;
        let room = Arc::new(Room::default());
        let sorting = (Arc::clone(wanted), place.to_owned());
        let layers = self.client.apart(move || sort(descriptors, &*sorting.0, &sorting.1)).await?;
        let mut pulled = Pulled { files: Vec::new(), others: layers.others };
        // Collected before they are polled: a closure that borrows per item defeats the proof that this is Send.
        let downloads: Vec<_> =
            layers.wanted.into_iter().map(|layer| self.files_of(layer, wanted, &room)).collect();
        let mut downloads = futures::stream::iter(downloads).buffered(FETCHES);
        let mut held = 0_u64;
        while let Some(part) = downloads.next().await {
            let Pulled { files, others } = part?;
            held = held.saturating_add(files.iter().map(|file| file.bytes.len() as u64).sum());
            pulled.files.extend(files);
            pulled.others.extend(others);
            // Checked after each archive: many small archives must not take more memory in total than the caller uses.
            if held > wanted.budget() {
                let files = pulled.files.iter();
                check_budget(&**wanted, files.map(|file| (file.path.as_str(), file.bytes.len() as u64)))?;
            }
        }
        Ok(pulled)
    }

    /// The layers; if the artifact is an index, the layers of its manifests.
    async fn layers_of(&self, artifact: &Artifact, place: &str) -> Result<Vec<Descriptor>, Error> {
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
                Error::new(
                    Kind::Invalid(Defect::Lost),
                    format!("{place}: the registry lost the manifest {} of this index (404)", child.digest),
                )
            })?;
            if is_index(&manifest.media_type) {
                return Err(unsupported(place, &format!("the index lists another index, {}", child.digest)));
            }
            layers.extend(manifest.layers.iter().cloned());
        }
        Ok(layers)
    }

    async fn files_of(
        &self,
        layer: Layer,
        wanted: &Arc<dyn Wanted>,
        room: &Arc<Room>,
    ) -> Result<Pulled, Error> {
        let bytes = self.blob(&layer.descriptor).await?;
        match layer.holds {
            Holds::File { path } => {
                Ok(Pulled { files: vec![ConfigFile { path, bytes }], others: Vec::new() })
            }
            Holds::Directory => {
                let archive = Archive::of(&layer.descriptor, bytes)?;
                let (wanted, room) = (Arc::clone(wanted), Arc::clone(room));
                self.client.apart(move || archive::unpack(&archive, &*wanted, &room)).await
            }
        }
    }
}

impl OciRegistry {
    /// Does processor work, whose length others choose, outside of the threads that wait on sockets: one caller must
    /// not keep all others waiting. The permit is held until the work ends, even if the caller no longer waits, because
    /// a blocking task cannot be cancelled.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.unpacking).acquire_owned().await;
        let ended = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        ended.await.unwrap_or_else(|error| {
            Err(Error::new(Kind::Internal, format!("unpacking did not finish: {error}")))
        })
    }
}

/// Refuses everything that the manifest alone shows to be wrong, and leaves out the files that are not wanted. Those
/// cause no error, with any name and size.
fn sort(descriptors: Vec<Descriptor>, wanted: &dyn Wanted, place: &str) -> Result<Layers, Error> {
    let wants = |path: &str| wanted.wants(path).map_err(undecided);
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
            Err(error) if wants(title)? => {
                return Err(Error::new(Kind::FileName, format!("{place}: {error}")));
            }
            Err(_) => {
                layers.others.push(title.to_owned());
                continue;
            }
        };
        if is_directory {
            if path.is_empty() || wanted.wants_below(&path).map_err(undecided)? {
                packed = packed.saturating_add(descriptor.size);
                layers.wanted.push(Layer { descriptor, holds: Holds::Directory });
            } else {
                layers.others.push(format!("{path}/"));
            }
        } else if wants(&path)? {
            layers.wanted.push(Layer { descriptor, holds: Holds::File { path } });
        } else {
            layers.others.push(path);
        }
    }
    if untitled > 0 && untitled == count {
        return Err(Error::new(
            Kind::Unsupported(Form::Untitled),
            format!("{place}: none of its {untitled} layers has the annotation {TITLE} with a file name"),
        ));
    }
    if packed > MAX_ARCHIVE {
        return Err(Error::new(
            Kind::TooLarge(Bound::Bytes),
            format!("{place}: its directories have {packed} bytes packed; at most {MAX_ARCHIVE} are read"),
        ));
    }
    let files = layers.wanted.iter().filter_map(|layer| match &layer.holds {
        Holds::File { path } => Some((path.as_str(), layer.descriptor.size)),
        Holds::Directory => None,
    });
    check_budget(wanted, files)?;
    Ok(layers)
}

fn unsupported(place: &str, why: &str) -> Error {
    Error::new(Kind::Unsupported(Form::Other), format!("{place}: {why}"))
}
