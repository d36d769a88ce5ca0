//! A soak of half a minute: too short for leaks, long enough that the world is in the right state afterwards, and that the
//! soak itself works when an hour of it is wanted.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::Path;
use std::process::Command;

/// Found beside the testbed's program, where building the workspace puts it.
fn operator() -> std::path::PathBuf {
    let operator = Path::new(env!("CARGO_BIN_EXE_testbed")).with_file_name("artifactconfig");
    assert!(
        operator.is_file(),
        "there is no {}: run `cargo build --workspace --bins --examples` first",
        operator.display()
    );
    operator
}

#[test]
fn half_a_minute_of_churn_ends_as_its_model_says() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("soak.md");
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["soak", "--duration", "30s", "--resources", "10", "--operator"])
        .arg(operator())
        .arg("--report")
        .arg(&report)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(&report).unwrap_or_default();
    // Its seed is in what it says, for `testbed soak --seed`.
    assert!(output.status.success(), "{said}\n{report}");

    let passed = |check: &str| {
        report.lines().any(|line| line.starts_with(&format!("| {check} |")) && line.ends_with("| passed |"))
    };
    for check in [
        "resources that are not what their model says",
        "revisions beyond revisionHistoryLimit",
        "ConfigMaps of deleted resources",
        "objects written once it had settled",
        "panics, errors and foreign lines in the log",
        "open descriptors",
        "connections to the API server",
    ] {
        assert!(passed(check), "{check}:\n{report}");
    }
    let not_judged = report.lines().filter(|line| line.contains("not judged")).count();
    assert_eq!(not_judged, 2, "memory, and nothing else:\n{report}");
    // Something was done, and something was broken.
    let rows = |title: &str| -> u64 {
        let section = report.split(title).nth(1).unwrap_or_default();
        let table = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
        let times = table.take_while(|line| line.starts_with('|'));
        times.filter_map(|line| line.split('|').nth(2)?.trim().parse::<u64>().ok()).sum()
    };
    assert!(rows("## What was done") >= 20, "{report}");
    assert!(rows("## What was broken") >= 3, "{report}");
}
