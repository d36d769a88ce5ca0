//! `artifactconfig policies`.

use decide::bind;
use serde_json::json;

use super::output::{Format, print};

/// Print the admission policies that bind pods to the config of their image, for `kubectl apply --server-side -f -`.
#[derive(clap::Args)]
pub struct Args {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints the policies: a document for each in YAML, a list in JSON.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let policies = bind::policies();
    match args.output {
        format @ Format::Yaml => {
            let documents = policies.iter().map(|policy| format.text(policy));
            print(&documents.collect::<anyhow::Result<Vec<_>>>()?.join("---\n"))
        }
        format @ Format::Json => {
            print(&format.text(&json!({"apiVersion": "v1", "kind": "List", "items": policies}))?)
        }
    }
}
