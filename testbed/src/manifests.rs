//! The repository's own manifests: what a user would install.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;

/// Namespace of the operator, here and in `deploy/`.
pub const OPERATOR_NAMESPACE: &str = "artifactconfig-system";

/// Name of the release, and what the chart makes of it for the `ServiceAccount`.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "artifactconfig";

/// The custom resource definition, below the repository's root.
const CRD: &str = "crds/artifactconfigs.yaml";

/// The chart, below the repository's root.
const CHART: &str = "charts/artifactconfig";

/// The manifests of one checkout.
#[derive(Debug, Clone)]
pub struct Manifests {
    root: PathBuf,
}

impl Manifests {
    /// Those below `root`; without one, those of the checkout that this crate was built from, or of the
    /// current directory.
    ///
    /// # Errors
    /// When there is no custom resource definition or no chart.
    pub fn find(root: Option<&Path>) -> Result<Self> {
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let candidates = root.map_or_else(|| vec![built_from, Path::new(".")], |root| vec![root]);
        let is_whole = |root: &&&Path| root.join(CRD).is_file() && root.join(CHART).is_dir();
        match candidates.iter().find(is_whole) {
            Some(root) => Ok(Self { root: root.to_path_buf() }),
            None => bail!(
                "no {CRD} and {CHART} below {}: name the repository's root with --manifests",
                candidates.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(" or "),
            ),
        }
    }

    /// The custom resource definition, for [`crate::ClusterOptions::manifests`].
    #[must_use]
    pub fn crd(&self) -> PathBuf {
        self.root.join(CRD)
    }

    /// The chart.
    #[must_use]
    pub fn chart(&self) -> PathBuf {
        self.root.join(CHART)
    }

    /// A path below the repository's root.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }
}

impl Cluster {
    /// Installs the chart with Helm, with its default values but for the replicas: there are no nodes that would run
    /// them. Returns the kubeconfig of the `ServiceAccount` that the chart made, for the process that is the
    /// operator here.
    ///
    /// # Errors
    /// When Helm or the API server refuses it.
    pub async fn install(&self, manifests: &Manifests) -> Result<PathBuf> {
        self.install_with(manifests, &[]).await
    }

    /// The same with further values, each as `--set` takes it.
    ///
    /// # Errors
    /// When Helm or the API server refuses it.
    pub async fn install_with(&self, manifests: &Manifests, values: &[&str]) -> Result<PathBuf> {
        let namespace = format!(
            "apiVersion: v1
kind: Namespace
metadata:
  name: {OPERATOR_NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"
        );
        self.apply(&namespace).await?;
        let chart = manifests.chart();
        let chart = chart.to_str().context("the path of the chart is not UTF-8")?;
        let values: Vec<String> = values.iter().map(|value| format!("--set={value}")).collect();
        let mut args = vec![
            "install",
            OPERATOR_SERVICE_ACCOUNT,
            chart,
            "--namespace",
            OPERATOR_NAMESPACE,
            "--set=replicas=0",
            // The definition may exist already, so that the garbage collector knows it from the start (see
            // ClusterOptions::manifests).
            "--take-ownership",
        ];
        args.extend(values.iter().map(String::as_str));
        self.helm(&args).await?.ok("helm install")?;
        self.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_a_definition_or_a_chart_is_none() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("crds")).unwrap();
        std::fs::write(root.path().join(CRD), "").unwrap();
        assert!(Manifests::find(Some(root.path())).unwrap_err().to_string().contains("--manifests"));
        std::fs::create_dir_all(root.path().join(CHART)).unwrap();
        assert_eq!(Manifests::find(Some(root.path())).unwrap().chart(), root.path().join(CHART));
        assert!(Manifests::find(None).is_ok(), "that of this checkout");
    }
}
