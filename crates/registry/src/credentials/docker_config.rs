//! Docker config documents, as the kubelet reads them (kubernetes v1.36 `pkg/credentialprovider/config.go`). Unlike
//! there, a broken entry does not make the other entries of its document unusable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::credentials::credential::{Credential, KeyringError};
use crate::credentials::go_json::{self, Member, is_named};

/// Most entries of one document. A Secret of 1 MiB could hold more than a hundred thousand, and each takes twenty times
/// its bytes in memory. Nobody has that many registries.
const MAX_ENTRIES: usize = 10_000;

/// Docker writes padding, some tools do not. Go accepts trailing bits and line breaks.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The value under the name of a registry: a credential, nothing, or its fault.
pub(crate) type Read = Result<Option<Credential>, &'static str>;

/// A `.dockerconfigjson` document.
pub(crate) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Read>, KeyringError> {
    parse::<Document>(bytes).map(|document| document.0.0)
}

/// A legacy `.dockercfg` document: the entries without the `auths` around them.
pub(crate) fn read_legacy(bytes: &[u8]) -> Result<BTreeMap<String, Read>, KeyringError> {
    parse::<Entries>(bytes).map(|entries| entries.0)
}

fn parse<T: de::DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, KeyringError> {
    // The kubelet skips a Secret with an empty value under its key.
    if bytes.is_empty() {
        return Ok(T::default());
    }
    // Line and column only: serde's own message may quote the wrong value, which can be a password.
    serde_json::from_str(&go_json::text(bytes)).map_err(|error| {
        KeyringError::Json(format!(
            "{:?} error at line {} column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })
}

#[derive(Default)]
struct Document(Entries);

#[derive(Default)]
struct Entries(BTreeMap<String, Read>);

struct Entry(Read);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;

        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Docker config")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Document, E> {
                Ok(Document::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Document, A::Error> {
                let mut entries = Entries::default();
                while let Some(key) = members.next_key::<Cow<'_, str>>()? {
                    if !is_named(&key, "auths") {
                        members.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    match members.next_value::<Option<Entries>>()? {
                        // Like Go, which adds members to a map that exists, and removes the map for `null`.
                        Some(more) => entries.0.extend(more.0),
                        None => entries.0.clear(),
                    }
                }
                Ok(Document(entries))
            }
        }

        deserializer.deserialize_any(DocumentVisitor)
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("entries by registry")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Entries, E> {
                Ok(Entries::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Entries, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((registry, Entry(entry))) = members.next_entry::<String, Entry>()? {
                    entries.insert(registry, entry);
                    if entries.len() > MAX_ENTRIES {
                        return Err(de::Error::custom("too many entries"));
                    }
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_any(EntriesVisitor)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

const NO_ENTRY: &str = "it is no object with credentials";

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credentials")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Entry, E> {
        Ok(Entry(Ok(None)))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Entry, E> {
        Ok(Entry(Err(NO_ENTRY)))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Entry, E> {
        Ok(Entry(Err(NO_ENTRY)))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Entry, E> {
        Ok(Entry(Err(NO_ENTRY)))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Entry, E> {
        Ok(Entry(Err(NO_ENTRY)))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Entry, E> {
        Ok(Entry(Err(NO_ENTRY)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Entry, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entry(Err(NO_ENTRY)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Entry, A::Error> {
        let mut found = Found::default();
        let mut flaw = None;
        while let Some(key) = members.next_key::<Cow<'_, str>>()? {
            let (place, wrong) = if is_named(&key, "username") {
                (&mut found.username, "its 'username' is no text")
            } else if is_named(&key, "password") {
                (&mut found.password, "its 'password' is no text")
            } else if is_named(&key, "auth") {
                (&mut found.auth, "its 'auth' is no text")
            } else if is_named(&key, "identitytoken") {
                (&mut found.identity_token, "its 'identitytoken' is no text")
            } else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            match members.next_value::<Member>()? {
                Member::Null => {}
                Member::Text(text) => *place = text,
                Member::Number(_) | Member::Other => flaw = Some(wrong),
            }
        }
        Ok(Entry(flaw.map_or_else(|| found.credential(), Err)))
    }
}

#[derive(Default)]
struct Found {
    username: SecretString,
    password: SecretString,
    auth: SecretString,
    identity_token: SecretString,
}

impl Found {
    /// `auth` wins over user name and password when it is not empty.
    fn credential(self) -> Read {
        let Self { username, mut password, auth, identity_token } = self;
        let mut username = username.expose_secret().to_owned();
        if !auth.expose_secret().is_empty() {
            let decoded = decode(auth.expose_secret()).ok_or("its 'auth' is not base64")?;
            let decoded =
                std::str::from_utf8(&decoded).map_err(|_| "its 'auth' is base64 of what is no UTF-8")?;
            let (user, pass) = decoded.split_once(':').ok_or("its 'auth' is not base64 of user:password")?;
            // Docker itself pads passwords with NUL, and removes the padding again.
            (username, password) = (user.to_owned(), pass.trim_end_matches('\0').into());
        }
        let has_token = !identity_token.expose_secret().is_empty();
        if username.is_empty() && password.expose_secret().is_empty() && !has_token {
            return Ok(None);
        }
        let identity_token = has_token.then_some(identity_token);
        Ok(Some(Credential { username, password, identity_token }))
    }
}

/// Base64 with or without padding, and with white space wherever a tool has broken the line.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bare: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let end = bare.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    BASE64.decode(&bare[..end]).ok().map(Zeroizing::new)
}
