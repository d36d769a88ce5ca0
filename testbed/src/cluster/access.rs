//! Identities other than the administrator, and namespaces to work in.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::Cluster;
use super::credentials::write_kubeconfig;

/// Longer than any test or demo runs; a kubeconfig cannot renew its token.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// Makes the names of kubeconfigs distinct.
static KUBECONFIGS: AtomicU64 = AtomicU64::new(0);

impl Cluster {
    /// A kubeconfig with a token of the `ServiceAccount`, so that its RBAC applies and nothing more.
    ///
    /// # Errors
    /// When there is no such `ServiceAccount`.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let issued =
            accounts.create_token_request(name, &PostParams::default(), &request).await.with_context(
                || format!("no token for the ServiceAccount {namespace}/{name}: was it applied?"),
            )?;
        let token = issued.status.context("the token request was answered without a token")?.token;
        // A separate token for each: the audit log distinguishes them.
        let number = KUBECONFIGS.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.join(format!("{namespace}.{name}.{number}.kubeconfig"));
        write_kubeconfig(&path, &self.ports.server(), &self.ca()?, name, &token)?;
        Ok(path)
    }

    /// A client with the rights of the `ServiceAccount`.
    ///
    /// # Errors
    /// As [`Cluster::service_account_kubeconfig`].
    pub async fn service_account_client(&self, namespace: &str, name: &str) -> Result<Client> {
        super::client(&self.service_account_kubeconfig(namespace, name).await?).await
    }

    /// Makes a namespace whose name starts with `prefix` and is nobody else's; returns the name.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create_namespace(&self, prefix: &str) -> Result<String> {
        let namespaces: Api<Namespace> = Api::all(self.admin());
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let made = namespaces
            .create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() })
            .await
            .with_context(|| format!("cannot create a namespace named {prefix}-…"))?;
        made.metadata.name.context("the new namespace has no name")
    }
}
