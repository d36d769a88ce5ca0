//! References of the resource → what they refer to.

use k8s_openapi::api::core::v1::Secret;

use crate::api::Reason;
use crate::decide::spec::Desired;
use crate::oci::{Access, Keyring, KeyringError};
use crate::types::Failure;

use super::Cluster;

/// The access to registries that the resource's pull secrets give. Read anew each time, so that a rotated credential
/// counts at the next reconcile and none is kept for longer than one.
///
/// # Errors
/// `CredentialsNotFound` and `InvalidCredentials`, naming the Secret; never its content.
pub async fn access(cluster: &impl Cluster, desired: &Desired) -> Result<Access, Failure> {
    let mut keyring = Keyring::default();
    for name in &desired.pull_secrets {
        let secret = cluster.secret(&desired.owner, name).await?.ok_or_else(|| {
            Failure::new(
                Reason::CredentialsNotFound,
                format!(
                    "spec.registry.pullSecrets: there is no Secret '{name}' in namespace '{}'; create it with 'kubectl create secret docker-registry'",
                    desired.owner.namespace
                ),
            )
        })?;
        add(&mut keyring, &secret).map_err(|why| {
            Failure::new(Reason::InvalidCredentials, format!("spec.registry.pullSecrets: Secret '{name}': {why}"))
        })?;
    }
    Ok(Access::new(keyring, desired.plain_http))
}

/// Adds a Secret of one of the two types that the kubelet takes.
fn add(keyring: &mut Keyring, secret: &Secret) -> Result<(), String> {
    type Add = fn(&mut Keyring, &[u8]) -> Result<(), KeyringError>;
    let (key, add): (&str, Add) = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => (".dockerconfigjson", Keyring::add_docker_config_json),
        Some("kubernetes.io/dockercfg") => (".dockercfg", Keyring::add_docker_cfg),
        other => {
            return Err(format!(
                "its type is '{}', expected kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg",
                other.unwrap_or("Opaque")
            ));
        }
    };
    let bytes = secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .ok_or_else(|| format!("it has no key '{key}'"))?;
    add(keyring, &bytes.0).map_err(|error| format!("key '{key}': {error}"))
}
