//! The content of a `ConfigMap`: its values by key.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Largest sum of the values of a `ConfigMap`, without keys (`MaxSecretSize` in kubernetes `pkg/apis/core/validation`).
/// 1 MiB.
pub const MAX_CONFIG_MAP: u64 = 1024 * 1024;

/// Content of a `ConfigMap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Values that are text.
    pub data: BTreeMap<String, String>,
    /// All other values.
    pub binary_data: BTreeMap<String, Vec<u8>>,
}

impl Content {
    /// Bytes of all values.
    #[must_use]
    pub fn size(&self) -> u64 {
        let text: usize = self.data.values().map(String::len).sum();
        let binary: usize = self.binary_data.values().map(Vec::len).sum();
        (text + binary) as u64
    }

    /// Whether it has a value of this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.data.contains_key(key) || self.binary_data.contains_key(key)
    }

    /// Adds a value: text goes to `data`, all other bytes to `binaryData`. Only the value decides that, so the same
    /// content gives the same object for every source.
    pub fn insert(&mut self, key: String, value: Vec<u8>) {
        match String::from_utf8(value) {
            // NUL is valid UTF-8 but breaks environment variables and most readers of text.
            Ok(text) if !text.contains('\0') => drop(self.data.insert(key, text)),
            Ok(text) => drop(self.binary_data.insert(key, text.into_bytes())),
            Err(bytes) => drop(self.binary_data.insert(key, bytes.into_bytes())),
        }
    }

    /// Hash over keys and values, each after its length, so that different contents cannot give the same input. The
    /// value itself determines whether it is in `data` or `binaryData`, so that is not hashed.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut values: BTreeMap<&str, &[u8]> =
            self.data.iter().map(|(key, value)| (key.as_str(), value.as_bytes())).collect();
        values.extend(self.binary_data.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        let mut hasher = Sha256::new();
        for (key, value) in values {
            for part in [key.as_bytes(), value] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
        hasher.finalize().iter().fold("sha256:".to_owned(), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
    }
}
