//! Reading and writing `ArtifactConfigs` as a person: messages say what to do next.

use anyhow::{anyhow, bail};
use api::{ArtifactConfig, GROUP, HistoryEntry, MANAGER, label};
use decide::history::{Application, History};
use decide::kept::{self, Kept, Search};
use decide::near;
use decide::spec::Desired;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::applied;
use super::choose;
use super::kubectl_flags::Connection;

/// Field manager of the command line's writes. It differs from the operator's, and from names like `kubectl…`, whose
/// fields Flux reverts.
pub const FIELD_MANAGER: &str = "artifactconfig-cli";

/// Most names that are read to find a similar one.
const NAMES: u32 = 500;

/// Reads a resource.
///
/// # Errors
/// If it does not exist; the error suggests a similar name.
pub async fn get(connection: &Connection, name: &str) -> anyhow::Result<ArtifactConfig> {
    let api: Api<ArtifactConfig> = Api::namespaced(connection.client.clone(), &connection.namespace);
    match api.get_opt(name).await {
        Ok(Some(config)) => Ok(config),
        Ok(None) => Err(missing(connection, name).await),
        Err(error) => Err(explained(error)),
    }
}

/// The error for a missing resource, with a suggestion.
pub async fn missing(connection: &Connection, name: &str) -> anyhow::Error {
    let names = async |api: Api<ArtifactConfig>| {
        let list = api.list_metadata(&ListParams::default().limit(NAMES)).await?;
        let of = |object: &PartialObjectMeta<ArtifactConfig>| {
            (object.namespace().unwrap_or_default(), object.name_any())
        };
        Ok::<Vec<_>, kube::Error>(list.items.iter().map(of).collect())
    };
    let here = match names(Api::namespaced(connection.client.clone(), &connection.namespace)).await {
        Ok(here) => here,
        Err(error) => return explained(error),
    };
    let known: Vec<&str> = here.iter().map(|(_, name)| name.as_str()).collect();
    let place = format!("in namespace '{}'", connection.namespace);
    let message = near::no_such(&ArtifactConfig::kind(&()), name, &place, &known);
    if !near::closest(name, &known).is_empty() {
        return anyhow!(message);
    }
    // A user without the right to list all namespaces gets no suggestions from them.
    let everywhere = names(Api::all(connection.client.clone())).await.unwrap_or_default();
    let elsewhere: Vec<&str> = everywhere
        .iter()
        .filter(|(_, other)| other == name)
        .map(|(namespace, _)| namespace.as_str())
        .collect();
    match elsewhere.as_slice() {
        [] => anyhow!(message),
        namespaces => anyhow!("{message}; one of that name is in namespace {}", near::listed(namespaces)),
    }
}

/// An error of the API server as a message for people.
pub fn explained(error: kube::Error) -> anyhow::Error {
    match error {
        // For a missing object the answer names the object. An answer without a name is about the kind.
        kube::Error::Api(status)
            if status.code == 404
                && status.details.as_ref().is_none_or(|details| details.name.is_empty()) =>
        {
            anyhow!(
                "this cluster does not know ArtifactConfigs; install the definition ('artifactconfig crd' prints it) and the operator"
            )
        }
        kube::Error::Api(status) => anyhow!("the API server refused: {}", status.message),
        kube::Error::SerdeError(error) => {
            anyhow!(
                "the answer of the API server cannot be read: {error}; check that the definition in the cluster belongs to this version"
            )
        }
        other => anyhow::Error::new(other).context("the request to the API server failed"),
    }
}

/// Merges a patch into the resource that was read. It does not patch a resource that was created later with the same
/// name.
///
/// # Errors
/// If the API server refuses.
pub async fn write(
    connection: &Connection,
    config: &ArtifactConfig,
    mut patch: Value,
    dry_run: bool,
) -> anyhow::Result<ArtifactConfig> {
    let api: Api<ArtifactConfig> = Api::namespaced(connection.client.clone(), &connection.namespace);
    patch["metadata"]["uid"] = json!(config.metadata.uid);
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run, ..PatchParams::default() };
    let name = config.name_any();
    match api.patch(&name, &parameters, &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            bail!("'{name}' was deleted and created again meanwhile; run the command again")
        }
        result => result.map_err(explained),
    }
}

/// The history; rebuilt from the revisions if the status has lost it.
pub fn history(config: &ArtifactConfig) -> &[HistoryEntry] {
    config.status.as_ref().map_or(&[], |status| &status.history)
}

/// Reads a `ConfigMap`; `None` if it does not exist.
///
/// # Errors
/// If the API server does not answer or refuses.
pub async fn config_map(connection: &Connection, name: &str) -> anyhow::Result<Option<ConfigMap>> {
    let api: Api<ConfigMap> = Api::namespaced(connection.client.clone(), &connection.namespace);
    api.get_opt(name).await.map_err(explained)
}

/// A revision, and whether its content is proven.
#[derive(Debug)]
pub struct Revision {
    /// The `ConfigMap` that keeps it.
    pub object: ConfigMap,
    /// The content.
    pub kept: Kept,
}

impl Revision {
    /// A remark about missing proof, for people.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        (!self.kept.origin.proven).then(|| {
            format!(
                "ConfigMap '{}' has no proof: neither the history nor a manifest in it proves that it holds config {}",
                self.object.name_any(),
                self.kept.origin.artifact
            )
        })
    }
}

/// The revision with a number, checked like in the operator.
///
/// # Errors
/// If the number does not exist (the error lists the existing ones), if no revision keeps it, or if another object has
/// its name.
pub async fn revision(
    connection: &Connection,
    config: &ArtifactConfig,
    number: i64,
) -> anyhow::Result<Revision> {
    let desired = applied::parse(config).map_err(|failure| anyhow!("{}", failure.message))?;
    let recorded = history(config);
    let entry = match choose::numbered(recorded, number) {
        Ok(entry) => entry,
        // A revision that a workload still uses is kept beyond the history.
        Err(message) => {
            return kept(connection, &desired, recorded, number).await?.ok_or_else(|| anyhow!(message));
        }
    };
    let Some(name) = &entry.config_map else {
        bail!(
            "revision {number} is not kept in the cluster ({}); its config is {}",
            why_not_kept(entry),
            entry.artifact
        );
    };
    let Some(object) = config_map(connection, name).await? else {
        bail!(
            "ConfigMap '{name}', which kept revision {number}, is gone; its config {} may still be in the registry",
            entry.artifact
        );
    };
    let found = if entry.hash.is_some() {
        let application = Application::read(entry);
        application.and_then(|application| kept::recorded(&desired, &object, &application))
    } else {
        let claimed = kept::by_annotations(&desired, &object).map(|(_, kept)| kept);
        claimed.filter(|kept| kept.origin.artifact.to_string() == entry.artifact)
    };
    let Some(kept) = found else {
        bail!(
            "ConfigMap '{name}' does not hold the content of revision {number}: somebody created it again with other content"
        );
    };
    Ok(Revision { object, kept })
}

fn why_not_kept(entry: &HistoryEntry) -> &'static str {
    match entry.outcome {
        api::HistoryOutcome::Failed => "it failed and was never applied",
        _ => "spec.revisionHistoryLimit was 0",
    }
}

/// Most objects with one number that are checked: the right one, and objects that others labelled like it.
const NAMESAKES: u32 = 16;

async fn kept(
    connection: &Connection,
    desired: &Desired,
    history: &[HistoryEntry],
    number: i64,
) -> anyhow::Result<Option<Revision>> {
    let api: Api<ConfigMap> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let (managed, uid) = (format!("{}={MANAGER}", label::MANAGED_BY), &desired.owner.uid);
    let selector = format!("{managed},{}={number},{}={uid}", label::REVISION, label::OWNER_UID);
    let found =
        api.list(&ListParams::default().labels(&selector).limit(NAMESAKES)).await.map_err(explained)?;
    let (history, mut search) = (History::read(history), Search::default());
    for object in &found.items {
        let Some((_, told)) = kept::by_annotations(desired, object) else { continue };
        let artifact = &told.origin.artifact;
        let recorded: Vec<&Application> = history.of(artifact).filter(|known| known.hash.is_some()).collect();
        search.check(desired, artifact, &recorded, object);
    }
    Ok(search.found().and_then(|(name, kept)| {
        let object = found.items.into_iter().find(|object| object.name_any() == name)?;
        Some(Revision { object, kept })
    }))
}

/// `artifactconfig.artifactconfig.dev/web`, the form of kubectl.
#[must_use]
pub fn qualified(name: &str) -> String {
    format!("artifactconfig.{GROUP}/{name}")
}
