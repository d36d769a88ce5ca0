//! The admission policies: the committed ones are those of the code, and their decision in Rust fits the table. tests/bind
//! runs the same table through a real API server.

#[path = "bind/table.rs"]
mod table;

use std::process::Command;

use api::ArtifactConfig;
use serde_json::Value;
use table::Case;

/// `deploy/bind/policies.yaml` is printed by `artifactconfig policies`; clusters install the file, users read the command.
/// The chart is packaged by itself, so it carries a copy.
#[test]
fn the_committed_policies_are_current() {
    let output = Command::new(env!("CARGO_BIN_EXE_artifactconfig")).arg("policies").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for path in ["deploy/bind/policies.yaml", "charts/artifactconfig/files/policies.yaml"] {
        let committed = std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(
            printed == committed,
            "{path} differs from what 'artifactconfig policies' prints; run 'make crds' and commit the result"
        );
    }
}

#[test]
fn every_row_of_the_table_is_decided_as_it_says() {
    let cases = table::read().unwrap();
    assert!(cases.len() >= 60, "only {} rows", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let admitted = admit(&case, &case.pod).unwrap();
        let is_expected = match (&admitted, &case.expected) {
            (Ok(pod), Ok(expected)) => pod == expected,
            (Err(message), Err(expected)) => expected.contains(message),
            _ => false,
        };
        if !is_expected {
            wrong.push(format!("{}:\n     is {admitted:?}\nshould be {:?}", case.name, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn admit(case: &Case, pod: &Value) -> serde_json::Result<Result<Value, String>> {
    let configs = case.configs.iter().chain(&case.elsewhere).cloned().map(serde_json::from_value);
    Ok(decide::bind::admit(pod, table::HERE, &configs.collect::<serde_json::Result<Vec<ArtifactConfig>>>()?))
}

/// A second round, which the API server starts if another plugin changes the pod, changes nothing.
#[test]
fn a_second_round_changes_nothing() {
    for case in table::read().unwrap() {
        if let Ok(once) = admit(&case, &case.pod).unwrap() {
            assert_eq!(admit(&case, &once).unwrap().as_ref(), Ok(&once), "{}", case.name);
        }
    }
}
