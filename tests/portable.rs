//! The command line alone compiles on all systems of users: it needs nothing that only Unix has. CI and releases
//! compile it there. These tests check as much as possible without these systems.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules that come with the feature `operator`, which runs on Linux.
const OPERATOR: [&str; 6] = [
    "src/cluster/",
    "src/controller/",
    "src/server.rs",
    "src/telemetry/",
    "src/cli/controller.rs",
    "src/cli/leader.rs",
];

/// Parts of the standard library that Windows does not have.
const UNIX: [&str; 8] = [
    "std::os::unix",
    "std::os::linux",
    "os::fd",
    "tokio::signal::unix",
    "PermissionsExt",
    "procfs::",
    "libc::",
    "\"/proc/",
];

/// Dependencies of the operator.
const HEAVY: [&str; 9] = [
    "procfs",
    "axum",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "prometheus-client",
    "tracing-opentelemetry",
    "tracing-subscriber",
    "kube-runtime",
];

/// Dependencies that compile on Unix only.
const UNIX_ONLY: [&str; 4] = ["procfs", "nix", "rustix", "signal-hook-registry"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(directory: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// A file without its tests, which run here.
fn without_tests(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod ").map_or(text, |(code, _)| code)
}

#[test]
fn what_is_only_on_unix_comes_with_the_operator() {
    let mut files = Vec::new();
    for directory in ["src", "crates"] {
        sources(&root().join(directory), &mut files).unwrap();
    }
    let (mut offences, mut gated) = (Vec::new(), 0);
    for file in files {
        let name = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let found: Vec<&str> =
            UNIX.into_iter().filter(|named| without_tests(&text).contains(named)).collect();
        if OPERATOR.iter().any(|place| name.starts_with(place)) {
            gated += found.len();
        } else if !found.is_empty() {
            offences.push(format!("{name} names {}", found.join(", ")));
        }
    }
    assert!(gated > 0, "the operator's signals are not found; are they written in another way?");
    assert!(offences.is_empty(), "only on Unix, and not behind the feature 'operator': {offences:#?}");
}

/// The gate itself: the modules in the list above are not compiled without the operator.
#[test]
fn the_modules_of_the_operator_are_gated() {
    for (file, module) in [
        ("src/lib.rs", "pub mod cluster;"),
        ("src/lib.rs", "pub mod controller;"),
        ("src/lib.rs", "pub mod server;"),
        ("src/lib.rs", "pub mod telemetry;"),
        ("src/cli/mod.rs", "mod controller;"),
        ("src/cli/mod.rs", "mod leader;"),
    ] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let gate = format!("#[cfg(feature = \"operator\")]\n{module}");
        assert!(text.contains(&gate), "{file}: '{module}' is not behind the feature 'operator'");
    }
}

/// Names of the packages that the command line is made of on a system.
fn tree(target: &str) -> anyhow::Result<Vec<String>> {
    let args = [
        "tree",
        "--locked",
        "--package",
        "artifactconfig",
        "--no-default-features",
        "--features",
        "cli",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--target",
        target,
    ];
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[test]
fn the_command_line_leaves_out_what_the_operator_needs() {
    let targets = [
        "x86_64-unknown-linux-gnu",
        "aarch64-unknown-linux-gnu",
        "x86_64-apple-darwin",
        "aarch64-apple-darwin",
        "x86_64-pc-windows-msvc",
        "aarch64-pc-windows-msvc",
    ];
    for target in targets {
        let packages = tree(target).unwrap();
        assert!(packages.iter().any(|name| name == "kube-client"), "{target}: {packages:?}");
        let heavy: Vec<_> = packages.iter().filter(|name| HEAVY.contains(&name.as_str())).collect();
        assert!(heavy.is_empty(), "{target}: the command line brings {heavy:?}");
        if target.contains("windows") {
            let unix: Vec<_> = packages.iter().filter(|name| UNIX_ONLY.contains(&name.as_str())).collect();
            assert!(unix.is_empty(), "{target}: the command line brings {unix:?}");
        }
    }
}
