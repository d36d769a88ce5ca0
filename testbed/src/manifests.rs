//! The repository's own manifests: what a user would apply.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;

/// Namespace of the operator in `deploy/`.
pub const OPERATOR_NAMESPACE: &str = "artifactconfig-system";

/// `ServiceAccount` of the operator in `deploy/`.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "artifactconfig";

/// The custom resource definition, below the repository's root.
const CRD: &str = "crds/artifactconfigs.yaml";

/// Not applied: there are no nodes that would run the Deployment, and a kustomization is for `kubectl apply
/// -k`.
const NOT_APPLIED: [&str; 2] = ["deployment.yaml", "kustomization.yaml"];

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
    /// When there is no custom resource definition.
    pub fn find(root: Option<&Path>) -> Result<Self> {
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let candidates = root.map_or_else(|| vec![built_from, Path::new(".")], |root| vec![root]);
        match candidates.iter().find(|root| root.join(CRD).is_file()) {
            Some(root) => Ok(Self { root: root.to_path_buf() }),
            None => bail!(
                "no {CRD} below {}: name the repository's root with --manifests",
                candidates.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(" or "),
            ),
        }
    }

    /// The custom resource definition, for [`crate::ClusterOptions::manifests`].
    #[must_use]
    pub fn crd(&self) -> PathBuf {
        self.root.join(CRD)
    }

    /// The files of `deploy/` that make sense without nodes, the namespace first.
    ///
    /// # Errors
    /// When there is no `deploy/`.
    pub fn deploy(&self) -> Result<Vec<PathBuf>> {
        let directory = self.root.join("deploy");
        let entries = std::fs::read_dir(&directory).with_context(|| format!("no {}", directory.display()))?;
        let mut files: Vec<_> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .filter(|path| !NOT_APPLIED.iter().any(|name| path.ends_with(name)))
            .collect();
        files.sort_by_key(|path| (!path.ends_with("namespace.yaml"), path.clone()));
        Ok(files)
    }
}

impl Cluster {
    /// Applies the definition and `deploy/`; returns the kubeconfig of the operator's `ServiceAccount`.
    ///
    /// # Errors
    /// When the API server refuses one of them.
    pub async fn install(&self, manifests: &Manifests) -> Result<PathBuf> {
        self.apply_file(&manifests.crd()).await?;
        for file in manifests.deploy()? {
            self.apply_file(&file).await?;
        }
        self.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_comes_first_and_the_deployment_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("crds")).unwrap();
        std::fs::create_dir_all(root.path().join("deploy")).unwrap();
        assert!(Manifests::find(Some(root.path())).unwrap_err().to_string().contains("--manifests"));
        std::fs::write(root.path().join(CRD), "").unwrap();
        for name in
            ["rbac.yaml", "deployment.yaml", "namespace.yaml", "kustomization.yaml", "README.md", "a.yaml"]
        {
            std::fs::write(root.path().join("deploy").join(name), "").unwrap();
        }
        let files = Manifests::find(Some(root.path())).unwrap().deploy().unwrap();
        let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["namespace.yaml", "a.yaml", "rbac.yaml"]);
    }
}
