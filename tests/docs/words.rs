//! Words that the style guide replaces must not come back.

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::page::root;
use crate::reference::{definition, files};
use crate::text::{Pages, is_history};

/// The guide, which has to name these words, and the heading of their column.
const GUIDE: &str = "docs/STYLE.md";
const COLUMN: &str = "| Not | But |";

/// Searches pages, `--help` (`docs/cli.md` is generated from it) and `kubectl explain`.
pub fn no_word_that_the_style_replaces(pages: &Pages) -> Result<()> {
    let word = replaced(pages)?;
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

/// Searches the comments of the program and its tests. `cargo doc` prints many of them.
pub fn no_comment_has_a_word_that_the_style_replaces(pages: &Pages) -> Result<()> {
    let word = replaced(pages)?;
    let mut wrong = Vec::new();
    for folder in ["crates", "src", "tests", "testbed"] {
        for (path, source) in files(&root().join(folder))? {
            let path = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            let found = found_in_comments(&word, &source);
            wrong.extend(found.map(|(line, found)| format!("{path}:{line}: {GUIDE} replaces {found:?}")));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Lines and words in the comments of a source. Comments at the end of a line of code are rare and short.
pub fn found_in_comments(word: &Regex, source: &str) -> impl Iterator<Item = (usize, String)> {
    // A phrase may continue on the next line of a comment, but not across code.
    let comment = |line: &str| match line.trim_start().strip_prefix("//") {
        Some(text) => text.trim_start_matches(['/', '!']).to_owned(),
        None => ".".to_owned(),
    };
    let text = source.lines().map(comment).collect::<Vec<_>>().join("\n");
    let line = |start: usize| text[..start].matches('\n').count() + 1;
    let found: Vec<_> =
        word.find_iter(&text).map(|found| (line(found.start()), found.as_str().to_owned())).collect();
    found.into_iter()
}

/// The words of the guide that are wrong in every sentence. Rows with a remark depend on the sentence.
pub fn replaced(pages: &Pages) -> Result<Regex> {
    let guide = &pages.get(GUIDE).with_context(|| format!("{GUIDE} does not exist"))?.text;
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
