//! What a cluster can be asked for.

use std::path::PathBuf;
use std::time::Duration;

/// How to start a [`super::Cluster`].
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Custom resource definitions (or anything else) applied before the controllers start.
    ///
    /// The garbage collector discovers new kinds only every 30 s, so objects of owners of a later kind are collected
    /// that much later. It knows definitions named here from the start.
    pub manifests: Vec<PathBuf>,
    /// Whether to run kube-controller-manager. Without it nothing is garbage-collected and no namespace goes
    /// away.
    pub controller_manager: bool,
    /// Nodes with kube-scheduler and a [`Player`](crate::Player), so that pods live. Without nodes they stay Pending.
    /// They need kube-controller-manager.
    pub nodes: usize,
    /// Whether to run a second kube-apiserver with the same flags on the same etcd: see
    /// [`Cluster::second`](super::Cluster::second).
    pub second_api_server: bool,
    /// Further flags of kube-apiserver.
    pub api_server_args: Vec<String>,
    /// Further flags of kube-controller-manager.
    pub controller_manager_args: Vec<String>,
    /// How long each component may take until it is ready.
    pub start_timeout: Duration,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            manifests: Vec::new(),
            controller_manager: true,
            nodes: 0,
            second_api_server: false,
            api_server_args: Vec::new(),
            controller_manager_args: Vec::new(),
            // Ready in 3 s on two idle cores; the rest is for machines that also compile.
            start_timeout: Duration::from_mins(2),
        }
    }
}
