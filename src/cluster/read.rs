//! Reads the Secrets and `ServiceAccounts` that a resource names.

use api::Reason;
use decide::Failure;
use decide::spec::Desired;
use k8s_openapi::api::core::v1::Secret;
use registry::{Access, Keyring, KeyringError, Tls};
use zeroize::Zeroize as _;

use super::Cluster;

/// The access to registries from the resource's references. They are read at each reconcile, so that a rotated
/// credential is used at the next one, and no credential is kept longer than a reconcile.
///
/// As with Pods, a Secret that is missing or cannot be read does not affect the others. It becomes a note of the
/// access, because it may have been needed. If no Secret can be used, it is a failure.
///
/// # Errors
/// `CredentialsNotFound` and `InvalidCredentials`, naming the field and the object; never its content.
pub async fn access(cluster: &impl Cluster, desired: &Desired) -> Result<Access, Failure> {
    let mut found = Found::default();
    for name in &desired.pull_secrets {
        let field = "spec.registry.pullSecrets";
        match cluster.secret(&desired.owner, name).await?.map(Read) {
            Some(secret) => {
                if let Err(why) = found.add(name, &secret.0) {
                    found.failures.push(unusable(field, name, &why));
                }
            }
            None => found.failures.push(missing(desired, field, name)),
        }
    }
    if let Some(account) = &desired.service_account {
        add_service_account(cluster, desired, account, &mut found).await?;
    }
    let tls = match &desired.cert_secret {
        Some(name) => {
            let field = "spec.registry.certSecretRef";
            let secret = cluster.secret(&desired.owner, name).await?.map(Read);
            let secret = secret.ok_or_else(|| missing(desired, field, name))?;
            Some(tls(&secret.0).map_err(|why| unusable(field, name, &why))?)
        }
        None => None,
    };
    let Found { keyring, usable, mut failures, notes } = found;
    if usable == 0 && !failures.is_empty() {
        return Err(failures.swap_remove(0));
    }
    let notes = failures.into_iter().map(|failure| failure.message).chain(notes).collect();
    Ok(Access::new(keyring).with_plain_http(desired.plain_http).with_tls(tls).with_notes(notes))
}

/// The credentials in the Secrets of a resource.
#[derive(Default)]
struct Found {
    keyring: Keyring,
    /// Secrets that can be read.
    usable: usize,
    /// The problems of Secrets that the resource itself names.
    failures: Vec<Failure>,
    notes: Vec<String>,
}

impl Found {
    /// Adds a Secret of one of the two types that the kubelet accepts. The keyring handles broken entries: they matter
    /// only if they are for the registry that is asked.
    fn add(&mut self, name: &str, secret: &Secret) -> Result<(), String> {
        let mut keyring = Keyring::default();
        match read(&mut keyring, secret)? {
            Ok(()) | Err(KeyringError::Entries(_)) => {}
            Err(KeyringError::Json(why)) => return Err(why),
        }
        self.keyring.extend(keyring, &format!("Secret '{name}'"));
        self.usable += 1;
        Ok(())
    }
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

fn missing(desired: &Desired, field: &str, name: &str) -> Failure {
    Failure::new(
        Reason::CredentialsNotFound,
        format!(
            "{field}: there is no Secret '{name}' in namespace '{}'; create it, or correct the field",
            desired.owner.namespace
        ),
    )
}

fn unusable(field: &str, name: &str, why: &str) -> Failure {
    Failure::new(Reason::InvalidCredentials, format!("{field}: Secret '{name}': {why}"))
}

/// Like the kubelet, this skips Secrets of the account that do not exist or have another type, because accounts name
/// Secrets for many images. A pull secret that cannot be read becomes a note.
async fn add_service_account(
    cluster: &impl Cluster,
    desired: &Desired,
    account: &str,
    found: &mut Found,
) -> Result<(), Failure> {
    let read = cluster.service_account(&desired.owner, account).await?.ok_or_else(|| {
        Failure::new(
            Reason::CredentialsNotFound,
            format!(
                "spec.registry.serviceAccountName: there is no ServiceAccount '{account}' in namespace '{}'; create it, or correct the field",
                desired.owner.namespace
            ),
        )
    })?;
    for reference in read.image_pull_secrets.unwrap_or_default() {
        if let Some(secret) = cluster.secret(&desired.owner, &reference.name).await?.map(Read) {
            let Some(Err(why)) = kind(&secret.0).map(|_| found.add(&reference.name, &secret.0)) else {
                continue;
            };
            let field = "spec.registry.serviceAccountName";
            found.notes.push(unusable(field, &reference.name, &why).message);
        }
    }
    Ok(())
}

fn tls(secret: &Secret) -> Result<Tls, String> {
    let data = secret.data.as_ref();
    let key = |key: &str| data.and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    Tls::new(key("ca.crt"), key("tls.crt"), key("tls.key"))
}

type Add = fn(&mut Keyring, &[u8]) -> Result<(), KeyringError>;

/// Key and parser for the two types of Secrets that the kubelet accepts.
fn kind(secret: &Secret) -> Option<(&'static str, Add)> {
    match secret.type_.as_deref()? {
        "kubernetes.io/dockerconfigjson" => Some((".dockerconfigjson", Keyring::add_docker_config_json)),
        "kubernetes.io/dockercfg" => Some((".dockercfg", Keyring::add_docker_cfg)),
        _ => None,
    }
}

fn read(keyring: &mut Keyring, secret: &Secret) -> Result<Result<(), KeyringError>, String> {
    let (key, add) = kind(secret).ok_or_else(|| {
        format!(
            "its type is '{}', expected kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg",
            secret.type_.as_deref().unwrap_or("Opaque")
        )
    })?;
    let bytes = secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .ok_or_else(|| format!("it has no key '{key}'"))?;
    Ok(add(keyring, &bytes.0).map_err(|error| match error {
        KeyringError::Json(why) => {
            KeyringError::Json(format!("key '{key}': it is not a Docker config: {why}"))
        }
        entries @ KeyringError::Entries(_) => entries,
    }))
}
