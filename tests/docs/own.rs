//! The checks find errors: pages that are wrong on purpose.

use anyhow::{Result, ensure};

use crate::page::{self, Page, What};
use crate::story::agrees;
use crate::text::{CHECKS, Pages};
use crate::words::{found_in_comments, replaced};

/// A check of checks.
type Check = fn() -> Result<()>;

/// The checks of the checks, by name.
pub const CHECKS_OF_CHECKS: [(&str, Check); 6] = [
    ("a_word_that_nobody_understands_is_refused", a_word_that_nobody_understands_is_refused),
    ("a_word_stands_directly_above_its_block", a_word_stands_directly_above_its_block),
    ("a_page_that_is_wrong_is_found_with_its_line", a_page_that_is_wrong_is_found_with_its_line),
    ("anchors_are_those_of_forges", anchors_are_those_of_forges),
    ("output_is_compared_but_for_what_differs_each_time", output_is_compared),
    ("a_replaced_word_is_found_in_comments_alone", a_replaced_word_is_found_in_comments_alone),
];

fn page(text: &str) -> Result<Page> {
    Page::parse("docs/page.md".to_owned(), text)
}

fn a_word_that_nobody_understands_is_refused() -> Result<()> {
    for text in
        ["<!-- docs: not runn: a slip -->\n```sh\ntrue\n```\n", "<!-- docs: not run: -->\n```sh\ntrue\n```\n"]
    {
        ensure!(page(text).is_err(), "{text:?} is taken");
    }
    Ok(())
}

fn a_word_stands_directly_above_its_block() -> Result<()> {
    let marked = page("<!-- docs: not run: it deletes everything -->\n\n```sh\nrm -r /\n```\n")?;
    ensure!(!marked.is_story(), "what is marked is run");
    ensure!(
        page("<!-- docs: not run: a reason -->\n\nText between.\n\n```sh\ntrue\n```\n").is_err(),
        "text may stand between"
    );
    let plain = page("# Title\n\n1. In a list:\n\n   ```sh\n   true\n   ```\n")?;
    let lines: Vec<usize> = plain.steps.iter().map(|step| step.line).collect();
    ensure!(plain.is_story() && lines == [5], "the block is found in {lines:?}");
    ensure!(
        plain.steps.iter().all(|step| matches!(&step.what, What::Block(block) if block.text == "true\n")),
        "its text is another"
    );
    Ok(())
}

/// Each check finds its own slip, and says where.
fn a_page_that_is_wrong_is_found_with_its_line() -> Result<()> {
    for (check, text) in [
        ("every_block_says_its_language", "\n```\ntext\n```\n"),
        ("every_block_says_its_language", "\n```json\n{\n```\n"),
        ("every_block_that_is_not_run_says_why", "\n```text\nkubectl delete namespace shop\n```\n"),
        ("every_link_leads_somewhere", "\n[there](nowhere.md)\n"),
        ("every_link_leads_somewhere", "\n[there](#nowhere)\n"),
        ("every_variable_exists", "\n`ARTIFACTCONFIG_NOTHING`\n"),
        ("every_path_exists", "\n`src/nothing.rs`\n"),
        ("every_flag_exists", "\n`artifactconfig history web --no-such-flag`\n"),
        ("every_flag_exists", "\n`--no-such-flag`\n"),
        ("every_metric_exists", "\n`artifactconfig_nothing_total`\n"),
        ("no_word_that_the_style_replaces", "\nAsk anew, all the\nsame.\n"),
    ] {
        let mut pages: Pages = crate::page::all()?;
        pages.insert("docs/page.md".to_owned(), page(text)?);
        let run = CHECKS.iter().find(|(name, _)| *name == check).map(|(_, run)| run);
        let found = run.map(|run| run(&pages));
        let said = match found {
            Some(Err(why)) => format!("{why:#}"),
            _ => String::new(),
        };
        ensure!(said.contains("docs/page.md:2"), "{check} does not find {text:?}: {said:?}");
    }
    Ok(())
}

fn anchors_are_those_of_forges() -> Result<()> {
    let page = page("# What counts as \"no `Referrers` API\"?\n\n## Twice\n\n## Twice\n\n## How to add …\n")?;
    let expected = ["what-counts-as-no-referrers-api", "twice", "twice-1", "how-to-add-"];
    ensure!(page.anchors == expected, "{:?}", page.anchors);
    Ok(())
}

fn output_is_compared() -> Result<()> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let seen = "NAME   CONFIG                SINCE                  AGE\nweb    sha256:35775bda6761   2026-11-21T18:09:47Z   1s\n";
    for (says, is_so) in [
        ("NAME CONFIG SINCE AGE\nweb sha256:000000000000 2020-01-01T00:00:00Z 2d4h", true),
        ("NAME CONFIG SINCE AGE\n…", true),
        ("NAME CONFIG SINCE AGE\nweb … 1s", true),
        ("NAME CONFIG SINCE AGE", false),
        ("NAME CONFIG SINCE AGE\napi sha256:000000000000 2020-01-01T00:00:00Z 1s", false),
        ("NAME CONFIG SINCE\n…", false),
    ] {
        ensure!(agrees(&lines(says), seen)? == is_so, "{says:?}");
    }
    Ok(())
}

fn a_replaced_word_is_found_in_comments_alone() -> Result<()> {
    let word = replaced(&page::all()?)?;
    let lines = |source: &str| found_in_comments(&word, source).map(|(line, _)| line).collect::<Vec<_>>();
    let wrong = "//! Good.\nfn x() {}\n    /// Tried in\n    /// vain.\n// Whoever asks.\n";
    ensure!(lines(wrong) == [3, 5], "found in lines {:?}", lines(wrong));
    let good = "/// Tried in\nfn vain() {\n    let anew = \"whoever\";\n}\n/// A newcomer.\n";
    ensure!(lines(good).is_empty(), "found in lines {:?}", lines(good));
    Ok(())
}
