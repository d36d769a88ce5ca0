//! The user's Docker credentials file, for the subcommands that a person runs.
//!
//! Credential helpers are programs that the file names. They are run for the user's own file only; the controller,
//! which reads Secrets that anybody may have written, never runs any.

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

/// `null`, which programs written in Go write for what is empty, stands for nothing.
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
    /// Access to repositories with the user's credentials; `plain_http` as the resource asks for it.
    ///
    /// # Errors
    /// Where a file that was named does not exist, or one that exists cannot be used.
    pub fn access(&self, repositories: &[&RepositoryRef], plain_http: bool) -> anyhow::Result<Access> {
        let mut keyring = Keyring::default();
        if let Some(path) = self.file() {
            let mut add = || -> anyhow::Result<()> {
                let bytes = std::fs::read(&path)?;
                match keyring.add_docker_config_json(&bytes) {
                    // They are for other registries, or named when the one that they are for is asked.
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

    /// The file that was named, or the default one where it exists.
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
    /// What the helper for a registry, or the store for all, knows about it. A helper that knows nothing, fails or is
    /// not installed leaves the request anonymous, as Docker does it.
    fn credential(&self, registry: &str) -> Option<Credential> {
        // Docker keeps its own registry under this name.
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
        // The protocol's way to say "this is an identity token".
        let is_token = username == "<token>";
        Some(Credential {
            username: if is_token { String::new() } else { username },
            password: if is_token { String::new() } else { secret.clone() }.into(),
            identity_token: is_token.then(|| secret.into()),
        })
    }
}

/// A helper is a name to be found on the path, never a path.
fn is_name(helper: &str) -> bool {
    !helper.is_empty() && Path::new(helper).components().count() == 1 && !helper.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go writes `null` for what is empty, and takes it for that.
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
