//! Shared code of `soak` and `load`: both run long, print their progress, and write a report.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};

/// A duration as an argument.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let parsed: SignedDuration =
        text.parse().with_context(|| format!("'{text}' is no duration such as 90s, 10m or 1h"))?;
    Duration::try_from(parsed).context("a duration cannot be negative")
}

/// Progress, apart from the report on standard output.
pub(crate) fn say(text: &str) {
    eprintln!("{} {text}", Timestamp::now().strftime("%H:%M:%S"));
}

/// Writes a report.
pub(crate) fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
