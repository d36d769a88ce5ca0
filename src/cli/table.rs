//! Columns as kubectl sets them, and times as kubectl writes them.

use std::fmt::Write as _;

use jiff::Timestamp;
use oci::text;

/// Rows under a header. Columns are as wide as their widest cell, with three spaces between and none at the ends of
/// lines.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this header.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row. Unprintable characters are escaped, because some cells are text of others.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| text::line(&cell).into_owned()).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}   ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A short digest for people: algorithm and twelve characters.
#[must_use]
pub fn short(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) => format!("{algorithm}:{}", hex.chars().take(12).collect::<String>()),
        None => digest.to_owned(),
    }
}

/// The time since then, in the form of kubectl's AGE column.
#[must_use]
pub fn age(since: &str, now: Timestamp) -> String {
    since.parse().map_or_else(
        |_| "<unknown>".to_owned(),
        |since: Timestamp| human(now.duration_since(since).as_secs().max(0)),
    )
}

/// A number of seconds in the form of kubectl: with a second unit while that matters.
#[must_use]
pub fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| {
        let rest = seconds % large / small;
        let first = format!("{}{large_unit}", seconds / large);
        if rest == 0 { first } else { format!("{first}{rest}{small_unit}") }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        _ => two(YEAR, "y", DAY, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as `HumanDuration` of apimachinery.
    #[rstest::rstest]
    #[case(0, "0s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(150, "2m30s")]
    #[case(601, "10m")]
    #[case(3 * 3600, "3h")]
    #[case(3 * 3600 + 60, "3h1m")]
    #[case(8 * 3600 + 60, "8h")]
    #[case(48 * 3600, "2d")]
    #[case(49 * 3600, "2d1h")]
    #[case(9 * 86_400 + 3600, "9d")]
    #[case(2 * 365 * 86_400 + 86_400, "2y1d")]
    fn times_as_kubectl_writes_them(#[case] seconds: i64, #[case] written: &str) {
        assert_eq!(human(seconds), written);
    }

    #[test]
    fn ages() {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        assert_eq!(age("2026-01-01T00:00:00Z", now), "10m");
        assert_eq!(age("2027-01-01T00:00:00Z", now), "0s", "a clock that is ahead makes nothing negative");
        assert_eq!(age("yesterday", now), "<unknown>");
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_hold_no_control_characters() {
        let mut table = Table::new(&["NAME", "AGE"]);
        table.row(["web".to_owned(), "5m".to_owned()]);
        table.row(["w\u{1b}[31mrker".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "NAME              AGE\nweb               5m\nw\\u001b[31mrker\n");
    }

    #[test]
    fn digests_are_shortened() {
        assert_eq!(short("sha256:0123456789abcdef"), "sha256:0123456789ab");
        assert_eq!(short("none"), "none");
    }
}
