//! Checks of pages that need no cluster: blocks, links, and lists of contents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::page::{Page, root};
use crate::{reference, words};

/// All pages, by path.
pub type Pages = BTreeMap<String, Page>;

/// A check of all pages.
pub type Check = fn(&Pages) -> Result<()>;

/// The checks, by name.
pub const CHECKS: [(&str, Check); 16] = [
    ("every_block_says_its_language", every_block_says_its_language),
    ("every_block_that_is_not_run_says_why", every_block_that_is_not_run_says_why),
    ("every_link_leads_somewhere", every_link_leads_somewhere),
    ("every_page_is_in_the_index", every_page_is_in_the_index),
    ("every_list_of_contents_is_whole", every_list_of_contents_is_whole),
    ("every_flag_exists", reference::every_flag_exists),
    ("every_default_is_that_of_the_reference", reference::every_default_is_that_of_the_reference),
    ("every_variable_exists", reference::every_variable_exists),
    ("every_reason_is_explained", reference::every_reason_is_explained),
    ("every_field_is_explained", reference::every_field_is_explained),
    ("every_field_is_described_in_the_cluster", reference::every_field_is_described_in_the_cluster),
    ("every_metric_exists", reference::every_metric_exists),
    ("every_path_exists", reference::every_path_exists),
    ("every_promise_has_its_test", reference::every_promise_has_its_test),
    ("no_word_that_the_style_replaces", words::no_word_that_the_style_replaces),
    ("no_comment_has_a_word_that_the_style_replaces", words::no_comment_has_a_word_that_the_style_replaces),
];

/// The languages of a block. `text` is for blocks that nobody runs: drawings, output, usage.
const LANGUAGES: [&str; 10] =
    ["sh", "bash", "console", "yaml", "json", "text", "mermaid", "rust", "dockerfile", "promql"];

/// Fails with all errors at once.
pub fn none(wrong: &[String]) -> Result<()> {
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

pub fn page<'a>(pages: &'a Pages, path: &str) -> Result<&'a Page> {
    pages.get(path).with_context(|| format!("there is no {path}"))
}

/// Decisions and the changelog are history: the things that they name may be gone.
pub fn is_history(path: &str) -> bool {
    path.starts_with("docs/decisions/") || path == "CHANGELOG.md"
}

fn every_block_says_its_language(pages: &Pages) -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages.values() {
        for (line, block) in page.blocks() {
            if !LANGUAGES.contains(&block.language.as_str()) {
                wrong.push(format!(
                    "{}: the block's language is {:?}; it must be one of {}",
                    page.at(line),
                    block.language,
                    LANGUAGES.join(", ")
                ));
            }
            if block.language == "json" && serde_json::from_str::<Value>(&block.text).is_err() {
                wrong.push(format!("{}: this is no JSON", page.at(line)));
            }
        }
    }
    none(&wrong)
}

/// Commands under another language, or under none, would be neither run nor checked.
fn every_block_that_is_not_run_says_why(pages: &Pages) -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages.values() {
        for (line, block) in page.blocks() {
            let looks_typed = block.text.lines().any(|text| {
                ["$ ", "kubectl ", "helm ", "oras ", "artifactconfig "]
                    .iter()
                    .any(|word| text.starts_with(word))
            });
            let usage = page.path == "docs/cli.md" && block.language == "text";
            if !block.is_shell() && !usage && looks_typed {
                wrong.push(format!(
                    "{}: these are commands: say 'sh' or 'console', so that they are run, or say why not with '<!-- docs: not run: … -->'",
                    page.at(line)
                ));
            }
            if block.language == "console" && block.is_run() && !block.text.starts_with("$ ") {
                wrong.push(format!("{}: a block 'console' begins with '$ '", page.at(line)));
            }
        }
    }
    none(&wrong)
}

fn every_link_leads_somewhere(pages: &Pages) -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages.values() {
        for (line, link) in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = resolved(&page.path, path);
            if !path.is_empty() && !root().join(&target).exists() {
                wrong.push(format!("{}: {link} leads to {target}, which is not there", page.at(*line)));
            } else if let Some(anchor) = anchor {
                let anchors = pages.get(&target).map(|page| &page.anchors);
                if !anchors.is_some_and(|anchors| anchors.iter().any(|known| known == anchor)) {
                    wrong.push(format!("{}: {target} has no heading #{anchor}", page.at(*line)));
                }
            }
        }
    }
    none(&wrong)
}

/// A link's path from the root of the repository; the page itself where it is empty.
pub fn resolved(page: &str, link: &str) -> String {
    if link.is_empty() {
        return page.to_owned();
    }
    let mut path: Vec<&str> =
        Path::new(page).parent().and_then(Path::to_str).unwrap_or_default().split('/').collect();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path.retain(|part| !part.is_empty());
    path.join("/")
}

fn every_page_is_in_the_index(pages: &Pages) -> Result<()> {
    for (index, folder) in [("docs/README.md", "docs/"), ("docs/decisions/README.md", "docs/decisions/")] {
        let linked: BTreeSet<String> = page(pages, index)?
            .links
            .iter()
            .map(|(_, link)| resolved(index, link.split('#').next().unwrap_or_default()))
            .collect();
        let depth = folder.matches('/').count();
        let missing = pages.keys().filter(|path| {
            path.starts_with(folder)
                && path.matches('/').count() == depth
                && *path != index
                && !linked.contains(*path)
        });
        none(&missing.map(|path| format!("{index}: has no link to {path}")).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// A page that begins with a list of its sections names all of them, in their order.
fn every_list_of_contents_is_whole(pages: &Pages) -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages.values() {
        let listed: Vec<&str> = page
            .text
            .lines()
            .skip_while(|line| !line.starts_with("- [") || !line.contains("](#"))
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_once("](#")?.1.split_once(')').map(|(anchor, _)| anchor))
            .collect();
        let sections: Vec<&str> = page
            .headings
            .iter()
            .zip(&page.anchors)
            .filter(|((level, _), _)| *level == 2)
            .map(|(_, anchor)| anchor.as_str())
            .collect();
        // The page of the command line is generated, and its shared flags are not a subcommand.
        if !listed.is_empty() && page.path != "docs/cli.md" && listed != sections {
            wrong.push(format!(
                "{}: the list at the top is {listed:?}, the sections are {sections:?}",
                page.path
            ));
        }
    }
    none(&wrong)
}
