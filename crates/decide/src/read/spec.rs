//! Resource → [`Desired`]: the spec is parsed once, so that no later stage can fail on the form of a field.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use api::Reason;
use api::{
    ArtifactConfig, ArtifactConfigSpec, CreationPolicy, DeletionPolicy, SelectionPolicy, TargetSpec,
    WorkloadRef, annotation,
};
use oci::{Digest, ImageRef, Platform, RepositoryRef};

use crate::Failure;
use crate::files::FileRules;
use crate::limits;
use crate::workload::{self, Workload};

/// The resource that a reconcile works for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name. It is also the value of a label, so it has at most 63 characters.
    pub name: String,
    /// Its namespace. All objects that it reads and writes are in this namespace.
    pub namespace: String,
    /// Its UID; empty outside a cluster.
    pub uid: String,
}

/// The parsed spec.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The resource itself.
    pub owner: Owner,
    /// The `metadata.generation` of the parsed spec.
    pub generation: i64,
    /// The image.
    pub image: ImageRef,
    /// The workload that names the image, if the resource does not name it itself.
    pub workload: Option<Box<Workload>>,
    /// Repository of the attached artifacts: that of the image, or a mirror.
    pub referrers: RepositoryRef,
    /// The platform whose manifest is used if nothing is attached to the index.
    pub platform: Option<Platform>,
    /// Artifact type, compared exactly, without white space around it (a YAML block leaves some).
    pub artifact_type: String,
    /// How to select one of several.
    pub selector: Selector,
    /// Which files to take, under which keys.
    pub files: FileRules,
    /// The `ConfigMap` to write.
    pub target: Target,
    /// Names of pull secrets.
    pub pull_secrets: Vec<String>,
    /// `ServiceAccount` whose pull secrets are used as well.
    pub service_account: Option<String>,
    /// Secret with certificates.
    pub cert_secret: Option<String>,
    /// Speak plain HTTP.
    pub plain_http: bool,
    /// Stay on this artifact.
    pub rollback_to: Option<Digest>,
    /// Number of earlier revisions to keep, in addition to the applied one; 0 keeps no revision at all.
    pub history_limit: usize,
    /// Time between two reconciles.
    pub interval: Duration,
    /// Longest time for finding the config, and again for fetching it.
    pub timeout: Duration,
}

/// The workload of `spec.workloadRef`, and the image to ask for.
pub type Followed = Result<Following, Failure>;

/// A workload that was read, and the image that it names or that its pods run.
#[derive(Clone, Debug)]
pub struct Following {
    /// The workload.
    pub workload: Box<Workload>,
    /// The image.
    pub image: ImageRef,
}

/// How to select one of several artifacts of the type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Annotations to match.
    pub annotations: BTreeMap<String, String>,
    /// Policy for the artifacts that match.
    pub policy: SelectionPolicy,
}

/// The `ConfigMap` to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Labels of the user.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the user.
    pub annotations: BTreeMap<String, String>,
    /// Who owns it.
    pub creation_policy: CreationPolicy,
    /// Whether it is deleted with the resource.
    pub deletion_policy: DeletionPolicy,
}

/// The parts of the resource that are needed even if `spec` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The resource itself.
    pub owner: Owner,
    /// `metadata.generation`.
    pub generation: i64,
    /// Value of `artifactconfig.dev/requestedAt`.
    pub requested_at: Option<String>,
}

/// Reads the metadata.
#[must_use]
pub fn header(metadata: &kube_core::ObjectMeta) -> Header {
    Header {
        owner: Owner {
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            uid: metadata.uid.clone().unwrap_or_default(),
        },
        generation: metadata.generation.unwrap_or_default(),
        requested_at: metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(annotation::REQUESTED_AT))
            .cloned(),
    }
}

/// Parses the resource. `followed` is the workload of `spec.workloadRef`; a resource that names its image needs none.
///
/// The API server has checked most fields already. They are checked again because a resource may be older than the
/// installed definition, and because `artifactconfig render` reads files that no API server has seen.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn parse(config: &ArtifactConfig, followed: Option<Followed>) -> Result<Desired, Failure> {
    let Header { owner, generation, .. } = header(&config.metadata);
    // Without `..`, so that a new field cannot be forgotten.
    let ArtifactConfigSpec {
        image,
        workload_ref,
        artifact_type,
        selection,
        platform,
        referrers_repository,
        files,
        target,
        rollback_to,
        revision_history_limit,
        registry,
        interval,
        timeout,
        suspend: _,
    } = &config.spec;
    let artifact_type = parse_artifact_type(artifact_type)?;
    let (image, workload) = parse_image(image.as_deref(), workload_ref.as_ref(), followed)?;
    let referrers = match referrers_repository {
        Some(repository) => repository.parse().map_err(|error| invalid("spec.referrersRepository", error))?,
        None => image.repository(),
    };
    let platform =
        platform.as_deref().map(str::parse).transpose().map_err(|error| invalid("spec.platform", error))?;
    let rollback_to = rollback_to
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error| invalid("spec.rollbackTo", error))?;
    let history_limit = usize::try_from(*revision_history_limit)
        .map_err(|_| invalid("spec.revisionHistoryLimit", "it is negative; expected 0 to 100"))?;
    let target = parse_target(target, &owner)?;
    Ok(Desired {
        generation,
        rollback_to,
        history_limit: history_limit.min(MOST_REVISIONS),
        image,
        workload,
        referrers,
        platform,
        artifact_type,
        selector: Selector { annotations: selection.match_annotations.clone(), policy: selection.policy },
        files: FileRules::parse(files).map_err(|error| invalid("spec.files", error))?,
        target,
        pull_secrets: registry.pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        service_account: registry.service_account_name.clone(),
        cert_secret: registry.cert_secret_ref.as_ref().map(|secret| secret.name.clone()),
        plain_http: registry.plain_http,
        interval: duration("spec.interval", interval, Duration::from_hours(24))?,
        timeout: duration("spec.timeout", timeout, Duration::from_mins(10))?,
        owner,
    })
}

/// The image, and the workload that names it.
fn parse_image(
    image: Option<&str>,
    reference: Option<&WorkloadRef>,
    followed: Option<Followed>,
) -> Result<(ImageRef, Option<Box<Workload>>), Failure> {
    match (image, reference) {
        (Some(image), None) => Ok((image.parse().map_err(|error| invalid("spec.image", error))?, None)),
        (None, Some(reference)) => {
            let unread = || {
                let why = format!("{} was not read", workload::shown(reference));
                Err(Failure::new(Reason::WorkloadUnavailable, why))
            };
            let Following { workload, image } = followed.unwrap_or_else(unread)?;
            Ok((image, Some(workload)))
        }
        (Some(_), Some(_)) | (None, None) => Err(invalid("spec", "set exactly one of image and workloadRef")),
    }
}

fn parse_artifact_type(artifact_type: &str) -> Result<String, Failure> {
    let trimmed = artifact_type.trim();
    if trimmed.is_empty() {
        return Err(invalid(
            "spec.artifactType",
            "it is empty; set the type that you use with 'oras attach --artifact-type'",
        ));
    }
    Ok(trimmed.to_owned())
}

fn parse_target(target: &TargetSpec, owner: &Owner) -> Result<Target, Failure> {
    limits::check_labels(&target.labels).map_err(|why| invalid("spec.target.labels", why))?;
    limits::check_annotations(&target.annotations).map_err(|why| invalid("spec.target.annotations", why))?;
    Ok(Target {
        name: target.name.clone().unwrap_or_else(|| owner.name.clone()),
        labels: target.labels.clone(),
        annotations: target.annotations.clone(),
        creation_policy: target.creation_policy,
        deletion_policy: target.deletion_policy,
    })
}

/// Most revisions of one resource: each is an object of up to 1 MiB, and an entry in its status.
const MOST_REVISIONS: usize = 100;

fn invalid(field: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::InvalidSpec, format!("{field}: {why}"))
}

/// The lower bound of both durations, because a registry must not be polled many times a second.
const SHORTEST: Duration = Duration::from_secs(1);

fn duration(field: &str, text: &str, longest: Duration) -> Result<Duration, Failure> {
    let expected = format!("expected a Go duration such as 30s or 5m, from 1s to {}s", longest.as_secs());
    let parsed = kube_core::Duration::from_str(text)
        .map_err(|error| invalid(field, format!("'{text}' is not a duration ({error}); {expected}")))?;
    let negative = parsed < Duration::ZERO;
    let parsed = Duration::from(parsed);
    if negative || parsed < SHORTEST || parsed > longest {
        return Err(invalid(field, format!("'{text}' is out of range; {expected}")));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(spec: &serde_json::Value) -> ArtifactConfig {
        serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop", "generation": 3}, "spec": spec
        }))
        .unwrap()
    }

    #[test]
    fn defaults() {
        let desired =
            parse(&config(&json!({"image": "r.example/web:v1", "artifactType": "custom/config"})), None)
                .unwrap();
        assert_eq!(desired.target.name, "web");
        assert_eq!(desired.interval, Duration::from_mins(5));
        assert_eq!(desired.timeout, Duration::from_mins(1));
        assert_eq!(desired.generation, 3);
        assert_eq!(desired.target.deletion_policy, DeletionPolicy::Delete);
    }

    #[rstest::rstest]
    #[case(json!({"image": "https://r.example/web", "artifactType": "a/b"}), "spec.image")]
    #[case(json!({"artifactType": "a/b"}), "set exactly one of image and workloadRef")]
    #[case(json!({"image": "r.example/web", "workloadRef": {"kind": "Job", "name": "web"}, "artifactType": "a/b"}), "set exactly one of image and workloadRef")]
    #[case(json!({"image": "r.example/web", "artifactType": " "}), "spec.artifactType")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "interval": "soon"}), "spec.interval")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "interval": "10ms"}), "spec.interval")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "interval": "-5m"}), "spec.interval")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "timeout": "2h"}), "spec.timeout")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "platform": "linux"}), "spec.platform")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "referrersRepository": "m.example/web:v1"}), "spec.referrersRepository")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "files": [{"path": "[", "key": null}]}), "spec.files[0].path")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "target": {"labels": {"team": "a b"}}}), "spec.target.labels")]
    #[case(json!({"image": "r.example/web", "artifactType": "a/b", "target": {"annotations": {"a b": ""}}}), "spec.target.annotations")]
    fn names_the_field_it_cannot_use(#[case] spec: serde_json::Value, #[case] field: &str) {
        let failure = parse(&config(&spec), None).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidSpec);
        assert!(failure.message.contains(field), "{}", failure.message);
    }
}
