//! `artifactconfig crd`.

use super::output::{Format, print};

/// Print the definition of the custom resource, for `kubectl apply --server-side -f -`.
#[derive(clap::Args)]
pub struct Args {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints the definition.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match args.output {
        // Only descriptions of this project, so the form of crds/ is safe: longer texts in several lines.
        Format::Yaml => print(&serde_saphyr::to_string(&api::crd())?),
        format @ Format::Json => print(&format.text(&api::crd())?),
    }
}
