//! `-o yaml|json`, and writing to a pipe that may close.

use std::io::{self, Write as _};

use serde::Serialize;

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
            Self::Yaml => serde_saphyr::to_string(value)?,
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
        })
    }
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// Where standard output cannot be written to.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
