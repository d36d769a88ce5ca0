//! Registry credentials from Docker config documents, matched exactly as the kubelet does it
//! (kubernetes v1.36 `pkg/credentialprovider/keyring.go`, `config.go`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use glob::Pattern;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
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
    /// What must be shown nowhere: password, identity token, and the pair as it is sent.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Zeroizing<String>> {
        let [username, password, token] = self.parts();
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let encoded = STANDARD.encode(pair.as_bytes());
        [password.to_owned(), token.to_owned(), encoded].into_iter().map(Zeroizing::new)
    }

    /// Parts that tell one credential from another.
    pub(super) fn parts(&self) -> [&str; 3] {
        [
            &self.username,
            self.password.expose_secret(),
            self.identity_token.as_ref().map_or("", |token| token.expose_secret()),
        ]
    }
}

/// Why a Docker config document cannot be used. Never repeats any of its values.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Not JSON of the expected form.
    #[error("it is not a Docker config: {0}")]
    Json(String),
    /// The `auth` member of an entry.
    #[error("the 'auth' of entry '{0}' is not base64 of user:password")]
    Auth(String),
}

/// Credentials under the registry patterns they are for.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    entries: BTreeMap<String, Vec<Credential>>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: SecretString,
    #[serde(default)]
    auth: SecretString,
    #[serde(default, rename = "identitytoken")]
    identity_token: SecretString,
}

/// Entry that serves Docker Hub when nothing else matches.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// Docker writes padding, some tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Keyring {
    /// Adds a `.dockerconfigjson` document.
    ///
    /// # Errors
    /// [`KeyringError`], which names the entry.
    pub fn add_docker_config_json(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        let document: Document = parse(bytes)?;
        self.add(document.auths)
    }

    /// Adds a legacy `.dockercfg` document: the entries without the `auths` around them.
    ///
    /// # Errors
    /// [`KeyringError`], which names the entry.
    pub fn add_docker_cfg(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        let entries = parse(bytes)?;
        self.add(entries)
    }

    /// Adds one credential for a registry.
    pub fn insert(&mut self, registry: &str, credential: Credential) {
        self.entries.entry(key(registry)).or_default().push(credential);
    }

    fn add(&mut self, entries: BTreeMap<String, Entry>) -> Result<(), KeyringError> {
        for (registry, entry) in entries {
            if let Some(credential) = entry.credential(&registry)? {
                self.insert(&registry, credential);
            }
        }
        Ok(())
    }

    /// Every credential that is for `name` (registry/repository), the most specific pattern first.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Vec<Credential> {
        let matching: Vec<Credential> = self
            .entries
            .iter()
            .rev()
            .filter(|(pattern, _)| matches(pattern, name))
            .flat_map(|(_, credentials)| credentials.iter().cloned())
            .collect();
        if matching.is_empty() && is_docker_hub(name) {
            return self.entries.get(DEFAULT_REGISTRY).cloned().unwrap_or_default();
        }
        matching
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, KeyringError> {
    // Line and column only: serde's own message may quote the value that it stumbled over.
    serde_json::from_slice(bytes).map_err(|error| {
        KeyringError::Json(format!(
            "{:?} error at line {} column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })
}

impl Entry {
    /// `auth` wins over user name and password when it is not empty.
    fn credential(self, registry: &str) -> Result<Option<Credential>, KeyringError> {
        let Self { mut username, mut password, auth, identity_token } = self;
        if !auth.expose_secret().is_empty() {
            let refuse = || KeyringError::Auth(registry.to_owned());
            let decoded = Zeroizing::new(BASE64.decode(auth.expose_secret().trim()).map_err(|_| refuse())?);
            let decoded = std::str::from_utf8(&decoded).map_err(|_| refuse())?;
            let (user, pass) = decoded.split_once(':').ok_or_else(refuse)?;
            (username, password) = (user.to_owned(), pass.trim_end_matches('\0').into());
        }
        let has_token = !identity_token.expose_secret().is_empty();
        if username.is_empty() && password.expose_secret().is_empty() && !has_token {
            return Ok(None);
        }
        Ok(Some(Credential { username, password, identity_token: has_token.then_some(identity_token) }))
    }
}

/// The pattern that an entry's name stands for: without scheme, and without the `/v1/` or `/v2/` of old configs.
fn key(registry: &str) -> String {
    let bare =
        registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://")).unwrap_or(registry);
    let (host, path) = bare.find('/').map_or((bare, ""), |slash| bare.split_at(slash));
    let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { &path[3..] } else { path };
    if path == "/" { host.to_owned() } else { format!("{host}{path}") }
}

/// Ports equal, as many labels in the host, each a glob, and the path a prefix.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let split = |text: &'_ str| -> (Vec<String>, Option<String>, String) {
        let (authority, path) = text.find('/').map_or((text, ""), |slash| text.split_at(slash));
        // The last colon may be one of an IPv6 address.
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let (host, port) = port.map_or((authority, None), |(host, port)| (host, Some(port)));
        (host.split('.').map(str::to_owned).collect(), port.map(str::to_owned), path.to_owned())
    };
    let (globs, glob_port, glob_path) = split(pattern);
    let (labels, port, path) = split(name);
    glob_port == port
        && globs.len() == labels.len()
        && path.starts_with(&glob_path)
        && globs
            .iter()
            .zip(&labels)
            // An IPv6 address in brackets would be a set of characters.
            .all(|(glob, label)| glob == label || Pattern::new(glob).is_ok_and(|glob| glob.matches(label)))
}

fn is_docker_hub(name: &str) -> bool {
    match name.split_once('/') {
        None => !name.is_empty(),
        Some((first, _)) => {
            matches!(first, "docker.io" | "index.docker.io")
                || (!first.is_empty() && !first.contains(['.', ':']))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(entries: &[&str]) -> Keyring {
        let mut keyring = Keyring::default();
        for entry in entries {
            keyring.insert(
                entry,
                Credential {
                    username: (*entry).to_owned(),
                    password: "p".to_owned().into(),
                    identity_token: None,
                },
            );
        }
        keyring
    }

    fn users(entries: &[&str], name: &str) -> Vec<String> {
        keyring(entries).lookup(name).into_iter().map(|credential| credential.username).collect()
    }

    /// Checklist A19: the kubelet's matching rules.
    #[rstest::rstest]
    #[case::host("r.example", "r.example/web", true)]
    #[case::scheme("https://r.example", "r.example/web", true)]
    #[case::v1("https://r.example/v1/", "r.example/web", true)]
    #[case::v2_without_slash("https://r.example/v2", "r.example/web", false)]
    #[case::v2_path("r.example/v2/team", "r.example/team/web", true)]
    #[case::other_host("r.example", "s.example/web", false)]
    #[case::port("r.example:5000", "r.example:5000/web", true)]
    #[case::missing_port("r.example", "r.example:5000/web", false)]
    #[case::explicit_443("r.example:443", "r.example/web", false)]
    #[case::glob("*.example.io", "a.example.io/web", true)]
    #[case::glob_is_one_label("*.example.io", "a.b.example.io/web", false)]
    #[case::glob_inside_label("reg*.example.io", "reg-1.example.io/web", true)]
    #[case::no_glob_in_port("r.example:*", "r.example:5000/web", false)]
    #[case::path("r.example/team", "r.example/team/web", true)]
    #[case::path_is_a_string_prefix("r.example/team", "r.example/team2/web", true)]
    #[case::other_path("r.example/team", "r.example/other/web", false)]
    #[case::ipv6("[fd00::1]", "[fd00::1]/web", true)]
    #[case::ipv6_port("https://[fd00::1]:5000", "[fd00::1]:5000/web", true)]
    #[case::ipv6_missing_port("[fd00::1]", "[fd00::1]:5000/web", false)]
    #[case::ipv6_other("[fd00::1]:5000", "[fd00::2]:5000/web", false)]
    #[case::hub_legacy("https://index.docker.io/v1/", "docker.io/library/nginx", true)]
    #[case::hub_literal("docker.io", "docker.io/library/nginx", true)]
    #[case::hub_entry_not_for_others("https://index.docker.io/v1/", "r.example/web", false)]
    fn matches_as_the_kubelet_does(#[case] entry: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(!users(&[entry], name).is_empty(), expected);
    }

    #[test]
    fn the_most_specific_match_comes_first_and_all_are_tried() {
        assert_eq!(
            users(&["r.example", "r.example/team/web", "r.example/team"], "r.example/team/web"),
            ["r.example/team/web", "r.example/team", "r.example"]
        );
    }

    #[test]
    fn auth_wins_over_user_name_and_may_lack_padding() {
        let mut keyring = Keyring::default();
        keyring
            .add_docker_config_json(br#"{"auths": {"r.example": {"username": "x", "password": "y", "auth": "dXNlcjpwYXNzOndvcmQ"}}}"#)
            .unwrap();
        let credential = keyring.lookup("r.example/web").remove(0);
        assert_eq!(
            (credential.username.as_str(), credential.password.expose_secret()),
            ("user", "pass:word")
        );
        keyring.add_docker_cfg(br#"{"s.example": {"username": "x", "password": "y"}}"#).unwrap();
        assert_eq!(keyring.lookup("s.example/web").len(), 1);
    }

    #[test]
    fn errors_and_debug_never_show_a_value() {
        let mut keyring = Keyring::default();
        for document in
            [r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#, r#"{"auths": "secret"}"#, "secret"]
        {
            let error = keyring.add_docker_config_json(document.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains("c2VjcmV0"), "{error}");
        }
        keyring.add_docker_config_json(br#"{"auths": {"r.example": {"username": "u", "password": "hunter2", "identitytoken": "hunter3"}}}"#).unwrap();
        let shown = format!("{keyring:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
