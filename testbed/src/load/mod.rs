//! `testbed load`: what the operator costs, as figures that mean something on another machine as well.

mod bare;
mod burst;
mod images;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::registry::EmbeddedRegistry;
use testbed::{Cluster, ClusterOptions, Manifests, OperatorOptions, OperatorProcess};
use tokio::time::{Instant, sleep};

use self::burst::{Burst, Resources};
use self::report::{Idle, Report, Restart};
use crate::long::{duration, save, say};
use crate::measure::{Usage, machine};
use crate::world::check_operator;

/// Requests side by side, for the bare requests and for creating resources: as many as the operator's default.
const SIDE_BY_SIDE: usize = 16;

/// `spec.interval` of everything here: the default.
const INTERVAL: Duration = Duration::from_mins(5);

/// After a burst: reconciles that its own writes triggered still run.
const AFTERMATH: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// The operator's program; figures are those of a release build, for example target/release/artifactconfig
    #[arg(long, value_name = "PATH")]
    operator: PathBuf,
    /// How many resources are created at once, each with its own image and config
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    count: u32,
    /// How many resources then have nothing to do, those of the burst included; 0 leaves this part out
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=50_000))]
    idle: u32,
    /// How long the idle ones are watched; whole intervals (5m) say most
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = window)]
    window: Duration,
    /// Where to write the report, in Markdown; it is printed in any case
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A further argument of `artifactconfig controller`; may be given several times
    #[arg(long = "operator-arg", value_name = "ARG", allow_hyphen_values = true)]
    operator_args: Vec<String>,
    #[command(flatten)]
    manifests: crate::ManifestsArgs,
}

fn window(text: &str) -> Result<Duration> {
    let parsed = duration(text)?;
    ensure!(parsed >= Duration::from_secs(1), "at least 1s");
    Ok(parsed)
}

/// Measures and reports. Whether a figure is good is not judged: that depends on the machine.
pub(crate) async fn run(args: LoadArgs) -> Result<()> {
    check_operator(&args.operator)?;
    let manifests = Manifests::find(args.manifests.root())?;
    let (count, before) = (args.count as usize, machine());
    say("starting cluster and registry …");
    let options = ClusterOptions { manifests: vec![manifests.crd()], ..ClusterOptions::default() };
    let (cluster, registry) = tokio::try_join!(Cluster::start(options), EmbeddedRegistry::start())?;
    let kubeconfig = cluster.install(&manifests).await?;

    say(&format!("bare requests for {count} …"));
    let bare = bare::measure(&cluster, count).await?;

    say(&format!("pushing {count} images, and a config for each …"));
    let resources = Resources::new(&cluster, &registry, "load").await?;
    resources.push(0..count).await?;
    let mut options = OperatorOptions::new(&args.operator, kubeconfig);
    options.args.clone_from(&args.operator_args);
    let operator = OperatorProcess::start(options).await?;
    let started = Usage::of(operator.pid().await)?;
    say(&format!("{count} ArtifactConfigs at once …"));
    let burst = at_once(&resources, &operator, 0..count).await?;

    say("starting the operator anew …");
    let restart = restarted(&operator, count).await?;

    let (mut more, mut idle) = (None, None);
    let total = args.idle as usize;
    if total > count {
        say(&format!("pushing {} images more …", total - count));
        resources.push(count..total).await?;
        say(&format!("{} ArtifactConfigs more at once …", total - count));
        more = Some(at_once(&resources, &operator, count..total).await?);
    }
    if total > 0 {
        say(&format!("{} ArtifactConfigs, idle for {:?} …", total.max(count), args.window));
        idle = Some(idling(&operator, &registry, total.max(count), args.window).await?);
    }
    let report = Report { before, bare, started, burst, restart, more, idle, program: &args.operator };
    let text = report.markdown();
    println!("{text}");
    if let Some(path) = &args.report {
        save(path, &text)?;
    }
    Ok(())
}

async fn at_once(
    resources: &Resources<'_>,
    operator: &OperatorProcess,
    numbers: std::ops::Range<usize>,
) -> Result<Burst> {
    let pid = operator.pid().await;
    let before = Usage::of(pid)?;
    resources.forget_requests();
    let begun = Instant::now();
    resources.create(numbers.clone()).await?;
    let took = begun.elapsed();
    let done = Usage::of(pid)?;
    resources.check(numbers.clone()).await?;
    sleep(AFTERMATH).await;
    let after = Usage::of(pid)?;
    Ok(Burst {
        count: numbers.len(),
        took,
        cpu: done.cpu.saturating_sub(before.cpu),
        aftermath: after.cpu.saturating_sub(done.cpu),
        rss: after.rss,
        peak_rss: after.peak_rss,
        requests: resources.requests(),
    })
}

/// Measures a restart: everything is listed and reconciled again, and nothing is written.
async fn restarted(operator: &OperatorProcess, count: usize) -> Result<Restart> {
    operator.terminate().await?;
    let begun = Instant::now();
    operator.restart().await?;
    let ready = begun.elapsed();
    let pid = operator.pid().await;
    // Each is reconciled once after a start.
    testbed::eventually("every resource to be looked at", Duration::from_mins(5), || async {
        let done = reconciles(&operator.metrics().await?);
        Ok(if done >= count { Ok(()) } else { Err(format!("{done} of {count}")) })
    })
    .await?;
    let looked_at = begun.elapsed();
    let usage = Usage::of(pid)?;
    Ok(Restart { ready, looked_at, cpu: usage.cpu, rss: usage.rss })
}

/// Reconciles so far, of all results, out of `/metrics`.
fn reconciles(metrics: &str) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with("artifactconfig_reconciles_total"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}

async fn idling(
    operator: &OperatorProcess,
    registry: &EmbeddedRegistry,
    count: usize,
    window: Duration,
) -> Result<Idle> {
    // After an interval, work of the burst is over, and each resource has its own time within the interval.
    sleep(INTERVAL.min(window)).await;
    let pid = operator.pid().await;
    registry.clear_requests();
    let (before, reconciled) = (Usage::of(pid)?, reconciles(&operator.metrics().await?));
    let begun = Instant::now();
    sleep(window).await;
    let (after, took) = (Usage::of(pid)?, begun.elapsed());
    Ok(Idle {
        count,
        took,
        cpu: after.cpu.saturating_sub(before.cpu),
        rss: after.rss,
        peak_rss: after.peak_rss,
        reconciles: reconciles(&operator.metrics().await?).saturating_sub(reconciled),
        requests: registry.requests().len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconciles_of_all_results_are_added_up() {
        let text = "# TYPE artifactconfig_reconciles counter\n\
            artifactconfig_reconciles_total{result=\"success\",reason=\"Synced\"} 7\n\
            artifactconfig_reconciles_total{result=\"error\",reason=\"X\"} 2\nother_total 5\n";
        assert_eq!(reconciles(text), 9);
        assert_eq!(reconciles(""), 0);
    }
}
