//! The life of pods, without kubelets and containers.
//!
//! The player watches the pods that are bound to a node, and writes the status that a kubelet would write: they wait for
//! ConfigMaps and keys that they name, start, become ready, crash, end, and go when they are deleted. Their ConfigMaps and
//! images decide: see [`Fate`], and the key `crash` of a ConfigMap, whose value is an exit code. What each
//! container started with is recorded.
//!
//! `part.rs` reads a pod, `step.rs` decides, `status.rs` renders; `stage.rs` keeps all pods, and `run.rs` alone talks to the
//! API server. Nothing is polled: a pod takes its turn when it, a ConfigMap that it waits for, or the script changes.

mod content;
mod life;
mod part;
mod run;
mod script;
mod stage;
mod starts;
mod status;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) use run::Clients;
use script::Script;
pub use script::{Fate, ImageId};
use starts::Starts;
pub use starts::{Given, Start};

/// Gives the pods of a cluster their life. Dropping it leaves them as they are.
pub struct Player {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// State that the player shares with its tests.
#[derive(Debug, Default)]
struct Shared {
    script: Mutex<Script>,
    starts: Mutex<Starts>,
    changed: Notify,
}

impl Player {
    /// Starts within the runtime of the caller.
    pub(crate) fn start(clients: Clients) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { run::run(&clients, &shared).await }
        });
        Self { shared, task }
    }

    /// Decides how the containers of an image live, with or without its digest. This includes containers that run already.
    pub fn set_fate(&self, image: &str, fate: Fate) {
        self.change(|script| {
            script.fates.insert(image.to_owned(), fate);
        });
    }

    /// Says which digest an image has. Without this call a digest follows from the name, unless the image has one.
    pub fn set_digest(&self, image: &str, digest: &str) {
        self.change(|script| {
            script.digests.insert(image.to_owned(), digest.to_owned());
        });
    }

    /// Says how containers that start from now on report the image that they run.
    pub fn set_image_id(&self, form: ImageId) {
        self.change(|script| script.image_id = form);
    }

    /// The ConfigMaps that the containers of a pod got when they started last, each once, sorted. Empty before the start.
    #[must_use]
    pub fn ran(&self, namespace: &str, pod: &str) -> Vec<String> {
        self.starts().config_maps(namespace, pod)
    }

    /// The last start of each container of a pod, sorted by container.
    #[must_use]
    pub fn starts_of(&self, namespace: &str, pod: &str) -> Vec<Start> {
        self.starts().of(namespace, pod)
    }

    /// The last 100,000 starts in the cluster, oldest first, also those of deleted pods.
    #[must_use]
    pub fn all_starts(&self) -> Vec<Start> {
        self.starts().all()
    }

    fn starts(&self) -> MutexGuard<'_, Starts> {
        self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.script.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.changed.notify_one();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").finish_non_exhaustive()
    }
}
