//! As a plugin of kubectl, and in a shell.

use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context as _, Result};
use testbed::tools::{Tool, Tools};

use super::{Night, Person};
use crate::support::{Bench, World, cases, checked, same};

cases! {
    Embedded [
        kubectl_finds_it,
        bash_completes_it,
    ]
}

async fn kubectl_finds_it(bench: Bench) -> Result<()> {
    let (_night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let kubectl = Tools::locate()?.ensure(&[Tool::Kubectl]).await?.path(Tool::Kubectl)?.to_owned();
    let bin = person.home().join("bin");
    std::fs::create_dir(&bin)?;
    symlink(World::binary(), bin.join("kubectl-artifactconfig"))?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let kubectl =
        async |args: &[&str]| person.runs(Command::new(&kubectl).args(args).env("PATH", &path)).await;

    let list = kubectl(&["plugin", "list"]).await?.ok()?;
    checked("it is a plugin", list.contains("kubectl-artifactconfig"), list)?;
    let history = kubectl(&["artifactconfig", "history", "web", "-n", &bench.namespace]).await?.ok()?;
    same("it is the same program", history.lines().count(), 4)?;
    let before = kubectl(&["artifactconfig", "-n", &bench.namespace, "get", "-o", "name"]).await?.ok()?;
    same("flags before the subcommand", before, "artifactconfig.artifactconfig.dev/web\n")?;
    let back = kubectl(&["artifactconfig", "rollback", "web", "-n", &bench.namespace]).await?;
    let next = format!("kubectl artifactconfig resume web -n {}", bench.namespace);
    checked("what to type next", back.stderr.contains(&next), &back)?;
    let usage = kubectl(&["artifactconfig", "history"]).await?.failed(2)?;
    checked("usage", usage.contains("Usage: kubectl artifactconfig history"), usage)?;
    let difference = kubectl(&["artifactconfig", "diff", "web", "-n", &bench.namespace]).await?;
    same("kubectl passes the status on", difference.code, Some(1))
}

async fn bash_completes_it(bench: Bench) -> Result<()> {
    let person = Person::at(&bench)?;
    for shell in ["bash", "zsh", "fish"] {
        let script = person.runs(Command::new(World::binary()).args(["completion", shell])).await?.ok()?;
        for word in ["rollback", "to-revision", "namespace"] {
            checked(&format!("{shell} knows {word}"), script.contains(word), shell)?;
        }
    }
    // As bash does it on Tab: the words so far, the index of the one that is typed, and the function that completes.
    let script = "source <(\"$0\" completion bash)\nCOMP_WORDS=(artifactconfig roll)\nCOMP_CWORD=1\n\
        _artifactconfig artifactconfig roll artifactconfig\necho \"${COMPREPLY[@]}\"\n";
    let ran = person.runs(Command::new("bash").args(["-c", script]).arg(World::binary())).await;
    let words = ran.context("bash cannot be run")?.ok()?;
    same("the word", words.trim(), "rollback")
}
