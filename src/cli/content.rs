//! The content of a config, from the target, a revision, or the registry.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use api::{ArtifactConfig, CreationPolicy};
use decide::Failure;
use decide::history::History;
use decide::kept::{self, Kept};
use decide::render::Content;
use decide::{plan, render};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use oci::Digest;
use registry::{OciRegistry, Registry as _, Settings};

use crate::{unanswered, wanted};

use super::applied;
use super::choose::{self, Wish};
use super::docker::RegistryArgs;
use super::followed;
use super::kubectl_flags::Connection;
use super::output::say;
use super::resource::{self, Revision};
use super::said;
use super::table::short;

/// Which config, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// The config in the target.
    Applied,
    /// The config that would come next; if there is no such config, the newest revision.
    Latest,
    /// The config that was applied under a number.
    Revision(i64),
    /// An artifact by its digest, or its beginning.
    Digest(String),
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "applied" => Ok(Self::Applied),
            "latest" => Ok(Self::Latest),
            _ => match text.parse() {
                // A digest without its algorithm can consist of digits, but a revision number does not have so many.
                Ok(number) if text.len() < 12 => Ok(Self::Revision(number)),
                _ if text.contains(':') || text.len() >= 12 => Ok(Self::Digest(text.to_owned())),
                _ => Err("expected the number of a revision, 'applied', 'latest' or a digest".to_owned()),
            },
        }
    }
}

/// A config with its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Short name, for the header of a diff.
    pub name: String,
    /// Full description, in one line.
    pub title: String,
    /// Its keys and values.
    pub content: Content,
}

/// Reads a config.
///
/// # Errors
/// If the config does not exist or cannot be read; the error names the configs that exist.
pub async fn read(
    connection: &Connection,
    config: &ArtifactConfig,
    point: &Point,
    registry: &RegistryArgs,
) -> anyhow::Result<Config> {
    let latest = config.status.as_ref().and_then(|status| status.latest.clone());
    let artifact = match point {
        Point::Applied => return target(connection, config).await.map(|target| of_target(config, &target)),
        Point::Revision(number) => {
            let kept = resource::revision(connection, config, *number).await?;
            return Ok(of_revision(&format!("revision-{number}"), kept));
        }
        Point::Latest => match latest {
            Some(latest) => latest,
            None => return newest(connection, config).await,
        },
        Point::Digest(digest) => {
            let wish = Wish::Digest(digest.clone());
            choose::choose(resource::history(config), latest.as_deref(), &wish)
                .map_err(|why| anyhow!(why))?
                .artifact
        }
    };
    // A config that a revision keeps needs no registry.
    if let Some(kept) = kept(connection, config, &artifact).await? {
        return Ok(of_revision(&format!("config-{}", short_hex(&artifact)), kept));
    }
    pulled(connection, config, &artifact, registry).await
}

/// The present target.
///
/// # Errors
/// If nothing has been applied yet, or the target is gone.
pub async fn target(connection: &Connection, config: &ArtifactConfig) -> anyhow::Result<ConfigMap> {
    let Some(target) = config.status.as_ref().and_then(|status| status.target.as_ref()) else {
        let why =
            super::verdict::ready(config).map(|ready| format!(": {}", ready.message)).unwrap_or_default();
        bail!("nothing has been applied yet{why}");
    };
    resource::config_map(connection, &target.name).await?.with_context(|| {
        format!("ConfigMap '{}' is gone; the operator creates it again unless it is suspended", target.name)
    })
}

/// The revision with the highest number, which was applied last; without revisions, the target.
async fn newest(connection: &Connection, config: &ArtifactConfig) -> anyhow::Result<Config> {
    let kept = resource::history(config).iter().find(|entry| entry.config_map.is_some());
    match kept {
        Some(entry) => {
            let kept = resource::revision(connection, config, entry.revision).await?;
            Ok(of_revision(&format!("revision-{}", entry.revision), kept))
        }
        None => target(connection, config).await.map(|target| of_target(config, &target)),
    }
}

/// The revision that keeps an artifact, if its content is the recorded one. A revision without proof is not used,
/// because the registry has the config.
async fn kept(
    connection: &Connection,
    config: &ArtifactConfig,
    artifact: &str,
) -> anyhow::Result<Option<Revision>> {
    let Ok(desired) = applied::parse(config) else { return Ok(None) };
    let history = History::read(resource::history(config));
    for entry in history.iter().filter(|entry| entry.artifact.to_string() == artifact) {
        let Some(name) = &entry.config_map else { continue };
        let Some(object) = resource::config_map(connection, name).await? else { continue };
        if let Some(kept) = kept::recorded(&desired, &object, entry) {
            return Ok(Some(Revision { object, kept }));
        }
    }
    Ok(None)
}

/// The content from the registry, fetched with the user's credentials and rendered like in the operator.
async fn pulled(
    connection: &Connection,
    config: &ArtifactConfig,
    artifact: &str,
    args: &RegistryArgs,
) -> anyhow::Result<Config> {
    // The image of a workload may have moved to another repository since a config was applied.
    let desired = followed::parse(connection, config)
        .await
        .or_else(|failure| applied::parse(config).map_err(|_| failure))
        .map_err(|failure| anyhow!("{}: {}", failure.reason, failure.message))?;
    let explained = |failure: Failure| anyhow!(said::failure(&failure, desired.referrers.host()));
    let digest: Digest = artifact.parse()?;
    let registry = OciRegistry::new(Settings::default(), Arc::new(|_| {}))?;
    let access = args.access(&[&desired.referrers], desired.plain_http)?;
    let pull = Box::pin(async {
        let Some(found) =
            registry.artifact(&access, &desired.referrers, &digest).await.map_err(unanswered::failure)?
        else {
            return Ok(None);
        };
        let pulled = registry
            .pull(&access, &desired.referrers, &found, wanted::by_rules(&desired.files))
            .await
            .map_err(unanswered::failure)?;
        render::render(&pulled.files, &pulled.others, &desired.files).map(|content| Some((found, content)))
    });
    let found = tokio::time::timeout(desired.timeout, pull)
        .await
        .with_context(|| format!("no answer within spec.timeout ({} s)", desired.timeout.as_secs()))
        .and_then(|pulled| pulled.map_err(explained))
        .with_context(|| {
            format!(
                "no revision keeps config {artifact}, and it could not be fetched from {}",
                desired.referrers
            )
        })?;
    let Some((found, content)) = found else {
        bail!("config {artifact} is neither in a revision nor in {}", desired.referrers);
    };
    if found.artifact_type != desired.artifact_type {
        bail!("{artifact} is of type '{}', not '{}'", found.artifact_type, desired.artifact_type);
    }
    let image = found.subject.map(|subject| format!(" of image {}", subject.short())).unwrap_or_default();
    Ok(Config {
        name: format!("config-{}", short_hex(artifact)),
        title: format!("config {artifact}{image}, from {}", desired.referrers),
        content,
    })
}

fn short_hex(digest: &str) -> String {
    let short = short(digest);
    short.split_once(':').map_or(short.clone(), |(_, hex)| hex.to_owned())
}

/// The operator's part of the target, with the description from the status. With `Merge` the target belongs to someone
/// else: it holds other keys as well, and none of our annotations.
#[must_use]
pub fn of_target(config: &ArtifactConfig, target: &ConfigMap) -> Config {
    let status = config.status.as_ref();
    let artifact =
        status.and_then(|status| status.artifact.as_ref()).map(|artifact| artifact.digest.as_str());
    let image = status.and_then(|status| status.image.as_ref());
    let image = image.map(|image| (image.reference.as_str(), image.digest.as_str()));
    let mut content = content(target);
    if config.spec.target.creation_policy == CreationPolicy::Merge
        && let Ok(desired) = applied::parse(config)
    {
        let manager = plan::field_manager(&desired);
        content.data.retain(|key, _| is_owned(target, &manager, "f:data", key));
        content.binary_data.retain(|key, _| is_owned(target, &manager, "f:binaryData", key));
    }
    Config { name: "applied".to_owned(), title: title(target, artifact, image), content }
}

fn is_owned(object: &ConfigMap, manager: &str, member: &str, key: &str) -> bool {
    let field = format!("f:{key}");
    let mut ours = object.managed_fields().iter().filter(|entry| entry.manager.as_deref() == Some(manager));
    ours.any(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0[member].get(&field).is_some()))
}

/// The content of a revision and its source. Prints a warning to standard error if nothing proves the content.
#[must_use]
pub fn of_revision(name: &str, revision: Revision) -> Config {
    if let Some(remark) = revision.remark() {
        say!("note: {remark}");
    }
    let Revision { object, kept: Kept { origin, content } } = revision;
    let (artifact, digest) = (origin.artifact.to_string(), origin.image_digest.to_string());
    let title = title(&object, Some(&artifact), Some((&origin.image, &digest)));
    Config { name: name.to_owned(), title, content }
}

/// `ConfigMap`, config and image in one line.
fn title(config_map: &ConfigMap, artifact: Option<&str>, image: Option<(&str, &str)>) -> String {
    let artifact = artifact.unwrap_or("unknown");
    let image = image.map_or_else(
        || "an unknown image".to_owned(),
        |(reference, digest)| format!("image {reference} ({})", short(digest)),
    );
    format!("ConfigMap {}: config {artifact} of {image}", config_map.name_any())
}

/// Keys and values.
fn content(config_map: &ConfigMap) -> Content {
    let binary = config_map.binary_data.clone().unwrap_or_default();
    Content {
        data: config_map.data.clone().unwrap_or_default(),
        binary_data: binary.into_iter().map(|(key, value)| (key, value.0)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[rstest::rstest]
    #[case("7", Ok(Point::Revision(7)))]
    #[case("applied", Ok(Point::Applied))]
    #[case("latest", Ok(Point::Latest))]
    #[case("sha256:ba7816", Ok(Point::Digest("sha256:ba7816".into())))]
    #[case("ba7816bf8f01", Ok(Point::Digest("ba7816bf8f01".into())))]
    #[case("781612345678", Ok(Point::Digest("781612345678".into())))]
    #[case("newest", Err(()))]
    fn points(#[case] text: &str, #[case] expected: Result<Point, ()>) {
        assert_eq!(text.parse::<Point>().map_err(|_| ()), expected);
    }

    /// If the target belongs to someone else, only the merged keys are the content.
    #[test]
    fn of_what_is_merged_only_our_keys_count() {
        let config = |policy: &str| -> ArtifactConfig {
            serde_json::from_value(json!({
                "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
                "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
                "spec": {
                    "image": "r.example/web:v1", "artifactType": "a/b", "target": {"creationPolicy": policy}
                },
                "status": {
                    "image": {"reference": "r.example/web:v1", "digest": "sha256:0123456789abcdef"},
                    "artifact": {"digest": "sha256:a", "size": 1}
                }
            }))
            .unwrap()
        };
        let target: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": "theirs", "managedFields": [
                {"manager": "artifactconfig/merge/web", "fieldsV1": {"f:data": {"f:ours": {}}}},
                {"manager": "kubectl", "fieldsV1": {"f:data": {"f:theirs": {}}}},
            ]},
            "data": {"ours": "1", "theirs": "2"}
        }))
        .unwrap();
        let keys = |policy| -> Vec<String> {
            of_target(&config(policy), &target).content.data.into_keys().collect()
        };
        assert_eq!(keys("Merge"), ["ours"]);
        assert_eq!(keys("Owner"), ["ours", "theirs"]);
        assert_eq!(
            of_target(&config("Merge"), &target).title,
            "ConfigMap theirs: config sha256:a of image r.example/web:v1 (sha256:0123456789ab)"
        );
    }
}
