//! The rules of structure: which part may know of which. The compiler already refuses names that a crate's dependencies
//! do not have. These tests refuse names that a crate could use and must not.

mod circles;

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A file without its tests: a module of tests is the last item of its file.
fn without_tests(text: &str) -> &str {
    let begins = |(at, mark): &(usize, &str)| text[at + mark.len()..].lines().next().is_some_and(ends_open);
    text.match_indices("#[cfg(test)]\n").find(begins).map_or(text, |(at, _)| &text[..at])
}

fn ends_open(line: &str) -> bool {
    line.ends_with('{')
}

#[test]
fn a_file_ends_where_its_tests_begin() {
    let text = "#[cfg(test)]\nmod tests;\ncode\n#[cfg(test)]\npub(super) mod tests {\n}\n";
    assert_eq!(without_tests(text), "#[cfg(test)]\nmod tests;\ncode\n");
    assert_eq!(without_tests("#[cfg(test)]\nmod tests;\ncode\n"), "#[cfg(test)]\nmod tests;\ncode\n");
}

/// Names of the packages in the tables of dependencies of a manifest. Those of tests are left out on request.
fn dependencies(manifest: &str, with_tests: bool) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_listed = false;
    for line in manifest.lines().map(str::trim_end) {
        if line.starts_with('[') {
            is_listed =
                line.ends_with("dependencies]") && (with_tests || !line.ends_with("dev-dependencies]"));
        } else if is_listed && let Some((name, _)) = line.split_once(['.', '=']) {
            names.push(name.trim().to_owned());
        }
    }
    names
}

fn manifest(krate: &str) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(root().join(krate).join("Cargo.toml"))?)
}

fn depends_on_none_of(krate: &str, refused: &[&str]) -> anyhow::Result<()> {
    let all = dependencies(&manifest(krate)?, true);
    let is_found = all.iter().any(|name| name == "serde_json");
    anyhow::ensure!(is_found, "{krate}: the dependencies are not found: {all:?}");
    let found: Vec<_> = all.iter().filter(|name| refused.contains(&name.as_str())).collect();
    anyhow::ensure!(found.is_empty(), "{krate} depends on {found:?}");
    Ok(())
}

#[test]
fn dependencies_are_read_from_every_table() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# why\na.workspace = true\nb-c = \"1\"\n[target.'cfg(unix)'.dependencies]\nu = \"1\"\n[dev-dependencies]\nd = { version = \"1\" }\n[lints]\ne = true\n";
    assert_eq!(dependencies(manifest, true), ["a", "b-c", "u", "d"]);
    assert_eq!(dependencies(manifest, false), ["a", "b-c", "u"]);
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

/// These and no others: an addition here states that the dependency brings no client, no runtime, no clock and no log.
#[test]
fn the_custom_resource_is_only_types() {
    let names = ["k8s-openapi", "kube-core", "kube-derive", "schemars", "serde", "serde_json", "strum"];
    assert_eq!(dependencies(&manifest("crates/api").unwrap(), false), names);
}

/// The same for decisions: they wait for nobody, ask nobody and log nothing, because they have nothing to do it with.
#[test]
fn decisions_depend_on_values_alone() {
    let names =
        ["api", "jiff", "k8s-openapi", "kube-core", "oci", "semver", "serde", "serde_json", "sha2", "strsim"];
    assert_eq!(dependencies(&manifest("crates/decide").unwrap(), false), names);
}

/// The dependencies of these bring nothing of the kind either.
#[test]
fn nothing_below_decisions_waits_asks_or_logs() {
    const EFFECTS: [&str; 17] = [
        "artifactconfig",
        "artifactconfig-registry",
        "async-trait",
        "futures",
        "futures-util",
        "hyper",
        "kube",
        "kube-client",
        "log",
        "mio",
        "reqwest",
        "rustls",
        "socket2",
        "tokio",
        "tokio-util",
        "tower",
        "tracing",
    ];
    let args = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let mut cargo = Command::new(env!("CARGO"));
    let output =
        cargo.args(args).args(["--package", "artifactconfig-decide"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"kube-core") && names.contains(&"artifactconfig-api"), "{names:?}");
    let effects: Vec<_> = names.into_iter().filter(|name| EFFECTS.contains(name)).collect();
    assert!(effects.is_empty(), "decisions come with {effects:?}");
}

/// The standard library and `jiff` can do some of it: they have futures, clocks, files, sockets and a console. Time comes
/// in as a parameter.
#[test]
fn decisions_use_nothing_that_waits_asks_or_logs() {
    const WORDS: [&str; 15] = [
        "async ",
        ".await",
        "::now()",
        "SystemTime",
        ".elapsed()",
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::process",
        "std::thread",
        "tracing::",
        "print!",
        "println!",
        "dbg!",
    ];
    for (path, text) in [sources("crates/api").unwrap(), sources("crates/decide").unwrap()].concat() {
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        for (number, line) in (1..).zip(without_tests(&text).lines()) {
            let named: Vec<_> = WORDS.into_iter().filter(|word| line.contains(word)).collect();
            assert!(named.is_empty(), "{}:{number} names {named:?}: {}", path.display(), line.trim());
        }
    }
}

/// Rust cannot say which crate may call a function. The proof that a config is in the cluster is for the code that put it
/// there.
#[test]
fn only_applying_makes_the_proof_that_a_config_is_applied() {
    let all = [sources("src").unwrap(), sources("crates").unwrap()].concat();
    let makers = all.iter().filter(|(_, text)| without_tests(text).contains("Applied::confirmed"));
    let makers: Vec<_> = makers.map(|(path, _)| path.as_path()).collect();
    assert_eq!(makers, [Path::new("src/cluster/apply.rs")]);
}

/// The client is for any caller: it knows neither Kubernetes nor what is decided with its answers.
#[test]
fn the_registry_client_stands_alone() {
    depends_on_none_of("crates/registry", &["artifactconfig", "kube", "k8s-openapi"]).unwrap();
}

/// The client gives no advice: the code that knows the reader adds it (`crates/decide/src/words/advice.rs`).
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

/// A part knows only of those below it. For crates, the compiler checks that.
#[test]
fn imports_point_down() {
    const REFUSED: [(&str, &[&str]); 4] = [
        ("src/cluster", &["cli", "controller", "server", "telemetry"]),
        ("src/telemetry", &["cli", "cluster", "controller", "server"]),
        ("src/controller", &["cli", "server"]),
        ("src/server.rs", &["cli", "cluster", "controller", "telemetry"]),
    ];
    let all = sources("src").unwrap();
    for (part, above) in REFUSED {
        let files: Vec<_> = all.iter().filter(|(path, _)| path.starts_with(part)).collect();
        assert!(!files.is_empty(), "there is no {part}");
        for (path, text) in files {
            let named: Vec<_> =
                above.iter().filter(|above| text.contains(&format!("crate::{above}"))).collect();
            assert!(named.is_empty(), "{} imports {named:?}", path.display());
        }
    }
}

/// The files below `src`, without their tests, that name one of these.
fn files_that_name(words: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = sources("src")?
        .into_iter()
        .filter(|(_, text)| words.iter().any(|word| without_tests(text).contains(word)))
        .map(|(path, _)| path)
        .collect();
    files.sort();
    Ok(files)
}

/// Bounds on what callers can hold are in one place, so no server is without them.
#[test]
fn one_file_accepts_connections() {
    let files = files_that_name(&["TcpListener", "axum::serve("]).unwrap();
    assert_eq!(files, [PathBuf::from("src/server.rs")]);
}

/// A separate client would pass by the permit: leader election needs one, because the permit rests on it, and the command
/// line writes for the person who runs it.
#[test]
fn the_operator_writes_through_the_permit() {
    let clients = files_that_name(&["Client::try_from", "ClientBuilder", "Client::new("]).unwrap();
    let expected = ["src/cli/kubectl_flags.rs", "src/cli/leader.rs", "src/cluster/permit.rs"];
    assert_eq!(clients, expected.map(PathBuf::from));
}

/// The status follows from one report: no stage writes it by itself.
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
    // `watch`, `read` and `goal` come before the stages that have modules.
    for stage in &stages[3..] {
        let place = root().join("src/controller").join(stage);
        assert!(place.is_dir() || place.with_extension("rs").is_file(), "there is no src/controller/{stage}");
    }
}
