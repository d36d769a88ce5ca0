//! `artifactconfig reference`: docs/cli.md from the definition of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::output::print;

/// Begins the page.
const HEAD: &str = "# Command line

<!-- Written by `make docs` from the code; a test fails if they differ. -->

The program works alone and as a plugin of kubectl. If you link it as `kubectl-artifactconfig` into a directory on `PATH`,
`kubectl artifactconfig …` runs it.

<!-- docs: scene web -->

```sh
ln -s \"$(command -v artifactconfig)\" ~/.local/bin/kubectl-artifactconfig
kubectl artifactconfig history web
```

| Exit status | |
| --- | --- |
| 0 | Success. |
| 1 | Failure; standard error has the cause. For `diff`: the configs differ. |
| 2 | The arguments are not valid. For `diff`: failure. |

Results go to standard output. Notes, progress and errors go to standard error.

";

/// Heading of the flags that many subcommands share. The page lists them once.
const SHARED: &str = "Cluster";

/// Prints the page.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(command: Command) -> anyhow::Result<()> {
    print(&page(command))
}

/// The whole page.
fn page(mut command: Command) -> String {
    // Makes clap add its own flags, and propagate inherited ones.
    command.build();
    let mut page = HEAD.to_owned();
    let subcommands =
        || command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    for sub in subcommands() {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let name = sub.get_name();
        // Writing to a String cannot fail.
        let _ = writeln!(page, "- [{name}](#{name}): {}", about.trim_end_matches('.'));
    }
    for sub in subcommands() {
        section(&mut page, sub);
    }
    let shared = subcommands().find_map(|sub| {
        let shared: Vec<&Arg> = sub.get_arguments().filter(|arg| is_shared(arg)).collect();
        (!shared.is_empty()).then_some(shared)
    });
    page.push_str("\n## Cluster flags\n\nThe same flags as those of kubectl. They may also stand before the subcommand.\n");
    table(&mut page, &shared.unwrap_or_default());
    page
}

fn is_shared(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(SHARED)
}

fn section(page: &mut String, command: &Command) {
    let about =
        command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(
        page,
        "\n## {}\n\n{}.\n\n```text\n{usage}\n```\n",
        command.get_name(),
        about.trim_end().trim_end_matches('.')
    );
    let shown = |arg: &&Arg| !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version";
    let (shared, own): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(shown).partition(|arg| is_shared(arg));
    table(page, &own);
    if let Some(examples) = command.get_after_help() {
        let _ = write!(page, "\n```text\n{examples}\n```\n");
    }
    if !shared.is_empty() {
        page.push_str("\nAnd the [cluster flags](#cluster-flags).\n");
    }
}

fn table(page: &mut String, arguments: &[&Arg]) {
    if arguments.is_empty() {
        return;
    }
    page.push_str("\n| Argument | Default | |\n| --- | --- | --- |\n");
    for arg in arguments {
        row(page, arg);
    }
}

fn row(page: &mut String, arg: &Arg) {
    let takes_value = arg.get_action().takes_values();
    let names: Vec<String> = arg.get_value_names().into_iter().flatten().map(ToString::to_string).collect();
    let value = if names.is_empty() { arg.get_id().to_string().to_uppercase() } else { names.join(" ") };
    let written = match (arg.get_short(), arg.get_long()) {
        (None, None) if arg.is_required_set() => value,
        (None, None) => format!("[{value}]"),
        (short, long) => {
            let flags = short
                .map(|short| format!("-{short}"))
                .into_iter()
                .chain(long.map(|long| format!("--{long}")));
            let flags = flags.collect::<Vec<_>>().join(", ");
            if takes_value { format!("{flags} {value}") } else { flags }
        }
    };
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // A default that is not a constant is part of the text.
    let (help, told) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(['.', ']']).to_owned()),
        None => (help.trim_end_matches('.').to_owned(), String::new()),
    };
    let constant: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let default = if takes_value && !constant.is_empty() { constant.join(", ") } else { told };
    let mut text = help.replace('\n', " ") + ".";
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| takes_value && !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    let default = if default.is_empty() { default } else { format!(" {default}") };
    let _ = writeln!(page, "| `{written}` |{default} | {} |", text.replace('|', "\\|"));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_committed_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            super::page(crate::cli::Cli::command()) == committed,
            "docs/cli.md differs from what the code says; run 'make docs' and commit the result"
        );
    }

    /// Clap checks names, conflicts and requirements only on request.
    #[test]
    fn the_command_line_is_well_formed() {
        crate::cli::Cli::command().debug_assert();
    }
}
