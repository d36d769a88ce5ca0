//! The user's Docker credentials file, for the subcommands that a person runs.
//!
//! Credential helpers are programs that the file names. They are run for the user's own file only. The controller never
//! runs one, because it reads Secrets that anyone may have written.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use oci::RepositoryRef;
use registry::{Access, Credential, Keyring, KeyringError};
use serde::Deserialize;

/// How the subcommands reach registries.
#[derive(clap::Args, Debug)]
pub struct RegistryArgs {
    /// Docker credentials file [default: `$DOCKER_CONFIG/config.json`, else ~/.docker/config.json].
    #[arg(long, value_name = "FILE")]
    registry_config: Option<PathBuf>,

    /// Speak plain HTTP to the registry.
    #[arg(long)]
    plain_http: bool,
}

/// `null` means an empty value: programs written in Go write it for one.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Helpers {
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl RegistryArgs {
    /// Access to repositories with the user's credentials. `plain_http` is the setting of the resource.
    ///
    /// # Errors
    /// If a named file does not exist, or an existing file cannot be used.
    pub fn access(&self, repositories: &[&RepositoryRef], plain_http: bool) -> anyhow::Result<Access> {
        let mut keyring = Keyring::default();
        if let Some(path) = self.file() {
            let mut add = || -> anyhow::Result<()> {
                let bytes = std::fs::read(&path)?;
                match keyring.add_docker_config_json(&bytes) {
                    // Broken entries are for other registries; otherwise they are named when their registry is asked.
                    Ok(()) | Err(KeyringError::Entries(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                let helpers: Helpers = serde_json::from_slice(&bytes)?;
                for host in repositories.iter().map(|repository| repository.host()) {
                    if let Some(credential) = helpers.credential(host) {
                        keyring.insert(host, credential);
                    }
                }
                Ok(())
            };
            add()
                .with_context(|| format!("the Docker credentials file {} cannot be used", path.display()))?;
        }
        Ok(Access::new(keyring).with_plain_http(plain_http || self.plain_http))
    }

    /// The named file, or the default file if it exists.
    fn file(&self) -> Option<PathBuf> {
        self.registry_config.clone().or_else(|| {
            let directory = std::env::var_os("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| std::env::home_dir().map(|home| home.join(".docker")))?;
            Some(directory.join("config.json")).filter(|file| file.exists())
        })
    }
}

impl Helpers {
    /// The credential from the helper for this registry, or from the store for all registries. If a helper has none,
    /// fails or is not installed, the request stays anonymous, as in Docker.
    fn credential(&self, registry: &str) -> Option<Credential> {
        // Docker stores the credential for its own registry under this name.
        let server = if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry };
        let own = self.cred_helpers.as_ref().and_then(|helpers| helpers.get(registry)?.as_ref());
        let helper = own.or(self.creds_store.as_ref()).filter(|helper| is_name(helper))?;
        let mut child = Command::new(format!("docker-credential-{helper}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(server.as_bytes()).ok()?;
        let output = child.wait_with_output().ok().filter(|output| output.status.success())?;
        let Helped { username, secret } = serde_json::from_slice(&output.stdout).ok()?;
        // In the protocol, this user name means "this is an identity token".
        let is_token = username == "<token>";
        Some(Credential {
            username: if is_token { String::new() } else { username },
            password: if is_token { String::new() } else { secret.clone() }.into(),
            identity_token: is_token.then(|| secret.into()),
        })
    }
}

/// A helper is a name that is looked up on `PATH`, never a path.
fn is_name(helper: &str) -> bool {
    !helper.is_empty() && Path::new(helper).components().count() == 1 && !helper.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go writes `null` for empty values, and reads it as one.
    #[test]
    fn what_is_null_is_not_there() {
        for file in
            ["{}", r#"{"credsStore": null, "credHelpers": null}"#, r#"{"credHelpers": {"r.example": null}}"#]
        {
            let helpers: Helpers = serde_json::from_str(file).unwrap();
            assert!(helpers.credential("r.example").is_none(), "{file}");
        }
    }
}
