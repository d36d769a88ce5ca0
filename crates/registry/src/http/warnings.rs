//! Warnings of registries to their users (distribution-spec, "Warnings"). They are logged, and change nothing else.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::WARNING;
use moka::sync::Cache;

use crate::credentials::access::Repository;
use crate::observe::LOG;

/// Registries whose warnings are remembered as logged. Each has its own memory, so that a registry with a new warning
/// each time does not cause the warnings of others to be logged again.
const REGISTRIES: u64 = 1000;

/// Different warnings of one registry that are logged within [`LOGGED_FOR`].
const EACH: usize = 10;

/// Header lines of one answer that are read.
const LINES: usize = 10;

/// How long a warning is not repeated.
const LOGGED_FOR: Duration = Duration::from_hours(24);

/// Characters of a warning that are logged.
const MAX_LENGTH: usize = 200;

/// What was logged, by registry.
pub(crate) struct Warnings {
    logged: Cache<String, Arc<Mutex<HashSet<String>>>>,
}

/// What to do with a warning.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Log,
    /// The last one for a day.
    LogAndClose,
    Skip,
}

impl Warnings {
    pub(crate) fn new() -> Self {
        Self { logged: Cache::builder().max_capacity(REGISTRIES).time_to_live(LOGGED_FOR).build() }
    }

    /// Logs the new warnings in an answer of the registry itself.
    pub(crate) fn report(&self, repository: &Repository, headers: &HeaderMap) {
        let lines = headers.get_all(WARNING).iter().take(LINES);
        for warning in lines.filter_map(|value| value.to_str().ok()) {
            // `299 - "text"`: the only form that the specification gives.
            let Some(text) = warning.strip_prefix("299 - ") else { continue };
            let text: String = text.trim_matches('"').chars().take(MAX_LENGTH).collect();
            if repository.gives_away(&text) {
                continue;
            }
            let registry = &repository.host;
            let verdict = self.judge(registry, &text);
            if verdict != Verdict::Skip {
                tracing::warn!(target: LOG, registry, warning = text, "the registry warns");
            }
            if verdict == Verdict::LogAndClose {
                tracing::warn!(target: LOG, registry, "the registry warns of many things; the rest is not logged today");
            }
        }
    }

    /// Logs a remark of our own about a registry.
    pub(crate) fn once(&self, registry: &str, text: &str) {
        if self.judge(registry, text) != Verdict::Skip {
            tracing::warn!(target: LOG, registry, "{text}");
        }
    }

    fn judge(&self, registry: &str, text: &str) -> Verdict {
        let logged = self.logged.get_with_by_ref(registry, Arc::default);
        let mut logged = logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= EACH || !logged.insert(text.to_owned()) {
            Verdict::Skip
        } else if logged.len() == EACH {
            Verdict::LogAndClose
        } else {
            Verdict::Log
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_logged_so_often_and_silences_no_other() {
        let warnings = Warnings::new();
        assert_eq!(warnings.judge("quiet.example", "once"), Verdict::Log);
        let verdicts: Vec<Verdict> =
            (0..2000).map(|number| warnings.judge("loud.example", &number.to_string())).collect();
        assert_eq!(verdicts.iter().filter(|verdict| **verdict != Verdict::Skip).count(), EACH);
        assert_eq!(verdicts[EACH - 1], Verdict::LogAndClose);
        assert_eq!(warnings.judge("quiet.example", "once"), Verdict::Skip, "it is still remembered");
        assert_eq!(warnings.judge("quiet.example", "again"), Verdict::Log);
    }
}
