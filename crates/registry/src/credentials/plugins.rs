//! Credentials from the kubelet's credential provider plugins, which exist for ECR, Artifact Registry and ACR: the same
//! programs and the same configuration file that nodes use, in place of three clouds' SDKs
//! (kubernetes v1.36 `pkg/credentialprovider/plugin`, KEP-2133).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use moka::sync::Cache;
use oci::RepositoryRef;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::credentials::credential::Credential;
use crate::credentials::go_duration;
use crate::credentials::keyring::Keyring;
use crate::credentials::pattern;
use crate::observe::LOG;

/// The only version of the protocol that is no longer alpha or beta.
const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";

/// Longest run of a plugin; the kubelet's own limit.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Most bytes that a plugin may write.
const MAX_OUTPUT: u64 = 1024 * 1024;

/// Answers that are kept for each plugin.
const CACHED: u64 = 1000;

/// The plugins of a `CredentialProviderConfig`, in its order. None by default.
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    plugins: Arc<[Plugin]>,
}

#[derive(Debug)]
struct Plugin {
    provider: Provider,
    program: std::path::PathBuf,
    default_duration: Duration,
    answers: Cache<String, Answered>,
    /// One run at a time: a caller that waited finds the answer of the run before.
    running: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Answered {
    until: Instant,
    keyring: Arc<Keyring>,
}

#[derive(Debug, Deserialize)]
struct Config {
    kind: String,
    providers: Vec<Provider>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provider {
    name: String,
    match_images: Vec<String>,
    default_cache_duration: String,
    api_version: String,
    #[serde(default, deserialize_with = "or_nothing")]
    args: Vec<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    env: Vec<Variable>,
    #[serde(default)]
    token_attributes: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    api_version: &'static str,
    kind: &'static str,
    image: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    cache_key_type: String,
    #[serde(default)]
    cache_duration: Option<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    auth: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default, deserialize_with = "or_nothing")]
    username: String,
    #[serde(default, deserialize_with = "or_nothing")]
    password: SecretString,
}

/// Reads `null` as the default value: Go writes it for an empty slice or map.
fn or_nothing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Plugins {
    /// Reads the file that the kubelet takes as `--image-credential-provider-config`.
    ///
    /// # Errors
    /// Names the plugin and the member that cannot be used.
    pub fn load(config: &Path, bin_dir: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(config)
            .with_context(|| format!("{} cannot be read", config.display()))?;
        let parsed: Config = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is no CredentialProviderConfig", config.display()))?;
        ensure!(
            parsed.kind == "CredentialProviderConfig",
            "{}: kind is '{}', expected CredentialProviderConfig",
            config.display(),
            parsed.kind
        );
        let plugins = parsed
            .providers
            .into_iter()
            .map(|provider| {
                let name = provider.name.clone();
                Plugin::new(provider, bin_dir)
                    .with_context(|| format!("{}: provider '{name}'", config.display()))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { plugins: plugins.into() })
    }

    /// The credentials that plugins give for a repository. A plugin that fails is skipped, as in the kubelet: the image
    /// may be public, or another plugin may have credentials.
    pub(crate) async fn credentials(&self, repository: &RepositoryRef) -> Vec<Credential> {
        let name = repository.to_string();
        let mut credentials = Vec::new();
        for plugin in self.plugins.iter().filter(|plugin| plugin.serves(&name)) {
            match plugin.keyring(repository, &name).await {
                Ok(keyring) => credentials.extend(keyring.lookup(&name)),
                Err(error) => {
                    tracing::warn!(
                        target: LOG,
                        plugin = plugin.provider.name,
                        repository = name,
                        error = format!("{error:#}"),
                        "credential provider failed"
                    );
                }
            }
        }
        credentials
    }
}

impl Plugin {
    fn new(provider: Provider, bin_dir: &Path) -> anyhow::Result<Self> {
        let Provider { name, match_images, default_cache_duration, api_version, token_attributes, .. } =
            &provider;
        ensure!(
            !name.is_empty() && !name.contains(['/', '\\']) && name != "..",
            "name must be the name of a file in the plugin directory"
        );
        ensure!(!match_images.is_empty(), "matchImages is empty");
        if api_version != API_VERSION {
            bail!("apiVersion is '{api_version}', expected {API_VERSION}");
        }
        ensure!(
            token_attributes.is_none(),
            "tokenAttributes is not supported: the operator has no Pod's service account to make a token of"
        );
        let default_duration = duration(default_cache_duration).context("defaultCacheDuration")?;
        let program = bin_dir.join(name);
        ensure!(program.is_file(), "there is no program {}", program.display());
        Ok(Self { program, default_duration, answers: Cache::new(CACHED), running: Mutex::new(()), provider })
    }

    fn serves(&self, name: &str) -> bool {
        self.provider.match_images.iter().any(|pattern| pattern::matches(pattern, name))
    }

    async fn keyring(&self, repository: &RepositoryRef, name: &str) -> anyhow::Result<Arc<Keyring>> {
        if let Some(keyring) = self.recall(repository, name) {
            return Ok(keyring);
        }
        let _run = self.running.lock().await;
        if let Some(keyring) = self.recall(repository, name) {
            return Ok(keyring);
        }
        let output = tokio::time::timeout(TIMEOUT, self.run(name))
            .await
            .with_context(|| format!("it did not end within {} s", TIMEOUT.as_secs()))??;
        // Without serde's message, which could quote a password.
        let Ok(response) = serde_json::from_slice::<Response>(&output) else {
            bail!("it did not write a CredentialProviderResponse");
        };
        let key = match response.cache_key_type.as_str() {
            "Image" => name.to_owned(),
            "Registry" => repository.host().to_owned(),
            "Global" => String::new(),
            other => bail!("cacheKeyType is '{}', expected Image, Registry or Global", other.escape_debug()),
        };
        let life = response.cache_duration.as_deref().map(duration).transpose().context("cacheDuration")?;
        let mut keyring = Keyring::default();
        for (pattern, Auth { username, password }) in response.auth {
            keyring.insert(&pattern, Credential { username, password, identity_token: None });
        }
        let keyring = Arc::new(keyring);
        let until = Instant::now() + life.unwrap_or(self.default_duration);
        self.answers.insert(key, Answered { until, keyring: keyring.clone() });
        Ok(keyring)
    }

    fn recall(&self, repository: &RepositoryRef, name: &str) -> Option<Arc<Keyring>> {
        [name, repository.host(), ""]
            .into_iter()
            .filter_map(|key| self.answers.get(key))
            .find(|answered| answered.until > Instant::now())
            .map(|answered| answered.keyring)
    }

    async fn run(&self, image: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let request = serde_json::to_vec(&Request {
            api_version: API_VERSION,
            kind: "CredentialProviderRequest",
            image,
        })?;
        let mut child = Command::new(&self.program)
            .args(&self.provider.args)
            .envs(self.provider.env.iter().map(|variable| (&variable.name, &variable.value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // If a plugin does not read its request, its exit status shows whether that was a failure.
            let _ = stdin.write_all(&request).await;
        }
        let mut output = Zeroizing::new(Vec::new());
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_OUTPUT).read_to_end(&mut output).await?;
        }
        let status = child.wait().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(output)
    }
}

/// A Go duration.
fn duration(text: &str) -> anyhow::Result<Duration> {
    go_duration::parse(text).with_context(|| format!("'{}' is no duration", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// A plugin that answers with `response` and notes each run and its request beside itself.
    fn plugin(directory: &Path, response: &str) -> Plugins {
        let program = directory.join("fake");
        let script =
            format!("#!/bin/sh\ncat >> \"$0.requests\"\necho >> \"$0.requests\"\nprintf '%s' '{response}'\n");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        load(directory, "{name: fake, matchImages: ['*.dkr.ecr.*.amazonaws.com'], defaultCacheDuration: 1h, apiVersion: credentialprovider.kubelet.k8s.io/v1}").unwrap()
    }

    fn load(directory: &Path, provider: &str) -> anyhow::Result<Plugins> {
        let config = directory.join("config.yaml");
        std::fs::write(&config, format!("apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders: [{provider}]\n")).unwrap();
        Plugins::load(&config, directory)
    }

    const ECR: &str = "1.dkr.ecr.eu-west-1.amazonaws.com/shop/web";

    #[tokio::test]
    async fn a_plugin_is_asked_once_for_its_registry_and_never_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let plugins = plugin(
            directory.path(),
            r#"{"kind":"CredentialProviderResponse","cacheKeyType":"Registry","auth":{"*.dkr.ecr.*.amazonaws.com":{"username":"AWS","password":"hunter2"}}}"#,
        );
        for repository in [ECR, ECR, "1.dkr.ecr.eu-west-1.amazonaws.com/shop/api"] {
            let credentials = plugins.credentials(&repository.parse().unwrap()).await;
            assert_eq!(credentials.len(), 1);
            assert_eq!(
                (credentials[0].username.as_str(), credentials[0].password.expose_secret()),
                ("AWS", "hunter2")
            );
        }
        assert!(plugins.credentials(&"r.example/web".parse().unwrap()).await.is_empty());
        let requests = std::fs::read_to_string(directory.path().join("fake.requests")).unwrap();
        assert_eq!(requests.lines().count(), 1, "{requests}");
        let request: serde_json::Value = serde_json::from_str(requests.trim()).unwrap();
        assert_eq!(request["image"], ECR);
        assert_eq!(request["kind"], "CredentialProviderRequest");
        assert!(!format!("{plugins:?}").contains("hunter2"));
    }

    #[rstest::rstest]
    #[case::cached_per_image(r#"{"cacheKeyType":"Image","cacheDuration":"1h","auth":{}}"#, 1)]
    #[case::not_to_be_kept(r#"{"cacheKeyType":"Global","cacheDuration":"0s","auth":{}}"#, 2)]
    #[case::no_response("hunter2", 2)]
    #[case::null(r#"{"cacheKeyType":"Image","cacheDuration":null,"auth":null}"#, 1)]
    #[tokio::test]
    async fn answers_are_kept_as_long_as_they_say(#[case] response: &str, #[case] runs: usize) {
        let directory = tempfile::tempdir().unwrap();
        let plugins = plugin(directory.path(), response);
        for _ in 0..2 {
            assert!(plugins.credentials(&ECR.parse().unwrap()).await.is_empty());
        }
        let requests = std::fs::read_to_string(directory.path().join("fake.requests")).unwrap();
        assert_eq!(requests.lines().count(), runs);
    }

    #[rstest::rstest]
    #[case(
        "{name: ../sh, matchImages: [a], defaultCacheDuration: 1h, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
        "name must be"
    )]
    #[case(
        "{name: absent, matchImages: [a], defaultCacheDuration: 1h, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
        "there is no program"
    )]
    #[case(
        "{name: absent, matchImages: [a], defaultCacheDuration: 1h, apiVersion: credentialprovider.kubelet.k8s.io/v1beta1}",
        "apiVersion is"
    )]
    #[case(
        "{name: absent, matchImages: [a], defaultCacheDuration: soon, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
        "defaultCacheDuration"
    )]
    fn a_bad_configuration_is_refused_at_the_start(#[case] provider: &str, #[case] says: &str) {
        let directory = tempfile::tempdir().unwrap();
        let error = format!("{:#}", load(directory.path(), provider).unwrap_err());
        assert!(error.contains(says), "{error}");
    }
}
