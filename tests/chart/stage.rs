//! Runs the tests: Helm for all, a cluster for those that share one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use testbed::{Cluster, ClusterOptions, Helm, Manifests};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Tests side by side; most of them wait for programs.
const THREADS: usize = 3;

/// Longest a test may take. Waits inside of it end earlier and say what they waited for.
const LIMIT: Duration = Duration::from_mins(4);

/// Longest wait for anything inside of a test.
const WAIT: Duration = Duration::from_mins(1);

/// A test, by its name.
pub struct Case(pub &'static str, pub Run);

/// The parts that a test gets.
pub enum Run {
    /// Helm. The test may start a separate cluster.
    Alone(fn(Tools) -> BoxFuture<'static, Result<()>>),
    /// The shared cluster, in which the definition is installed.
    Shared(fn(Shared) -> BoxFuture<'static, Result<()>>),
}

/// Helm, and the files of this checkout.
#[derive(Clone)]
pub struct Tools {
    pub helm: Arc<Helm>,
    pub manifests: Manifests,
}

/// The same, and the shared cluster.
#[derive(Clone)]
pub struct Shared {
    pub tools: Tools,
    pub cluster: Arc<Cluster>,
}

/// Declares `cases()`: the tests of a module.
macro_rules! cases {
    ($($run:ident [$($test:ident),* $(,)?])*) => {
        pub fn cases() -> Vec<$crate::stage::Case> {
            vec![$($($crate::stage::Case(
                concat!(module_path!(), "::", stringify!($test)),
                $crate::stage::Run::$run(|place| Box::pin($test(place))),
            )),*),*]
        }
    };
}
pub(crate) use cases;

impl Tools {
    async fn locate() -> Result<Self> {
        Ok(Self { helm: Arc::new(Helm::locate().await?), manifests: Manifests::find(None)? })
    }

    /// The chart's directory, as Helm takes it.
    pub fn chart(&self) -> String {
        self.manifests.chart().display().to_string()
    }

    /// A file with values, of those that are there for tests.
    pub fn values(&self, name: &str) -> String {
        self.manifests.chart().join(format!("ci/{name}-values.yaml")).display().to_string()
    }

    /// What the chart renders, with further arguments of `helm template`.
    pub async fn template(&self, args: &[&str]) -> Result<String> {
        let chart = self.chart();
        let command = [&["template", "artifactconfig", &chart, "--namespace=operator"], args].concat();
        Ok(self.helm.run(&command).await?.ok("helm template")?.stdout)
    }
}

impl Shared {
    /// A separate namespace for the test, in which Pods must be restricted.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = self.cluster.create_namespace(prefix).await?;
        restrict(&self.cluster, &name).await?;
        Ok(name)
    }
}

/// Makes the namespace refuse Pods that do not fit the Pod Security Standard `restricted`.
pub async fn restrict(cluster: &Cluster, namespace: &str) -> Result<()> {
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", namespace, label, "--overwrite"]).await?.ok("kubectl label")?;
    Ok(())
}

/// A cluster in which the definition is installed or not.
pub async fn cluster(definitions: Vec<PathBuf>) -> Result<Cluster> {
    Cluster::start(ClusterOptions { manifests: definitions, ..ClusterOptions::default() }).await
}

/// Waits until the resources of the definition can be listed. A definition that is deleted before makes the API server
/// try again to clean up, ever less often, up to minutes apart.
pub async fn served(cluster: &Cluster) -> Result<()> {
    eventually("the resources to be served", || async {
        let output = cluster.kubectl(&["get", "artifactconfigs", "--all-namespaces"]).await?;
        Ok(if output.success() { Ok(()) } else { Err(output.stderr) })
    })
    .await
}

/// Waits until the probe answers with a value; its last word is in the error.
pub async fn eventually<T, F>(what: impl std::fmt::Display, probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Result<T, String>>>,
{
    testbed::eventually(what, WAIT, probe).await
}

/// Like `assert_eq`, as an error.
#[allow(clippy::needless_pass_by_value, reason = "what is compared is mostly temporary")]
pub fn same<L: PartialEq<R> + std::fmt::Debug, R: std::fmt::Debug>(
    what: &str,
    left: L,
    right: R,
) -> Result<()> {
    ensure!(left == right, "{what}:\n     is {left:?}\nshould be {right:?}");
    Ok(())
}

struct Stage {
    runtime: Runtime,
    tools: OnceCell<Result<Tools, String>>,
    cluster: OnceCell<Result<Arc<Cluster>, String>>,
}

impl Stage {
    async fn tools(&self) -> Result<Tools> {
        let locate = || async { Tools::locate().await.map_err(|why| format!("{why:#}")) };
        self.tools.get_or_init(locate).await.clone().map_err(|why| anyhow!("no Helm: {why}"))
    }

    async fn shared(&self) -> Result<Shared> {
        let tools = self.tools().await?;
        let definition = tools.manifests.crd();
        let start =
            || async { cluster(vec![definition]).await.map(Arc::new).map_err(|why| format!("{why:#}")) };
        // Kept also when it failed: the second test would fail for the same reason, only later.
        let cluster = self.cluster.get_or_init(start).await.clone();
        Ok(Shared { tools, cluster: cluster.map_err(|why| anyhow!("no cluster: {why}"))? })
    }

    async fn start(&self, run: &Run) -> Result<BoxFuture<'static, Result<()>>> {
        Ok(match run {
            Run::Alone(run) => run(self.tools().await?),
            Run::Shared(run) => run(self.shared().await?),
        })
    }

    fn run(&self, run: &Run) -> Result<(), Failed> {
        let result = self.runtime.block_on(async {
            // A separate task, so that a panic is an error like any other.
            let mut task = tokio::spawn(self.start(run).await?);
            match tokio::time::timeout(LIMIT, &mut task).await {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => Err(anyhow!("{panic}")),
                Err(_) => {
                    task.abort();
                    Err(anyhow!("it takes longer than {} s", LIMIT.as_secs()))
                }
            }
        });
        result.map_err(|why| Failed::from(format!("{why:#}")))
    }

    fn finish(mut self) -> Result<()> {
        let Some(Ok(cluster)) = self.cluster.take() else { return Ok(()) };
        self.runtime.block_on(async {
            Arc::into_inner(cluster).context("a test still uses the cluster")?.stop().await
        })
    }
}

/// Runs the cases.
pub fn main(cases: Vec<Case>) -> ExitCode {
    testbed::install_crypto_provider();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("no async runtime: {why}");
            return ExitCode::FAILURE;
        }
    };
    let stage = Arc::new(Stage { runtime, tools: OnceCell::new(), cluster: OnceCell::new() });
    let trial = |Case(name, run): Case| {
        let stage = Arc::clone(&stage);
        let name = name.split_once("::").map_or(name, |(_, name)| name);
        Trial::test(name, move || stage.run(&run))
    };
    let trials = cases.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Every trial has run, or was dropped as filtered out.
    if let Err(why) = Arc::into_inner(stage).map_or(Ok(()), Stage::finish) {
        eprintln!("after the tests: {why:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
