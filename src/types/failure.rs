//! The one form of every failure that a user sees.

use std::time::Duration;

use crate::api::Reason;

/// Why something could not be done: one closed reason, one message, wherever it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The closed reason.
    pub reason: Reason,
    /// What happened and what to do, for a person. Holds nothing that changes by itself, or every retry would be a
    /// write to the status.
    pub message: String,
    /// Not before this much time has passed, where somebody said so (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a time of its own.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }

    /// The same, naming where it happened, unless it does already.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        if !self.message.contains(place) {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// The same with remarks that may explain it.
    #[must_use]
    pub fn with_notes(mut self, notes: &[String]) -> Self {
        for note in notes {
            self.message.push_str("; note: ");
            self.message.push_str(note);
        }
        self
    }
}
