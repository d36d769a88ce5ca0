//! The one form of every failure that a user sees.

use std::time::Duration;

use api::Reason;
use oci::text;

use crate::Advice;

/// A failure of any stage: one closed reason and one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The closed reason.
    pub reason: Reason,
    /// What happened and what to do, for a person. It holds nothing that changes by itself, because otherwise every
    /// retry would write the status.
    pub message: String,
    /// The time to wait before the next try, if a server stated one (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// Advice, if it depends on the reader. The message ends with the advice for the author of a resource.
    pub advice: Option<Advice>,
}

impl Failure {
    /// A failure without a stated time. Its message is one line of printable text, for any input.
    #[must_use]
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        Self { reason, message: text::message(message.as_ref()), retry_after: None, advice: None }
    }

    /// The same with a place at the beginning of its message, unless the message names it already.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        if !self.message.contains(place) {
            self.message = text::message(&format!("{place}: {}", self.message));
        }
        self
    }

    /// The same with another clause at the end of its message.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(&text::message(more));
        self
    }

    /// The same with this advice, which replaces an earlier one.
    #[must_use]
    pub fn advised(mut self, advice: Advice) -> Self {
        match self.advice.replace(advice) {
            Some(before) => {
                self.message = self.message.replace(before.on_a_resource(), advice.on_a_resource());
            }
            None => return self.and(advice.on_a_resource()),
        }
        self
    }

    /// The message for the user of a command: it names flags instead of fields. `host` is that of the registry.
    #[must_use]
    pub fn at_the_command_line(&self, host: &str) -> String {
        match self.advice {
            Some(advice) => self.message.replace(advice.on_a_resource(), &advice.at_the_command_line(host)),
            None => self.message.clone(),
        }
    }

    /// The same with remarks that may explain it.
    #[must_use]
    pub fn with_notes(mut self, notes: &[String]) -> Self {
        for note in notes {
            self.message.push_str("; note: ");
            self.message.push_str(&text::message(note));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text of others in a message is always made safe: one printable line of bounded length.
    #[test]
    fn a_message_is_one_line_for_any_input() {
        let foreign = "a\u{1b}[31m\nReady=True\u{202e}";
        let escaped = "a\\u001b[31m\\nReady=True\\u202e";
        let failure = Failure::new(Reason::InvalidContent, foreign);
        assert_eq!(failure.message, escaped);
        let failure = failure.at(foreign).with_notes(&[foreign.to_owned()]);
        assert_eq!(failure.message, format!("{escaped}: {escaped}; note: {escaped}"));
        assert!(Failure::new(Reason::InvalidContent, "x".repeat(1 << 20)).message.len() <= text::MAX_MESSAGE);
    }

    #[test]
    fn advice_follows_from_who_reads_it() {
        let failure = Failure::new(Reason::AuthenticationFailed, "r.example/web: 401")
            .advised(Advice::GiveCredentials)
            .at("namespace 'shop'")
            .with_notes(&["seen".to_owned()]);
        assert!(failure.message.contains("spec.registry.pullSecrets"), "{}", failure.message);
        let message = failure.at_the_command_line("r.example");
        assert!(message.contains("'docker login r.example'") && !message.contains("spec."), "{message}");
        assert!(message.starts_with("namespace 'shop'") && message.ends_with("note: seen"), "{message}");
        let other = failure.advised(Advice::SpeakHttp);
        assert!(
            other.message.contains("plainHttp") && !other.message.contains("pullSecrets"),
            "{}",
            other.message
        );
        assert!(other.at_the_command_line("r.example").contains("--plain-http"));
    }
}
