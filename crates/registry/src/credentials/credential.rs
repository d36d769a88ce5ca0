//! A credential, and why a document with credentials cannot be used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// A user name and password, or an identity token to trade for access tokens. Shows neither in `Debug`.
#[derive(Clone, Debug)]
pub struct Credential {
    /// User name; may be empty with an identity token.
    pub username: String,
    /// Password.
    pub password: SecretString,
    /// `OAuth2` refresh token, an extension over the kubelet that Azure Container Registry needs.
    pub identity_token: Option<SecretString>,
}

impl Credential {
    /// The texts that no message may show: password, identity token, and the encoded pair as it is sent.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Zeroizing<String>> {
        let [username, password, token] = self.parts();
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let encoded = STANDARD.encode(pair.as_bytes());
        [password.to_owned(), token.to_owned(), encoded].into_iter().map(Zeroizing::new)
    }

    /// The parts by which credentials are compared.
    pub(crate) fn parts(&self) -> [&str; 3] {
        [
            &self.username,
            self.password.expose_secret(),
            self.identity_token.as_ref().map_or("", |token| token.expose_secret()),
        ]
    }
}

/// Why a Docker config document cannot be used, or not all of it. Never repeats any of its values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Not JSON of the expected form: nothing of it is used.
    #[error("it is not a Docker config: {0}")]
    Json(String),
    /// Some entries are broken; the others are used.
    #[error("{}", .0.join("; "))]
    Entries(Vec<String>),
}
