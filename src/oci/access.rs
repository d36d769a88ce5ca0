//! With what rights, and over which scheme, a repository is reached.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::types::ImageRef;

use super::keyring::{Credential, Keyring};

/// What one resource may use to reach registries: its own credentials and nobody else's.
#[derive(Clone, Debug, Default)]
pub struct Access {
    keyring: Arc<Keyring>,
    plain_http: bool,
}

impl Access {
    /// Access with these credentials.
    #[must_use]
    pub fn new(keyring: Keyring, plain_http: bool) -> Self {
        Self { keyring: Arc::new(keyring), plain_http }
    }

    /// The repository of an image, as it is reached with this access.
    #[must_use]
    pub fn repository(&self, image: &ImageRef) -> Repository {
        let credentials = self.keyring.lookup(&image.name());
        Repository {
            plain_http: self.plain_http,
            host: image.registry().to_owned(),
            name: image.repository().to_owned(),
            identity: Identity::of(&credentials),
            credentials,
        }
    }
}

/// Tells sets of credentials apart without holding them. Everything that is remembered about a repository is
/// remembered per identity, so that nobody profits from an answer that others earned.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    fn of(credentials: &[Credential]) -> Self {
        let mut hasher = Sha256::new();
        for part in credentials.iter().flat_map(Credential::parts) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

/// A repository of a registry, and the rights to it.
#[derive(Clone)]
pub struct Repository {
    pub(super) plain_http: bool,
    pub(super) host: String,
    pub(super) name: String,
    pub(super) identity: Identity,
    pub(super) credentials: Vec<Credential>,
}

/// What remembered things are filed under: repository and identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct RepositoryKey {
    plain_http: bool,
    host: String,
    name: String,
    identity: Identity,
}

impl Repository {
    pub(super) fn key(&self) -> RepositoryKey {
        RepositoryKey {
            plain_http: self.plain_http,
            host: self.host.clone(),
            name: self.name.clone(),
            identity: self.identity.clone(),
        }
    }

    pub(super) const fn scheme(&self) -> &'static str {
        if self.plain_http { "http" } else { "https" }
    }
}

/// Registry and repository, for messages.
impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}
