//! Registry credentials from Docker config documents, matched exactly as the kubelet does it (kubernetes v1.36
//! `pkg/credentialprovider`). A table that the kubelet's own package wrote proves it (`tests/registry`).

use std::collections::BTreeMap;

use crate::credentials::credential::{Credential, KeyringError};
use crate::credentials::docker_config;
use crate::credentials::pattern;

/// Credentials under the registry patterns they are for.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    entries: BTreeMap<String, Vec<Slot>>,
}

/// The value under a pattern.
#[derive(Clone, Debug)]
enum Slot {
    Credential(Credential),
    /// An entry without credentials. The kubelet still counts it as a match.
    Empty,
    /// A credential exists and cannot be read. This is not the same as no credential.
    Broken(String),
}

/// Entry that serves Docker Hub when nothing else matches.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// Broken entries of one document that are named.
const NAMED: usize = 3;

/// Characters of an entry's name in messages.
const MAX_NAME: usize = 160;

impl Keyring {
    /// Adds a `.dockerconfigjson` document.
    ///
    /// # Errors
    /// [`KeyringError`], which names the entries that are broken; those that are not are added.
    pub fn add_docker_config_json(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        self.add(docker_config::read(bytes)?)
    }

    /// Adds a legacy `.dockercfg` document: the entries without the `auths` around them.
    ///
    /// # Errors
    /// As above.
    pub fn add_docker_cfg(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        self.add(docker_config::read_legacy(bytes)?)
    }

    /// Adds one credential for a registry.
    pub fn insert(&mut self, registry: &str, credential: Credential) {
        self.put(registry, Slot::Credential(credential));
    }

    /// Adds the entries of another keyring. The message about a broken entry names `source`.
    pub fn extend(&mut self, other: Self, source: &str) {
        for (pattern, slots) in other.entries {
            let named = slots.into_iter().map(|slot| match slot {
                Slot::Broken(why) => Slot::Broken(format!("{source}: {why}")),
                slot => slot,
            });
            self.entries.entry(pattern).or_default().extend(named);
        }
    }

    fn put(&mut self, registry: &str, slot: Slot) {
        if let Some(pattern) = pattern::key(registry) {
            self.entries.entry(pattern).or_default().push(slot);
        }
    }

    fn add(&mut self, entries: BTreeMap<String, docker_config::Read>) -> Result<(), KeyringError> {
        let mut broken = Vec::new();
        for (registry, entry) in entries {
            let slot = match entry {
                Ok(Some(credential)) => Slot::Credential(credential),
                Ok(None) => Slot::Empty,
                Err(why) => {
                    let name: String = registry.escape_debug().take(MAX_NAME).collect();
                    let why = format!("entry '{name}': {why}");
                    broken.push(why.clone());
                    Slot::Broken(why)
                }
            };
            self.put(&registry, slot);
        }
        broken.truncate(NAMED);
        if broken.is_empty() { Ok(()) } else { Err(KeyringError::Entries(broken)) }
    }

    /// Every credential that is for `name` (registry/repository), the most specific pattern first.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Vec<Credential> {
        let credential = |slot: &Slot| match slot {
            Slot::Credential(credential) => Some(credential.clone()),
            Slot::Empty | Slot::Broken(_) => None,
        };
        self.matching(name).into_iter().filter_map(credential).collect()
    }

    /// The faults of the entries that are for `name` and cannot be used.
    #[must_use]
    pub fn broken(&self, name: &str) -> Vec<String> {
        let why = |slot: &Slot| match slot {
            Slot::Broken(why) => Some(why.clone()),
            Slot::Empty | Slot::Credential(_) => None,
        };
        self.matching(name).into_iter().filter_map(why).take(NAMED).collect()
    }

    fn matching(&self, name: &str) -> Vec<&Slot> {
        let matching: Vec<&Slot> = self
            .entries
            .iter()
            .rev()
            .filter(|(pattern, _)| pattern::matches(pattern, name))
            .flat_map(|(_, slots)| slots)
            .collect();
        if matching.is_empty() && is_docker_hub(name) {
            return self.entries.get(DEFAULT_REGISTRY).into_iter().flatten().collect();
        }
        matching
    }
}

/// The kubelet also takes `localhost/web` for an image of Docker Hub, because the name has no dot. But `localhost` is a
/// host, and Docker Hub's password must not go to a server there.
fn is_docker_hub(name: &str) -> bool {
    match name.split_once('/') {
        None => !name.is_empty(),
        Some((first, _)) => {
            matches!(first, "docker.io" | "index.docker.io")
                || (!first.is_empty() && first != "localhost" && !first.contains(['.', ':']))
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

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
