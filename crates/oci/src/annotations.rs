//! Annotations of manifests and descriptors (image-spec, annotations.md).

use std::collections::BTreeMap;

/// Annotation with the time an artifact was made (image-spec, "Pre-Defined Annotation Keys"). RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Annotation with the version of an artifact (image-spec, "Pre-Defined Annotation Keys").
pub const VERSION: &str = "org.opencontainers.image.version";
/// Annotation on a layer with the name of the file it holds (image-spec, "Pre-Defined Annotation Keys").
pub const TITLE: &str = "org.opencontainers.image.title";
/// Annotation on a layer that marks a packed directory for ORAS; the media type does not (a plain file has
/// `…layer.v1.tar` as well).
pub const UNPACK: &str = "io.deis.oras.content.unpack";
/// Annotation on a packed directory with the digest of the tar before compression.
pub const UNPACKED_DIGEST: &str = "io.deis.oras.content.digest";

/// Keys and values, ordered by key. Most manifests have one or two, and thousands of manifests are kept in memory: even
/// a `BTreeMap` with one entry takes the memory of eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(Box<[(Box<str>, Box<str>)]>);

impl Annotations {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Keys and values, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same as a map.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

impl From<BTreeMap<Box<str>, Box<str>>> for Annotations {
    fn from(map: BTreeMap<Box<str>, Box<str>>) -> Self {
        Self(map.into_iter().collect())
    }
}

/// Of several values for a key the last one holds.
impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Annotations {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect::<BTreeMap<_, _>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Few keys, so that some come twice.
        #[test]
        fn they_are_what_a_map_is(pairs: Vec<(String, String)>, few in prop::collection::vec(("[a-c]{0,2}", ".{0,3}"), 0..12), absent: String) {
            for pairs in [pairs, few] {
                let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
                let annotations: Annotations = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                prop_assert_eq!(&annotations.to_map(), &map);
                prop_assert!(annotations.iter().eq(map.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
                prop_assert_eq!(annotations.is_empty(), map.is_empty());
                for key in map.keys().chain([&absent]) {
                    prop_assert_eq!(annotations.get(key), map.get(key).map(String::as_str));
                }
            }
        }
    }
}
