//! The rights and the scheme with which a repository is reached.

use std::sync::Arc;

use oci::RepositoryRef;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use crate::credentials::credential::Credential;
use crate::credentials::keyring::Keyring;
use crate::credentials::tls::Tls;
use crate::error::{Error, Kind};

/// The credentials and certificates of one caller. They are never used for another caller.
#[derive(Clone, Debug, Default)]
pub struct Access {
    keyring: Arc<Keyring>,
    plain_http: bool,
    tls: Option<Arc<Tls>>,
    notes: Arc<[String]>,
}

impl Access {
    /// Access with these credentials, over HTTPS.
    #[must_use]
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring: Arc::new(keyring), plain_http: false, tls: None, notes: Arc::default() }
    }

    /// Speaks plain HTTP if `plain_http` is set.
    #[must_use]
    pub fn with_plain_http(self, plain_http: bool) -> Self {
        Self { plain_http, ..self }
    }

    /// Trusts these authorities and shows this client certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls: tls.map(Arc::new), ..self }
    }

    /// Adds sources of credentials that cannot be used, each with its reason.
    #[must_use]
    pub fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes: notes.into(), ..self }
    }

    /// Sources of credentials that cannot be used. The registries they are for are unknown.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A repository as it is reached with this access, and with credentials that come from elsewhere (`more`).
    ///
    /// # Errors
    /// [`Kind::Credentials`] if credentials exist for it and none of them can be read. Unreadable credentials must not
    /// count as missing credentials.
    pub(crate) fn repository(
        &self,
        repository: &RepositoryRef,
        more: Vec<Credential>,
    ) -> Result<Repository, Error> {
        let name = repository.to_string();
        let mut credentials = self.keyring.lookup(&name);
        credentials.extend(more);
        let broken = self.keyring.broken(&name);
        if credentials.is_empty() && !broken.is_empty() {
            let why = broken.join("; ");
            return Err(Error::new(
                Kind::Credentials,
                format!("{name}: the credentials for it cannot be used: {why}"),
            ));
        }
        Ok(Repository {
            plain_http: self.plain_http,
            host: repository.host().to_owned(),
            path: repository.path().to_owned(),
            identity: Identity::of(&credentials, self.tls.as_deref()),
            credentials,
            tls: self.tls.clone(),
            broken,
        })
    }
}

/// Distinguishes sets of credentials without holding them. Everything that is remembered about a repository is
/// remembered per identity, so that nobody profits from an answer to credentials of others.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity([u8; 32]);

impl Identity {
    fn of(credentials: &[Credential], tls: Option<&Tls>) -> Self {
        let mut hasher = Sha256::new();
        if let Some(tls) = tls {
            hasher.update(tls.key().bytes());
        }
        for part in credentials.iter().flat_map(Credential::parts) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

/// A repository of a registry, and the rights to it.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) plain_http: bool,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) identity: Identity,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) tls: Option<Arc<Tls>>,
    /// Credentials for it that cannot be read.
    broken: Vec<String>,
}

/// The key of remembered facts: repository and identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RepositoryKey {
    plain_http: bool,
    host: String,
    path: String,
    identity: Identity,
}

impl Repository {
    pub(crate) fn key(&self) -> RepositoryKey {
        RepositoryKey {
            plain_http: self.plain_http,
            host: self.host.clone(),
            path: self.path.clone(),
            identity: self.identity.clone(),
        }
    }

    /// Whether a URL is the registry's own: scheme, host and port.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        let own = format!("{}://{}/", self.scheme(), self.host).parse::<Url>();
        own.is_ok_and(|own| own.origin() == url.origin())
    }

    /// An error of the login, with a note about the credentials that could not be tried.
    pub(crate) fn explain(&self, error: Error) -> Error {
        error.with_notes(&self.broken)
    }

    /// Whether a text of the registry repeats a credential that was sent to it.
    pub(crate) fn gives_away(&self, text: &str) -> bool {
        // Shorter ones would be found in any text, and are no secrets.
        const SHORTEST: usize = 4;
        text.contains("Bearer ")
            || text.contains("Basic ")
            || self.credentials.iter().any(|credential| {
                credential.secrets().any(|secret| secret.len() >= SHORTEST && text.contains(&*secret))
            })
    }

    pub(crate) const fn scheme(&self) -> &'static str {
        if self.plain_http { "http" } else { "https" }
    }
}

/// Registry and repository, for messages.
impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}
