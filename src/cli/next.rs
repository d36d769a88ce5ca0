//! The config that `resume` would apply. It is asked for again, because a status is as old as the operator's last
//! reconcile.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use api::{ArtifactConfig, Reason, annotation};
use decide::Failure;
use jiff::Timestamp;
use registry::{OciRegistry, Settings};
use serde_json::json;

use super::applied;
use super::content::{self, Point};
use super::diff;
use super::docker::RegistryArgs;
use super::followed;
use super::kubectl_flags::Connection;
use super::resource;
use super::said;
use super::selected::selected;
use super::table::short;
use super::verdict::{self, Awaited};
use super::wait::WaitArgs;

/// Longest wait for a registry that this command asks itself. The operator has the timeout of the resource.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Most lines of a diff in the output of `resume`; `diff` shows all of them.
const LINES: usize = 100;

/// The config that comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This config, which is not the applied one.
    Other(String),
    /// The applied config is the newest.
    Same,
}

impl Next {
    fn of(next: Option<&str>, config: &ArtifactConfig) -> Self {
        next.filter(|next| Some(*next) != applied(config))
            .map_or(Self::Same, |next| Self::Other(next.to_owned()))
    }

    /// The end of a sentence about the resume.
    #[must_use]
    pub fn sentence(&self, config: &ArtifactConfig) -> String {
        match (self, applied(config)) {
            (Self::Other(next), _) => format!("; config {} comes next", short(next)),
            (Self::Same, Some(applied)) => format!("; config {} is the newest and stays", short(applied)),
            (Self::Same, None) => String::new(),
        }
    }

    /// A sentence for the case that another config was applied.
    #[must_use]
    pub fn surprise(&self, before: &ArtifactConfig, now: &ArtifactConfig) -> Option<String> {
        let announced = match self {
            Self::Other(next) => Some(next.as_str()),
            Self::Same => applied(before),
        };
        let (announced, applied) = (announced?, applied(now)?);
        (announced != applied).then(|| {
            format!(
                "config {} was applied instead of {}: the attached artifacts have changed in between",
                short(applied),
                short(announced)
            )
        })
    }
}

/// Digest of the applied config.
fn applied(config: &ArtifactConfig) -> Option<&str> {
    config.status.as_ref()?.artifact.as_ref().map(|artifact| artifact.digest.as_str())
}

/// The next config, found by the operator with its own credentials while `spec.rollbackTo` is still set. If
/// `spec.rollbackTo` names a config that does not exist, the operator cannot answer, and this command asks the registry
/// itself.
///
/// # Errors
/// If the next config is not known.
pub async fn by_operator(
    connection: &Connection,
    config: &ArtifactConfig,
    wait: &WaitArgs,
    registry: &RegistryArgs,
) -> anyhow::Result<Next> {
    let patch =
        json!({"metadata": {"annotations": {annotation::REQUESTED_AT: Timestamp::now().to_string()}}});
    let written = resource::write(connection, config, patch, false).await?;
    match wait.until_done(connection, Awaited::Sync, &written).await {
        Ok((now, _)) => Ok(Next::of(now.status.as_ref().and_then(|status| status.latest.as_deref()), &now)),
        Err(why) => {
            let now = resource::get(connection, &written.metadata.name.clone().unwrap_or_default()).await?;
            let reason = verdict::ready(&now).map(|ready| ready.reason.as_str());
            if reason == Some(Reason::RevisionNotFound.as_str()) {
                from_here(connection, &now, registry)
                    .await
                    .map_err(|failure| anyhow!(self::failure(&now, &failure)))
            } else {
                Err(why)
            }
        }
    }
}

/// The next config, found by this command with the user's credentials.
///
/// # Errors
/// If the registry gives no usable answer, or nothing would be applied.
pub async fn from_here(
    connection: &Connection,
    config: &ArtifactConfig,
    registry: &RegistryArgs,
) -> Result<Next, Failure> {
    let desired = followed::parse(connection, config).await?;
    let internal = |why: String| Failure::new(Reason::InternalError, why);
    let client =
        OciRegistry::new(Settings::default(), Arc::new(|_| {})).map_err(|why| internal(why.to_string()))?;
    let access = registry
        .access(&[&desired.image.repository(), &desired.referrers], desired.plain_http)
        .map_err(|why| Failure::new(Reason::InvalidCredentials, said::chain(&why)))?;
    let ask = Box::pin(async {
        let found = selected(&client, &access, &desired).await?;
        Ok(Next::of(Some(&found.artifact.digest.to_string()), config))
    });
    let limit = REGISTRY_TIMEOUT.min(desired.timeout);
    tokio::time::timeout(limit, ask).await.unwrap_or_else(|_| {
        let message = format!("no answer from {} within {} s", desired.referrers, limit.as_secs());
        Err(Failure::new(Reason::RegistryUnavailable, message))
    })
}

/// Whether this user lacks a right that the operator may have: in the registry, or to read the workload.
#[must_use]
pub const fn is_refused_here(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::AuthenticationFailed
            | Reason::Forbidden
            | Reason::InvalidCredentials
            | Reason::WorkloadUnavailable
    )
}

/// The message for a failed request of this command.
#[must_use]
pub fn failure(config: &ArtifactConfig, failure: &Failure) -> String {
    let host = applied::parse(config).map(|desired| desired.referrers.host().to_owned()).unwrap_or_default();
    said::failure(failure, &host)
}

/// The changes from the applied config to the next one.
///
/// # Errors
/// A remark that says why the content of the next config is not available here.
pub async fn difference(
    connection: &Connection,
    config: &ArtifactConfig,
    next: &str,
    registry: &RegistryArgs,
) -> Result<String, String> {
    let read = async {
        let from = content::read(connection, config, &Point::Applied, registry).await?;
        let to = content::read(connection, config, &Point::Digest(next.to_owned()), registry).await?;
        anyhow::Ok(diff::unified(&from, &to, false))
    };
    let text = match tokio::time::timeout(REGISTRY_TIMEOUT, Box::pin(read)).await {
        Ok(Ok(text)) => text,
        Ok(Err(why)) => return Err(said::chain(&why)),
        Err(_) => return Err(format!("no answer within {} s", REGISTRY_TIMEOUT.as_secs())),
    };
    Ok(shortened(&text, &connection.command(&format!("diff {} --to {next}", config_name(config)))))
}

fn config_name(config: &ArtifactConfig) -> &str {
    config.metadata.name.as_deref().unwrap_or_default()
}

/// The beginning of a long diff, and how to see the rest.
fn shortened(text: &str, command: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    match lines.len().checked_sub(LINES) {
        Some(more) if more > 0 => {
            format!("{}\n… {more} more lines: {command}\n", lines[..LINES].join("\n"))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(applied: &str) -> ArtifactConfig {
        serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "metadata": {"name": "web"},
            "spec": {"image": "r.example/web", "artifactType": "a/b"},
            "status": {"artifact": {"digest": applied, "size": 1}}
        }))
        .unwrap()
    }

    #[test]
    fn what_is_applied_already_is_no_news() {
        assert_eq!(Next::of(Some("sha256:a"), &config("sha256:a")), Next::Same);
        assert_eq!(Next::of(None, &config("sha256:a")), Next::Same);
        assert_eq!(Next::of(Some("sha256:b"), &config("sha256:a")), Next::Other("sha256:b".to_owned()));
        assert!(Next::Same.sentence(&config("sha256:a")).contains("is the newest and stays"));
    }

    /// If another config than the named one is applied, the output says so.
    #[test]
    fn what_was_applied_is_held_against_what_was_announced() {
        let (before, now) = (config("sha256:a"), config("sha256:c"));
        let announced = Next::Other("sha256:b".to_owned());
        let said = announced.surprise(&before, &now).unwrap();
        assert!(said.contains("config sha256:c was applied instead of sha256:b"), "{said}");
        assert_eq!(announced.surprise(&before, &config("sha256:b")), None);
        assert_eq!(Next::Same.surprise(&before, &before), None);
        assert!(Next::Same.surprise(&before, &now).is_some());
    }

    #[test]
    fn a_long_diff_is_cut_and_says_how_to_see_the_rest() {
        let text = "+x\n".repeat(LINES + 7);
        let cut = shortened(&text, "artifactconfig diff web");
        assert_eq!(cut.lines().count(), LINES + 1);
        assert!(cut.ends_with("… 7 more lines: artifactconfig diff web\n"));
        assert_eq!(shortened("+x\n", ""), "+x\n");
    }
}
