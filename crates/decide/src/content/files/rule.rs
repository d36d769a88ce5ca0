//! One entry of `spec.files`: the files that it names, and whether it selects a path.

use api::FileMapping;
use oci::text;

use super::super::pattern::{self, Exhausted, MAX_PATTERN, Pattern, Steps};
use crate::limits::check_key;

/// A parsed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) path: String,
    pub(super) wish: Wish,
    pub(super) key: Option<String>,
}

/// The files that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// One file. With escapes, the name differs from the path.
    Name(String),
    /// The file with exactly this name if it exists, otherwise all files that the pattern matches.
    Pattern(Pattern),
}

impl Rule {
    pub(super) fn parse(index: usize, mapping: &FileMapping) -> Result<Self, String> {
        let FileMapping { path, key } = mapping;
        let shown = text::brief(path);
        let length = path.chars().count();
        if length > MAX_PATTERN {
            return Err(format!(
                "spec.files[{index}].path: it has {length} characters; at most {MAX_PATTERN} are read"
            ));
        }
        if let Some(key) = key {
            check_key(key).map_err(|why| format!("spec.files[{index}].key: '{}' {why}", text::brief(key)))?;
        }
        let wish = match (pattern::unescape(path), key) {
            (Some(name), _) => Wish::Name(name),
            (None, Some(_)) => {
                return Err(format!(
                    "spec.files[{index}].path: '{shown}' is a pattern, and a pattern cannot have a key; name one file, or leave the key out; in a name, write *, ? and [ as [*], [?] and [[]"
                ));
            }
            (None, None) => Wish::Pattern(
                Pattern::parse(path)
                    .map_err(|why| format!("spec.files[{index}].path: '{shown}' is not a pattern: {why}"))?,
            ),
        };
        Ok(Self { path: path.clone(), wish, key: key.clone() })
    }

    pub(super) fn matches(&self, path: &str, steps: &mut Steps) -> Result<bool, Exhausted> {
        match &self.wish {
            Wish::Name(name) => Ok(name == path),
            Wish::Pattern(_) if self.path == path => Ok(true),
            Wish::Pattern(pattern) => pattern.matches(path, steps),
        }
    }

    pub(super) fn reaches_below(&self, directory: &str, steps: &mut Steps) -> Result<bool, Exhausted> {
        let below = |path: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        match &self.wish {
            Wish::Name(name) => Ok(below(name)),
            Wish::Pattern(_) if below(&self.path) => Ok(true),
            Wish::Pattern(pattern) => pattern.reaches_below(directory, steps),
        }
    }
}
