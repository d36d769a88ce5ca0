//! The report, in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::log::Summary;
use super::sample::Sample;
use super::stats::{median, sparkline};
use super::verdict::{Check, number};

/// Characters of a sparkline.
const WIDTH: usize = 72;

/// Rows of the table of samples.
const ROWS: usize = 16;

/// The content of the report.
pub(super) struct Report<'a> {
    /// Name and value: seed, duration, machine …
    pub(super) circumstances: Vec<(&'static str, String)>,
    pub(super) checks: &'a [Check],
    pub(super) samples: &'a [Sample],
    pub(super) settled: &'a Sample,
    pub(super) acts: Vec<(&'static str, u64)>,
    pub(super) troubles: Vec<(&'static str, u64, Duration)>,
    pub(super) log: &'a Summary,
}

impl Report<'_> {
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("# Soak\n\n");
        let failed = self.checks.iter().filter(|check| check.passed == Some(false)).count();
        // Writing to a String cannot fail, here and below.
        let _ = match failed {
            0 => writeln!(text, "**Passed**: {} checks.\n", self.checks.len()),
            count => writeln!(text, "**Failed**: {count} of {} checks.\n", self.checks.len()),
        };
        self.verdict(&mut text);
        text.push_str("\n## Circumstances\n\n| | |\n| --- | --- |\n");
        for (name, value) in &self.circumstances {
            let _ = writeln!(text, "| {name} | {} |", cell(value));
        }
        self.curves(&mut text);
        self.samples(&mut text);
        text.push_str("\n## What was done\n\n| Act | Times |\n| --- | ---: |\n");
        for (name, times) in &self.acts {
            let _ = writeln!(text, "| {name} | {times} |");
        }
        text.push_str("\n## What was broken\n\n| Trouble | Times | In all |\n| --- | ---: | ---: |\n");
        for (name, times, lasted) in &self.troubles {
            let _ = writeln!(text, "| {name} | {times} | {:.0} s |", lasted.as_secs_f64());
        }
        text.push_str(
            "\n## What the operator logged above INFO\n\n| Level | What | Lines |\n| --- | --- | ---: |\n",
        );
        for ((level, what), count) in &self.log.counts {
            let _ = writeln!(text, "| {level} | {} | {count} |", cell(what));
        }
        text
    }

    /// The checks alone, for the terminal.
    pub(super) fn verdict(&self, text: &mut String) {
        text.push_str("| Check | Seen | Expected | |\n| --- | --- | --- | --- |\n");
        for check in self.checks {
            let passed = match check.passed {
                Some(true) => "passed",
                Some(false) => "**failed**",
                None => "not judged: the run is too short",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {passed} |",
                check.name,
                cell(&check.seen),
                cell(&check.expected)
            );
        }
    }

    fn curves(&self, text: &mut String) {
        text.push_str("\n## Curves\n\nFrom the start to the end of churn; each from its least to its greatest value.\n\n```text\n");
        let mut curve = |name: &str, value: fn(&Sample) -> Option<f64>| {
            let values: Vec<f64> = self.samples.iter().filter_map(value).collect();
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if let Some(middle) = median(&values) {
                let line = sparkline(&values, WIDTH);
                let _ = writeln!(text, "{name:<24}{line}  {low:.0} … {middle:.0} … {high:.0}");
            }
        };
        curve("memory (KiB)", |sample| Some(number(sample.usage.rss)));
        curve("descriptors", |sample| Some(number(sample.usage.descriptors)));
        curve("sockets", |sample| Some(number(sample.usage.sockets)));
        curve("API connections", |sample| Some(number(sample.api)));
        curve("threads", |sample| Some(number(sample.usage.threads)));
        curve("tokio tasks", |sample| sample.metrics?.tasks);
        curve("queue", |sample| sample.metrics?.queue);
        curve("metric series", |sample| Some(number(sample.metrics?.series)));
        curve("resources", |sample| Some(number(sample.counts?.resources)));
        curve("ConfigMaps", |sample| Some(number(sample.counts?.config_maps)));
        curve("revisions beyond limit", |sample| Some(number(sample.counts?.beyond)));
        curve("watches", |sample| sample.counts?.watches.map(number));
        text.push_str("```\n");
    }

    fn samples(&self, text: &mut String) {
        text.push_str(
            "\n## Samples\n\n| At | Memory KiB | CPU s | Descriptors | Sockets | API connections | Threads | Tasks | Series | Resources | ConfigMaps | Broken |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
        );
        let step = self.samples.len().div_ceil(ROWS).max(1);
        let rows =
            self.samples.iter().step_by(step).map(|sample| (sample, sample.trouble.unwrap_or_default()));
        for (sample, note) in rows.chain([(self.settled, "settled")]) {
            let usage = &sample.usage;
            let optional = |value: Option<f64>| value.map(|value| format!("{value:.0}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} s | {} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {} | {note} |",
                sample.at.as_secs(),
                usage.rss,
                usage.cpu.as_secs_f64(),
                usage.descriptors,
                usage.sockets,
                sample.api,
                usage.threads,
                optional(sample.metrics.and_then(|metrics| metrics.tasks)),
                optional(sample.metrics.map(|metrics| number(metrics.series))),
                optional(sample.counts.map(|counts| number(counts.resources))),
                optional(sample.counts.map(|counts| number(counts.config_maps))),
            );
        }
    }
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_first_whether_it_passed() {
        let sample = Sample::default();
        let samples = vec![sample.clone(); 40];
        let mut checks = vec![Check::none("orphans", &[])];
        let report = |checks: &[Check]| {
            let log = Summary::default();
            let report = Report {
                circumstances: vec![("seed", "1".into())],
                checks,
                samples: &samples,
                settled: &sample,
                acts: vec![("attach", 3)],
                troubles: vec![("down", 1, Duration::from_secs(2))],
                log: &log,
            };
            report.markdown()
        };
        assert!(report(&checks).starts_with("# Soak\n\n**Passed**: 1 checks."));
        checks.push(Check::none("state", &["a|b".into()]));
        let text = report(&checks);
        assert!(text.contains("**Failed**: 1 of 2 checks.") && text.contains("a\\|b"), "{text}");
        let rows = text.lines().filter(|line| line.starts_with("| 0 s |")).count();
        assert!(rows <= ROWS + 1, "{rows}");
    }
}
