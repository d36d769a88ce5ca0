//! Files → content of the `ConfigMap`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use api::Reason;
use oci::{ConfigFile, text};
use sha2::{Digest as _, Sha256};

use crate::Failure;
use crate::files::FileRules;
use crate::limits;

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

/// Makes the content from files. `others` are the paths of files that are not selected, for the message if a rule
/// matches none.
///
/// # Errors
/// `InvalidFiles` from [`FileRules::keys`]; `TooLarge` with the sizes; `UnsupportedArtifact` if the artifact has no
/// files.
pub fn render(files: &[ConfigFile], others: &[String], rules: &FileRules) -> Result<Content, Failure> {
    if files.is_empty() && others.is_empty() {
        return Err(Failure::new(
            Reason::UnsupportedArtifact,
            "the artifact holds no files; attach at least one with 'oras attach … FILE'",
        ));
    }
    let mut by_path: BTreeMap<&str, &ConfigFile> = BTreeMap::new();
    let mut twice: BTreeSet<&str> = BTreeSet::new();
    for file in files {
        if by_path.insert(&file.path, file).is_some() {
            twice.insert(&file.path);
        }
    }
    let paths: Vec<&str> = by_path.keys().copied().collect();
    let keys = rules.keys(&paths, others)?;
    if let Some(path) = keys.values().find(|path| twice.contains(*path)) {
        return Err(Failure::new(
            Reason::InvalidFiles,
            format!(
                "the artifact holds two files named '{}'; attach it again with distinct names",
                text::brief(path)
            ),
        ));
    }
    check_size(
        keys.values()
            .filter_map(|path| by_path.get(path))
            .map(|file| (file.path.as_str(), file.bytes.len() as u64)),
    )?;
    let mut content = Content::default();
    for (key, path) in keys {
        content.insert(key, by_path[path].bytes.to_vec());
    }
    limits::check(&content)?;
    Ok(content)
}

/// Checks that the sum of these sizes fits into a `ConfigMap`. Runs on the declared sizes before a download, and on the
/// real sizes before a write.
///
/// # Errors
/// `TooLarge` with the sum and the largest files.
pub fn check_size<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> Result<(), Failure> {
    let files: Vec<(&str, u64)> = files.collect();
    if total(&files) <= MAX_CONFIG_MAP {
        return Ok(());
    }
    Err(Failure::new(Reason::TooLarge, too_large(files)))
}

fn total(files: &[(&str, u64)]) -> u64 {
    files.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size))
}

/// A failure that names the sum of these sizes, the limit and the largest files.
#[must_use]
pub fn too_large(mut files: Vec<(&str, u64)>) -> String {
    let total = total(&files);
    files.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
    let largest = files.iter().map(|(path, size)| format!("'{}' {size}", text::brief(path)));
    format!(
        "the files have {total} bytes and a ConfigMap holds {MAX_CONFIG_MAP} (1 MiB): {}; take fewer with spec.files or attach less",
        text::list(largest, LISTED)
    )
}

/// How many files a message lists.
const LISTED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: &[u8]) -> ConfigFile {
        ConfigFile { path: path.to_owned(), bytes: bytes.to_vec().into() }
    }

    #[test]
    fn text_becomes_data_and_other_bytes_binary_data() {
        let files = [
            file("a.json", b"{}"),
            file("b.bin", &[0xff, 0x00]),
            file("c.txt", b"a\0b"),
            file("d", "\u{e4}".as_bytes()),
        ];
        let content = render(&files, &[], &FileRules::default()).unwrap();
        assert_eq!(content.data.keys().collect::<Vec<_>>(), ["a.json", "d"]);
        assert_eq!(content.binary_data["b.bin"], [0xff, 0x00]);
        assert_eq!(content.binary_data["c.txt"], b"a\0b");
        assert_eq!(content.size(), 2 + 2 + 3 + 2);
    }

    #[test]
    fn hash_follows_content_alone() {
        let hash = |files: &[ConfigFile]| render(files, &[], &FileRules::default()).unwrap().hash();
        let (a, b) = (file("a", b"1"), file("b", b"2"));
        assert_eq!(hash(&[a.clone(), b.clone()]), hash(&[b.clone(), a.clone()]));
        assert_ne!(hash(std::slice::from_ref(&a)), hash(&[a.clone(), b]));
        assert_ne!(hash(&[file("ab", b"c")]), hash(&[file("a", b"bc")]));
        assert!(hash(&[a]).starts_with("sha256:"));
    }

    #[test]
    fn exactly_one_mebibyte_fits_and_one_byte_more_is_reported_with_sizes() {
        let full = vec![b'x'; 1024 * 1024];
        render(&[file("full", &full)], &[], &FileRules::default()).unwrap();
        let failure =
            render(&[file("full", &full), file("more", b"y")], &[], &FileRules::default()).unwrap_err();
        assert_eq!(failure.reason, Reason::TooLarge);
        assert!(
            failure.message.contains("1048577 bytes") && failure.message.contains("'full' 1048576"),
            "{}",
            failure.message
        );
        check_size([("a", u64::MAX), ("b", 1)].into_iter()).unwrap_err();
    }

    #[test]
    fn a_rule_that_matches_nothing_lists_the_paths() {
        let rules = FileRules::parse(&[api::FileMapping { path: "app.yaml".into(), key: None }]).unwrap();
        let failure = render(&[], &["config.json".to_owned()], &rules).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidFiles);
        assert!(failure.message.contains("'config.json'"), "{}", failure.message);
    }

    #[test]
    fn two_files_of_one_name_and_no_file_at_all_are_refused() {
        let failure = render(&[file("a", b"1"), file("a", b"2")], &[], &FileRules::default()).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidFiles);
        assert_eq!(render(&[], &[], &FileRules::default()).unwrap_err().reason, Reason::UnsupportedArtifact);
    }
}
