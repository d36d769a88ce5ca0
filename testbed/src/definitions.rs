//! Custom resource definitions of other projects, for checking manifests that are meant for them.
//!
//! They are files of the projects' Go modules, at pinned versions and checksums, and kept in the cache of the
//! programs after the first use. None of the projects' controllers runs here: the API server checks what is
//! applied against the definitions, and that is all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use strum::VariantArray;

use crate::cluster::Cluster;
use crate::tools::{Tools, go_command};

/// The definitions of one project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, VariantArray)]
pub enum Definitions {
    /// Flux: `GitRepository`, `OCIRepository`, `HelmRepository`, `HelmChart`, `Bucket`, `ExternalArtifact`.
    FluxSource,
    /// Flux: `Kustomization`.
    FluxKustomize,
    /// Flux: `HelmRelease`.
    FluxHelm,
    /// Flux: `Alert`, `Provider`, `Receiver`.
    FluxNotification,
    /// Argo CD: `Application`, `AppProject`.
    ArgoCd,
    /// Prometheus Operator: `ServiceMonitor`, `PodMonitor`, `PrometheusRule`.
    PrometheusOperator,
}

/// Where the definitions are.
struct Source {
    module: &'static str,
    version: &'static str,
    /// What `go.sum` would say of the module.
    sum: &'static str,
    /// Below the module's root.
    directory: &'static str,
    /// Ends of the names of the files that are taken.
    files: &'static [&'static str],
}

/// What `go mod download -json` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Download {
    #[serde(default)]
    error: String,
    #[serde(default)]
    dir: PathBuf,
    #[serde(default)]
    sum: String,
}

impl Definitions {
    const fn source(self) -> Source {
        const FLUX: &str = "config/crd/bases";
        match self {
            Self::FluxSource => Source {
                module: "github.com/fluxcd/source-controller",
                version: "v1.9.1",
                sum: "h1:FF8XTxLND/pXzVtUESKURUDiItFJQDZBZkbHvZimN8s=",
                directory: FLUX,
                files: &[".yaml"],
            },
            Self::FluxKustomize => Source {
                module: "github.com/fluxcd/kustomize-controller",
                version: "v1.9.4",
                sum: "h1:VBnBMhnemqnE5Zca2AoG2gC4472MoiTmk9rdqvLoMcY=",
                directory: FLUX,
                files: &[".yaml"],
            },
            Self::FluxHelm => Source {
                module: "github.com/fluxcd/helm-controller",
                version: "v1.6.1",
                sum: "h1:b0XKTQCGlQy4nOGfEFMbn/e+/j9IMEHSDlKecbZkG9M=",
                directory: FLUX,
                files: &[".yaml"],
            },
            Self::FluxNotification => Source {
                module: "github.com/fluxcd/notification-controller",
                version: "v1.9.3",
                sum: "h1:vBONN/Lx5aQ2nDnJxYp5Sb0Wsgh13UbuP5A1MK4dmkY=",
                directory: FLUX,
                files: &[".yaml"],
            },
            Self::ArgoCd => Source {
                module: "github.com/argoproj/argo-cd/v3",
                version: "v3.4.0",
                sum: "h1:yZwfaOIzE/aQTA52mOfeZQbribmyxKYvMgirQja4eX0=",
                directory: "manifests/crds",
                files: &["application-crd.yaml", "appproject-crd.yaml"],
            },
            Self::PrometheusOperator => Source {
                module: "github.com/prometheus-operator/prometheus-operator",
                version: "v0.85.0",
                sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
                directory: "example/prometheus-operator-crd",
                files: &["_servicemonitors.yaml", "_podmonitors.yaml", "_prometheusrules.yaml"],
            },
        }
    }

    /// The files, fetched where they are missing.
    ///
    /// # Errors
    /// When Go is missing, the module cannot be had, or its checksum is not the pinned one.
    pub async fn files(self) -> Result<Vec<PathBuf>> {
        tokio::task::spawn_blocking(move || self.fetch())
            .await
            .context("fetching definitions was interrupted")?
    }

    fn fetch(self) -> Result<Vec<PathBuf>> {
        let source = self.source();
        let cache = Tools::locate()?.cache().to_path_buf();
        let directory = cache.join(source.directory_name());
        if !directory.is_dir() {
            fs::create_dir_all(&cache).with_context(|| {
                format!(
                    "cannot create {}: set ARTIFACTCONFIG_TOOLS_DIR to a writable directory",
                    cache.display()
                )
            })?;
            // Whole or absent: copied beside its place, then renamed.
            let unfinished = tempfile::Builder::new().prefix(".definitions-").tempdir_in(&cache)?;
            source.download(unfinished.path())?;
            let renamed = fs::rename(unfinished.path(), &directory);
            // Another process may have been faster with the same files.
            ensure!(renamed.is_ok() || directory.is_dir(), "cannot create {}", directory.display());
        }
        yaml_files(&directory)
    }
}

impl Source {
    /// Version and checksum stand in the name: a newer pin is another directory.
    fn directory_name(&self) -> String {
        let name = self.module.trim_start_matches("github.com/").replace('/', "-");
        let sum: String = self.sum.chars().filter(char::is_ascii_alphanumeric).skip(2).take(12).collect();
        format!("definitions-{name}-{}-{sum}", self.version)
    }

    fn download(&self, into: &Path) -> Result<()> {
        let wanted = format!("{}@{}", self.module, self.version);
        eprintln!("fetching the definitions of {wanted} (first use) …");
        let output = go_command()
            .args(["mod", "download", "-json", &wanted])
            // Outside of any module, whose go.mod would have a say.
            .current_dir(into)
            .output()
            .context("Go is needed to fetch definitions and `go` does not run")?;
        let Ok(answer) = serde_json::from_slice::<Download>(&output.stdout) else {
            bail!("`go mod download {wanted}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        };
        ensure!(
            answer.error.is_empty(),
            "{}; modules come from GOPROXY, which must be reachable on first use",
            answer.error
        );
        ensure!(answer.sum == self.sum, "{wanted} has the checksum {}, pinned is {}", answer.sum, self.sum);
        let files = yaml_files(&answer.dir.join(self.directory))?;
        let is_taken = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name != "kustomization.yaml" && self.files.iter().any(|end| name.ends_with(end))
        };
        for file in files.iter().filter(is_taken) {
            // Not fs::copy: the files of the module cache are read-only, and copies would be as well.
            fs::write(into.join(file.file_name().unwrap_or_default()), fs::read(file)?)?;
        }
        ensure!(!yaml_files(into)?.is_empty(), "{wanted} has no definitions in {}", self.directory);
        Ok(())
    }
}

fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("no {}", directory.display()))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    Ok(files)
}

impl Cluster {
    /// Applies the definitions of these projects, and waits until they are served.
    ///
    /// # Errors
    /// As [`Definitions::files`], or when the API server refuses one of them.
    pub async fn define(&self, projects: &[Definitions]) -> Result<()> {
        for project in projects {
            for file in project.files().await? {
                self.apply_file(&file).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pin_is_a_directory_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            Definitions::VARIANTS.iter().map(|project| project.source().directory_name()).collect();
        assert_eq!(names.len(), Definitions::VARIANTS.len());
        assert!(names.contains("definitions-fluxcd-helm-controller-v1.6.1-b0XKTQCGlQy4"), "{names:?}");
    }
}
