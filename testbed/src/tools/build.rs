//! Builds programs into the cache: once, for any number of callers at the same time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::Tool;
use super::go::Go;
use super::key::directory_name;
use super::module::Module;

/// Beginning of the names of directories that are built into.
const UNFINISHED: &str = ".building-";

/// How much of a failed build's output the error repeats.
const OUTPUT_LINES: usize = 20;

/// Paths of the module's programs, built where they are missing.
pub(crate) fn ensure(
    cache: &Path,
    go: &Go,
    module: &Module,
    tools: &[Tool],
) -> Result<BTreeMap<Tool, PathBuf>> {
    let directory = cache.join(directory_name(module, go));
    let paths: BTreeMap<_, _> = tools.iter().map(|tool| (*tool, directory.join(tool.name()))).collect();
    if missing(&paths).is_empty() {
        return Ok(paths);
    }
    go.check(module)?;
    fs::create_dir_all(&directory).with_context(|| {
        format!("cannot create {}: set ARTIFACTCONFIG_TOOLS_DIR to a writable directory", directory.display())
    })?;
    let _lock = lock(&cache.join(format!("{}.lock", module.name)), module)?;
    // The earlier holder of the lock may have built them.
    let missing = missing(&paths);
    if !missing.is_empty() {
        sweep(&directory);
        build(&directory, module, &missing)?;
    }
    Ok(paths)
}

fn missing(paths: &BTreeMap<Tool, PathBuf>) -> Vec<Tool> {
    paths.iter().filter(|(_, path)| !path.is_file()).map(|(tool, _)| *tool).collect()
}

/// Takes the lock between processes; it goes when the file is closed, also by a crash.
fn lock(path: &Path, module: &Module) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another process that builds {} {} …", module.name, module.version);
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Removes what builds that were killed have left. Nobody else builds here: the lock is ours.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// One `go build` for all of them: the programs of a module share most of their packages.
fn build(directory: &Path, module: &Module, tools: &[Tool]) -> Result<()> {
    let names = tools.iter().map(|tool| tool.name()).collect::<Vec<_>>().join(", ");
    let source = directory.join("module");
    fs::create_dir_all(&source)?;
    fs::write(source.join("go.mod"), module.go_mod)?;
    fs::write(source.join("go.sum"), module.go_sum)?;
    for (path, text) in module.sources {
        let path = source.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&source))?;
        fs::write(path, text)?;
    }
    // Built beside the final place, on the same file system: a rename is atomic, so a program is whole or
    // absent.
    let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(directory)?;

    eprintln!("building {names} {} (first use, about {} on two cores) …", module.version, module.about);
    let started = Instant::now();
    let output = Go::command()
        .arg("build")
        .args(module.build_flags())
        .arg("-o")
        // With the slash Go writes one file per package into the directory.
        .arg(format!("{}/", unfinished.path().display()))
        .args(tools.iter().map(|tool| tool.package()))
        .current_dir(&source)
        .output()
        .context("`go build` does not run")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = stderr.lines().collect();
        bail!(
            "building {names} {} failed ({}); modules come from GOPROXY, which must be reachable on first use:\n{}",
            module.version,
            output.status,
            lines[lines.len().saturating_sub(OUTPUT_LINES)..].join("\n"),
        );
    }
    for tool in tools {
        let built = unfinished.path().join(tool.built_as());
        fs::rename(&built, directory.join(tool.name()))
            .with_context(|| format!("`go build` did not leave {} behind", built.display()))?;
    }
    eprintln!("built {names} {} in {} s", module.version, started.elapsed().as_secs());
    Ok(())
}
