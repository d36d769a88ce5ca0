//! The ConfigMaps of the cluster, as far as pods depend on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;
use sha2::{Digest as _, Sha256};

use super::part::{Key, Need};

/// A container that gets this key ends with the value as its exit code.
const CRASH: &str = "crash";

/// The content of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// SHA-256 of keys and values, in hex.
    pub(super) hash: String,
    keys: BTreeSet<String>,
    crash: Option<i32>,
}

impl Content {
    pub(super) fn of(map: &ConfigMap) -> Self {
        let text = map.data.iter().flatten().map(|(key, value)| (key, value.as_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(key, value)| (key, value.0.as_slice()));
        let all: BTreeMap<_, _> = text.chain(binary).collect();
        let mut hasher = Sha256::new();
        for (key, value) in &all {
            // With their lengths, so that moving text from a key to its value changes the hash.
            for bytes in [key.as_bytes(), value] {
                hasher.update(bytes.len().to_le_bytes());
                hasher.update(bytes);
            }
        }
        let crash = map.data.as_ref().and_then(|data| data.get(CRASH));
        Self {
            hash: hex(&hasher.finalize()),
            keys: all.into_keys().cloned().collect(),
            crash: crash.and_then(|code| code.trim().parse().ok()),
        }
    }

    /// The exit code of a container that gets what `need` takes.
    pub(super) fn crash(&self, need: &Need) -> Option<i32> {
        let takes = need.keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == CRASH));
        self.crash.filter(|_| takes)
    }
}

/// The content of all ConfigMaps.
#[derive(Debug, Default)]
pub(super) struct Contents(HashMap<Key, Content>);

impl Contents {
    /// Returns whether something is different now.
    pub(super) fn set(&mut self, key: Key, content: Content) -> bool {
        self.0.insert(key, content.clone()) != Some(content)
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Keeps those that a list names.
    pub(super) fn retain(&mut self, listed: &BTreeSet<Key>) {
        self.0.retain(|key, _| listed.contains(key));
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Content> {
        self.0.get(&Key { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Says in the words of the kubelet what is missing. `None` if the need is met.
    pub(super) fn missing(&self, namespace: &str, need: &Need) -> Option<String> {
        if need.optional {
            return None;
        }
        let Some(content) = self.get(namespace, &need.config_map) else {
            return Some(format!("configmap \"{}\" not found", need.config_map));
        };
        let key = need.keys.iter().flatten().find(|key| !content.keys.contains(*key))?;
        Some(format!("couldn't find key {key} in ConfigMap {namespace}/{}", need.config_map))
    }
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
