//! Words that the style guide replaces must not come back.

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::text::{Pages, definition, is_history};

/// The guide, which has to name these words, and the heading of their column.
const GUIDE: &str = "docs/STYLE.md";
const COLUMN: &str = "| Not | But |";

/// Searches pages, `--help` (`docs/cli.md` is generated from it) and `kubectl explain`.
pub fn no_word_that_the_style_replaces(pages: &Pages) -> Result<()> {
    let guide = pages.get(GUIDE).with_context(|| format!("{GUIDE} does not exist"))?;
    let word = replaced(&guide.text)?;
    // Readers do not see HTML comments.
    let comment = Regex::new(r"(?s)<!--.*?-->")?;
    let mut wrong = Vec::new();
    for page in pages.values().filter(|page| !is_history(&page.path) && page.path != GUIDE) {
        let text = comment.replace_all(&page.text, |found: &regex::Captures<'_>| {
            "\n".repeat(found[0].matches('\n').count())
        });
        for found in word.find_iter(&text) {
            let line = text[..found.start()].matches('\n').count() + 1;
            wrong.push(format!("{}: {GUIDE} replaces {:?}", page.at(line), found.as_str()));
        }
    }
    let (spec, status) = definition()?;
    for (path, description) in spec.iter().chain(&status) {
        if let Some(found) = word.find(description) {
            wrong.push(format!("crds/, {path}: {GUIDE} replaces {:?}", found.as_str()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The words of the guide that are wrong in every sentence. Rows with a remark depend on the sentence.
fn replaced(guide: &str) -> Result<Regex> {
    let rows = guide.split_once(COLUMN).with_context(|| format!("{GUIDE} has no table {COLUMN:?}"))?.1;
    let cells = rows.lines().skip(2).map_while(|line| line.strip_prefix("| ")?.split_once(" | "));
    let literal = |cell: &&str| cell.chars().all(|c| c.is_ascii_lowercase() || c == ' ' || c == ',');
    let words: Vec<String> = cells
        .map(|(cell, _)| cell)
        .filter(literal)
        .flat_map(|cell| cell.split(", "))
        .map(|word| word.replace(' ', r"\s+"))
        .collect();
    ensure!(words.len() > 5, "the words in {GUIDE} are not found: {words:?}");
    Ok(Regex::new(&format!(r"(?i)\b(?:{})\b", words.join("|")))?)
}
