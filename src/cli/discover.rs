//! `artifactconfig discover`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use crate::oci::{Freshness, Listing, OciRegistry, Query, Registry as _, Settings, Subject};
use crate::types::{Artifact, ImageRef, Platform, VERSION};

use super::docker::RegistryArgs;
use super::output::{Format, print};
use super::said;

/// Print what is attached to an image, newest last.
#[derive(clap::Args)]
pub struct Args {
    /// The image: registry/repository:tag or registry/repository@sha256:…
    image: ImageRef,

    /// Only artifacts of this type.
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    /// Where the image is an index that has nothing attached: look at the manifest of this platform.
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

/// What is attached, for programs.
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

/// Prints what is attached.
///
/// # Errors
/// Where the registry does not say.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let registry = OciRegistry::new(Settings::default(), Arc::new(|_| {}))?;
    let repository = args.image.repository();
    let access = args.registry.access(&[&repository], false)?;
    let said = |failure: crate::types::Failure| anyhow::anyhow!(said::failure(&failure, repository.host()));
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
                eprintln!("note: {note}");
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
    let file = |layer: &crate::types::Descriptor| {
        Some(File { name: layer.title()?.escape_debug().to_string(), size: layer.size })
    };
    Referrer {
        digest: artifact.digest.to_string(),
        artifact_type: artifact.artifact_type.clone(),
        media_type: artifact.media_type.clone(),
        created: artifact.created().map(str::to_owned),
        annotations: artifact.annotations.to_map(),
        files: artifact.layers.iter().filter_map(file).collect(),
    }
}

/// Columns as kubectl sets them: as wide as their widest entry, three spaces between.
fn table(discovered: &Discovered) -> String {
    let mut text = format!("{} is {}\n", discovered.image, discovered.digest);
    if discovered.referrers.is_empty() {
        text.push_str("nothing is attached\n");
        return text;
    }
    let mut rows = vec![["DIGEST", "TYPE", "CREATED", "VERSION", "FILES"].map(str::to_owned)];
    rows.extend(discovered.referrers.iter().map(|referrer| {
        let or_none = |value: Option<&String>| value.cloned().unwrap_or_else(|| "-".to_owned());
        [
            referrer.digest.clone(),
            referrer.artifact_type.clone(),
            or_none(referrer.created.as_ref()),
            or_none(referrer.annotations.get(VERSION)),
            referrer
                .files
                .iter()
                .map(|file| format!("{} ({})", file.name, file.size))
                .collect::<Vec<_>>()
                .join(", "),
        ]
    }));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
