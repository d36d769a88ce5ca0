//! The one form of every failure that a user sees.

use std::time::Duration;

use crate::api::Reason;

use super::text;

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
    /// A failure without a time of its own. Its message is one line of printable text, whatever was put into it.
    #[must_use]
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        Self { reason, message: sentence(message.as_ref()), retry_after: None }
    }

    /// The same, naming where it happened, unless it does already.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        if !self.message.contains(place) {
            self.message = sentence(&format!("{place}: {}", self.message));
        }
        self
    }

    /// The same with remarks that may explain it.
    #[must_use]
    pub fn with_notes(mut self, notes: &[String]) -> Self {
        for note in notes {
            self.message.push_str("; note: ");
            self.message.push_str(&sentence(note));
        }
        self
    }
}

/// Longest message, in bytes: above what a condition shows, and no burden for a log.
const MAX_MESSAGE: usize = 4096;

fn sentence(text: &str) -> String {
    text::truncate(&text::line(text), MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where text of others comes into a message nobody has to think of it: one line, printable, and not for ever.
    #[test]
    fn a_message_is_one_line_whatever_is_put_into_it() {
        let foreign = "a\u{1b}[31m\nReady=True\u{202e}";
        let escaped = "a\\u001b[31m\\nReady=True\\u202e";
        let failure = Failure::new(Reason::InvalidContent, foreign);
        assert_eq!(failure.message, escaped);
        let failure = failure.at(foreign).with_notes(&[foreign.to_owned()]);
        assert_eq!(failure.message, format!("{escaped}: {escaped}; note: {escaped}"));
        assert!(Failure::new(Reason::InvalidContent, "x".repeat(1 << 20)).message.len() <= MAX_MESSAGE);
    }
}
