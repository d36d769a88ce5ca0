//! `artifactconfig diff`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use decide::history;
use decide::render::Content;
use kube::ResourceExt as _;
use oci::text;
use similar::TextDiff;

use super::content::{self, Config, Point};
use super::docker::RegistryArgs;
use super::kubectl_flags::ClusterArgs;
use super::output::{print_content, print_painted, say};
use super::resource;

/// Show what changes from one config to another.
///
/// Prints a unified diff for each key. Exits like 'kubectl diff': with 0 if nothing differs, with 1 if something differs,
/// and with a greater number on failure. On a terminal, unprintable characters are shown as escapes.
///
/// 'latest' is the newest config that the operator found at its last reconcile ('sync' starts one now), if it is not the
/// applied one; otherwise it is the newest revision. A config without a revision is fetched from the registry with your
/// own Docker credentials.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// Number of a revision, applied, latest, or a digest.
    #[arg(long, value_name = "CONFIG", default_value = "applied")]
    from: Point,

    /// Number of a revision, applied, latest, or a digest.
    #[arg(long, value_name = "CONFIG", default_value = "latest")]
    to: Point,

    /// Whether to use colours.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: Colour,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// Longest search for the smallest diff of all keys. After that, a larger diff is printed.
const SEARCH: Duration = Duration::from_secs(2);

/// Lines of context, as `diff -u` has them.
const CONTEXT: usize = 3;

/// Prints the difference; returns whether the two differ.
///
/// # Errors
/// If one of the two configs is not available.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let from = content::read(&connection, &config, &args.from, &args.registry).await?;
    let to = content::read(&connection, &config, &args.to, &args.registry).await?;
    let text = unified(&from, &to, args.color.is_on());
    if text.is_empty() {
        say!("no difference between {} and {}", from.title, to.title);
        if args.to == Point::Latest && args.from == Point::Applied {
            let newest = history::current(resource::history(&config)).map_or(0, |entry| entry.revision);
            say!(
                "note: the applied config is the newest (revision {newest}); compare with an earlier one: {}",
                connection.command(&format!("diff {} --from N --to {newest}", config.name_any()))
            );
        }
        return Ok(false);
    }
    say!("from {}", from.title);
    say!("to   {}", to.title);
    if args.color.is_on() {
        print_painted(&text)?;
    } else {
        print_content(text.as_bytes())?;
    }
    Ok(true)
}

impl Colour {
    fn is_on(self) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
        }
    }
}

/// The unified diff of all keys; empty if nothing differs.
pub fn unified(from: &Config, to: &Config, colour: bool) -> String {
    let keys: BTreeSet<&String> = [&from.content, &to.content]
        .into_iter()
        .flat_map(|content| content.data.keys().chain(content.binary_data.keys()))
        .collect();
    let until = Instant::now() + SEARCH;
    let text: String = keys.into_iter().map(|key| of_key(key, from, to, until)).collect();
    if colour { painted(&text) } else { text }
}

fn bytes<'a>(content: &'a Content, key: &str) -> Option<&'a [u8]> {
    content.data.get(key).map(String::as_bytes).or_else(|| content.binary_data.get(key).map(Vec::as_slice))
}

fn of_key(key: &str, from: &Config, to: &Config, until: Instant) -> String {
    let (old, new) = (bytes(&from.content, key), bytes(&to.content, key));
    if old == new {
        return String::new();
    }
    let name = |side: &Config, value: Option<&[u8]>| {
        value.map_or_else(|| "/dev/null".to_owned(), |_| format!("{}/{key}", side.name))
    };
    let (old_name, new_name) = (name(from, old), name(to, new));
    let text = |value: Option<&[u8]>| std::str::from_utf8(value.unwrap_or_default()).ok().map(str::to_owned);
    let in_binary = [from, to].iter().any(|side| side.content.binary_data.contains_key(key));
    match (text(old), text(new)) {
        // An empty file that comes or goes has no lines to show.
        (Some(old), Some(new)) if old.is_empty() && new.is_empty() => {
            format!("--- {old_name}\n+++ {new_name}\n")
        }
        (Some(old), Some(new)) if !in_binary => {
            let diff = TextDiff::configure().deadline(until).diff_lines(&old, &new);
            diff.unified_diff().context_radius(CONTEXT).header(&old_name, &new_name).to_string()
        }
        _ => {
            let size = |value: Option<&[u8]>| {
                value.map_or_else(|| "nothing".to_owned(), |value| format!("{} bytes", value.len()))
            };
            format!("Binary files {old_name} and {new_name} differ ({} and {})\n", size(old), size(new))
        }
    }
}

/// The colours that git uses. Coloured output is for a terminal, so all other text is escaped as by
/// [`print`](super::output::print).
fn painted(text: &str) -> String {
    let mut painted = String::new();
    for line in text.lines() {
        let code = match line {
            _ if line.starts_with("--- ")
                || line.starts_with("+++ ")
                || line.starts_with("Binary files ") =>
            {
                "1"
            }
            _ if line.starts_with("@@") => "36",
            _ if line.starts_with('-') => "31",
            _ if line.starts_with('+') => "32",
            _ => "",
        };
        let line = text::screen(line);
        // Writing to a String cannot fail.
        let _ = if code.is_empty() {
            writeln!(painted, "{line}")
        } else {
            writeln!(painted, "\u{1b}[{code}m{line}\u{1b}[0m")
        };
    }
    painted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, data: &[(&str, &str)], binary: &[(&str, &[u8])]) -> Config {
        let content = Content {
            data: data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            binary_data: binary.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect(),
        };
        Config { name: name.to_owned(), title: String::new(), content }
    }

    #[test]
    fn every_kind_of_difference() {
        let from = config(
            "revision-1",
            &[("a.json", "{\n  \"a\": 1\n}\n"), ("same", "same"), ("gone", "x\n"), ("turned", "text")],
            &[("b.bin", &[0xff, 0])],
        );
        let to = config(
            "revision-2",
            &[("a.json", "{\n  \"a\": 2\n}"), ("same", "same"), ("come", "y\n"), ("empty", "")],
            &[("b.bin", &[0xff, 0, 1]), ("turned", &[0xff])],
        );
        insta::assert_snapshot!(unified(&from, &to, false));
        assert_eq!(unified(&from, &from, true), "");
    }

    #[test]
    fn colours() {
        let (from, to) = (config("a", &[("k", "1\n")], &[]), config("b", &[("k", "2\n")], &[]));
        assert_eq!(
            unified(&from, &to, true),
            "\u{1b}[1m--- a/k\u{1b}[0m\n\u{1b}[1m+++ b/k\u{1b}[0m\n\u{1b}[36m@@ -1 +1 @@\u{1b}[0m\n\u{1b}[31m-1\u{1b}[0m\n\u{1b}[32m+2\u{1b}[0m\n"
        );
    }

    /// A line inside of a hunk that looks like a header gets the colour of a header. The bytes stay the same.
    #[test]
    fn painting_changes_no_text() {
        let (from, to) = (config("a", &[("k", "-- x\n1\n")], &[]), config("b", &[("k", "2\n")], &[]));
        let plain = unified(&from, &to, false);
        let mut painted = unified(&from, &to, true);
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[36m"] {
            painted = painted.replace(code, "");
        }
        assert_eq!(painted, plain);
    }
}
