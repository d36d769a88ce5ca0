//! The record of starts: each container with its ConfigMaps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Starts that are kept; the oldest go first. Ten for each pod of the largest test.
const KEPT: usize = 100_000;

/// A ConfigMap that a container got, as volume or as environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Given {
    /// Its name, in the namespace of the pod.
    pub config_map: String,
    /// SHA-256 of its keys and values when the container started. Equal content has an equal hash.
    pub hash: String,
}

/// One start of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub pod: String,
    /// The UID of the pod: a `StatefulSet` uses its names again.
    pub uid: String,
    /// The name of the container.
    pub container: String,
    /// The image, as the pod names it.
    pub image: String,
    /// Sorted by name.
    pub config_maps: Vec<Given>,
}

/// The starts, oldest first.
#[derive(Debug, Default)]
pub(super) struct Starts(VecDeque<Start>);

impl Starts {
    pub(super) fn add(&mut self, starts: impl IntoIterator<Item = Start>) {
        self.0.extend(starts);
        self.0.drain(..self.0.len().saturating_sub(KEPT));
    }

    pub(super) fn all(&self) -> Vec<Start> {
        self.0.iter().cloned().collect()
    }

    /// The last start of each container of the newest pod of this name.
    pub(super) fn of(&self, namespace: &str, pod: &str) -> Vec<Start> {
        let mut last: BTreeMap<&str, &Start> = BTreeMap::new();
        let mut uid = None;
        for start in self.0.iter().rev().filter(|start| start.namespace == namespace && start.pod == pod) {
            if *uid.get_or_insert(&start.uid) == &start.uid {
                last.entry(&start.container).or_insert(start);
            }
        }
        last.into_values().cloned().collect()
    }

    /// The ConfigMaps among them, each once, sorted.
    pub(super) fn config_maps(&self, namespace: &str, pod: &str) -> Vec<String> {
        let starts = self.of(namespace, pod);
        let names: BTreeSet<_> =
            starts.into_iter().flat_map(|start| start.config_maps).map(|given| given.config_map).collect();
        names.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(uid: &str, container: &str, config_map: &str) -> Start {
        Start {
            namespace: "shop".into(),
            pod: "web-0".into(),
            uid: uid.into(),
            container: container.into(),
            image: "web:v1".into(),
            config_maps: vec![Given { config_map: config_map.into(), hash: String::new() }],
        }
    }

    #[test]
    fn the_last_start_of_each_container_of_the_newest_pod_counts() {
        let mut starts = Starts::default();
        starts.add([start("1", "old", "lost"), start("2", "web", "first"), start("2", "proxy", "proxy")]);
        starts.add([start("2", "web", "second")]);
        assert_eq!(starts.config_maps("shop", "web-0"), ["proxy", "second"]);
        assert_eq!(starts.config_maps("shop", "web-1"), [""; 0]);
        assert_eq!(starts.all().len(), 4);
    }

    #[test]
    fn the_oldest_go_first() {
        let mut starts = Starts::default();
        starts.add([start("1", "web", "oldest")]);
        starts.add((0..KEPT).map(|_| start("2", "web", "newer")));
        assert_eq!(starts.all().len(), KEPT);
        assert!(starts.all().iter().all(|start| start.uid == "2"));
    }
}
