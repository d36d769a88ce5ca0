//! The one form of every failure that a user sees.

use std::time::Duration;

use api::Reason;
use oci::text;

use crate::Advice;

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
    /// What to do about it, where that depends on who reads it. The message ends with it as it is said about a resource.
    pub advice: Option<Advice>,
}

impl Failure {
    /// A failure without a time of its own. Its message is one line of printable text, whatever was put into it.
    #[must_use]
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        Self { reason, message: text::message(message.as_ref()), retry_after: None, advice: None }
    }

    /// The same, naming where it happened, unless it does already.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        if !self.message.contains(place) {
            self.message = text::message(&format!("{place}: {}", self.message));
        }
        self
    }

    /// The same with another half of a sentence.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(&text::message(more));
        self
    }

    /// The same with advice, which takes the place of any that it has.
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

    /// The message for somebody who asks at the command line: flags take the place of fields. `host` is the registry's.
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

    /// Where text of others comes into a message nobody has to think of it: one line, printable, and not for ever.
    #[test]
    fn a_message_is_one_line_whatever_is_put_into_it() {
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
        let said = failure.at_the_command_line("r.example");
        assert!(said.contains("'docker login r.example'") && !said.contains("spec."), "{said}");
        assert!(said.starts_with("namespace 'shop'") && said.ends_with("note: seen"), "{said}");
        let other = failure.advised(Advice::SpeakHttp);
        assert!(
            other.message.contains("plainHttp") && !other.message.contains("pullSecrets"),
            "{}",
            other.message
        );
        assert!(other.at_the_command_line("r.example").contains("--plain-http"));
    }
}
