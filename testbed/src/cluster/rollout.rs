//! Operations on workloads and nodes, with `kubectl`.

use anyhow::Result;

use super::Cluster;

/// How long a rollout or a drain may take.
const LIMIT: &str = "--timeout=2m";

impl Cluster {
    /// Waits until a workload (`deployment/web`) is rolled out: `kubectl rollout status`.
    ///
    /// # Errors
    /// When it is not after two minutes, or the workload does not exist.
    pub async fn rollout_status(&self, namespace: &str, workload: &str) -> Result<()> {
        self.run_kubectl(&["rollout", "status", workload, "--namespace", namespace, LIMIT]).await
    }

    /// Brings back the template before the present one: `kubectl rollout undo`. Does not wait for the pods.
    ///
    /// # Errors
    /// When there is no earlier one.
    pub async fn rollout_undo(&self, namespace: &str, workload: &str) -> Result<()> {
        self.run_kubectl(&["rollout", "undo", workload, "--namespace", namespace]).await
    }

    /// Sets the number of replicas. Does not wait for the pods.
    ///
    /// # Errors
    /// When the workload does not exist.
    pub async fn scale(&self, namespace: &str, workload: &str, replicas: u32) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        self.run_kubectl(&["scale", workload, &replicas, "--namespace", namespace]).await
    }

    /// Evicts all pods from a node, except those of `DaemonSets`, and keeps others away; returns when they are gone.
    ///
    /// # Errors
    /// When they are not after two minutes.
    pub async fn drain(&self, node: &str) -> Result<()> {
        self.run_kubectl(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", LIMIT])
            .await
    }

    /// Lets pods onto a node again after [`Cluster::drain`].
    ///
    /// # Errors
    /// When the node does not exist.
    pub async fn uncordon(&self, node: &str) -> Result<()> {
        self.run_kubectl(&["uncordon", node]).await
    }

    async fn run_kubectl(&self, args: &[&str]) -> Result<()> {
        self.kubectl(args).await?.ok(&format!("kubectl {}", args.join(" ")))?;
        Ok(())
    }
}
