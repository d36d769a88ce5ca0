//! `artifactconfig history`.

use std::collections::BTreeSet;

use api::{ArtifactConfig, HistoryEntry, HistoryOutcome};
use decide::history;
use jiff::Timestamp;
use serde::Serialize;

use super::get::Output;
use super::kubectl_flags::ClusterArgs;
use super::output::{print, say};
use super::resource;
use super::table::{Table, age, short};

/// Show which config ran with which image, since when; newest first.
///
/// `*` marks the applied config. Every line is one application, so a config that was applied several times has several
/// lines.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// Form of the output; name prints the names of the `ConfigMaps` that keep the revisions [default: a table].
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// One application: its entry in the status, and values that follow from the other entries.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    current: bool,
    #[serde(flatten)]
    entry: &'a HistoryEntry,
    /// When another config replaced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<&'a str>,
}

/// Prints the history.
///
/// # Errors
/// If the resource does not exist.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let history = resource::history(&config);
    let lines = lines(history);
    if let Some(format) = args.output.and_then(Output::format) {
        return print(&format.text(&lines)?);
    }
    if args.output == Some(Output::Name) {
        let kept = history.iter().filter_map(|entry| entry.config_map.as_ref());
        let mut names: Vec<String> = kept.map(|name| format!("configmap/{name}\n")).collect();
        // A config that was applied several times has several entries.
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        return print(&names.concat());
    }
    if lines.is_empty() {
        say!("Nothing has been applied yet.");
    } else {
        print(&table(&lines, args.output == Some(Output::Wide), Timestamp::now()).to_string())?;
    }
    for note in notes(&config) {
        say!("note: {note}");
    }
    Ok(())
}

/// The history. Adds to each entry whether it is the current one, and until when it was.
fn lines(history: &[HistoryEntry]) -> Vec<Line<'_>> {
    let current = history::current(history).map(|entry| entry.revision);
    let mut until = None;
    let mut lines = Vec::new();
    for entry in history {
        let failed = entry.outcome == HistoryOutcome::Failed;
        let ended = if failed { None } else { until };
        lines.push(Line { current: current == Some(entry.revision), entry, until: ended });
        if !failed {
            until = Some(entry.applied_at.as_str());
        }
    }
    lines
}

fn table(lines: &[Line<'_>], wide: bool, now: Timestamp) -> Table {
    let mut header = vec!["REVISION", "CONFIG", "IMAGE", "IMAGE DIGEST", "SINCE", "AGE", "OUTCOME"];
    if wide {
        header.extend(["UNTIL", "KEPT IN"]);
    }
    let mut table = Table::new(&header);
    let digest = |digest: &str| if wide { digest.to_owned() } else { short(digest) };
    for Line { current, entry, until } in lines {
        let mut cells = vec![
            format!("{}{}", entry.revision, if *current { " *" } else { "" }),
            digest(&entry.artifact),
            entry.image_reference.clone().unwrap_or_else(|| "-".to_owned()),
            digest(&entry.image),
            entry.applied_at.clone(),
            age(&entry.applied_at, now),
            format!("{:?}", entry.outcome),
        ];
        if wide {
            cells.push((*until).unwrap_or("-").to_owned());
            cells.push(entry.config_map.clone().unwrap_or_else(|| "-".to_owned()));
        }
        table.row(cells);
    }
    table
}

/// Notes that the table does not have.
fn notes(config: &ArtifactConfig) -> Vec<String> {
    let latest = config.status.as_ref().and_then(|status| status.latest.as_ref());
    let mut notes = Vec::new();
    if let Some(digest) = &config.spec.rollback_to {
        notes.push(format!("spec.rollbackTo keeps config {}", short(digest)));
    }
    if let Some(latest) = latest {
        notes.push(format!("the newest attached config is {latest}"));
    }
    if config.spec.suspend {
        notes.push("spec.suspend is set: nothing changes".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use HistoryOutcome::{Applied, Failed, RolledBack, Superseded};

    fn entry(revision: i64, outcome: HistoryOutcome) -> HistoryEntry {
        HistoryEntry {
            revision,
            artifact: format!("sha256:{}", "a".repeat(64)),
            image: format!("sha256:{}", "1".repeat(64)),
            image_reference: (outcome != Failed).then(|| "r.example/web:v1".to_owned()),
            config_map: (outcome != Failed).then(|| "web-0123456789".to_owned()),
            hash: None,
            applied_at: format!("2026-01-01T0{revision}:00:00Z"),
            outcome,
        }
    }

    #[test]
    fn each_ran_until_the_next_one_and_what_failed_never_ran() {
        let history = [
            entry(5, Failed),
            entry(4, Applied),
            entry(3, Failed),
            entry(2, RolledBack),
            entry(1, Superseded),
        ];
        let outline: Vec<_> =
            lines(&history).iter().map(|line| (line.entry.revision, line.current, line.until)).collect();
        assert_eq!(
            outline,
            [
                (5, false, None),
                (4, true, None),
                (3, false, None),
                (2, false, Some("2026-01-01T04:00:00Z")),
                (1, false, Some("2026-01-01T02:00:00Z")),
            ]
        );
    }

    #[test]
    fn tables() {
        let history = [entry(3, Failed), entry(2, Applied), entry(1, Superseded)];
        let now = "2026-01-01T05:00:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&lines(&history), false, now));
        let wide = table(&lines(&history), true, now).to_string();
        assert!(
            wide.contains(&"a".repeat(64)) && wide.contains("web-0123456789") && wide.contains("UNTIL"),
            "{wide}"
        );
    }
}
