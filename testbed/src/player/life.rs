//! The life of a pod so far. The player remembers it, and the status follows from it.

use std::net::Ipv4Addr;

use jiff::Timestamp;

use super::part::{Part, Restart, Role};
use super::starts::Given;

/// From the start of the pod to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) since: Timestamp,
    pub(super) address: Ipv4Addr,
    /// The volumes are there. They stay when their ConfigMaps are deleted.
    pub(super) mounted: bool,
    /// One for each container, in the order of [`Part::roles`].
    pub(super) runs: Vec<Run>,
    pub(super) initialized: Turned,
    pub(super) ready: Turned,
}

/// A condition, and since when it is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) to: bool,
    pub(super) at: Timestamp,
}

/// A container so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) state: State,
    pub(super) restarts: i32,
    /// The end before the present state.
    pub(super) last: Option<End>,
    /// Empty until it has started once.
    pub(super) image_id: String,
    /// Its content, as it was when it started last.
    pub(super) given: Vec<Given>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Waiting { reason: &'static str, message: Option<String> },
    Running { since: Timestamp },
    Ended(End),
    Crashed { next: Timestamp },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: i32,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
}

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Default for State {
    fn default() -> Self {
        Self::Waiting { reason: "ContainerCreating", message: None }
    }
}

impl Turned {
    fn turn(&mut self, to: bool, at: Timestamp) {
        if self.to != to {
            *self = Self { to, at };
        }
    }
}

impl Life {
    pub(super) fn new(part: &Part, address: Ipv4Addr, now: Timestamp) -> Self {
        let not_yet = Turned { to: false, at: now };
        // The kubelet says this of every container while init containers are to come.
        let reason = if part.init.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        let run = Run { state: State::Waiting { reason, message: None }, ..Run::default() };
        let runs = part.roles().map(|_| run.clone()).collect();
        Self { since: now, address, mounted: false, runs, initialized: not_yet, ready: not_yet }
    }

    /// Whether nothing happens to the pod any more.
    pub(super) fn is_over(&self, part: &Part) -> bool {
        matches!(self.phase(part), Phase::Succeeded | Phase::Failed)
    }

    /// Whether news of ConfigMaps may change something: a container waits, or is between two starts.
    pub(super) fn is_restless(&self, part: &Part) -> bool {
        let restless = |run: &Run| matches!(run.state, State::Waiting { .. } | State::Crashed { .. });
        self.runs.iter().any(restless) && !self.is_over(part)
    }

    /// When a container starts again by itself.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.runs
            .iter()
            .filter_map(|run| match run.state {
                State::Crashed { next } => Some(next),
                _ => None,
            })
            .min()
    }

    /// Those of the init containers, and the others.
    pub(super) fn split(&self, part: &Part) -> (&[Run], &[Run]) {
        self.runs.split_at(part.init.len())
    }

    /// Brings the conditions up to date.
    pub(super) fn turn(&mut self, part: &Part, now: Timestamp) {
        let (init, main) = self.split(part);
        let initialized = part.init.iter().zip(init).all(|(role, run)| run.is_past(role));
        let ready = initialized && main.iter().all(Run::is_running);
        self.initialized.turn(initialized, now);
        self.ready.turn(ready, now);
    }

    pub(super) fn phase(&self, part: &Part) -> Phase {
        let (init, main) = self.split(part);
        let code = |run: &Run| match &run.state {
            State::Ended(end) => Some(end.code),
            _ => None,
        };
        if init.iter().filter_map(code).any(|code| code != 0) {
            return Phase::Failed;
        }
        match main.iter().map(code).collect::<Option<Vec<_>>>() {
            Some(codes) if codes.iter().all(|code| *code == 0) => Phase::Succeeded,
            Some(_) => Phase::Failed,
            None if main.iter().all(|run| matches!(run.state, State::Waiting { .. })) => Phase::Pending,
            None => Phase::Running,
        }
    }
}

impl Run {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether the containers after this init container may start.
    pub(super) fn is_past(&self, role: &Role) -> bool {
        match &self.state {
            State::Ended(end) => end.code == 0,
            State::Running { .. } => role.restart == Restart::Always,
            State::Waiting { .. } | State::Crashed { .. } => false,
        }
    }
}
