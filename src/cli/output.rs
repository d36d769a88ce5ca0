//! Every way from the command line to a terminal, a file or a pipe. Clippy refuses `println!` and `eprintln!` everywhere
//! else, so that nothing that others wrote reaches a terminal but through here.
//!
//! - [`print`] is for people: what is not printable is escaped, line breaks lay the text out.
//! - [`tell`], by the macro `say!`, is a line on standard error.
//! - [`Format::text`] is for programs: JSON and YAML in which everything is printable and comes back the same.
//! - [`print_content`] is for the content of a config: byte for byte into a file or a pipe, as [`print`] on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use oci::text;
use serde::Serialize;

use crate::types::json;

use super::yaml;

/// Form of structured output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// YAML.
    #[default]
    Yaml,
    /// JSON, indented.
    Json,
}

impl Format {
    /// A document in this form.
    ///
    /// # Errors
    /// Where a value has no such form; none of ours is like that.
    pub fn text(self, value: &impl Serialize) -> anyhow::Result<String> {
        Ok(match self {
            Self::Yaml => yaml::to_string(value)?,
            Self::Json => json::to_printable(value)? + "\n",
        })
    }
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// Where standard output cannot be written to.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(text::screen(text).as_bytes())
}

/// Prints what a config holds.
///
/// # Errors
/// Where standard output cannot be written to.
pub fn print_content(bytes: &[u8]) -> anyhow::Result<()> {
    if io::stdout().is_terminal() { print(&String::from_utf8_lossy(bytes)) } else { write(bytes) }
}

/// Prints what was made for a terminal, escapes of colours among it. All else in it went through [`text::screen`].
///
/// # Errors
/// Where standard output cannot be written to.
pub fn print_painted(text: &str) -> anyhow::Result<()> {
    write(text.as_bytes())
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Where nobody can read it there is nobody to tell.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text::line(line));
}

/// [`tell`] with the words of `format!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::output::tell(&format!($($words)*)) };
}
pub(crate) use say;
