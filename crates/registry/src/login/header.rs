//! `Authorization`, as it is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::credentials::credential::Credential;

/// A header that no `Debug` shows; `None` if the text is not valid in a header.
pub(crate) fn sensitive(authorization: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(authorization.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// User name and password.
pub(crate) fn basic(credential: &Credential) -> SecretString {
    let pair = Zeroizing::new(format!("{}:{}", credential.username, credential.password.expose_secret()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    format!("Basic {}", *encoded).into()
}
