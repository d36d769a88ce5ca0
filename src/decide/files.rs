//! Which files to take, and under which key: paths → `ConfigMap` keys.

use std::collections::BTreeMap;

use glob::{MatchOptions, Pattern};

use crate::api::{FileMapping, Reason};

use crate::types::Failure;

/// Parsed `spec.files`. Empty: every file under its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    path: String,
    pattern: Pattern,
    key: Option<String>,
}

/// Wildcards stay within one path segment, as in a shell; `**` crosses them.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

impl FileRules {
    /// Reads `spec.files`.
    ///
    /// # Errors
    /// A sentence that begins with the index and member that cannot be used.
    pub fn parse(mappings: &[FileMapping]) -> Result<Self, String> {
        let rules = mappings
            .iter()
            .enumerate()
            .map(|(index, mapping)| Rule::parse(index, mapping))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Whether a file is taken at all: what is not is not even downloaded.
    #[must_use]
    pub fn wants(&self, path: &str) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|rule| rule.matches(path))
    }

    /// The key of each file that is taken: key → path.
    ///
    /// # Errors
    /// `InvalidFiles` for a rule that matches nothing, a name that is no key, and two files with one key.
    pub fn keys<'a>(&self, paths: &[&'a str]) -> Result<BTreeMap<String, &'a str>, Failure> {
        let mut keys: BTreeMap<String, &'a str> = BTreeMap::new();
        let mut add = |key: String, path: &'a str| match keys.insert(key.clone(), path) {
            Some(other) if other != path => Err(collision(&key, other, path)),
            _ => Ok(()),
        };
        if self.rules.is_empty() {
            for path in paths {
                add(flatten(path)?, path)?;
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let mut matched = paths.iter().copied().filter(|path| rule.matches(path)).peekable();
            if matched.peek().is_none() {
                return Err(nothing_matches(index, rule, paths));
            }
            for path in matched {
                add(rule.key.clone().map_or_else(|| flatten(path), Ok)?, path)?;
            }
        }
        Ok(keys)
    }
}

impl Rule {
    fn parse(index: usize, mapping: &FileMapping) -> Result<Self, String> {
        let FileMapping { path, key } = mapping;
        let is_pattern = path.contains(['*', '?', '[']);
        if is_pattern && key.is_some() {
            return Err(format!(
                "spec.files[{index}].path: '{path}' is a pattern, and a pattern cannot have one key; name one file or leave the key out"
            ));
        }
        if let Some(key) = key {
            check_key(key).map_err(|why| format!("spec.files[{index}].key: '{key}' {why}"))?;
        }
        let pattern = if is_pattern { Pattern::new(path) } else { Pattern::new(&Pattern::escape(path)) };
        let pattern = pattern
            .map_err(|error| format!("spec.files[{index}].path: '{path}' is not a pattern: {error}"))?;
        Ok(Self { path: path.clone(), pattern, key: key.clone() })
    }

    fn matches(&self, path: &str) -> bool {
        self.pattern.matches_with(path, MATCHING)
    }
}

/// Longest key that Kubernetes takes.
const MAX_KEY: usize = 253;

/// The rule of Kubernetes for keys of a `ConfigMap` (`IsConfigMapKey` in apimachinery).
fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err("must have 1 to 253 characters");
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("may hold only letters, digits, '-', '_' and '.'");
    }
    if key == "." || key.starts_with("..") {
        return Err("must not be '.' or start with '..'");
    }
    Ok(())
}

/// A key cannot hold `/`; `.` keeps names readable (`conf.d/a.ini` becomes `conf.d.a.ini`).
fn flatten(path: &str) -> Result<String, Failure> {
    let key = path.replace('/', ".");
    check_key(&key).map_err(|why| {
        Failure::new(
            Reason::InvalidFiles,
            format!("file '{path}' cannot become the ConfigMap key '{key}': a key {why}; give it one in spec.files, as {{path: \"{path}\", key: …}}"),
        )
    })?;
    Ok(key)
}

fn collision(key: &str, first: &str, second: &str) -> Failure {
    Failure::new(
        Reason::InvalidFiles,
        format!(
            "files '{first}' and '{second}' would both become the ConfigMap key '{key}'; give one of them another key in spec.files"
        ),
    )
}

fn nothing_matches(index: usize, rule: &Rule, paths: &[&str]) -> Failure {
    let mut names: Vec<String> = paths.iter().map(|path| format!("'{path}'")).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Failure::new(
        Reason::InvalidFiles,
        format!(
            "spec.files[{index}].path: '{}' matches none of the artifact's files ({})",
            rule.path,
            names.join(", ")
        ),
    )
}

/// How many file names a message lists.
const LISTED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(mappings: &[(&str, Option<&str>)]) -> FileRules {
        let mappings: Vec<FileMapping> = mappings
            .iter()
            .map(|(path, key)| FileMapping { path: (*path).to_owned(), key: key.map(str::to_owned) })
            .collect();
        FileRules::parse(&mappings).unwrap()
    }

    fn keys(rules: &FileRules, paths: &[&str]) -> Vec<(String, String)> {
        rules.keys(paths).unwrap().into_iter().map(|(key, path)| (key, path.to_owned())).collect()
    }

    #[test]
    fn every_file_under_its_own_name_by_default() {
        let all = FileRules::default();
        assert!(all.wants("anything"));
        assert_eq!(
            keys(&all, &["config.json", "conf.d/a.ini"]),
            [("conf.d.a.ini".into(), "conf.d/a.ini".into()), ("config.json".into(), "config.json".into())]
        );
    }

    #[test]
    fn rules_choose_and_rename() {
        let rules = rules(&[("config.json", Some("app.json")), ("conf.d/*.ini", None)]);
        assert!(
            rules.wants("conf.d/a.ini") && !rules.wants("conf.d/deep/a.ini") && !rules.wants("README.md")
        );
        assert_eq!(
            keys(&rules, &["config.json", "conf.d/a.ini", "README.md"]),
            [("app.json".into(), "config.json".into()), ("conf.d.a.ini".into(), "conf.d/a.ini".into())]
        );
    }

    #[test]
    fn two_rules_may_name_the_same_file_but_two_files_not_the_same_key() {
        assert_eq!(keys(&rules(&[("*.json", None), ("a.json", None)]), &["a.json"]).len(), 1);
        let failure = FileRules::default().keys(&["a/b", "a.b"]).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidFiles);
        assert!(failure.message.contains("'a/b' and 'a.b'"), "{}", failure.message);
    }

    #[test]
    fn a_rule_that_matches_nothing_says_what_there_is() {
        let failure = rules(&[("app.yaml", None)]).keys(&["config.json", "b"]).unwrap_err();
        assert_eq!(
            failure.message,
            "spec.files[0].path: 'app.yaml' matches none of the artifact's files ('b', 'config.json')"
        );
    }

    #[test]
    fn refuses_a_pattern_with_a_key_and_a_key_that_is_none() {
        assert!(FileRules::parse(&[FileMapping { path: "*.json".into(), key: Some("k".into()) }]).is_err());
        assert!(FileRules::parse(&[FileMapping { path: "a".into(), key: Some("..k".into()) }]).is_err());
    }

    proptest! {
        /// Whatever the names: keys are valid, distinct, and no file is lost or invented.
        #[test]
        fn flattening_never_loses_a_file(paths in proptest::collection::btree_set("[a-z./ _-]{1,12}", 1..8)) {
            let normalized: std::collections::BTreeSet<String> =
                paths.iter().filter_map(|path| crate::types::normalize_path(path).ok()).collect();
            let paths: Vec<&str> = normalized.iter().map(String::as_str).collect();
            if let Ok(keys) = FileRules::default().keys(&paths) {
                prop_assert_eq!(keys.len(), paths.len());
                for (key, path) in keys {
                    prop_assert!(check_key(&key).is_ok());
                    prop_assert_eq!(key, path.replace('/', "."));
                }
            }
        }

        /// The order in which files are listed decides nothing.
        #[test]
        fn order_does_not_matter(mut paths in proptest::collection::vec("[ab./]{1,5}", 1..6), rotate in 0usize..6) {
            paths.retain(|path| crate::types::normalize_path(path).is_ok_and(|normal| normal == *path));
            let forward: Vec<&str> = paths.iter().map(String::as_str).collect();
            let mut rotated = forward.clone();
            if !rotated.is_empty() {
                let by = rotate % rotated.len();
                rotated.rotate_left(by);
            }
            prop_assert_eq!(FileRules::default().keys(&forward).ok(), FileRules::default().keys(&rotated).ok());
        }
    }
}
