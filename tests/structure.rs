//! The rules of structure: which part may know of which. What a crate cannot name because its dependencies leave it out is
//! not listed here again; what it could name and must not is.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sources below a directory, with their text: code, comments and tests.
fn sources(directory: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                found.push((path.strip_prefix(root())?.to_owned(), text));
            }
        }
    }
    anyhow::ensure!(found.len() > 2, "the sources of {directory} are not found");
    Ok(found)
}

/// Names of the packages that a crate depends on, out of the tables of its manifest that end in `dependencies`.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_listed = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_listed = line.trim_end().ends_with("dependencies]");
        } else if is_listed && let Some((name, _)) = line.split_once(['.', '=']) {
            names.push(name.trim().to_owned());
        }
    }
    names
}

fn depends_on_none_of(krate: &str, refused: &[&str]) -> anyhow::Result<()> {
    let manifest = std::fs::read_to_string(root().join(krate).join("Cargo.toml"))?;
    let all = dependencies(&manifest);
    let is_found = all.iter().any(|name| name == "serde_json");
    anyhow::ensure!(is_found, "{krate}: the dependencies are not found: {all:?}");
    let found: Vec<_> = all.iter().filter(|name| refused.contains(&name.as_str())).collect();
    anyhow::ensure!(found.is_empty(), "{krate} depends on {found:?}");
    Ok(())
}

#[test]
fn dependencies_are_read_from_every_table() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# why\na.workspace = true\nb-c = \"1\"\n[dev-dependencies]\nd = { version = \"1\" }\n[lints]\ne = true\n";
    assert_eq!(dependencies(manifest), ["a", "b-c", "d"]);
}

/// Values wait for nobody, ask nobody and log nothing.
#[test]
fn the_values_of_oci_are_only_values() {
    depends_on_none_of(
        "crates/oci",
        &[
            "artifactconfig",
            "registry",
            "tokio",
            "futures",
            "reqwest",
            "http",
            "kube",
            "k8s-openapi",
            "tracing",
        ],
    )
    .unwrap();
}

/// The client is for any caller: it knows neither Kubernetes nor what is decided with its answers.
#[test]
fn the_registry_client_stands_alone() {
    depends_on_none_of("crates/registry", &["artifactconfig", "kube", "k8s-openapi"]).unwrap();
}

/// What to do about a failure is said by who speaks to the reader, in the words of its own floor (`crates/decide/src/advice.rs`).
#[test]
fn the_registry_client_names_nothing_of_a_resource() {
    const WORDS: [&str; 4] = ["spec.", "Reason", "ConfigMap", "kube::"];
    for (path, text) in [sources("crates/oci").unwrap(), sources("crates/registry").unwrap()].concat() {
        for (number, line) in (1..).zip(text.lines()) {
            let named: Vec<_> = WORDS.into_iter().filter(|word| line.contains(word)).collect();
            assert!(named.is_empty(), "{}:{number} names {named:?}: {}", path.display(), line.trim());
        }
    }
}

/// A part knows only of those below it. What is a crate of its own has the compiler for that.
#[test]
fn imports_point_down() {
    const REFUSED: [(&str, &[&str]); 3] = [
        ("src/cluster", &["cli", "controller", "telemetry"]),
        ("src/telemetry", &["cli", "cluster", "controller"]),
        ("src/controller", &["cli"]),
    ];
    for (part, above) in REFUSED {
        for (path, text) in sources(part).unwrap() {
            let named: Vec<_> =
                above.iter().filter(|above| text.contains(&format!("crate::{above}"))).collect();
            assert!(named.is_empty(), "{} imports {named:?}", path.display());
        }
    }
}

/// Decisions take data and return data. Time comes in as a parameter.
#[test]
fn decisions_neither_wait_nor_ask_nor_log() {
    const WORDS: [&str; 6] = ["async ", ".await", "::now()", "SystemTime", "tracing::", "println!"];
    for (path, text) in sources("crates/decide/src").unwrap() {
        let code = text.split_once("#[cfg(test)]").map_or(text.as_str(), |(code, _)| code);
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
        let named: Vec<_> = WORDS.into_iter().filter(|word| !is_test && code.contains(word)).collect();
        assert!(named.is_empty(), "{} has {named:?}", path.display());
    }
}

/// The status says what one report says: no stage writes it on its own.
#[test]
fn one_file_writes_the_status() {
    let writes = |(path, text): (PathBuf, String)| text.contains(".write_status(").then_some(path);
    let files: Vec<_> = sources("src/controller").unwrap().into_iter().filter_map(writes).collect();
    assert_eq!(files, [PathBuf::from("src/controller/settle.rs")]);
}

/// The stages are listed where people look for them, and everywhere in the same order.
#[test]
fn the_lists_of_stages_agree() {
    const FIRST: &str = "watch → ";
    let lists = ["ARCHITECTURE.md", "src/lib.rs", "src/controller/reconcile.rs"].map(|file| {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let list = text.lines().find_map(|line| Some(FIRST.to_owned() + line.split_once(FIRST)?.1));
        (file, list.unwrap_or_else(|| panic!("{file} has no list of stages")))
    });
    for (file, list) in &lists {
        assert_eq!(list, &lists[0].1, "{file} and {}", lists[0].0);
    }
    let stages: Vec<&str> = lists[0].1.split(" → ").collect();
    // `watch`, `read` and `goal` come before a pass has stages of its own.
    for stage in &stages[3..] {
        let place = root().join("src/controller").join(stage);
        assert!(place.is_dir() || place.with_extension("rs").is_file(), "there is no src/controller/{stage}");
    }
}
