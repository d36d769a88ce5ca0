//! The report, in Markdown.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::bare::Bare;
use super::burst::Burst;
use crate::measure::{Usage, machine};

/// What a start with resources took.
#[derive(Debug, Clone)]
pub(super) struct Restart {
    /// Until `/readyz` answers 200.
    pub(super) ready: Duration,
    /// Until each was reconciled once.
    pub(super) looked_at: Duration,
    pub(super) cpu: Duration,
    pub(super) rss: u64,
}

/// What doing nothing took.
#[derive(Debug, Clone)]
pub(super) struct Idle {
    pub(super) count: usize,
    pub(super) took: Duration,
    pub(super) cpu: Duration,
    pub(super) rss: u64,
    pub(super) peak_rss: u64,
    pub(super) reconciles: usize,
    pub(super) requests: usize,
}

/// The content of the report.
pub(super) struct Report<'a> {
    pub(super) program: &'a Path,
    /// The machine before.
    pub(super) before: String,
    pub(super) bare: Bare,
    /// The operator with nothing to do.
    pub(super) started: Usage,
    pub(super) burst: Burst,
    pub(super) restart: Restart,
    pub(super) more: Option<Burst>,
    pub(super) idle: Option<Idle>,
}

impl Report<'_> {
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("# Load\n\n");
        let parts: Vec<_> = self.program.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
        let program = parts.into_iter().rev().collect::<Vec<_>>().join("/");
        // Writing to a String cannot fail, here and below.
        let _ =
            writeln!(text, "Operator: {program}. Machine: {} before, {} after.\n", self.before, machine());
        text.push_str("| What | Figure |\n| --- | ---: |\n");
        let mut row = |what: String, figure: String| {
            let _ = writeln!(text, "| {what} | {figure} |");
        };
        let Bare { count, created, least, same } = self.bare;
        row(format!("{count} ArtifactConfigs created, no operator"), seconds(created));
        row(format!("{count} ConfigMaps and {count} statuses, bare requests"), seconds(least));
        row(format!("the same with {count} revisions and {count} events, bare requests"), seconds(same));
        row("memory of the operator with nothing to do".into(), mebibytes(self.started.rss));
        let burst = &self.burst;
        row(format!("{count} created at once: until all are ready"), seconds(burst.took));
        row("… against ConfigMaps and statuses alone".into(), times(burst.took, least));
        row("… against the same writes".into(), times(burst.took, same));
        rows_of(burst, &mut row);
        let restart = &self.restart;
        row(format!("start with {count}: until /readyz is 200"), seconds(restart.ready));
        row("… until each was looked at".into(), seconds(restart.looked_at));
        row("… processor time by then".into(), seconds(restart.cpu));
        row("… memory then".into(), mebibytes(restart.rss));
        if let Some(more) = &self.more {
            row(format!("{} more created at once: until all are ready", more.count), seconds(more.took));
            rows_of(more, &mut row);
        }
        if let Some(idle) = &self.idle {
            let minutes = idle.took.as_secs_f64() / 60.0;
            row(format!("{} idle for {minutes:.0} min: processor time", idle.count), seconds(idle.cpu));
            let share = idle.cpu.as_secs_f64() / idle.took.as_secs_f64() * 100.0;
            row("… share of one core".into(), format!("{share:.2} %"));
            row("… memory at the end".into(), mebibytes(idle.rss));
            row("… the most memory since the start".into(), mebibytes(idle.peak_rss));
            row("… reconciles".into(), idle.reconciles.to_string());
            row("… requests to the registry".into(), idle.requests.to_string());
        }
        text
    }
}

fn rows_of(burst: &Burst, row: &mut impl FnMut(String, String)) {
    row("… processor time of the operator".into(), seconds(burst.cpu));
    row("… and in the 10 s after".into(), seconds(burst.aftermath));
    row("… memory after".into(), mebibytes(burst.rss));
    row("… the most memory".into(), mebibytes(burst.peak_rss));
    row("… requests to the registry".into(), burst.requests.to_string());
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn times(time: Duration, bare: Duration) -> String {
    format!("{:.2} times", time.as_secs_f64() / bare.as_secs_f64().max(f64::MIN_POSITIVE))
}

fn mebibytes(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
        assert_eq!(times(Duration::from_secs(3), Duration::from_secs(2)), "1.50 times");
        assert_eq!(mebibytes(1536), "1.5 MiB");
    }
}
