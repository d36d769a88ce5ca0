//! The documentation is true: every block of YAML is applied, every command is run or marked why not, every link, flag,
//! field, reason and path exists. Each page is one test, which runs from its top in a separate place (decision 0018).

mod authority;
mod kubelet;
#[path = "../support/overlay.rs"]
mod overlay;
mod own;
mod page;
mod place;
mod reference;
mod story;
mod text;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use api::{ArtifactConfig, Reason, condition};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use libtest_mimic::{Arguments, Failed, Trial};
use testbed::tools::{Tool, ToolPaths, Tools};
use testbed::{
    Cluster, ClusterOptions, Definitions, Manifests, OperatorOptions, OperatorProcess, Scratch, eventually,
};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use authority::Authority;
use kubelet::Kubelet;
use page::Page;
use place::Place;
use text::Pages;

/// Pages side by side: they wait more than they compute.
const THREADS: usize = 4;

/// Longest wait for the operator to reconcile the resources of a page.
const LOOKED_AT: std::time::Duration = std::time::Duration::from_mins(1);

/// Other projects whose resources are on our pages, by the group that they stand in, and the namespace they run in.
const OTHERS: [(&str, Definitions, &str); 6] = [
    ("source.toolkit.fluxcd.io/", Definitions::FluxSource, "flux-system"),
    ("kustomize.toolkit.fluxcd.io/", Definitions::FluxKustomize, "flux-system"),
    ("helm.toolkit.fluxcd.io/", Definitions::FluxHelm, "flux-system"),
    ("notification.toolkit.fluxcd.io/", Definitions::FluxNotification, "flux-system"),
    ("argoproj.io/", Definitions::ArgoCd, "argocd"),
    ("monitoring.coreos.com/", Definitions::PrometheusOperator, "monitoring"),
];

/// The parts that all pages share.
struct Shared {
    tools: ToolPaths,
    authority: Authority,
    // The order is the order of dropping.
    operator: OperatorProcess,
    cluster: Cluster,
    trusted: Scratch,
}

impl Shared {
    async fn start(pages: &[&Page]) -> Result<Self> {
        let tools = Tools::locate()?.ensure(&[Tool::Kubectl, Tool::Helm, Tool::Oras]).await?;
        let authority = Authority::new()?;
        let trusted = Scratch::new("trusted").await?;
        let certificates = trusted.join("ca.crt");
        std::fs::write(&certificates, authority.pem())?;
        let manifests = Manifests::find(None)?;
        let options = ClusterOptions { manifests: vec![manifests.crd()], ..ClusterOptions::default() };
        let cluster = Cluster::start(options).await?;
        define(&cluster, pages).await?;
        let kubeconfig = cluster.install(&manifests).await?;
        let mut options = OperatorOptions::new(program(), kubeconfig);
        options.env.push(("SSL_CERT_FILE".to_owned(), certificates.display().to_string()));
        let operator = OperatorProcess::start(options).await?;
        Ok(Self { tools, authority, operator, cluster, trusted })
    }

    async fn tell(&self, page: &Page) -> Result<()> {
        if page.own_cluster {
            return self.tell_from_nothing(page).await;
        }
        let place = Place::new(page, &self.cluster, &self.tools, &self.authority, &program()).await?;
        place.settle().await?;
        let mut told = story::tell(page, &place).await;
        if told.is_ok() {
            told = self.accepted(&place).await;
        }
        self.clean_up(&place).await?;
        told
    }

    /// In a cluster where nothing is installed: the page does that.
    async fn tell_from_nothing(&self, page: &Page) -> Result<()> {
        let cluster = Arc::new(Cluster::start(ClusterOptions::default()).await?);
        let certificates = self.trusted.join("ca.crt");
        define(&cluster, &[page]).await?;
        let kubelet = Kubelet::start(Arc::clone(&cluster), program(), certificates);
        let place = Place::new(page, &cluster, &self.tools, &self.authority, &program()).await?;
        let told = story::tell(page, &place).await;
        drop(kubelet);
        told
    }

    /// The resources of a page are not only valid for the API server: the operator accepts them, too.
    async fn accepted(&self, place: &Place) -> Result<()> {
        let all: Api<ArtifactConfig> = Api::all(self.cluster.admin());
        eventually("every ArtifactConfig to be looked at", LOOKED_AT, || async {
            for config in all.list(&ListParams::default()).await?.items {
                if config.namespace().is_none_or(|namespace| !place.is_ours(&namespace)) {
                    continue;
                }
                let status = config.status.clone().unwrap_or_default();
                if status.observed_generation != config.metadata.generation {
                    return Ok(Err(format!("{} was not looked at", config.name_any())));
                }
                let ready = status.conditions.iter().find(|of| of.type_ == condition::READY);
                let refused = [Reason::InvalidSpec, Reason::InternalError].map(Reason::as_str);
                if let Some(ready) = ready.filter(|ready| refused.contains(&ready.reason.as_str())) {
                    anyhow::bail!("ArtifactConfig {}: {}", config.name_any(), ready.message);
                }
            }
            Ok(Ok(()))
        })
        .await
    }

    async fn clean_up(&self, place: &Place) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.cluster.admin());
        for namespace in namespaces.list(&ListParams::default()).await?.items {
            if place.is_ours(&namespace.name_any()) {
                namespaces.delete(&namespace.name_any(), &DeleteParams::background()).await?;
            }
        }
        Ok(())
    }
}

/// Installs the definitions of other projects that the pages use.
async fn define(cluster: &Cluster, pages: &[&Page]) -> Result<()> {
    let mut namespaces = BTreeSet::new();
    for (group, definitions, namespace) in OTHERS {
        let is_named =
            |page: &&Page| page.blocks().any(|(_, block)| block.is_applied() && block.text.contains(group));
        if pages.iter().any(is_named) {
            cluster.define(&[definitions]).await?;
            namespaces.insert(namespace);
        }
    }
    for namespace in namespaces {
        cluster.kubectl(&["create", "namespace", namespace]).await?.ok("kubectl create namespace")?;
    }
    Ok(())
}

/// The operator, which is also the command line.
fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_artifactconfig"))
}

struct Stage {
    runtime: Runtime,
    shared: OnceCell<Result<Arc<Shared>, String>>,
}

impl Stage {
    fn run(&self, pages: &Pages, page: &Page) -> Result<(), Failed> {
        let run = async {
            let together: Vec<&Page> = pages.values().filter(|page| !page.own_cluster).collect();
            let start =
                || async { Shared::start(&together).await.map(Arc::new).map_err(|why| format!("{why:#}")) };
            let shared = self
                .shared
                .get_or_init(start)
                .await
                .clone()
                .map_err(|why| anyhow!("nothing starts: {why}"))?;
            shared.tell(page).await
        };
        // A panic is an error like any other.
        let run = std::panic::AssertUnwindSafe(run).catch_unwind();
        match self.runtime.block_on(run) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Failed::from(format!("{why:#}"))),
            Err(_) => Err(Failed::from("it panicked")),
        }
    }

    fn finish(mut self) -> Result<()> {
        let Some(Ok(shared)) = self.shared.take() else { return Ok(()) };
        self.runtime.block_on(async {
            let shared = Arc::into_inner(shared).context("a test still uses the cluster")?;
            let log = shared.operator.log();
            let ended = shared.operator.terminate().await;
            shared.cluster.stop().await?;
            ensure!(!log.contains("panicked"), "the operator panicked:\n{log}");
            ensure!(ended?.success(), "the operator did not end with status 0");
            Ok(())
        })
    }
}

fn main() -> ExitCode {
    testbed::install_crypto_provider();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let (runtime, pages) = match (Runtime::new(), page::all()) {
        (Ok(runtime), Ok(pages)) => (runtime, Arc::new(pages)),
        (Err(why), _) => return failed(&why.into()),
        (_, Err(why)) => return failed(&why),
    };
    let stage = Arc::new(Stage { runtime, shared: OnceCell::new() });
    let mut trials = Vec::new();
    for (name, check) in text::CHECKS {
        let pages = Arc::clone(&pages);
        trials.push(Trial::test(format!("text::{name}"), move || {
            check(&pages).map_err(|why| Failed::from(format!("{why:#}")))
        }));
    }
    for (name, check) in own::CHECKS_OF_CHECKS {
        trials.push(Trial::test(format!("own::{name}"), move || {
            check().map_err(|why| Failed::from(format!("{why:#}")))
        }));
    }
    for path in pages.values().filter(|page| page.is_story()).map(|page| page.path.clone()) {
        let (stage, pages) = (Arc::clone(&stage), Arc::clone(&pages));
        trials.push(Trial::test(format!("page::{path}"), move || stage.run(&pages, &pages[&path])));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    match Arc::into_inner(stage).map_or(Ok(()), Stage::finish) {
        Ok(()) => conclusion.exit_code(),
        Err(why) => failed(&why),
    }
}

fn failed(why: &anyhow::Error) -> ExitCode {
    eprintln!("error: {why:#}");
    ExitCode::FAILURE
}
