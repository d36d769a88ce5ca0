//! `testbed soak`: the operator under churn and trouble for as long as one likes, watched, and judged at the end.

mod churn;
mod log;
mod model;
mod pace;
mod proxy;
mod report;
mod sample;
mod stage;
mod stats;
mod trouble;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::ListParams;
use testbed::Manifests;
use tokio::time::{Instant, interval, sleep};

use self::churn::{Churn, tried};
use self::log::Summary;
use self::model::Files;
use self::pace::Pace;
use self::report::Report;
use self::sample::{MANAGED, Sample};
use self::stage::Stage;
use self::trouble::Troubles;
use self::verdict::{Check, Complaints, Managed, Observed};
use crate::long::{duration, save, say};
use crate::measure::machine;
use crate::world::check_operator;

/// How long everything may take to come to rest once nothing is done and nothing broken any more. Failures are tried
/// again after at most an interval, which is a minute; collecting what a deleted resource owned is up to Kubernetes.
const SETTLE: Duration = Duration::from_mins(4);

/// The shortest run that is any use.
const SHORTEST: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct SoakArgs {
    /// The operator's program, for example target/release/artifactconfig
    #[arg(long, value_name = "PATH")]
    operator: PathBuf,
    /// How long there is churn, such as 1m, 90s or 1h. Starting and judging add some minutes
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = churning)]
    duration: Duration,
    /// What is done and broken, in which order (default: by the clock). The same seed makes the same choices; how they
    /// fall in with each other is up to the machine
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many resources there are, give or take a fifth as they come and go
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(5..=500))]
    resources: u16,
    /// Where to write the report, in Markdown; the operator's log goes beside it, as FILE.log
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A further argument of `artifactconfig controller`; may be given several times
    #[arg(long = "operator-arg", value_name = "ARG", allow_hyphen_values = true)]
    operator_args: Vec<String>,
    #[command(flatten)]
    manifests: crate::ManifestsArgs,
}

fn churning(text: &str) -> Result<Duration> {
    let parsed = duration(text)?;
    ensure!(parsed >= SHORTEST, "at least {SHORTEST:?}: less shows nothing");
    Ok(parsed)
}

/// Runs, judges, reports. An error means that a check failed, or that the soak itself did.
pub(crate) async fn run(args: SoakArgs) -> Result<()> {
    check_operator(&args.operator)?;
    let manifests = Manifests::find(args.manifests.root())?;
    let seed = args.seed.unwrap_or_else(|| Timestamp::now().as_millisecond().unsigned_abs());
    let pace = Pace::of(args.duration);
    say(&format!("seed {seed}; starting cluster, two registries and the operator …"));
    let stage = Stage::start(&args, &manifests).await?;
    let result = soak(&stage, &args, &pace, seed).await;
    if let Some(report) = &args.report {
        save(&report.with_added_extension("log"), &stage.operator.log())?;
    }
    result
}

async fn soak(stage: &Stage, args: &SoakArgs, pace: &Pace, seed: u64) -> Result<()> {
    let started = Timestamp::now();
    let before = machine();
    let pid = stage.operator.pid().await;
    let mut churn = Churn::new(stage, pace.clone(), seed, args.resources.into());
    churn.prepare().await?;
    let (complaints, _) = settle(stage, &churn).await?;
    ensure!(complaints.is_empty(), "before anything was broken: {complaints:?}");

    say(&format!("{} resources are ready; churn for {:?} …", args.resources, pace.duration));
    let begun = Instant::now();
    let deadline = begun + pace.duration;
    let troubles = Troubles::default();
    let samples = Mutex::new(Vec::new());
    let work = async {
        tokio::try_join!(churn.run(deadline), troubles.run(stage, pace, seed.wrapping_add(1), deadline))
    };
    tokio::select! {
        result = work => { result?; }
        result = watch(stage, pace, pid, begun, &troubles, &samples) => result?,
    }
    let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        samples.len() >= 4,
        "only {} looks at the operator: the machine is too slow for this",
        samples.len()
    );

    say("everything works again; waiting until it has settled …");
    churn.end().await?;
    let (complaints, took) = settle(stage, &churn).await?;
    let written = written_in(stage, pace.quiet).await?;
    stage.check_operator().await?;
    let settled = Sample::take(stage, pid, begun, &troubles).await?;
    let log = Summary::of(&stage.operator.log());

    let mut checks = vec![
        Check::none("resources that are not what their model says", &complaints.state),
        Check::none("revisions beyond revisionHistoryLimit", &complaints.revisions),
        Check::none("ConfigMaps of deleted resources", &complaints.orphans),
        Check::none("objects written once it had settled", &written),
        Check::none("panics, errors and foreign lines in the log", &log.alarming),
    ];
    checks.extend(verdict::of_samples(&samples, &settled, pace));
    let usage = settled.usage;
    let report = Report {
        circumstances: vec![
            ("operator", described(&args.operator)),
            ("started", started.strftime("%Y-%m-%d %H:%M UTC").to_string()),
            (
                "churn",
                format!(
                    "{:?}, then settled within {:.0} s, then watched for {:?}",
                    pace.duration,
                    took.as_secs_f64(),
                    pace.quiet
                ),
            ),
            ("seed", seed.to_string()),
            (
                "resources",
                format!(
                    "{}; {} deleted on the way",
                    args.resources,
                    churn.model.left.len() + churn.model.gone.len()
                ),
            ),
            ("artifacts attached", churn.model.artifacts.len().to_string()),
            (
                "processor time of the operator",
                format!("{:.1} s, {:.2} % of a core", usage.cpu.as_secs_f64(), share(usage.cpu, settled.at)),
            ),
            ("connections to the API server", format!("{} opened in all", stage.proxy.accepted())),
            ("machine before", before),
            ("machine after", machine()),
        ],
        checks: &checks,
        samples: &samples,
        settled: &settled,
        acts: churn.done.into_iter().collect(),
        troubles: troubles.table(),
        log: &log,
    };
    let mut verdict = String::new();
    report.verdict(&mut verdict);
    println!("{verdict}");
    if let Some(path) = &args.report {
        save(path, &report.markdown())?;
        say(&format!("report: {}", path.display()));
    }
    let failed: Vec<_> =
        checks.iter().filter(|check| check.passed == Some(false)).map(|check| check.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}; once more with --seed {seed}", failed.join(", "));
    }
    say("passed");
    Ok(())
}

/// Looks at the operator again and again; ends only with an error.
async fn watch(
    stage: &Stage,
    pace: &Pace,
    pid: u32,
    begun: Instant,
    troubles: &Troubles,
    samples: &Mutex<Vec<Sample>>,
) -> Result<()> {
    let mut ticks = interval(pace.sample);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        stage.check_operator().await?;
        let sample = Sample::take(stage, pid, begun, troubles).await?;
        samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
}

/// Waits until nothing is wrong, or the time is up; returns what is wrong then, and how long it took.
async fn settle(stage: &Stage, churn: &Churn<'_>) -> Result<(Complaints, Duration)> {
    let begun = Instant::now();
    loop {
        stage.check_operator().await?;
        let complaints = Complaints::of(&churn.model, &observe(stage).await?);
        if complaints.is_empty() || begun.elapsed() > SETTLE {
            return Ok((complaints, begun.elapsed()));
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn observe(stage: &Stage) -> Result<Observed> {
    let mut observed = Observed::default();
    let all = ListParams::default();
    for namespace in &stage.namespaces {
        let (configs, config_maps) = (stage.configs(namespace), stage.config_maps(namespace));
        for resource in tried(|| async { configs.list(&all).await }).await? {
            observed.resources.insert(resource.name_any(), serde_json::to_value(&resource)?);
        }
        for config_map in tried(|| async { config_maps.list(&all).await }).await? {
            let (name, labels) = (config_map.name_any(), config_map.labels());
            if labels.get("app.kubernetes.io/managed-by").is_some_and(|manager| manager == "artifactconfig") {
                observed.managed.push(Managed {
                    name: name.clone(),
                    owner: labels.get("artifactconfig.dev/owner-uid").cloned().unwrap_or_default(),
                    is_revision: labels.contains_key("artifactconfig.dev/revision"),
                });
            }
            observed.content.insert((namespace.clone(), name), content(config_map));
        }
    }
    Ok(observed)
}

/// Text and bytes together.
fn content(config_map: ConfigMap) -> Files {
    let text = config_map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let bytes = config_map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    text.chain(bytes).collect()
}

/// What is written while nothing changes: nothing should be.
async fn written_in(stage: &Stage, time: Duration) -> Result<Vec<String>> {
    let before = versions(stage).await?;
    sleep(time).await;
    let after = versions(stage).await?;
    let changed = after.iter().filter(|(name, version)| before.get(*name) != Some(version));
    Ok(changed.map(|(name, _)| name.clone()).collect())
}

async fn versions(stage: &Stage) -> Result<BTreeMap<String, Option<String>>> {
    let mut versions = BTreeMap::new();
    let (all, managed) = (ListParams::default(), ListParams::default().labels(MANAGED));
    for namespace in &stage.namespaces {
        let (configs, config_maps) = (stage.configs(namespace), stage.config_maps(namespace));
        for object in tried(|| async { configs.list_metadata(&all).await }).await? {
            versions.insert(format!("ArtifactConfig {}", object.name_any()), object.resource_version());
        }
        for object in tried(|| async { config_maps.list_metadata(&managed).await }).await? {
            versions.insert(format!("ConfigMap {}", object.name_any()), object.resource_version());
        }
    }
    Ok(versions)
}

/// Percent of one core.
fn share(cpu: Duration, time: Duration) -> f64 {
    cpu.as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0
}

/// Its last directory, which is the profile where cargo built it, and its name.
fn described(operator: &Path) -> String {
    let parts: Vec<_> = operator.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_one_writes_them() {
        assert_eq!(churning("1h").unwrap(), Duration::from_hours(1));
        assert_eq!(churning("1m30s").unwrap(), Duration::from_secs(90));
        for wrong in ["", "x", "-1h", "5s"] {
            assert!(churning(wrong).is_err(), "{wrong}");
        }
    }
}
