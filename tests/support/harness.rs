//! Runs the tests of a binary against one world, which is started for the first of them and taken down after the last.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::Bench;
use super::world::{Kind, Setup, World};

/// Longest a test may take. Waits inside of it end earlier and say what they waited for.
const LIMIT: Duration = Duration::from_mins(4);

/// The registries that a test runs against.
#[derive(Clone, Copy, Debug)]
pub enum On {
    /// One run for each.
    Both,
    /// The other registry makes no difference here, or lacks what the test needs.
    Embedded,
    /// Only a registry without the Referrers API is of interest here.
    Distribution,
}

/// A test, to be run once or once for each registry.
pub struct Case {
    module: &'static str,
    test: &'static str,
    on: On,
    run: fn(Bench) -> BoxFuture<'static, Result<()>>,
}

impl Case {
    pub fn new(
        module: &'static str,
        test: &'static str,
        on: On,
        run: fn(Bench) -> BoxFuture<'static, Result<()>>,
    ) -> Self {
        let module = module.split_once("::").map_or(module, |(_, module)| module);
        Self { module, test, on, run }
    }

    fn trials(&self, stage: &Arc<Stage>) -> Vec<Trial> {
        let kinds: &[Kind] = match self.on {
            On::Both => &[Kind::Embedded, Kind::Distribution],
            On::Embedded => &[Kind::Embedded],
            On::Distribution => &[Kind::Distribution],
        };
        let trial = |kind: &Kind| {
            let (kind, test, run, stage) = (*kind, self.test, self.run, Arc::clone(stage));
            let name = match self.on {
                On::Both => format!("{}::{test}::{}", self.module, kind.name()),
                On::Embedded | On::Distribution => format!("{}::{test}", self.module),
            };
            Trial::test(name, move || stage.run(kind, test, run))
        };
        kinds.iter().map(trial).collect()
    }
}

/// Where all tests of a binary run.
struct Stage {
    runtime: Runtime,
    setup: Setup,
    world: OnceCell<Result<Arc<World>, String>>,
}

impl Stage {
    async fn world(&self) -> Result<Arc<World>> {
        // Kept also when it failed: the second test would fail for the same reason, only later.
        let start =
            || async { World::start(self.setup).await.map(Arc::new).map_err(|why| format!("{why:#}")) };
        self.world.get_or_init(start).await.clone().map_err(|why| anyhow!("the world does not start: {why}"))
    }

    fn run(
        &self,
        kind: Kind,
        test: &str,
        run: fn(Bench) -> BoxFuture<'static, Result<()>>,
    ) -> Result<(), Failed> {
        self.runtime.block_on(async {
            let world = self.world().await.map_err(Failed::from_error)?;
            let bench = Bench::new(world, kind, test).await.map_err(Failed::from_error)?;
            // A separate task, so that a panic is an error like any other and shows the same report.
            let mut task = tokio::spawn(run(bench.clone()));
            let result = match tokio::time::timeout(LIMIT, &mut task).await {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => Err(anyhow!("{panic}")),
                Err(_) => {
                    task.abort();
                    Err(anyhow!("it takes longer than {} s", LIMIT.as_secs()))
                }
            };
            match result {
                Ok(()) => bench.clean_up().await.map_err(Failed::from_error),
                Err(why) => {
                    let report = bench.report().await;
                    // Leftover objects must not keep the operator busy. The failure of the test is known already.
                    let _ = bench.clean_up().await;
                    Err(Failed::from(format!("{why:#}\n{report}")))
                }
            }
        })
    }

    /// Checks the world, and takes it down.
    fn finish(mut self) -> Result<()> {
        let Some(Ok(world)) = self.world.take() else { return Ok(()) };
        self.runtime.block_on(async {
            let verified = world.verify().await;
            let world = Arc::into_inner(world).context("a test still uses the world")?;
            let ended = world.operator.terminate().await;
            world.cluster.stop().await?;
            verified?;
            anyhow::ensure!(ended?.success(), "the operator did not end with status 0");
            Ok(())
        })
    }
}

trait FromError {
    fn from_error(error: anyhow::Error) -> Self;
}

impl FromError for Failed {
    fn from_error(error: anyhow::Error) -> Self {
        Self::from(format!("{error:#}"))
    }
}

/// Runs the cases. `threads` is their number side by side, unless the command line has another.
pub fn main(threads: usize, cases: &[Case]) -> ExitCode {
    main_with(threads, Setup::default(), cases)
}

/// The same in a world with more in it.
pub fn main_with(threads: usize, setup: Setup, cases: &[Case]) -> ExitCode {
    testbed::install_crypto_provider();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("no async runtime: {why}");
            return ExitCode::FAILURE;
        }
    };
    let stage = Arc::new(Stage { runtime, setup, world: OnceCell::new() });
    let trials = cases.iter().flat_map(|case| case.trials(&stage)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Every trial has run, or was dropped as filtered out.
    let finished = Arc::into_inner(stage).map_or(Ok(()), Stage::finish);
    if let Err(why) = finished {
        eprintln!("after the tests: {why:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
