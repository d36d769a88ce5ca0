//! The committed definition is that of the code.

use std::process::Command;

/// `crds/artifactconfigs.yaml` is printed by `artifactconfig crd`; clusters install the file, users read the command.
#[test]
fn the_committed_definition_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/artifactconfigs.yaml");
    let committed = std::fs::read_to_string(path).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_artifactconfig")).arg("crd").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed == committed,
        "crds/artifactconfigs.yaml differs from what 'artifactconfig crd' prints; run 'make crds' and commit the result"
    );
}

/// The chart is packaged on its own, so it carries a copy; see docs/decisions/0015.
#[test]
fn the_definition_of_the_chart_is_the_same() {
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(
        read("charts/artifactconfig/files/crd.yaml") == read("crds/artifactconfigs.yaml"),
        "charts/artifactconfig/files/crd.yaml differs from crds/artifactconfigs.yaml; run 'make crds' and commit the result"
    );
}
