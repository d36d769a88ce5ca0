//! The one error of this client: a closed kind, the facts that belong to it, and a message that says what happened.
//!
//! The message gives no advice: advice depends on the reader, and the kind has all facts that it follows from.

use std::fmt;
use std::time::Duration;

use oci::{Digest, RepositoryRef, text};

/// Why an answer is unknown. An error never means that nothing exists: "nothing" is an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Facts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    kind: Kind,
    message: String,
    notes: Vec<String>,
    repository: Option<RepositoryRef>,
    digest: Option<Digest>,
    status: Option<u16>,
    retry_after: Option<Duration>,
}

/// What kind of trouble it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of the registry is not the name of a host.
    Host,
    /// The settings permit other registries only: these.
    NotPermitted(Box<[String]>),
    /// The settings do not permit the address.
    Address {
        /// Whether the address came from a name, which may lead to another address tomorrow.
        by_name: bool,
        /// Whether it is a link-local address, or one of a metadata service.
        link_local: bool,
    },
    /// Credentials or certificates were given and cannot be used.
    Credentials,
    /// The registry or its token endpoint wants a login (401).
    Unauthorized(Login),
    /// The registry knows the caller and says no (403).
    Forbidden(Login),
    /// The registry names a token endpoint to which no credentials are sent.
    TokenEndpoint,
    /// Somebody asks to slow down (429).
    RateLimited(Party),
    /// No usable answer.
    Unavailable(Cause),
    /// The registry says that the image does not exist.
    ImageNotFound,
    /// The bytes that were sent do not have the requested digest.
    DigestMismatch,
    /// The content contradicts itself or its specification.
    Invalid(Defect),
    /// More than is read.
    TooLarge(Bound),
    /// The artifact has a form that holds no files.
    Unsupported(Form),
    /// A wanted file has a name that no file may have.
    FileName,
    /// A wanted file lies outside of the directory that it came in.
    Misplaced,
    /// The caller's filter could not tell whether it wants a file. The message is the filter's.
    Filter,
    /// A bug of this client.
    Internal,
}

/// Which credentials the refusing server had seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// No credentials were given for the repository.
    Missing,
    /// Credentials were given, and they do not fit its challenges, so they were not sent.
    Unsent,
    /// Credentials were given, and it sent no challenge, so they were not sent.
    Unasked,
    /// The credentials were sent.
    Refused,
    /// The credentials were sent, and the registry has just accepted them for other requests.
    Admitted,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The registry itself.
    Registry,
    /// The token endpoint that it names.
    TokenEndpoint,
    /// Another host that it redirects to.
    Elsewhere,
}

/// Why no usable answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It answered with a status that decides nothing.
    Status(Party),
    /// Another host refuses the URL that the registry gave, which is most likely a signed one.
    SignedUrl,
    /// The client used HTTPS, and the registry speaks HTTP.
    SpeaksHttp,
    /// The client used HTTP, and the registry speaks HTTPS.
    SpeaksHttps,
    /// Its certificate is not accepted.
    Certificate,
    /// Nobody listens there, or the host does not exist.
    NoConnection,
    /// Anything else: silence, an answer that breaks off or cannot be read.
    Other,
}

/// The fault of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A manifest breaks a rule of its specification.
    Manifest,
    /// A part of an artifact is gone from the registry.
    Lost,
    /// A wanted entry of a directory is a link or a special file.
    SpecialFile,
    /// Anything else.
    Other,
}

/// The bound that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Annotations of a manifest.
    Annotations,
    /// Bytes of a manifest.
    Manifest,
    /// Artifacts of one image.
    Listing,
    /// Bytes of packed directories when they are inflated.
    Inflated,
    /// Entries of packed directories.
    Entries,
    /// The caller's budget. The message is the caller's.
    Budget,
    /// Bytes of anything else.
    Bytes,
}

/// Why the form of an artifact holds no files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A manifest has more entries than any config.
    Manifest,
    /// No layer has a file name.
    Untitled,
    /// Anything else.
    Other,
}

impl Kind {
    /// One word for the kind, for lists and labels. Several kinds share a word, so decisions must use the kind itself.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Host => "InvalidHost",
            Self::NotPermitted(_) | Self::Address { by_name: false, .. } => "RegistryNotAllowed",
            Self::Credentials => "InvalidCredentials",
            Self::Unauthorized(_) | Self::TokenEndpoint => "AuthenticationFailed",
            Self::Forbidden(_) => "Forbidden",
            Self::RateLimited(_) => "RateLimited",
            Self::Address { by_name: true, .. } | Self::Unavailable(_) => "RegistryUnavailable",
            Self::ImageNotFound => "ImageNotFound",
            Self::DigestMismatch => "DigestMismatch",
            Self::Invalid(_) => "InvalidContent",
            Self::TooLarge(_) => "TooLarge",
            Self::Unsupported(_) => "UnsupportedArtifact",
            Self::FileName | Self::Misplaced | Self::Filter => "InvalidFiles",
            Self::Internal => "InternalError",
        }
    }

    /// Whether the error is a refused login.
    #[must_use]
    pub const fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized(_) | Self::TokenEndpoint)
    }

    /// Whether no usable answer came, so that the next request may have a different result.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Address { by_name: true, .. })
    }
}

impl Error {
    /// Makes an error. Its message is one line of printable text, for any input. It must hold nothing that changes by
    /// itself.
    #[must_use]
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        Self(Box::new(Facts {
            kind,
            message: text::message(message.as_ref()),
            notes: Vec::new(),
            repository: None,
            digest: None,
            status: None,
            retry_after: None,
        }))
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Remarks that may explain it.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// The repository that was asked, if any.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryRef> {
        self.0.repository.as_ref()
    }

    /// The host of the registry that was asked.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.repository().map(RepositoryRef::host)
    }

    /// The digest that was asked for; `None` for a tag.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.0.digest.as_ref()
    }

    /// The status of the answer, if the error follows from it.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The time to wait before the next request, if a server stated one (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The same with a place at the beginning of its message, unless the message names it already.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        if !self.0.message.contains(place) {
            self.0.message = text::message(&format!("{place}: {}", self.0.message));
        }
        self
    }

    /// The same with remarks that may explain it.
    #[must_use]
    pub fn with_notes(mut self, notes: &[String]) -> Self {
        self.0.notes.extend(notes.iter().map(|note| text::message(note)));
        self
    }

    /// The same with another clause at the end of its message.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.0.message.push_str("; ");
        self.0.message.push_str(&text::message(more));
        self
    }

    /// The same as another kind.
    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same with the status that it follows from.
    pub(crate) fn answered(mut self, status: u16, retry_after: Option<Duration>) -> Self {
        (self.0.status, self.0.retry_after) = (Some(status), retry_after);
        self
    }

    /// The same with the repository and digest that were asked for, unless they are known already.
    pub(crate) fn asked(mut self, repository: &RepositoryRef, digest: Option<&Digest>) -> Self {
        self.0.repository.get_or_insert_with(|| repository.clone());
        self.0.digest = self.0.digest.take().or_else(|| digest.cloned());
        self
    }
}

/// The message and its notes.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        self.notes().iter().try_for_each(|note| write!(f, "; note: {note}"))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_for_any_input() {
        let foreign = "a\u{1b}[31m\nReady=True\u{202e}";
        let escaped = "a\\u001b[31m\\nReady=True\\u202e";
        let error = Error::new(Kind::DigestMismatch, foreign);
        assert_eq!(error.message(), escaped);
        let error = error.at(foreign).with_notes(&[foreign.to_owned()]);
        assert_eq!(error.to_string(), format!("{escaped}: {escaped}; note: {escaped}"));
        assert!(Error::new(Kind::DigestMismatch, "x".repeat(1 << 20)).message().len() <= text::MAX_MESSAGE);
    }

    #[test]
    fn what_was_asked_first_is_what_it_is_about() {
        let [first, second] =
            ["r.example/web", "r.example/mirror"].map(|name| name.parse::<RepositoryRef>().unwrap());
        let digest = Digest::sha256(b"config");
        let error = Error::new(Kind::Internal, "x").asked(&first, None).asked(&second, Some(&digest));
        assert_eq!((error.repository(), error.digest()), (Some(&first), Some(&digest)));
        assert_eq!(error.host(), Some("r.example"));
        let error = error.answered(503, Some(Duration::from_secs(2)));
        assert_eq!((error.status(), error.retry_after()), (Some(503), Some(Duration::from_secs(2))));
    }
}
