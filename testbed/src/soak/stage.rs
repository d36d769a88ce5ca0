//! What a soak runs on: the world, and gates that keep churn away from what is down on purpose.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use testbed::registry::{EmbeddedRegistry, ProcessRegistry, RegistryKind};
use testbed::{Cluster, ClusterOptions, Manifests, OperatorOptions, OperatorProcess, Oras};
use tokio::sync::RwLock;

use super::SoakArgs;
use super::model::Where;
use super::proxy::Proxy;

/// Namespaces that the resources are spread over.
const NAMESPACES: usize = 3;

/// Bytes of the operator's content cache: small, so that it is full early and its filling is no growth later.
const CONTENT_CACHE: u64 = 1024 * 1024;

/// Everything that runs. Dropping it stops it.
pub(super) struct Stage {
    // The order is the order of dropping.
    pub(super) operator: OperatorProcess,
    pub(super) proxy: Proxy,
    pub(super) embedded: EmbeddedRegistry,
    pub(super) distribution: ProcessRegistry,
    pub(super) oras: Oras,
    pub(super) cluster: Cluster,
    pub(super) namespaces: Vec<String>,
    pub(super) gates: Gates,
}

/// Held for reading by who needs something to work, for writing by who makes it fail.
#[derive(Debug, Default)]
pub(super) struct Gates {
    pub(super) embedded: RwLock<()>,
    pub(super) distribution: RwLock<()>,
    pub(super) api: RwLock<()>,
}

impl Stage {
    /// Starts cluster, registries and operator.
    pub(super) async fn start(args: &SoakArgs, manifests: &Manifests) -> Result<Self> {
        let options = ClusterOptions { manifests: vec![manifests.crd()], ..ClusterOptions::default() };
        let (cluster, distribution, embedded, oras) = tokio::try_join!(
            Cluster::start(options),
            ProcessRegistry::start(RegistryKind::Distribution),
            EmbeddedRegistry::start(),
            Oras::locate(),
        )?;
        let direct = cluster.install(manifests).await?;
        let server = cluster.server();
        let proxy = Proxy::start(server.trim_start_matches("https://").to_owned()).await?;
        let mut options = OperatorOptions::new(&args.operator, proxy.kubeconfig(&direct, &server)?);
        options.args = ["--log-format", "json", "--content-cache-bytes", &CONTENT_CACHE.to_string()]
            .map(str::to_owned)
            .into();
        options.args.extend(args.operator_args.iter().cloned());
        let operator = OperatorProcess::start(options).await?;
        let mut namespaces = Vec::new();
        for _ in 0..NAMESPACES {
            namespaces.push(cluster.create_namespace("soak").await?);
        }
        let gates = Gates::default();
        Ok(Self { operator, proxy, embedded, distribution, oras, cluster, namespaces, gates })
    }

    /// The registry's `127.0.0.1:port`.
    pub(super) fn host(&self, registry: Where) -> String {
        match registry {
            Where::Embedded => self.embedded.host(),
            Where::Distribution => self.distribution.host(),
        }
    }

    /// The gate of a registry.
    pub(super) fn gate(&self, registry: Where) -> &RwLock<()> {
        match registry {
            Where::Embedded => &self.gates.embedded,
            Where::Distribution => &self.gates.distribution,
        }
    }

    pub(super) fn config_maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.cluster.admin(), namespace)
    }

    pub(super) fn configs(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("artifactconfig.dev", "v1alpha1", "ArtifactConfig");
        let resource = ApiResource::from_gvk_with_plural(&kind, "artifactconfigs");
        Api::namespaced_with(self.cluster.admin(), namespace, &resource)
    }

    /// An error once the operator has ended: it is not meant to.
    pub(super) async fn check_operator(&self) -> Result<()> {
        let Some(status) = self.operator.exit_status().await else { return Ok(()) };
        let log = self.operator.log();
        let lines: Vec<_> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(20)..].join("\n");
        Err(anyhow::anyhow!("the end of its log:\n{end}"))
            .with_context(|| format!("the operator ended with {status}"))
    }
}
