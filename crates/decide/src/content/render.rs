//! Files → content of the `ConfigMap`.

use std::collections::{BTreeMap, BTreeSet};

use api::Reason;
use oci::{ConfigFile, text};

use crate::Failure;
use crate::files::FileRules;
use crate::limits;

pub use super::values::{Content, MAX_CONFIG_MAP};

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
