//! References of the resource → what they refer to.

use k8s_openapi::api::core::v1::Secret;
use zeroize::Zeroize as _;

use crate::api::Reason;
use crate::decide::spec::Desired;
use crate::oci::{Access, Keyring, KeyringError, Tls};
use crate::types::Failure;

use super::Cluster;

/// The access to registries that the resource's references give. Read anew each time, so that a rotated credential
/// counts at the next reconcile and none is kept for longer than one.
///
/// # Errors
/// `CredentialsNotFound` and `InvalidCredentials`, naming the field and the object; never its content.
pub async fn access(cluster: &impl Cluster, desired: &Desired) -> Result<Access, Failure> {
    let mut keyring = Keyring::default();
    for name in &desired.pull_secrets {
        let secret = existing(cluster, desired, "spec.registry.pullSecrets", name).await?;
        add(&mut keyring, &secret.0).map_err(|why| unusable("spec.registry.pullSecrets", name, &why))?;
    }
    if let Some(account) = &desired.service_account {
        add_service_account(cluster, desired, account, &mut keyring).await?;
    }
    let tls = match &desired.cert_secret {
        Some(name) => {
            let secret = existing(cluster, desired, "spec.registry.certSecretRef", name).await?;
            Some(tls(&secret.0).map_err(|why| unusable("spec.registry.certSecretRef", name, &why))?)
        }
        None => None,
    };
    Ok(Access::new(keyring).with_plain_http(desired.plain_http).with_tls(tls))
}

/// A Secret that is overwritten when it is no longer needed.
struct Read(Secret);

impl Drop for Read {
    fn drop(&mut self) {
        for bytes in self.0.data.iter_mut().flat_map(|data| data.values_mut()) {
            bytes.0.zeroize();
        }
    }
}

async fn existing(
    cluster: &impl Cluster,
    desired: &Desired,
    field: &str,
    name: &str,
) -> Result<Read, Failure> {
    cluster.secret(&desired.owner, name).await?.map(Read).ok_or_else(|| {
        Failure::new(
            Reason::CredentialsNotFound,
            format!(
                "{field}: there is no Secret '{name}' in namespace '{}'; create it, or correct the field",
                desired.owner.namespace
            ),
        )
    })
}

fn unusable(field: &str, name: &str, why: &str) -> Failure {
    Failure::new(Reason::InvalidCredentials, format!("{field}: Secret '{name}': {why}"))
}

/// As the kubelet does it: a Secret that the account names and that does not exist, or is of another type, is passed
/// over, because accounts name Secrets for many images.
async fn add_service_account(
    cluster: &impl Cluster,
    desired: &Desired,
    account: &str,
    keyring: &mut Keyring,
) -> Result<(), Failure> {
    let found = cluster.service_account(&desired.owner, account).await?.ok_or_else(|| {
        Failure::new(
            Reason::CredentialsNotFound,
            format!(
                "spec.registry.serviceAccountName: there is no ServiceAccount '{account}' in namespace '{}'; create it, or correct the field",
                desired.owner.namespace
            ),
        )
    })?;
    for reference in found.image_pull_secrets.unwrap_or_default() {
        if let Some(secret) = cluster.secret(&desired.owner, &reference.name).await?.map(Read) {
            // Passed over where it cannot be used, for the same reason.
            let _ = add(keyring, &secret.0);
        }
    }
    Ok(())
}

fn tls(secret: &Secret) -> Result<Tls, String> {
    let data = secret.data.as_ref();
    let key = |key: &str| data.and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    Tls::new(key("ca.crt"), key("tls.crt"), key("tls.key"))
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
