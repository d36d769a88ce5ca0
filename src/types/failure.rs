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
    /// What is to be done, where that depends on who asked. The message says it in the words of the resource.
    pub remedy: Option<Remedy>,
}

/// What would help, where it is said to somebody who wrote a resource in other words than to somebody at a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// There are no credentials.
    GiveCredentials,
    /// The credentials are not accepted.
    CheckCredentials,
}

impl Remedy {
    /// For whoever wrote the resource.
    #[must_use]
    pub const fn in_a_resource(self) -> &'static str {
        match self {
            Self::GiveCredentials => "name a Secret with credentials in spec.registry.pullSecrets",
            Self::CheckCredentials => {
                "check user name, password and expiry of the credentials in spec.registry.pullSecrets"
            }
        }
    }
}

impl Failure {
    /// A failure without a time of its own.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None, remedy: None }
    }

    /// The same, naming where it happened, unless it does already.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        if !self.message.contains(place) {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// The same with what would help.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Remedy) -> Self {
        self.message.push_str("; ");
        self.message.push_str(remedy.in_a_resource());
        self.remedy = Some(remedy);
        self
    }

    /// The message with other words for what would help.
    #[must_use]
    pub fn message_with(&self, words: impl FnOnce(Remedy) -> String) -> String {
        match self.remedy {
            Some(remedy) => self.message.replace(remedy.in_a_resource(), &words(remedy)),
            None => self.message.clone(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_told_in_the_words_of_who_speaks() {
        let failure = Failure::new(Reason::AuthenticationFailed, "401")
            .with_remedy(Remedy::GiveCredentials)
            .at("r.example/web")
            .with_notes(&["a note".to_owned()]);
        assert_eq!(
            failure.message,
            "r.example/web: 401; name a Secret with credentials in spec.registry.pullSecrets; note: a note"
        );
        let told = failure.message_with(|remedy| {
            assert_eq!(remedy, Remedy::GiveCredentials);
            "log in with docker login".to_owned()
        });
        assert_eq!(told, "r.example/web: 401; log in with docker login; note: a note");
        assert_eq!(Failure::new(Reason::Forbidden, "403").message_with(|_| String::new()), "403");
    }
}
