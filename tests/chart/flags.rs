//! The chart's arguments and the operator's flags.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::release::{args, objects};
use crate::stage::{Tools, same};

crate::stage::cases! {
    Alone [every_flag_is_reached_by_a_value, the_operator_understands_its_arguments]
}

/// Flags of the operator that the chart does not set.
const NOT_IN_THE_CHART: [&str; 2] = ["help", "version"];

fn operator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_artifactconfig"));
    command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    command
}

/// Names of the flags in the help of `artifactconfig controller`.
fn flags() -> Result<BTreeSet<String>> {
    let output = operator().args(["controller", "--help"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let name = |line: &str| {
        let flag =
            line.trim_start().trim_start_matches("-h, ").trim_start_matches("-V, ").strip_prefix("--")?;
        let end = flag.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(flag.len());
        Some(flag[..end].to_owned())
    };
    let flags: BTreeSet<_> = text.lines().filter_map(name).collect();
    ensure!(flags.contains("health-address"), "no flags in the help:\n{text}");
    Ok(flags.into_iter().filter(|flag| !NOT_IN_THE_CHART.contains(&flag.as_str())).collect())
}

async fn every_flag_is_reached_by_a_value(tools: Tools) -> Result<()> {
    let mut passed = BTreeSet::new();
    for set in ["full", "namespaced"] {
        for arg in args(&objects(&tools.template(&["--values", &tools.values(set)]).await?)?)? {
            let name = arg.strip_prefix("--").with_context(|| format!("{arg} is no flag"))?;
            passed.insert(name.split_once('=').map_or(name, |(name, _)| name).to_owned());
        }
    }
    same("flags that the chart passes", passed, flags()?)
}

/// Arguments are parsed first: without a cluster the operator gets as far as the error that no cluster exists.
async fn the_operator_understands_its_arguments(tools: Tools) -> Result<()> {
    let plugins = tempfile::tempdir()?;
    let config = plugins.path().join("config.yaml");
    for set in ["full", "minimal", "namespaced"] {
        let rendered = objects(&tools.template(&["--values", &tools.values(set)]).await?)?;
        for object in crate::release::of_kind(&rendered, "ConfigMap") {
            if let Some(text) = object["data"]["config.yaml"].as_str() {
                std::fs::write(&config, text)?;
                let program = plugins.path().join("ecr-credential-provider");
                std::fs::write(&program, "#!/bin/sh\n")?;
                std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
            }
        }
        // The files are where the Pod would have them.
        let here = |arg: String| {
            arg.replace("/etc/artifactconfig/credential-providers/config.yaml", &config.display().to_string())
                .replace("/opt/artifactconfig/credential-providers", &plugins.path().display().to_string())
        };
        let args: Vec<_> = args(&rendered)?.into_iter().map(here).collect();
        let output = operator().arg("controller").args(&args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("no cluster"), "{set}: {args:?} gives {}: {said}", output.status);
    }
    Ok(())
}
