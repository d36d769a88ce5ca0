//! The files of an artifact that a resource wants, for the registry client.

use std::sync::Arc;

use decide::Failure;
use decide::files::{self, Effort, FileRules};
use decide::render::{self, MAX_CONFIG_MAP};
use registry::{MAX_ARCHIVE, MAX_FILES, Wanted};

// A single file can be as large as a ConfigMap, and a directory at least as large.
const _: () = assert!(MAX_ARCHIVE >= MAX_CONFIG_MAP);

// The bound of steps for matching fits the highest number of names that the client passes on.
const _: () = assert!(MAX_FILES == files::MAX_FILES);

/// The rules for one pull: all names of an artifact share one effort of matching.
struct ByRules {
    rules: FileRules,
    effort: Effort,
}

/// A filter by these rules for one artifact, with the size of a `ConfigMap` as its budget.
#[must_use]
pub fn by_rules(rules: &FileRules) -> Arc<dyn Wanted> {
    Arc::new(ByRules { rules: rules.clone(), effort: Effort::default() })
}

impl Wanted for ByRules {
    fn wants(&self, path: &str) -> Result<bool, String> {
        self.rules.wants(path, &self.effort).map_err(words)
    }

    fn wants_below(&self, directory: &str) -> Result<bool, String> {
        self.rules.want_below(directory, &self.effort).map_err(words)
    }

    fn budget(&self) -> u64 {
        MAX_CONFIG_MAP
    }

    fn over_budget(&self, files: &[(&str, u64)]) -> String {
        render::too_large(files.to_vec())
    }
}

fn words(failure: Failure) -> String {
    failure.message
}

#[cfg(test)]
mod tests {
    use api::FileMapping;

    use super::*;

    #[test]
    fn rules_say_what_is_wanted_and_how_much() {
        let mapping = FileMapping { path: "conf.d/*.ini".to_owned(), key: None };
        let wanted = by_rules(&FileRules::parse(&[mapping]).unwrap());
        assert_eq!(wanted.wants("conf.d/a.ini"), Ok(true));
        assert_eq!(wanted.wants("README.md"), Ok(false));
        assert_eq!((wanted.wants_below("conf.d"), wanted.wants_below("lib")), (Ok(true), Ok(false)));
        let message = wanted.over_budget(&[("small", 1), ("large", MAX_CONFIG_MAP)]);
        assert!(
            message.contains("the files have 1048577 bytes") && message.contains("'large' 1048576"),
            "{message}"
        );
    }

    /// The names of all parts of one artifact are matched with one effort, and the next artifact has a separate effort.
    #[test]
    fn the_effort_is_for_one_artifact() {
        let mapping = FileMapping { path: format!("{}b", "a*".repeat(400)), key: None };
        let rules = FileRules::parse(&[mapping]).unwrap();
        let (wanted, name) = (by_rules(&rules), "a".repeat(1024));
        let why = (0..100_000).find_map(|_| wanted.wants(&name).err()).unwrap();
        assert!(why.starts_with("spec.files takes too long"), "{why}");
        wanted.wants(&name).unwrap_err();
        by_rules(&rules).wants(&name).unwrap();
    }
}
