//! All output of the command line to a terminal, a file or a pipe. Clippy refuses `println!` and `eprintln!` in other
//! files, so text of others reaches a terminal only through these functions.
//!
//! - [`print`] is for people: unprintable characters are escaped, and line breaks stay.
//! - [`tell`], by the macro `say!`, is a line on standard error.
//! - [`Format::text`] is for programs: JSON and YAML in which everything is printable and is read back unchanged.
//! - [`print_content`] is for the content of a config: byte for byte into a file or a pipe, as [`print`] on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use decide::json;
use oci::text;
use serde::Serialize;

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
    /// If a value cannot be expressed in this form. The types of this program always can.
    pub fn text(self, value: &impl Serialize) -> anyhow::Result<String> {
        Ok(match self {
            Self::Yaml => yaml::to_string(value)?,
            Self::Json => json::to_printable(value)? + "\n",
        })
    }
}

/// Prints to standard output. A reader that closes the pipe early (`| head`) is not an error.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(text::screen(text).as_bytes())
}

/// Prints the content of a config.
///
/// # Errors
/// If standard output cannot be written.
pub fn print_content(bytes: &[u8]) -> anyhow::Result<()> {
    if io::stdout().is_terminal() { print(&String::from_utf8_lossy(bytes)) } else { write(bytes) }
}

/// Prints text for a terminal, with escapes for colours. The caller has passed all other parts through
/// [`text::screen`].
///
/// # Errors
/// If standard output cannot be written.
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

/// Writes a line to standard error. A failure is ignored, because there is no other place to report it.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text::line(line));
}

/// [`tell`] with the arguments of `format!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::output::tell(&format!($($words)*)) };
}
pub(crate) use say;
