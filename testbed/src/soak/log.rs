//! The operator's log, as JSON lines: its warnings and errors, with their counts.

use std::collections::BTreeMap;

use serde_json::Value;

/// Lines above the level INFO, counted by level and message, and lines that make the soak fail.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Level, message, count.
    pub(super) counts: BTreeMap<(String, String), u64>,
    /// Lines of the operator with level ERROR, panics, and lines that are not JSON (a panic without the log is one).
    /// Libraries call it an error when the API server is down, which it is here on purpose: theirs are only counted.
    pub(super) alarming: Vec<String>,
}

impl Summary {
    pub(super) fn of(log: &str) -> Self {
        let mut summary = Self::default();
        for line in log.lines().filter(|line| !line.trim().is_empty()) {
            let Ok(parsed) = serde_json::from_str::<Value>(line) else {
                summary.alarming.push(line.to_owned());
                continue;
            };
            let level = parsed["level"].as_str().unwrap_or("?").to_owned();
            let target = parsed["target"].as_str().unwrap_or_default();
            let ours = target.starts_with("artifactconfig");
            if (level == "ERROR" && ours) || line.contains("panicked") {
                summary.alarming.push(line.to_owned());
            }
            if !matches!(level.as_str(), "INFO" | "DEBUG" | "TRACE") {
                let message = parsed["reason"].as_str().or_else(|| parsed["watched"].as_str());
                let what = parsed["message"].as_str().unwrap_or_default();
                // The reason distinguishes failures; the message names objects.
                let key = message.unwrap_or(what);
                let key = if ours { key.to_owned() } else { format!("{target}: {key}") };
                *summary.counts.entry((level, key)).or_default() += 1;
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_alarming_and_warnings_are_counted() {
        let log = r#"{"level":"INFO","message":"ready","target":"artifactconfig::x"}
{"level":"WARN","message":"not synced","reason":"RateLimited","target":"artifactconfig::x"}
{"level":"WARN","message":"not synced","reason":"RateLimited","target":"artifactconfig::x"}
{"level":"ERROR","message":"broken","target":"artifactconfig::x"}
{"level":"ERROR","message":"refused","target":"kube_client"}
thread 'main' panicked at src/main.rs:1
"#;
        let summary = Summary::of(log);
        assert_eq!(summary.counts[&("WARN".to_owned(), "RateLimited".to_owned())], 2);
        assert_eq!(summary.counts[&("ERROR".to_owned(), "kube_client: refused".to_owned())], 1);
        assert_eq!(summary.alarming.len(), 2);
        assert!(Summary::of("").alarming.is_empty());
    }
}
