//! Which resources are due, and how long they wait for their turn.
//!
//! [`decide::turns`] does not keep this data after a turn is given, so it is tracked here. A resource becomes
//! due at an event, or at the time that its last reconcile set, and stops being due when its next reconcile begins.
//! Costs about 100 bytes for each resource, until the resource is deleted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::{gauge, seconds_since_epoch};

/// The waiting resources. Clones share them.
#[derive(Clone, Debug)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    wait: Histogram,
    running: Gauge,
    for_registries: Gauge,
}

#[derive(Debug, Default)]
struct State {
    resources: HashMap<Key, Entry>,
    /// When reconciles began. Before that, all resources are due, and none counts as waiting.
    leading: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: Arc<str>,
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct Entry {
    due: Option<Instant>,
    succeeded: Option<f64>,
}

impl Key {
    fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl Entry {
    fn due_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            // 1 ms to 17 min: from an immediate turn to the longest time between two tries.
            wait: Histogram::new(exponential_buckets(0.001, 2.0, 21)),
            running: Gauge::default(),
            for_registries: Gauge::default(),
        }
    }
}

impl Queue {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "queue_wait",
            "Time from when a resource is due until its reconcile begins",
            Unit::Seconds,
            self.wait.clone(),
        );
        registry.register("reconciles_running", "Running reconciles", self.running.clone());
        registry.register(
            "queue_registry_depth",
            "Resources that are due and wait for a turn at registries",
            self.for_registries.clone(),
        );
        registry.register_collector(Box::new(self.clone()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave this data half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A resource is new, or changed in a way that triggers a reconcile: it is due.
    pub fn changed(&self, namespace: &str, name: &str) {
        let now = Instant::now();
        self.state().resources.entry(Key::new(namespace, name)).or_default().due_at(now);
    }

    /// An object of a resource changed: the resource is due, if it exists.
    pub fn touched(&self, namespace: &str, name: &str) {
        let now = Instant::now();
        if let Some(entry) = self.state().resources.get_mut(&Key::new(namespace, name)) {
            entry.due_at(now);
        }
    }

    /// A resource is gone.
    pub fn gone(&self, namespace: &str, name: &str) {
        self.state().resources.remove(&Key::new(namespace, name));
    }

    /// Sets how many due resources wait for a turn at registries: all turns are taken, or their registry or namespace
    /// has used its share.
    pub fn waits_for_registries(&self, count: usize) {
        self.for_registries.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The reconcile of a resource begins. It ends with the returned value.
    #[must_use]
    pub fn begin(&self, namespace: &str, name: &str) -> Turn<'_> {
        let key = Key::new(namespace, name);
        let now = Instant::now();
        let mut state = self.state();
        let leading = state.leading;
        let due = state.resources.get_mut(&key).and_then(|entry| entry.due.take());
        let waited = due.map(|due| {
            let since = leading.map_or(due, |leading| due.max(leading));
            now.saturating_duration_since(since)
        });
        if let Some(waited) = waited {
            self.wait.observe(waited.as_secs_f64());
        }
        self.running.inc();
        Turn { queue: self, key, waited }
    }

    pub(super) fn lead(&self, leads: bool) {
        let mut state = self.state();
        state.leading = leads.then(|| state.leading.unwrap_or_else(Instant::now));
    }

    pub(super) fn succeeded(&self, namespace: &str, name: &str) {
        if let Some(entry) = self.state().resources.get_mut(&Key::new(namespace, name)) {
            entry.succeeded = Some(seconds_since_epoch());
        }
    }

    /// When a reconcile of a resource last succeeded here, in seconds since the epoch.
    pub(super) fn last_success(&self, namespace: &str, name: &str) -> Option<f64> {
        self.state().resources.get(&Key::new(namespace, name)).and_then(|entry| entry.succeeded)
    }

    /// The number of waiting resources, and the longest wait.
    fn waiting(&self, now: Instant) -> (usize, Duration) {
        let state = self.state();
        let Some(leading) = state.leading else { return (0, Duration::ZERO) };
        let due = state.resources.values().filter_map(|entry| entry.due.filter(|due| *due <= now));
        due.fold((0, Duration::ZERO), |(count, longest), due| {
            (count + 1, longest.max(now.saturating_duration_since(due.max(leading))))
        })
    }
}

impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (depth, longest) = self.waiting(Instant::now());
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        gauge(
            &mut encoder,
            ("queue_depth", "Resources that are due and whose reconcile has not begun", None),
            depth.into(),
        )?;
        let longest_wait =
            ("queue_longest_wait", "Longest wait of a resource that is due", Some(&Unit::Seconds));
        gauge(&mut encoder, longest_wait, longest.as_secs_f64())
    }
}

/// A running reconcile.
#[derive(Debug)]
pub struct Turn<'a> {
    queue: &'a Queue,
    key: Key,
    waited: Option<Duration>,
}

impl Turn<'_> {
    /// How long the resource waited for it; `None` if that is not known.
    #[must_use]
    pub const fn waited(&self) -> Option<Duration> {
        self.waited
    }

    /// It ended, and the next one is due after this time; `None` for no next one.
    pub fn end(self, next: Option<Duration>) {
        let Some(due) = next.and_then(|next| Instant::now().checked_add(next)) else { return };
        if let Some(entry) = self.queue.state().resources.get_mut(&self.key) {
            entry.due_at(due);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.running.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading() -> Queue {
        let queue = Queue::default();
        queue.lead(true);
        queue
    }

    fn depth_in(queue: &Queue, time: Duration) -> usize {
        queue.waiting(Instant::now() + time).0
    }

    #[test]
    fn a_resource_is_due_from_its_event_until_its_turn() {
        let queue = leading();
        queue.changed("a", "web");
        queue.changed("a", "web");
        queue.changed("b", "web");
        assert_eq!(depth_in(&queue, Duration::ZERO), 2);
        let turn = queue.begin("a", "web");
        assert_eq!((depth_in(&queue, Duration::ZERO), queue.running.get()), (1, 1));
        turn.end(Some(Duration::from_mins(1)));
        assert_eq!((depth_in(&queue, Duration::ZERO), queue.running.get()), (1, 0));
        assert_eq!(depth_in(&queue, Duration::from_mins(2)), 2, "the next look is due then");
    }

    #[test]
    fn an_event_comes_before_the_next_reconcile_and_one_in_the_middle_of_a_turn_is_kept() {
        let queue = leading();
        queue.changed("a", "web");
        let turn = queue.begin("a", "web");
        queue.touched("a", "web");
        turn.end(Some(Duration::from_mins(1)));
        assert_eq!(depth_in(&queue, Duration::ZERO), 1);
        queue.begin("a", "web").end(None);
        assert_eq!(depth_in(&queue, Duration::from_hours(1)), 0, "none was asked for");
    }

    #[test]
    fn what_is_gone_leaves_nothing_behind() {
        let queue = leading();
        for (namespace, name) in [("a", "deleted"), ("a", "kept"), ("b", "elsewhere")] {
            queue.changed(namespace, name);
        }
        let turn = queue.begin("a", "deleted");
        queue.gone("a", "deleted");
        turn.end(Some(Duration::ZERO));
        queue.touched("a", "unknown");
        let state = queue.state();
        let mut left: Vec<_> = state.resources.keys().map(|key| &*key.name).collect();
        left.sort_unstable();
        assert_eq!(left, ["elsewhere", "kept"]);
    }

    /// A standby knows what is due as well, but nothing of it waits for the standby.
    #[test]
    fn nothing_waits_where_nobody_writes() {
        let queue = Queue::default();
        queue.changed("a", "web");
        let later = Instant::now() + Duration::from_mins(1);
        assert_eq!(queue.waiting(later), (0, Duration::ZERO));
        queue.lead(true);
        let (depth, longest) = queue.waiting(Instant::now());
        assert!(depth == 1 && longest < Duration::from_secs(10), "{depth} {longest:?}");
    }
}
