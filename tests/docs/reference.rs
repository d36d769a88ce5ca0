//! Names on pages exist, and everything that has a name is explained: flags, variables, reasons, fields, metrics, paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use api::Reason;
use regex::Regex;
use serde_json::Value;
use strum::VariantArray as _;

use crate::page::root;
use crate::text::{Pages, is_history, none, page, resolved};

/// Flags that pages name alone, without their command, and that are another program's.
const FOREIGN_FLAGS: &[(&str, &str)] = &[
    ("--artifact-type", "oras"),
    ("--cascade", "kubectl"),
    ("--certificate-identity", "cosign"),
    ("--field-manager", "kubectl"),
    ("--force-conflicts", "helm and kubectl"),
    ("--from-distribution-spec", "oras"),
    ("--keep", "testbed"),
    ("--override-manager", "Flux"),
    ("--reset-then-reuse-values", "helm"),
    ("--reuse-values", "helm"),
    ("--set", "helm"),
    ("--take-ownership", "helm"),
    ("--to-distribution-spec", "oras"),
    ("--unsafe-allow-generic-targets", "External Secrets"),
    ("--workspace", "cargo"),
];

/// Flags of every program that clap makes; the reference leaves them out.
const EVERYBODYS_FLAGS: [&str; 2] = ["--help", "--version"];

/// Flags of the command line by their subcommand's heading, as docs/cli.md has them.
fn flags(pages: &Pages) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut flags: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for row in &page(pages, "docs/cli.md")?.rows {
        let Some(first) = row.cells.first().and_then(|spans| spans.first()) else { continue };
        let default = row.cells.get(1).and_then(|spans| spans.first()).cloned().unwrap_or_default();
        for flag in first.split([',', ' ']).filter(|word| word.starts_with("--")) {
            flags.entry(row.heading.clone()).or_default().insert(flag.to_owned(), default.clone());
        }
    }
    Ok(flags)
}

pub fn every_flag_exists(pages: &Pages) -> Result<()> {
    let ours: BTreeSet<String> = flags(pages)?.into_values().flat_map(BTreeMap::into_keys).collect();
    let word = Regex::new(r"(?:^|[\s\[(`'|=])(--[a-z][a-z0-9-]+)")?;
    let mut wrong = Vec::new();
    for page in pages.values().filter(|page| !is_history(&page.path)) {
        let alone = page.spans.iter().filter(|(_, span)| span.starts_with("--"));
        let alone = alone.map(|(line, span)| (*line, span.clone(), FOREIGN_FLAGS));
        let typed = page.spans.iter().map(|(line, span)| (*line, span.as_str()));
        let blocks = page.blocks().filter(|(_, block)| block.is_shell());
        let typed = typed.chain(blocks.map(|(line, block)| (line, block.text.as_str())));
        let typed =
            typed.flat_map(|(line, text)| our_commands(text).map(move |command| (line, command, &[][..])));
        for (line, text, foreign) in alone.chain(typed) {
            for found in word.captures_iter(&text) {
                let known = ours.contains(&found[1])
                    || EVERYBODYS_FLAGS.contains(&&found[1])
                    || foreign.iter().any(|(flag, _)| *flag == &found[1]);
                if !known {
                    wrong.push(format!(
                        "{}: {} is no flag in docs/cli.md; one of another program belongs into FOREIGN_FLAGS of this test",
                        page.at(line),
                        &found[1]
                    ));
                }
            }
        }
    }
    none(&wrong)
}

/// The commands of a text that are ours, each on one line.
fn our_commands(text: &str) -> impl Iterator<Item = String> {
    let lines: Vec<String> = text.replace("\\\n", " ").split(['\n', '|']).map(str::to_owned).collect();
    lines.into_iter().filter(|line| {
        let line = line.trim_start_matches(['$', ' ']);
        line.starts_with("artifactconfig ") || line.starts_with("kubectl artifactconfig ")
    })
}

/// The page about operations has the same defaults as the reference.
pub fn every_default_is_that_of_the_reference(pages: &Pages) -> Result<()> {
    let flags = flags(pages)?.remove("controller").context("docs/cli.md has no controller")?;
    let operations = page(pages, "docs/operations.md")?;
    let mut wrong = Vec::new();
    for row in operations.rows.iter().filter(|row| row.heading == "Flags") {
        let cell =
            |index: usize| row.cells.get(index).and_then(|spans| spans.first()).cloned().unwrap_or_default();
        let flag = cell(0).split(' ').next().unwrap_or_default().to_owned();
        match flags.get(&flag) {
            None => wrong.push(format!("{}: there is no flag {flag}", operations.at(row.line))),
            Some(default) if *default != cell(1) => {
                let told = cell(1);
                wrong.push(format!(
                    "{}: the default of {flag} is {default:?}, not {told:?}",
                    operations.at(row.line)
                ));
            }
            Some(_) => {}
        }
    }
    none(&wrong)
}

/// Of our own, by the prefixes that they have.
pub fn every_variable_exists(pages: &Pages) -> Result<()> {
    let mut known = page(pages, "docs/cli.md")?.text.clone();
    for path in
        ["Makefile", "testbed/src/tools/mod.rs", "tests/disruption/main.rs", "tests/simulation/main.rs"]
    {
        known.push_str(&std::fs::read_to_string(root().join(path)).with_context(|| path)?);
    }
    for folder in ["tests/disruption", "tests/simulation", "testbed/src"] {
        known.push_str(&sources(&root().join(folder))?);
    }
    let word = Regex::new(r"\b(?:ARTIFACTCONFIG|DISRUPTION|SIMULATION|SOAK|LOAD|KEEP)_[A-Z_]+\b")?;
    let mut wrong = Vec::new();
    for page in pages.values().filter(|page| !is_history(&page.path)) {
        for found in word.find_iter(&page.text) {
            if found.as_str() != "ARTIFACTCONFIG_" && !known.contains(found.as_str()) {
                let line = page.text[..found.start()].matches('\n').count() + 1;
                wrong.push(format!("{}: nothing reads {}", page.at(line), found.as_str()));
            }
        }
    }
    none(&wrong)
}

/// All Rust below a folder.
fn sources(folder: &Path) -> Result<String> {
    Ok(files(folder)?.into_values().collect())
}

/// All Rust files below a folder, by path.
pub fn files(folder: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            found.insert(path, text);
        }
    }
    Ok(found)
}

/// A row in the reference, a section in troubleshooting, a word in the README; and no reason that does not exist.
pub fn every_reason_is_explained(pages: &Pages) -> Result<()> {
    let reasons: Vec<&str> = Reason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
    let troubleshooting = page(pages, "docs/troubleshooting.md")?;
    let sections: Vec<&str> = troubleshooting
        .headings
        .iter()
        .skip_while(|(level, heading)| (*level, heading.as_str()) != (2, "By reason"))
        .skip(1)
        .take_while(|(level, _)| *level > 2)
        .map(|(_, heading)| heading.as_str())
        .collect();
    ensure!(
        sections == reasons,
        "docs/troubleshooting.md: 'By reason' has {sections:?}; the reasons are {reasons:?}"
    );

    let resource = page(pages, "docs/resource.md")?;
    let rows: Vec<(&str, &str)> = resource
        .rows
        .iter()
        .filter(|row| row.heading == "Reasons")
        .filter_map(|row| {
            let name = row.cells.first()?.first()?.as_str();
            let text = resource.text.lines().nth(row.line - 1)?;
            Some((name, text.split('|').nth(2)?.trim()))
        })
        .collect();
    let expected: Vec<(&str, String)> =
        Reason::VARIANTS.iter().map(|reason| (reason.as_str(), format!("{:?}", reason.class()))).collect();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(name, class)| (*name, class.as_str())).collect();
    ensure!(rows == expected, "docs/resource.md: 'Reasons' has {rows:?}; the reasons are {expected:?}");

    let readme = page(pages, "README.md")?;
    let missing = reasons.iter().filter(|reason| !readme.spans.iter().any(|(_, span)| span == *reason));
    none(&missing.map(|reason| format!("README.md: does not name {reason}")).collect::<Vec<_>>())
}

/// Paths of fields, as the reference writes them, with their descriptions.
type Fields = Vec<(String, String)>;

/// The fields below a schema.
fn fields(schema: &Value, path: &str, found: &mut Fields) {
    let described = |schema: &Value| schema["description"].as_str().unwrap_or_default().to_owned();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.push((path.clone(), described(field)));
        fields(field, &path, found);
        fields(&field["items"], &format!("{path}[]"), found);
    }
}

/// The fields of `spec` and of `status`.
pub fn definition() -> Result<(Fields, Fields)> {
    let text = std::fs::read_to_string(root().join("crds/artifactconfigs.yaml"))?;
    let crd: Value = serde_saphyr::from_str(&text)?;
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let (mut spec, mut status) = (Vec::new(), Vec::new());
    fields(&schema["spec"], "", &mut spec);
    fields(&schema["status"], "", &mut status);
    ensure!(spec.len() > 10 && status.len() > 10, "the definition has no fields");
    Ok((spec, status))
}

pub fn every_field_is_explained(pages: &Pages) -> Result<()> {
    let resource = page(pages, "docs/resource.md")?;
    let (spec, status) = definition()?;
    let mut wrong = Vec::new();
    for (heading, fields) in [("Spec", spec), ("Status", status)] {
        let explained: BTreeMap<&str, usize> = resource
            .rows
            .iter()
            .filter(|row| row.heading == heading)
            .flat_map(|row| row.cells.first().into_iter().flatten().map(|span| (span.as_str(), row.line)))
            .collect();
        let existing: BTreeSet<&str> = fields.iter().map(|(path, _)| path.as_str()).collect();
        for path in &existing {
            // A field that contains others is explained by them.
            let holds_others = existing.iter().any(|other| {
                other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]."))
            });
            if !explained.contains_key(path) && !holds_others {
                wrong.push(format!("docs/resource.md: '{heading}' has no row for {path}"));
            }
        }
        for (path, line) in explained {
            if !existing.contains(path) {
                wrong.push(format!("{}: the definition has no field {path}", resource.at(line)));
            }
        }
    }
    none(&wrong)
}

/// The description in `kubectl explain` must say more than the name.
pub fn every_field_is_described_in_the_cluster(_: &Pages) -> Result<()> {
    /// Below that it can hardly say more than the name.
    const SHORTEST: usize = 12;
    let (spec, status) = definition()?;
    let thin = spec.iter().chain(&status).filter(|(_, description)| description.len() < SHORTEST);
    none(
        &thin
            .map(|(path, description)| {
                format!("crds/: {path} is described as {description:?}; say more in crates/api/")
            })
            .collect::<Vec<_>>(),
    )
}

/// A query that is copied from a page must have a result.
pub fn every_metric_exists(pages: &Pages) -> Result<()> {
    let reference = pages
        .get("docs/metrics.md")
        .or_else(|| pages.get("docs/operations.md"))
        .context("no page has the metrics")?;
    let word = Regex::new(r"\bartifactconfig_[a-z_]+[a-z]\b")?;
    let family = |name: &str| {
        let name = ["_bucket", "_sum", "_count", "_total", "_info"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        name.to_owned()
    };
    let known: BTreeSet<String> =
        word.find_iter(&reference.text).map(|found| family(found.as_str())).collect();
    let mut wrong = Vec::new();
    for page in pages.values().filter(|page| !is_history(&page.path)) {
        for found in word.find_iter(&page.text) {
            if !known.contains(&family(found.as_str())) {
                let line = page.text[..found.start()].matches('\n').count() + 1;
                wrong.push(format!("{}: {} is not in {}", page.at(line), found.as_str(), reference.path));
            }
        }
    }
    none(&wrong)
}

/// Paths of the repository that are named as code.
pub fn every_path_exists(pages: &Pages) -> Result<()> {
    let word = Regex::new(
        r"^(?:src|crates|tests|testbed|docs|crds|deploy|charts|scripts|benches|fuzz|\.github)/[A-Za-z0-9_./-]*$",
    )?;
    let mut wrong = Vec::new();
    for page in pages.values().filter(|page| !is_history(&page.path)) {
        let spans = page.spans.iter().flat_map(|(line, span)| each_of(span).map(move |path| (line, path)));
        for (line, path) in spans {
            let near = resolved(&page.path, &path);
            if word.is_match(&path) && !root().join(&path).exists() && !root().join(near).exists() {
                wrong.push(format!("{}: there is no {path}", page.at(*line)));
            }
        }
    }
    none(&wrong)
}

/// The paths that a span names: `a/{b,c}.rs` are `a/b.rs` and `a/c.rs`.
fn each_of(span: &str) -> impl Iterator<Item = String> {
    let parts = span.split_once('{').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('}')?;
        Some(inside.split(',').map(|name| format!("{before}{name}{after}")).collect())
    });
    parts.unwrap_or_else(|| vec![span.to_owned()]).into_iter()
}

/// A promise of the page about security names tests that exist.
pub fn every_promise_has_its_test(pages: &Pages) -> Result<()> {
    let code = ["src", "crates", "tests"].map(|part| sources(&root().join(part)));
    let code = code.into_iter().collect::<Result<String>>()?;
    let function = Regex::new(r"\bfn ([a-z0-9_]+)")?;
    let there: BTreeSet<&str> =
        function.captures_iter(&code).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let text = &page(pages, "docs/security.md")?.text;
    let section = text.split("\n## ").find(|section| section.starts_with("Promises"));
    let rows = section.context("no section about promises")?.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<&str> = rows.skip(2).collect();
    ensure!(rows.len() > 20, "the table of promises is not found");
    let name = Regex::new(r"`([a-z0-9_]+)`")?;
    let mut wrong = Vec::new();
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named: Vec<&str> =
            name.captures_iter(tests).filter_map(|found| Some(found.get(1)?.as_str())).collect();
        if named.is_empty() {
            wrong.push(format!("no test keeps: {row}"));
        }
        wrong.extend(
            named.into_iter().filter(|name| !there.contains(name)).map(|name| format!("there is no {name}")),
        );
    }
    none(&wrong)
}
