//! `artifactconfig show`.

use std::fmt::Write as _;

use anyhow::{anyhow, bail};
use decide::near;
use decide::render::Content;
use k8s_openapi::api::core::v1::ConfigMap;

use super::content;
use super::kubectl_flags::ClusterArgs;
use super::output::{Format, print, print_content, say};
use super::resource;

/// Print the applied config, or the config of a revision, as files.
///
/// Each key has a header. With --key, only the bytes of one key are printed. On a terminal, unprintable characters are shown
/// as escapes; into a file or a pipe every byte is written unchanged.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// The config that was applied under this number [default: the applied config].
    #[arg(long, value_name = "N")]
    revision: Option<i64>,

    /// Print only this key; byte for byte, except on a terminal.
    #[arg(long, value_name = "KEY", conflicts_with = "output")]
    key: Option<String>,

    /// Print the whole `ConfigMap` in this form.
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Prints the content.
///
/// # Errors
/// If the resource, the revision or the key does not exist.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let (object, content::Config { title, content, .. }) = if let Some(number) = args.revision {
        let found = resource::revision(&connection, &config, number).await?;
        (found.object.clone(), content::of_revision("revision", found))
    } else {
        let target = content::target(&connection, &config).await?;
        let shown = content::of_target(&config, &target);
        (target, shown)
    };
    if let Some(format) = args.output {
        return print(&format.text(&plain(object))?);
    }
    if let Some(key) = &args.key {
        return print_content(value(&content, key).map_err(|why| anyhow!(why))?);
    }
    say!("{title}");
    let applied = config.status.as_ref().and_then(|status| status.target.as_ref());
    if args.revision.is_none() && applied.is_some_and(|target| target.hash != content.hash()) {
        say!("note: this is not the content that the operator applied; somebody edited it");
    }
    if content.data.is_empty() && content.binary_data.is_empty() {
        bail!("it holds nothing");
    }
    print_content(files(&content).as_bytes())
}

/// The object as kubectl prints it.
fn plain(mut config_map: ConfigMap) -> serde_json::Value {
    config_map.metadata.managed_fields = None;
    serde_json::to_value(config_map).unwrap_or_default()
}

/// The value of a key.
fn value<'a>(content: &'a Content, key: &str) -> Result<&'a [u8], String> {
    let text = content.data.get(key).map(String::as_bytes);
    let keys = || -> Vec<&str> {
        content.data.keys().chain(content.binary_data.keys()).map(String::as_str).collect()
    };
    text.or_else(|| content.binary_data.get(key).map(Vec::as_slice))
        .ok_or_else(|| near::no_such("key", key, "in it", &keys()))
}

/// Every text under a header, as `head` and `tail` print several files. For bytes only their number.
fn files(content: &Content) -> String {
    // Writing to a String cannot fail.
    let mut text = String::new();
    for (key, value) in &content.data {
        let end = if value.ends_with('\n') || value.is_empty() { "" } else { "\n" };
        let _ = write!(text, "==> {key} <==\n{value}{end}\n");
    }
    for (key, value) in &content.binary_data {
        let _ = write!(
            text,
            "==> {key} <==\n({} bytes that are not text; --key {key} prints them)\n\n",
            value.len()
        );
    }
    text.truncate(text.trim_end_matches('\n').len());
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_of(data: &[(&str, &str)], binary: &[(&str, &[u8])]) -> Content {
        Content {
            data: data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            binary_data: binary.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect(),
        }
    }

    #[test]
    fn files_under_headers() {
        let content = content_of(&[("a.json", "{}"), ("b.ini", "[b]\n")], &[("c.bin", &[0xff, 0])]);
        assert_eq!(
            files(&content),
            "==> a.json <==\n{}\n\n==> b.ini <==\n[b]\n\n==> c.bin <==\n(2 bytes that are not text; --key c.bin prints them)\n"
        );
    }

    #[test]
    fn one_key_or_its_near_miss() {
        let content = content_of(&[("config.json", "{}")], &[("c.bin", &[0xff, 0])]);
        assert_eq!(value(&content, "config.json").unwrap(), b"{}");
        assert_eq!(value(&content, "c.bin").unwrap(), [0xff, 0]);
        assert!(value(&content, "confg.json").unwrap_err().ends_with("did you mean 'config.json'?"));
    }
}
