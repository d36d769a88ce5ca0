//! Durations as arguments, as Go writes them.

use std::time::Duration;

/// Parses a duration. An error ends with `expected`.
pub(super) fn parse(text: &str, expected: &str) -> Result<Duration, String> {
    let parsed: kube::core::Duration = text.parse().map_err(|error| format!("{error}; {expected}"))?;
    if parsed < Duration::ZERO {
        return Err(format!("it is negative; {expected}"));
    }
    Ok(parsed.into())
}
