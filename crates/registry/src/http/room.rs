//! Memory for large bodies. Most bodies are small. Only a few at the same time may have the largest size that is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a body that need no place. Manifests and lists have some kilobytes; 16 reconciles with four manifests each
/// take 16 MiB.
pub(crate) const SMALL: usize = 256 * 1024;

/// Larger bodies in the whole process, from their 257th KiB on until they are decoded: at 4 MiB each, and as much again
/// for what is made of them, a small part of the chart's limit of 256 MiB.
const LARGE: usize = 4;

/// Longest time that the rest of a large body may take: 4 MiB at 70 KiB a second. Otherwise a slow sender could block
/// the places for all others.
pub(crate) const LONGEST: Duration = Duration::from_mins(1);

/// Places for large bodies.
#[derive(Clone)]
pub(crate) struct Room(Arc<Semaphore>);

/// A place, until it is dropped. As with the turn at a host, its holder must not wait for anything that another caller
/// holds.
pub(crate) type Place = OwnedSemaphorePermit;

impl Room {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(LARGE)))
    }

    /// Waits for a place. `None` if the process ends.
    pub(crate) async fn enter(&self) -> Option<Place> {
        self.0.clone().acquire_owned().await.ok()
    }
}
