//! Telling the story: plain text in a pipe, some colour on a terminal.

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

/// Prints titles, commands, their output, and what was seen.
#[derive(Debug)]
pub(super) struct Narrator {
    colour: bool,
    step: u32,
    steps: u32,
}

impl Narrator {
    /// Colours follow <https://no-color.org>: none when `NO_COLOR` is set and not empty, none outside of a
    /// terminal.
    pub(super) fn new(steps: u32) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: stdout().is_terminal() && !set("NO_COLOR") && !dumb, step: 0, steps }
    }

    /// A step begins: what it does, and why that matters.
    pub(super) fn step(&mut self, title: &str, about: &str) {
        self.step += 1;
        println!();
        println!("{}", self.paint("1;36", &format!("[{}/{}] {title}", self.step, self.steps)));
        for line in about.lines() {
            println!("  {}", line.trim());
        }
    }

    /// A command that is run.
    pub(super) fn command(&self, text: &str) {
        println!("  {}", self.paint("1", &format!("$ {text}")));
    }

    /// What it printed, or a file that is used.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("  {}", self.paint("2", &format!("  {line}")).trim_end());
        }
    }

    /// Something that was checked.
    pub(super) fn seen(&self, text: &str) {
        println!("  {} {text}", self.paint("32", "✔"));
    }

    /// The step did not do what it said.
    pub(super) fn failed(&self, text: &str) {
        println!("  {} {text}", self.paint("31", "✘"));
    }

    /// The last words.
    pub(super) fn end(&self, text: &str) {
        println!();
        println!("{}", self.paint("1", text));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A time as people read it.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
