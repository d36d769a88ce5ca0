//! Alerts and dashboard: taken by the real `promtool`, tested by it, explained in the runbook, and made of metrics that
//! exist. That `docs/metrics.md` lists what a running operator serves is checked end to end (`tests/e2e/telemetry.rs`).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::tools::{Tool, ToolPaths, Tools};

/// Labels that Prometheus adds to what it scrapes.
const OF_THE_TARGET: [&str; 2] = ["job", "instance"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn rules() -> Vec<Value> {
    let file = yaml("charts/artifactconfig/files/alerts.yaml");
    list(&file["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect()
}

fn alerts() -> Vec<String> {
    rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
}

/// Every query of the dashboard, with a time in place of Grafana's variable.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("charts/artifactconfig/files/dashboard.json")).unwrap();
    let targets = list(&dashboard["panels"]).iter().flat_map(|panel| list(&panel["targets"]));
    targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m")).collect()
}

fn tools() -> ToolPaths {
    Tools::locate().unwrap().ensure_blocking(&[Tool::Promtool]).unwrap()
}

fn promtool(args: &[&str]) {
    let output = tools().command(Tool::Promtool, args).unwrap().output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {args:?}:\n{out}\n{err}");
}

/// Names of series and their labels, as `docs/metrics.md` lists them.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::new();
    let words =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    for line in read("docs/metrics.md").lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, _, _] = cells.as_slice() else { continue };
        let Some(name) = words(name).pop() else { continue };
        let labels: BTreeSet<_> = words(labels).into_iter().collect();
        if *kind == "histogram" {
            let bucket = labels.iter().cloned().chain(["le".to_owned()]).collect();
            series.insert(format!("{name}_bucket"), bucket);
            series.insert(format!("{name}_sum"), labels.clone());
            series.insert(format!("{name}_count"), labels);
        } else {
            series.insert(name, labels);
        }
    }
    assert!(series.len() > 30, "the table is read: {series:?}");
    series
}

/// Names in an expression that are metrics of ours. That it is an expression, promtool checks.
fn metrics(expression: &str) -> Vec<&str> {
    expression
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("artifactconfig_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn prometheus_takes_the_alerts() {
    promtool(&[
        "check",
        "rules",
        "--lint=all",
        path("charts/artifactconfig/files/alerts.yaml").to_str().unwrap(),
    ]);
}

#[test]
fn prometheus_takes_the_queries_of_the_dashboard() {
    let record =
        |(index, query): (usize, &String)| json!({"record": format!("panel:{index}:x"), "expr": query});
    let rules: Vec<_> = queries().iter().enumerate().map(record).collect();
    assert!(rules.len() > 20, "{}", rules.len());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dashboard.yaml");
    // JSON is YAML.
    std::fs::write(&file, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

#[test]
fn the_alerts_fire_where_they_should_and_only_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut alerts = yaml("charts/artifactconfig/files/alerts.yaml");
    for group in alerts["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            // Tests of promtool compare all of them, word by word.
            rule.as_object_mut().unwrap().remove("annotations");
        }
    }
    std::fs::write(directory.path().join("alerts.yaml"), alerts.to_string()).unwrap();
    let tests = directory.path().join("alerts.test.yaml");
    std::fs::write(&tests, read("tests/alerts/alerts.test.yaml")).unwrap();
    promtool(&["test", "rules", tests.to_str().unwrap()]);
    // Both kinds of test are there for each.
    let file = yaml("tests/alerts/alerts.test.yaml");
    let mut seen = BTreeSet::new();
    for test in list(&file["tests"]).iter().flat_map(|test| list(&test["alert_rule_test"])) {
        seen.insert((test["alertname"].as_str().unwrap().to_owned(), list(&test["exp_alerts"]).is_empty()));
    }
    let wanted = self::alerts().into_iter().flat_map(|alert| [(alert.clone(), false), (alert, true)]);
    assert_eq!(seen, wanted.collect());
}

#[test]
fn alerts_dashboard_and_tests_name_only_metrics_that_exist() {
    let documented = documented();
    let expressions =
        rules().into_iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).chain(queries());
    for expression in expressions {
        let metrics = metrics(&expression);
        assert!(!metrics.is_empty(), "{expression} names none");
        for metric in metrics {
            assert!(documented.contains_key(metric), "{metric} is not in docs/metrics.md: {expression}");
        }
    }
    let file = yaml("tests/alerts/alerts.test.yaml");
    for input in list(&file["tests"]).iter().flat_map(|test| list(&test["input_series"])) {
        let series = input["series"].as_str().unwrap();
        let (name, labels) = series.split_once('{').unwrap();
        let given: BTreeSet<String> = labels
            .split(", ")
            .map(|pair| pair.split_once('=').unwrap().0.to_owned())
            .filter(|label| !OF_THE_TARGET.contains(&label.as_str()))
            .collect();
        assert_eq!(Some(&given), documented.get(name), "{series}");
    }
}

#[test]
fn each_alert_says_what_it_is_and_has_its_entry_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let entries: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|heading| heading.starts_with("ArtifactConfig"))
        .map(str::to_owned)
        .collect();
    assert_eq!(entries, alerts().into_iter().collect());
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        let annotations = &rule["annotations"];
        for text in [&annotations["summary"], &annotations["description"], &rule["labels"]["severity"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{name}: {rule}");
        }
        let url = annotations["runbook_url"].as_str().unwrap();
        assert!(url.ends_with(&format!("/docs/runbook.md#{}", name.to_lowercase())), "{name}: {url}");
        let start = runbook.find(&format!("\n## {name}\n")).unwrap() + 1;
        let entry = &runbook[start..];
        let entry = entry[3..].find("\n## ").map_or(entry, |end| &entry[..end + 3]);
        for part in ["**Meaning.**", "**Impact.**", "**Cause.**", "**Fix.**"] {
            assert!(entry.contains(part), "{name} lacks {part}");
        }
    }
}
