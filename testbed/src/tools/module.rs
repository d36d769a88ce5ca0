//! The pinned modules: which program comes from where, and how it is linked.

use super::Tool;

/// A Go module of ours that requires one project and pins everything below it.
#[derive(Debug)]
pub(crate) struct Module {
    /// Directory under `testbed/tools/`, and name in the cache.
    pub(crate) name: &'static str,
    /// Version of the project it is there for.
    pub(crate) version: &'static str,
    pub(crate) go_mod: &'static str,
    pub(crate) go_sum: &'static str,
    /// Sources of ours, where the program is not the project's: path below the module, and text.
    pub(crate) sources: &'static [(&'static str, &'static str)],
    /// Values set at link time (`-X`).
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// Build tags, separated by commas.
    pub(crate) tags: &'static str,
    /// How long a cold build takes on two cores, for the progress line.
    pub(crate) about: &'static str,
}

macro_rules! pinned {
    ($dir:literal, $version:literal, about $about:literal, [$(($key:literal, $value:literal)),* $(,)?]) => {
        pinned!($dir, $version, about $about, tags "", [$(($key, $value)),*])
    };
    ($dir:literal, $version:literal, about $about:literal, tags $tags:literal, [$(($key:literal, $value:literal)),* $(,)?]) => {
        Module {
            name: $dir,
            version: $version,
            go_mod: include_str!(concat!("../../tools/", $dir, "/go.mod")),
            go_sum: include_str!(concat!("../../tools/", $dir, "/go.sum")),
            sources: &[],
            variables: &[$(($key, $value)),*],
            tags: $tags,
            about: $about,
        }
    };
}

/// Without a version at link time the API server reports v0.0.0-master, which kubectl and helm refuse.
const KUBERNETES: Module = pinned!("kubernetes", "v1.36.3", about "6 min", [
    ("k8s.io/component-base/version.gitVersion", "v1.36.3"),
    ("k8s.io/component-base/version.gitMajor", "1"),
    ("k8s.io/component-base/version.gitMinor", "36"),
    ("k8s.io/client-go/pkg/version.gitVersion", "v1.36.3"),
    ("k8s.io/client-go/pkg/version.gitMajor", "1"),
    ("k8s.io/client-go/pkg/version.gitMinor", "36"),
]);
static KUBERNETES_PROGRAMS: Module = KUBERNETES;
/// By the same pins, so that it is the kubelet of the cluster that speaks.
static KUBELET_KEYRING: Module = Module {
    name: "kubelet-keyring",
    sources: &[("kubelet-keyring/main.go", include_str!("../../tools/kubelet-keyring/main.go"))],
    about: "1 min",
    variables: &[],
    ..KUBERNETES
};
static ETCD: Module = pinned!("etcd", "v3.6.16", about "1 min", []);
static HELM: Module =
    pinned!("helm", "v4.3.1", about "4 min", [("helm.sh/helm/v4/internal/version.version", "v4.3.1")]);
static ORAS: Module = pinned!("oras", "v1.3.3", about "40 s", []);
static OLAREG: Module = pinned!("olareg", "v0.2.1", about "10 s", []);
static DISTRIBUTION: Module = pinned!("distribution", "v3.1.2", about "1 min", []);
static CRANE: Module = pinned!("crane", "v0.22.1", about "10 s", []);
/// Without the clients of the clouds that Prometheus discovers its targets in.
static PROMTOOL: Module = pinned!("promtool", "v0.312.0", about "2 min", tags "remove_all_sd", []);
static GLUA: Module = pinned!("glua", "v1.1.2", about "10 s", []);

impl Tool {
    pub(crate) fn module(self) -> &'static Module {
        match self {
            Self::KubeApiserver | Self::KubeControllerManager | Self::KubeScheduler | Self::Kubectl => {
                &KUBERNETES_PROGRAMS
            }
            Self::KubeletKeyring => &KUBELET_KEYRING,
            Self::Etcd => &ETCD,
            Self::Helm => &HELM,
            Self::Oras => &ORAS,
            Self::Olareg => &OLAREG,
            Self::Distribution => &DISTRIBUTION,
            Self::Crane => &CRANE,
            Self::Promtool => &PROMTOOL,
            Self::Glua => &GLUA,
        }
    }

    /// The main package.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Oras => "oras.land/oras/cmd/oras",
            Self::Olareg => "github.com/olareg/olareg/cmd/olareg",
            Self::Distribution => "github.com/distribution/distribution/v3/cmd/registry",
            Self::Crane => "github.com/google/go-containerregistry/cmd/crane",
            Self::Promtool => "github.com/prometheus/prometheus/cmd/promtool",
            Self::Glua => "github.com/yuin/gopher-lua/cmd/glua",
            Self::KubeletKeyring => "./kubelet-keyring",
        }
    }

    /// The file that `go build -o dir/` writes: the package's last element that is not a major version.
    pub(crate) fn built_as(self) -> &'static str {
        let is_major = |element: &str| element.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok());
        self.package().rsplit('/').find(|element| !is_major(element)).unwrap_or_else(|| self.name())
    }
}

impl Module {
    /// Flags of `go build`, the same for every program of the module so that they share compiled packages.
    pub(crate) fn build_flags(&self) -> Vec<String> {
        // -s -w: no symbol table and no debug information, which is half of the size of these programs.
        let mut link = String::from("-s -w");
        for (name, value) in self.variables {
            link.push_str(" -X ");
            link.push_str(name);
            link.push('=');
            link.push_str(value);
        }
        let mut flags =
            ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", &link].map(str::to_owned).to_vec();
        if !self.tags.is_empty() {
            flags.extend(["-tags", self.tags].map(str::to_owned));
        }
        flags
    }

    /// The `go` line: the oldest Go that may build the module.
    pub(crate) fn needs_go(&self) -> Option<&'static str> {
        self.go_mod.lines().find_map(|line| line.strip_prefix("go ")).map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use strum::VariantArray as _;

    #[test]
    fn each_module_pins_its_version_and_names_its_packages() {
        for &tool in Tool::VARIANTS {
            let module = tool.module();
            assert!(
                module.go_mod.contains(&format!(" {}\n", module.version)),
                "{tool}: {} not required",
                module.version
            );
            let named = module.sources.is_empty() == module.go_mod.contains(tool.package());
            assert!(named, "{tool}: no tool line for {}, and no source of ours", tool.package());
            assert!(!module.go_sum.is_empty(), "{tool}: empty go.sum");
            assert!(module.needs_go().is_some(), "{tool}: no go line");
        }
    }

    #[test]
    fn kubernetes_staging_modules_follow_its_version() {
        let staging = KUBERNETES.version.replacen("v1.", "v0.", 1);
        let replaced: Vec<_> = KUBERNETES.go_mod.lines().filter_map(|line| line.split_once("=> ")).collect();
        assert!(replaced.len() > 20);
        for (_, target) in replaced {
            assert!(target.ends_with(&staging), "{target}");
        }
        assert!(KUBERNETES.variables.iter().any(|(_, value)| *value == KUBERNETES.version));
    }

    #[test]
    fn go_build_names_the_file_after_the_package() {
        assert_eq!(Tool::Etcd.built_as(), "server");
        assert_eq!(Tool::Distribution.built_as(), "registry");
        assert_eq!(Tool::Kubectl.built_as(), "kubectl");
    }

    #[test]
    fn no_two_programs_share_a_name() {
        let names: BTreeSet<_> = Tool::VARIANTS.iter().map(|tool| tool.name()).collect();
        assert_eq!(names.len(), Tool::VARIANTS.len());
        assert!(Tool::DEFAULT.iter().all(|tool| Tool::VARIANTS.contains(tool)));
    }
}
