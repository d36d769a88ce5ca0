//! The resource as one pass sees it: `spec`, status and history, each read once.

use std::time::Duration;

use api::{ArtifactConfig, ArtifactConfigStatus, Reason, condition};
use kube_core::DeserializeGuard;
use kube_core::Resource as _;

use crate::Failure;
use crate::history::History;
use crate::spec::{self, Desired, Followed, Header};

/// Interval of a resource with an unreadable `spec.interval`.
pub const USUAL_INTERVAL: Duration = Duration::from_mins(5);

/// Length of the history of a resource with an unreadable limit. It is the highest one, so that nothing is dropped.
const LONGEST_HISTORY: usize = 100;

/// The resource as one pass sees it.
#[derive(Debug)]
pub struct View<'a> {
    /// Its metadata.
    pub header: Header,
    /// `spec.suspend`.
    pub suspended: bool,
    /// The parsed `spec`, or its fault.
    pub desired: Result<Desired, Failure>,
    /// The status that was written last.
    pub status: Option<&'a ArtifactConfigStatus>,
    /// The history in that status.
    pub history: History,
}

impl<'a> View<'a> {
    /// Parses the resource. `status` is the last written one, which `config` may not have yet; `followed` is the workload of
    /// `spec.workloadRef`.
    #[must_use]
    pub fn of(
        object: &DeserializeGuard<ArtifactConfig>,
        status: Option<&'a ArtifactConfigStatus>,
        followed: Option<Followed>,
    ) -> Self {
        let header = spec::header(object.meta());
        let (suspended, desired) = match &object.0 {
            Ok(config) => (config.spec.suspend, spec::parse(config, followed)),
            Err(invalid) => (
                false,
                Err(Failure::new(
                    Reason::InvalidSpec,
                    format!(
                        "the resource cannot be read: {}; install the definition that belongs to this operator",
                        invalid.error
                    ),
                )),
            ),
        };
        let history = status.map(|status| History::read(&status.history)).unwrap_or_default();
        Self { header, suspended, desired, status, history }
    }

    /// `spec.interval`, or a usual one.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.desired.as_ref().map_or(USUAL_INTERVAL, |desired| desired.interval)
    }

    /// `spec.revisionHistoryLimit`, or the highest.
    #[must_use]
    pub fn history_limit(&self) -> usize {
        self.desired.as_ref().map_or(LONGEST_HISTORY, |desired| desired.history_limit)
    }

    /// Whether the status describes an earlier `spec`.
    #[must_use]
    pub fn is_spec_new(&self) -> bool {
        self.status.and_then(|status| status.observed_generation) != Some(self.header.generation)
    }

    /// Whether the annotation that asks for a sync has another value than the status.
    #[must_use]
    pub fn is_request_open(&self) -> bool {
        self.status.and_then(|status| status.last_handled_requested_at.as_ref())
            != self.header.requested_at.as_ref()
    }

    /// Whether the status has not yet answered the current `spec` or the last request for a sync.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.is_spec_new() || self.is_request_open()
    }

    /// Whether the status already reports the rollback of this `spec` as done.
    #[must_use]
    pub fn is_rollback_reported(&self) -> bool {
        let is_rolled_back = |status: &ArtifactConfigStatus| {
            let ready = status.condition(condition::READY);
            ready.is_some_and(|ready| ready.reason == Reason::RolledBack.as_str())
        };
        !self.is_spec_new() && self.status.is_some_and(is_rolled_back)
    }
}
