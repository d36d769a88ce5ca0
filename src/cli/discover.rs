//! `artifactconfig discover`.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci::{ImageRef, Platform, VERSION, text};
use registry::{Artifact, Error, Freshness, Listing, OciRegistry, Query, Registry as _, Settings, Subject};
use serde::Serialize;

use crate::unanswered;

use super::docker::RegistryArgs;
use super::output::{Format, print, say};
use super::said;
use super::table::Table;

/// Print the artifacts that are attached to an image, newest last.
#[derive(clap::Args)]
pub struct Args {
    /// The image: registry/repository:tag or registry/repository@sha256:…
    image: ImageRef,

    /// Only artifacts of this type.
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    /// If the image is an index to which nothing is attached, use the manifest of this platform.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

/// The attached artifacts, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    image: String,
    digest: String,
    referrers: Vec<Referrer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    digest: String,
    artifact_type: String,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    name: String,
    size: u64,
}

/// Prints the attached artifacts.
///
/// # Errors
/// If the registry gives no usable answer.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let registry = OciRegistry::new(Settings::default(), Arc::new(|_| {}))?;
    let repository = args.image.repository();
    let access = args.registry.access(&[&repository], false)?;
    let said = |error: Error| anyhow::anyhow!(said::failure(&unanswered::failure(error), repository.host()));
    let subject = registry.resolve(&access, &args.image, Freshness::Now).await.map_err(said)?;
    let query = Query {
        repository: &repository,
        artifact_type: args.artifact_type.as_deref(),
        platform: args.platform.as_ref(),
        freshness: Freshness::Now,
    };
    let listing = registry.referrers(&access, &subject, query).await.map_err(said)?;
    let discovered = discovered(&subject, listing);
    match args.output {
        Output::Table => {
            for note in &discovered.notes {
                say!("note: {note}");
            }
            print(&table(&discovered))
        }
        Output::Json => print(&Format::Json.text(&discovered)?),
        Output::Yaml => print(&Format::Yaml.text(&discovered)?),
    }
}

fn discovered(subject: &Subject, listing: Listing) -> Discovered {
    let mut referrers: Vec<Referrer> = listing.artifacts.iter().map(referrer).collect();
    referrers.sort_by(|left, right| (&left.created, &left.digest).cmp(&(&right.created, &right.digest)));
    Discovered {
        image: subject.image.to_string(),
        digest: subject.digest.to_string(),
        referrers,
        notes: listing.notes,
    }
}

fn referrer(artifact: &Artifact) -> Referrer {
    let file = |layer: &oci::Descriptor| Some(File { name: layer.title()?.to_owned(), size: layer.size });
    Referrer {
        digest: artifact.digest.to_string(),
        artifact_type: artifact.artifact_type.clone(),
        media_type: artifact.media_type.clone(),
        created: artifact.created().map(str::to_owned),
        annotations: artifact.annotations.to_map(),
        files: artifact.layers.iter().filter_map(file).collect(),
    }
}

/// A table, or a line that says that nothing is attached. Everything except the digests is text of others.
fn table(discovered: &Discovered) -> String {
    let head = format!("{} is {}\n", discovered.image, discovered.digest);
    if discovered.referrers.is_empty() {
        return head + "nothing is attached\n";
    }
    let mut table = Table::new(&["DIGEST", "TYPE", "CREATED", "VERSION", "FILES"]);
    for referrer in &discovered.referrers {
        let or_none =
            |value: Option<&String>| value.map_or_else(|| "-".to_owned(), |value| text::brief(value));
        let files = referrer.files.iter().map(|file| format!("{} ({})", text::brief(&file.name), file.size));
        table.row([
            referrer.digest.clone(),
            text::brief(&referrer.artifact_type),
            or_none(referrer.created.as_ref()),
            or_none(referrer.annotations.get(VERSION)),
            text::list(files, LISTED),
        ]);
    }
    head + &table.to_string()
}

/// How many files of one artifact the table lists. The other forms list all files.
const LISTED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn discovered(foreign: &str) -> Discovered {
        let foreign = foreign.to_owned();
        Discovered {
            image: "r.example/web:v1".into(),
            digest: "sha256:0".into(),
            referrers: vec![Referrer {
                digest: "sha256:1".into(),
                artifact_type: foreign.clone(),
                media_type: foreign.clone(),
                created: Some(foreign.clone()),
                annotations: [(VERSION.to_owned(), foreign.clone()), (foreign.clone(), String::new())].into(),
                files: vec![File { name: foreign, size: 1 }],
            }],
            notes: Vec::new(),
        }
    }

    /// Texts of a registry can neither forge lines nor move the cursor.
    #[test]
    fn a_row_is_a_line_of_printable_text() {
        let table = table(&discovered("\u{1b}[31mred\nsha256:2   custom/config\u{202e}"));
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.contains("\\u001b[31mred\\nsha256:2   custom/config\\u202e"), "{table}");
    }

    proptest! {
        #[test]
        fn any_text_of_a_registry_comes_out_escaped_and_back_the_same(foreign: String, wild in "[\\x00-\\x20\\\\\u{7f}-\u{a0}\u{200b}-\u{206f}]{0,12}") {
            for foreign in [foreign, wild] {
                let discovered = discovered(&foreign);
                let table = table(&discovered);
                prop_assert!(table.chars().all(|c| text::is_printable(c) || c == '\n'), "{}", table);
                prop_assert_eq!(table.lines().count(), 3);
                let value = serde_json::to_value(&discovered).unwrap();
                let yaml: serde_json::Value = serde_saphyr::from_str(&Format::Yaml.text(&discovered).unwrap()).unwrap();
                prop_assert_eq!(&yaml, &value);
                let json: serde_json::Value = serde_json::from_str(&Format::Json.text(&discovered).unwrap()).unwrap();
                prop_assert_eq!(&json, &value);
            }
        }
    }
}
