//! Errors as text for people at a terminal.

use decide::Failure;

/// Widest line of an error. A window has 80 columns or more, and a digest alone takes 71.
const WIDTH: usize = 100;

/// A failure of the registry or of the config, with advice for a user of flags and a Docker configuration.
#[must_use]
pub fn failure(failure: &Failure, host: &str) -> String {
    format!("{}: {}", failure.reason, failure.at_the_command_line(host))
}

/// An error and its causes. A cause that the error already contains is left out.
#[must_use]
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(cause.trim_end_matches('.')) {
            text = format!("{}: {cause}", text.trim_end_matches([':', '.', ' ']));
        }
    }
    text
}

/// A sentence with exactly one punctuation mark at its end.
#[must_use]
pub fn sentence(text: &str) -> String {
    let text = text.trim_end_matches([' ', '.', ';', ',']);
    if text.ends_with(['?', '!', '…', ':']) { text.to_owned() } else { format!("{text}.") }
}

/// The text in lines of at most a hundred columns, if it has places to break: between clauses first, otherwise between
/// words. Quoted text stays whole, because people copy it.
#[must_use]
pub fn folded(text: &str) -> String {
    text.lines().map(fold).collect::<Vec<_>>().join("\n")
}

fn fold(line: &str) -> String {
    if width(line) <= WIDTH {
        return line.to_owned();
    }
    let mut lines: Vec<String> = vec![String::new()];
    for clause in pieces(line, |before| before.ends_with(';') || before.ends_with("?.")) {
        if fits(&lines, &clause) {
            push(&mut lines, &clause);
        } else if width(&clause) + INDENT.len() <= WIDTH {
            lines.push(format!("{INDENT}{clause}"));
        } else {
            for word in pieces(&clause, |_| true) {
                if fits(&lines, &word) || lines.last().is_some_and(String::is_empty) {
                    push(&mut lines, &word);
                } else {
                    lines.push(format!("{INDENT}{word}"));
                }
            }
        }
    }
    lines.join("\n")
}

/// Indent of a continued line.
const INDENT: &str = "  ";

fn width(text: &str) -> usize {
    text.chars().count()
}

fn fits(lines: &[String], more: &str) -> bool {
    let taken = lines.last().map_or(0, |line| if line.is_empty() { 0 } else { width(line) + 1 });
    taken + width(more) <= WIDTH
}

fn push(lines: &mut [String], more: &str) {
    if let Some(line) = lines.last_mut() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(more);
    }
}

/// Splits the text at spaces outside of quotes, if `ends` accepts the part before the space.
fn pieces(text: &str, ends: impl Fn(&str) -> bool) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut is_quoted = false;
    for word in text.split(' ') {
        let current = pieces.last().cloned().unwrap_or_default();
        if !current.is_empty() && !is_quoted && ends(&current) {
            pieces.push(word.to_owned());
        } else if let Some(last) = pieces.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
        // An apostrophe within a word opens no quotation.
        let opens = word.trim_start_matches(['(', '[']).starts_with('\'');
        let closes = word.trim_end_matches([',', ';', '.', ')', ']', '?', ':']).ends_with('\'');
        is_quoted = (is_quoted || opens) && !closes;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn a_cause_is_printed_once() {
        let twice = anyhow!("No such file (os error 2)")
            .context("failed to read 'k': No such file (os error 2)")
            .context("the kubeconfig k cannot be read");
        assert_eq!(
            chain(&twice),
            "the kubeconfig k cannot be read: failed to read 'k': No such file (os error 2)"
        );
        let apart = Err::<(), _>(anyhow!("b")).context("a.").unwrap_err();
        assert_eq!(chain(&apart), "a: b");
    }

    #[rstest::rstest]
    #[case("it waits", "it waits.")]
    #[case("it waits.", "it waits.")]
    #[case("did you mean 'web'?", "did you mean 'web'?")]
    #[case("and so on…", "and so on…")]
    #[case("it waits; ", "it waits.")]
    fn one_mark_at_the_end(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(sentence(text), expected);
    }

    #[test]
    fn long_lines_are_folded_where_a_clause_ends() {
        let short = "error: there is no ArtifactConfig 'x' in namespace 'shop'; no ArtifactConfig exists";
        assert_eq!(folded(short), short);
        let command = "'artifactconfig resume web --context a-context-with-a-long-name -n a-namespace'";
        let long =
            format!("error: '{}' is suspended, so nothing would happen; {command} ends that", "w".repeat(50));
        let lines: Vec<String> = folded(&long).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].starts_with("  'artifactconfig") && lines[1].ends_with("ends that"), "{lines:?}");
    }

    #[test]
    fn folding_changes_nothing_but_the_breaks() {
        let names: Vec<String> = (0..40).map(|number| format!("name-{number}")).collect();
        let text = format!("error: there is no such thing; there are {}; that's all", names.join(", "));
        let folded = folded(&text);
        assert!(folded.lines().all(|line| line.chars().count() <= WIDTH), "{folded}");
        assert_eq!(folded.replace("\n  ", " "), text);
        let first = format!("error: {}", "a clause that is too long ".repeat(9));
        assert!(super::folded(&first).lines().all(|line| line.chars().count() <= WIDTH), "{first}");
        let word = "x".repeat(300);
        assert_eq!(super::folded(&word).trim(), word);
    }
}
