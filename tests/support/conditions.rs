//! Reading conditions, and comparing with a message that shows both sides.

use std::fmt::Debug;

use anyhow::{Context as _, Result, ensure};
use api::{ArtifactConfig, ArtifactConfigStatus, Reason, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Like `assert_eq`, as an error.
#[allow(clippy::needless_pass_by_value, reason = "what is compared is mostly temporary")]
pub fn same<L: PartialEq<R> + Debug, R: Debug>(what: &str, left: L, right: R) -> Result<()> {
    ensure!(left == right, "{what}:\n     is {left:?}\nshould be {right:?}");
    Ok(())
}

/// Like `assert`, with a value that explains itself.
pub fn checked(what: &str, holds: bool, seen: impl Debug) -> Result<()> {
    ensure!(holds, "{what}; seen: {seen:?}");
    Ok(())
}

/// The Ready condition and what belongs to it.
pub trait Ready {
    /// The status.
    fn seen(&self) -> Result<&ArtifactConfigStatus>;

    /// A condition that speaks of the resource as it is now.
    fn current(&self, r#type: &str) -> Result<Option<&Condition>>;

    /// Reason of the Ready condition.
    fn reason(&self) -> Result<&str> {
        Ok(&self.current(condition::READY)?.context("there is no Ready condition")?.reason)
    }

    /// Message of the Ready condition.
    fn message(&self) -> Result<&str> {
        Ok(&self.current(condition::READY)?.context("there is no Ready condition")?.message)
    }

    /// Checks that every condition says what belongs to the reason, as kstatus reads them.
    fn expect(&self, status: &str, reason: Reason) -> Result<()>;

    /// Checks that it is synced.
    fn expect_synced(&self) -> Result<()> {
        self.expect("True", Reason::Synced)
    }

    /// Checks that it failed for the reason.
    fn expect_failed(&self, reason: Reason) -> Result<()> {
        self.expect("False", reason)
    }

    /// Digest of the artifact that is applied.
    fn artifact(&self) -> Result<&str> {
        Ok(&self.seen()?.artifact.as_ref().context("status.artifact is missing")?.digest)
    }
}

impl Ready for ArtifactConfig {
    fn seen(&self) -> Result<&ArtifactConfigStatus> {
        self.status.as_ref().context("there is no status")
    }

    fn current(&self, r#type: &str) -> Result<Option<&Condition>> {
        let status = self.seen()?;
        same("status.observedGeneration", status.observed_generation, self.metadata.generation)?;
        let found = status.conditions.iter().find(|condition| condition.type_ == r#type);
        if let Some(condition) = found {
            let what = format!("observedGeneration of {type}");
            same(&what, condition.observed_generation, self.metadata.generation)?;
        }
        Ok(found)
    }

    fn expect(&self, status: &str, reason: Reason) -> Result<()> {
        use api::Class;
        let ready = self.current(condition::READY)?.context("there is no Ready condition")?;
        let seen = (ready.status.as_str(), ready.reason.as_str());
        ensure!(
            seen == (status, reason.as_str()),
            "Ready is {seen:?}, should be {:?}: {}",
            (status, reason.as_str()),
            ready.message
        );
        // kstatus: a condition of these two that is there counts, so it may only be there while it is true.
        let (reconciling, stalled) = match reason.class() {
            Class::Done => (None, None),
            Class::Terminal => (None, Some("True")),
            Class::Waiting | Class::Transient => (Some("True"), None),
        };
        for (r#type, wanted) in [(condition::RECONCILING, reconciling), (condition::STALLED, stalled)] {
            let found = self.current(r#type)?.map(|condition| condition.status.as_str());
            same(&format!("condition {type} at reason {reason}"), found, wanted)?;
        }
        Ok(())
    }
}
