//! Selects files and their keys: paths → `ConfigMap` keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use api::{FileMapping, Reason};
use oci::text;

use super::pattern::{self, Exhausted, MAX_PATTERN, Pattern, Steps};
use crate::Failure;
use crate::limits::check_key;

/// Parsed `spec.files`. Empty: every file under its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    path: String,
    wish: Wish,
    key: Option<String>,
}

/// The files that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    /// One file. With escapes, the name differs from the path.
    Name(String),
    /// The file with exactly this name if it exists, otherwise all files that the pattern matches.
    Pattern(Pattern),
}

/// Most entries, as the definition has it.
const MAX_RULES: usize = 256;

/// Most files of an artifact that a registry client passes on. The bound of steps is chosen for as many.
pub const MAX_FILES: usize = 4096;

/// Most steps for matching the names of an artifact's files with all patterns: well below a tenth of a second for all
/// patterns and names. A hundred usual patterns and a thousand names take about two million steps.
const MAX_STEPS: u32 = 1 << 24;

/// Steps that are left for the files of one artifact, over all places that match them.
#[derive(Debug)]
pub struct Effort(AtomicU32);

impl Default for Effort {
    fn default() -> Self {
        Self(MAX_STEPS.into())
    }
}

impl Effort {
    /// Matches a name with each rule, until `ends`.
    fn each<'r>(
        &self,
        rules: impl Iterator<Item = &'r Rule>,
        name: &str,
        mut ends: impl FnMut(&'r Rule, &mut Steps) -> Result<bool, Exhausted>,
    ) -> Result<bool, Failure> {
        let before = self.0.load(Ordering::Relaxed);
        let mut steps = Steps(before);
        let mut ended = Ok(false);
        for rule in rules {
            ended = ends(rule, &mut steps).map_err(|_| too_long(rule, name));
            if !matches!(ended, Ok(false)) {
                break;
            }
        }
        // Directories that are matched at the same time may each use the steps that were left when they began.
        let used = before - steps.0;
        let rest = |left: u32| Some(left.saturating_sub(used));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        ended
    }
}

impl FileRules {
    /// Reads `spec.files`.
    ///
    /// # Errors
    /// A sentence that begins with the index and member that cannot be used.
    pub fn parse(mappings: &[FileMapping]) -> Result<Self, String> {
        if mappings.len() > MAX_RULES {
            return Err(format!("spec.files has {} entries; at most {MAX_RULES} are read", mappings.len()));
        }
        let rules = mappings
            .iter()
            .enumerate()
            .map(|(index, mapping)| Rule::parse(index, mapping))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Whether there are no rules, so that every file is selected.
    #[must_use]
    pub fn take_all(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a file is selected. Other files are not downloaded.
    ///
    /// # Errors
    /// `InvalidFiles` if matching takes more than the allowed steps.
    pub fn wants(&self, path: &str, effort: &Effort) -> Result<bool, Failure> {
        Ok(self.take_all()
            || effort.each(self.rules.iter(), path, |rule, steps| rule.matches(path, steps))?)
    }

    /// Whether a rule may select a file below a directory.
    ///
    /// # Errors
    /// As [`Self::wants`].
    pub fn want_below(&self, directory: &str, effort: &Effort) -> Result<bool, Failure> {
        let below = |rule: &Rule, steps: &mut Steps| rule.reaches_below(directory, steps);
        Ok(self.take_all() || effort.each(self.rules.iter(), directory, below)?)
    }

    /// The key of each selected file: key → path. `others` are the files that are not selected, for messages.
    ///
    /// # Errors
    /// `InvalidFiles` for a rule that matches nothing, a name that is not a valid key, or two files with one key.
    pub fn keys<'a>(
        &self,
        paths: &[&'a str],
        others: &[String],
    ) -> Result<BTreeMap<String, &'a str>, Failure> {
        let mut keys: BTreeMap<String, &'a str> = BTreeMap::new();
        let mut add = |key: String, path: &'a str| match keys.insert(key.clone(), path) {
            Some(other) if other != path => Err(collision(&key, other, path)),
            _ => Ok(()),
        };
        if self.take_all() {
            for path in paths {
                add(flatten(path)?, path)?;
            }
        }
        for ((index, rule), matched) in self.rules.iter().enumerate().zip(self.matched(paths)?) {
            if matched.is_empty() {
                return Err(nothing_matches(index, rule, paths, others));
            }
            for path in matched {
                add(rule.key.clone().map_or_else(|| flatten(path), Ok)?, path)?;
            }
        }
        Ok(keys)
    }

    /// The files that each rule selects.
    fn matched<'a>(&self, paths: &[&'a str]) -> Result<Vec<Vec<&'a str>>, Failure> {
        let present: BTreeSet<&str> = paths.iter().copied().collect();
        // A file with exactly this name comes before the pattern.
        let named: Vec<bool> = self.rules.iter().map(|rule| present.contains(rule.path.as_str())).collect();
        let mut matched = vec![Vec::new(); self.rules.len()];
        let effort = Effort::default();
        for path in paths {
            let mut places = named.iter().zip(&mut matched);
            effort.each(self.rules.iter(), path, |rule, steps| {
                let Some((named, matched)) = places.next() else { return Ok(true) };
                let takes = match &rule.wish {
                    Wish::Pattern(_) if *named => rule.path == *path,
                    _ => rule.matches(path, steps)?,
                };
                matched.extend(takes.then_some(*path));
                Ok(false)
            })?;
        }
        Ok(matched)
    }
}

impl Rule {
    fn parse(index: usize, mapping: &FileMapping) -> Result<Self, String> {
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

    fn matches(&self, path: &str, steps: &mut Steps) -> Result<bool, Exhausted> {
        match &self.wish {
            Wish::Name(name) => Ok(name == path),
            Wish::Pattern(_) if self.path == path => Ok(true),
            Wish::Pattern(pattern) => pattern.matches(path, steps),
        }
    }

    fn reaches_below(&self, directory: &str, steps: &mut Steps) -> Result<bool, Exhausted> {
        let below = |path: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        match &self.wish {
            Wish::Name(name) => Ok(below(name)),
            Wish::Pattern(_) if below(&self.path) => Ok(true),
            Wish::Pattern(pattern) => pattern.reaches_below(directory, steps),
        }
    }
}

/// A key cannot hold `/`; `.` keeps names readable (`conf.d/a.ini` becomes `conf.d.a.ini`).
fn flatten(path: &str) -> Result<String, Failure> {
    let key = path.replace('/', ".");
    check_key(&key).map_err(|why| {
        Failure::new(
            Reason::InvalidFiles,
            format!(
                "file '{}' cannot become the ConfigMap key '{}': a key {why}; {}",
                text::brief(path),
                text::brief(&key),
                advice(path)
            ),
        )
    })?;
    Ok(key)
}

/// An entry of `spec.files` for a file, in a form that can be copied for every name.
fn advice(path: &str) -> String {
    // A YAML string in double quotes.
    let quoted = text::escape(&pattern::escape(path)).replace('"', "\\\"");
    if quoted.len() > MAX_ADVICE {
        return "attach it with a shorter name".to_owned();
    }
    format!("set another key in spec.files: {{path: \"{quoted}\", key: …}}")
}

/// Longest name that a message repeats in full: a condition has room for 1024 bytes.
const MAX_ADVICE: usize = 400;

fn too_long(rule: &Rule, path: &str) -> Failure {
    Failure::new(
        Reason::InvalidFiles,
        format!(
            "spec.files takes too long to match with the artifact's files: more than {MAX_STEPS} comparisons, up to '{}' with file '{}'; use fewer and shorter patterns, or attach fewer files with shorter names",
            text::brief(&rule.path),
            text::brief(path)
        ),
    )
}

fn collision(key: &str, first: &str, second: &str) -> Failure {
    Failure::new(
        Reason::InvalidFiles,
        format!(
            "files '{}' and '{}' would both become the ConfigMap key '{key}'; for the second, {}",
            text::brief(first),
            text::brief(second),
            advice(second)
        ),
    )
}

fn nothing_matches(index: usize, rule: &Rule, paths: &[&str], others: &[String]) -> Failure {
    let mut sorted: Vec<&str> = paths.iter().copied().chain(others.iter().map(String::as_str)).collect();
    sorted.sort_unstable();
    let names = sorted.iter().map(|path| format!("'{}'", text::brief(path)));
    Failure::new(
        Reason::InvalidFiles,
        format!(
            "spec.files[{index}].path: '{}' matches none of the artifact's files ({})",
            text::brief(&rule.path),
            text::list(names, LISTED)
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
        rules.keys(paths, &[]).unwrap().into_iter().map(|(key, path)| (key, path.to_owned())).collect()
    }

    #[test]
    fn every_file_under_its_own_name_by_default() {
        let all = FileRules::default();
        assert!(all.wants("anything", &Effort::default()).unwrap());
        assert_eq!(
            keys(&all, &["config.json", "conf.d/a.ini"]),
            [("conf.d.a.ini".into(), "conf.d/a.ini".into()), ("config.json".into(), "config.json".into())]
        );
    }

    #[test]
    fn rules_choose_and_rename() {
        let rules = rules(&[("config.json", Some("app.json")), ("conf.d/*.ini", None)]);
        let wants = |path| rules.wants(path, &Effort::default()).unwrap();
        assert!(wants("conf.d/a.ini") && !wants("conf.d/deep/a.ini") && !wants("README.md"));
        assert_eq!(
            keys(&rules, &["config.json", "conf.d/a.ini", "README.md"]),
            [("app.json".into(), "config.json".into()), ("conf.d.a.ini".into(), "conf.d/a.ini".into())]
        );
    }

    #[test]
    fn two_rules_may_name_the_same_file_but_two_files_not_the_same_key() {
        assert_eq!(keys(&rules(&[("*.json", None), ("a.json", None)]), &["a.json"]).len(), 1);
        let failure = FileRules::default().keys(&["a/b", "a.b"], &[]).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidFiles);
        assert!(failure.message.contains("'a/b' and 'a.b'"), "{}", failure.message);
    }

    #[test]
    fn a_rule_that_matches_nothing_says_what_there_is() {
        let failure = rules(&[("app.yaml", None)]).keys(&["config.json", "b"], &[]).unwrap_err();
        assert_eq!(
            failure.message,
            "spec.files[0].path: 'app.yaml' matches none of the artifact's files ('b', 'config.json')"
        );
    }

    #[test]
    fn refuses_a_pattern_with_a_key_and_a_key_that_is_none() {
        for path in ["*.json", "a?", "[a-z].json", "[[]*", "a/**", "[a].json"] {
            let mapping = FileMapping { path: path.into(), key: Some("k".into()) };
            assert!(FileRules::parse(&[mapping]).unwrap_err().contains("cannot have a key"), "{path}");
        }
        assert!(FileRules::parse(&[FileMapping { path: "a".into(), key: Some("..k".into()) }]).is_err());
    }

    /// Names that are patterns as well: frameworks name files after the routes they serve.
    #[test]
    fn a_file_is_found_by_its_own_name_before_that_is_a_pattern() {
        let paths = ["[id].json", "i.json", "d.json"];
        let escaped = rules(&[("[[]id].json", Some("id.json"))]);
        assert_eq!(keys(&escaped, &paths), [("id.json".to_owned(), "[id].json".to_owned())]);
        let failure = rules(&[("[id].json", None)]).keys(&paths, &[]).unwrap_err();
        assert!(failure.message.contains("'[id].json' cannot become"), "not 'i.json': {}", failure.message);
        let without = ["i.json", "d.json"];
        assert_eq!(
            keys(&rules(&[("[id].json", None)]), &without).len(),
            2,
            "without such a file it is a pattern"
        );
    }

    #[test]
    fn names_and_patterns_have_bounds_of_their_own() {
        let mapping = |path: String| FileMapping { path, key: None };
        assert!(FileRules::parse(&[mapping("x".repeat(1024))]).is_ok());
        assert!(FileRules::parse(&[mapping("x".repeat(1025))]).unwrap_err().contains("spec.files[0].path"));
        let many = vec![mapping("x".to_owned()); MAX_RULES + 1];
        assert!(FileRules::parse(&many).unwrap_err().contains("257 entries"));
    }

    /// The highest number of rules and names, each of the worst form.
    #[test]
    fn the_worst_patterns_and_names_end_by_a_count_of_steps() {
        let worst = format!("*{}b", "a".repeat(500));
        let rules = rules(&vec![(worst.as_str(), None); MAX_RULES]);
        let names: Vec<String> = (0..MAX_FILES).map(|index| format!("{}{index}", "a".repeat(1000))).collect();
        let paths: Vec<&str> = names.iter().map(String::as_str).collect();
        let failure = rules.keys(&paths, &[]).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidFiles);
        assert!(failure.message.contains("takes too long to match"), "{}", failure.message);
        let effort = Effort::default();
        let first = paths.iter().find_map(|path| rules.wants(path, &effort).err());
        assert_eq!(
            first.unwrap().reason,
            Reason::InvalidFiles,
            "one name after the other is counted as well"
        );
        assert!(rules.want_below("a", &effort).is_err(), "and all that comes after");
    }

    /// The entry that the message advises, parsed as YAML.
    fn advised(message: &str) -> FileMapping {
        let entry = &message[message.rfind("{path: ").unwrap()..];
        serde_saphyr::from_str(&entry.replace('…', "k")).unwrap()
    }

    proptest! {
        /// For any file name that is not a valid key, and any files beside it.
        #[test]
        fn advice_parses_and_selects_just_that_file(
            name in "[a-c*?\\[\\]!{}\"'#: /\u{e4}\u{202e}\u{85}-]{1,12}", beside in "[abc*?\\[\\]]{1,4}",
        ) {
            let Ok(name) = oci::normalize_path(&name) else { return Ok(()) };
            let (name, beside) = (name.as_str(), beside.as_str());
            let Err(failure) = FileRules::default().keys(&[name], &[]) else { return Ok(()) };
            let rules = FileRules::parse(&[advised(&failure.message)]).unwrap();
            let all = if name == beside { vec![name] } else { vec![name, beside] };
            prop_assert_eq!(keys(&rules, &all), [("k".to_owned(), name.to_owned())]);
        }

        /// For any names: keys are valid and distinct, and no file is lost or invented.
        #[test]
        fn flattening_never_loses_a_file(paths in proptest::collection::btree_set("[a-z./ _-]{1,12}", 1..8)) {
            let normalized: std::collections::BTreeSet<String> =
                paths.iter().filter_map(|path| oci::normalize_path(path).ok()).collect();
            let paths: Vec<&str> = normalized.iter().map(String::as_str).collect();
            if let Ok(keys) = FileRules::default().keys(&paths, &[]) {
                prop_assert_eq!(keys.len(), paths.len());
                for (key, path) in keys {
                    prop_assert!(check_key(&key).is_ok());
                    prop_assert_eq!(key, path.replace('/', "."));
                }
            }
        }

        /// The order in which files are listed does not matter.
        #[test]
        fn order_does_not_matter(mut paths in proptest::collection::vec("[ab./]{1,5}", 1..6), rotate in 0usize..6) {
            paths.retain(|path| oci::normalize_path(path).is_ok_and(|normal| normal == *path));
            let forward: Vec<&str> = paths.iter().map(String::as_str).collect();
            let mut rotated = forward.clone();
            if !rotated.is_empty() {
                let by = rotate % rotated.len();
                rotated.rotate_left(by);
            }
            prop_assert_eq!(FileRules::default().keys(&forward, &[]).ok(), FileRules::default().keys(&rotated, &[]).ok());
        }
    }
}
