//! A page as a story: its blocks one after the other, as somebody would type them who reads it from the top.

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use serde_json::{Value, json};

use crate::overlay::overlay;
use crate::page::{Block, Page, What, Word};
use crate::place::{Place, scene};

/// Runs everything on the page that can be run, and applies everything that can be applied.
pub async fn tell(page: &Page, place: &Place) -> Result<()> {
    for step in &page.steps {
        let done = match &step.what {
            What::Scene(name) => set(place, &scene(name)?).await.with_context(|| format!("scene {name}")),
            What::Block(block) if block.is_run() && block.language == "console" => {
                typed(place, block, step.line, page).await
            }
            What::Block(block) if block.is_run() => script(place, block).await,
            What::Block(block) if block.is_applied() => apply(place, block).await,
            What::Block(_) => Ok(()),
        };
        done.with_context(|| page.at(step.line))?;
    }
    Ok(())
}

async fn set(place: &Place, text: &str) -> Result<()> {
    let ran = place.run("sh", &place.here(text)).await?;
    ensure!(ran.status == 0, "status {}:\n{}", ran.status, ran.output);
    Ok(())
}

async fn script(place: &Place, block: &Block) -> Result<()> {
    let ran = place.run(&block.language, &place.here(&block.text)).await?;
    ensure!(
        ran.status == block.status(),
        "status {}, not {}:\n{}\n{}",
        ran.status,
        block.status(),
        block.text,
        ran.output
    );
    Ok(())
}

/// A command and what the page says that it prints.
struct Typed {
    line: usize,
    command: String,
    printed: Vec<String>,
}

/// Commands begin with `$ ` and go on with `> `; everything else is printed.
fn commands(text: &str, first: usize) -> Vec<Typed> {
    let mut commands: Vec<Typed> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(Typed {
                line: first + index + 1,
                command: command.to_owned(),
                printed: Vec::new(),
            }),
            (None, Some(typed)) => match line.strip_prefix("> ") {
                Some(more) if typed.printed.is_empty() => {
                    typed.command.push('\n');
                    typed.command.push_str(more);
                }
                _ => typed.printed.push(line.to_owned()),
            },
            (None, None) => {}
        }
    }
    commands
}

async fn typed(place: &Place, block: &Block, line: usize, page: &Page) -> Result<()> {
    let commands = commands(&block.text, line);
    let last = commands.len();
    for (index, typed) in commands.into_iter().enumerate() {
        let expected = if index + 1 == last { block.status() } else { 0 };
        let ran = place.run("sh", &place.here(&typed.command)).await?;
        ensure!(
            ran.status == expected,
            "{}: `{}`: status {}, not {expected}:\n{}",
            page.at(typed.line),
            typed.command,
            ran.status,
            ran.output
        );
        if !typed.printed.is_empty() && !agrees(&typed.printed, &ran.output)? {
            bail!(
                "{}: `{}` prints something else; the page says\n{}\nand it is\n{}",
                page.at(typed.line),
                typed.command,
                typed.printed.join("\n"),
                ran.output
            );
        }
    }
    Ok(())
}

/// Whether the output is that of the page, except for digests, times, ages and blanks. `…` stands for any text, and on
/// a separate line for any lines.
pub fn agrees(printed: &[String], output: &str) -> Result<bool> {
    let mut pattern = String::from("(?s)^");
    for line in printed {
        if line.trim() == "…" {
            pattern.push_str("(?:.*\n)?");
        } else {
            let line = regex::escape(&plain(line)?).replace('…', "[^\n]*");
            pattern.push_str(&line);
            pattern.push('\n');
        }
    }
    pattern.push('$');
    let output: Vec<String> = output.trim_end().lines().map(plain).collect::<Result<_>>()?;
    Ok(Regex::new(&pattern)?.is_match(&(output.join("\n") + "\n")))
}

/// The line without the parts that differ each time.
fn plain(line: &str) -> Result<String> {
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (pattern, word) in [
        (r"sha256:[0-9a-f]{12,64}", "DIGEST"),
        (r"sha256-[0-9a-f]{64}", "TAG"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\b(\d+[dhms]){1,2}\b", "AGE"),
        (r"-[0-9a-f]{10}\b", "-REVISION"),
    ] {
        line = Regex::new(pattern)?.replace_all(&line, word).into_owned();
    }
    Ok(line)
}

async fn apply(place: &Place, block: &Block) -> Result<()> {
    let text = place.here(&block.text);
    if block.words.contains(&Word::HelmValues) {
        return kubectl(
            place,
            "values.yaml",
            &text,
            "helm template artifactconfig charts/artifactconfig --values",
        )
        .await;
    }
    if let Some(path) =
        block.words.iter().find_map(|word| if let Word::Fragment(path) = word { Some(path) } else { None })
    {
        let fragment: Value = serde_saphyr::from_str(&text).context("this is no YAML")?;
        let whole = serde_json::to_string_pretty(&wrapped(path, fragment))?;
        return kubectl(place, "fragment.json", &whole, "kubectl apply --server-side --dry-run=server -f")
            .await;
    }
    match block.file() {
        // Not for the API server: the commands of the page use it.
        Some(name @ "kustomization.yaml") => Ok(std::fs::write(place.work().join(name), text)?),
        // The commands of the page apply it.
        Some(name) => kubectl(place, name, &text, "kubectl apply --server-side --dry-run=server -f").await,
        None => kubectl(place, "block.yaml", &text, "kubectl apply --server-side --force-conflicts -f").await,
    }
}

/// Writes the file, and gives it to the command.
async fn kubectl(place: &Place, name: &str, text: &str, command: &str) -> Result<()> {
    std::fs::write(place.work().join(name), text)?;
    let ran = place.run("sh", &format!("cd {}\n{command} {name}", place.work().display())).await?;
    ensure!(ran.status == 0, "`{command} {name}`:\n{}", ran.output);
    Ok(())
}

/// The part in a whole resource.
fn wrapped(path: &str, fragment: Value) -> Value {
    let mut fragment = fragment;
    for name in path.split('.').rev().filter(|name| *name != "ArtifactConfig") {
        fragment = json!({name: fragment});
    }
    let mut whole = json!({
        "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "metadata": {"name": "fragment"},
        "spec": {"image": "registry.example.com/shop/web:v1", "artifactType": "custom/config"},
    });
    overlay(&mut whole, fragment);
    whole
}
