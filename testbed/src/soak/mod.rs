//! `testbed soak`: the operator under churn and trouble for as long as one likes, watched, and judged at the end.

mod churn;
mod end;
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

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use jiff::Timestamp;
use testbed::Manifests;
use tokio::time::{Instant, interval};

use self::churn::Churn;
use self::end::{End, Start, circumstances, judge, settle};
use self::pace::Pace;
use self::report::Report;
use self::sample::Sample;
use self::stage::Stage;
use self::trouble::Troubles;
use crate::long::{duration, save, say};
use crate::measure::machine;
use crate::world::check_operator;

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
    let start = Start { at: Timestamp::now(), machine: machine() };
    let mut churn = Churn::new(stage, pace.clone(), seed, args.resources.into());
    churn.prepare().await?;
    let (complaints, _) = settle(stage, &churn).await?;
    ensure!(complaints.is_empty(), "before anything was broken: {complaints:?}");

    say(&format!("{} resources are ready; churn for {:?} …", args.resources, pace.duration));
    let troubles = Troubles::default();
    let (begun, samples) = disturb(stage, pace, seed, &mut churn, &troubles).await?;

    say("everything works again; waiting until it has settled …");
    churn.end().await?;
    let end = End::observe(stage, pace, &churn, begun, &troubles).await?;
    let checks = judge(&samples, &end, pace);
    let report = Report {
        circumstances: circumstances(stage, args, pace, seed, &churn, start, &end),
        checks: &checks,
        samples: &samples,
        settled: &end.settled,
        acts: churn.done.into_iter().collect(),
        troubles: troubles.table(),
        log: &end.log,
    };
    publish(&report, args.report.as_deref())?;
    let failed: Vec<_> =
        checks.iter().filter(|check| check.passed == Some(false)).map(|check| check.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}; once more with --seed {seed}", failed.join(", "));
    }
    say("passed");
    Ok(())
}

/// Churn and trouble until the time is up, with samples meanwhile. Returns when it began.
async fn disturb(
    stage: &Stage,
    pace: &Pace,
    seed: u64,
    churn: &mut Churn<'_>,
    troubles: &Troubles,
) -> Result<(Instant, Vec<Sample>)> {
    let pid = stage.operator.pid().await;
    let begun = Instant::now();
    let deadline = begun + pace.duration;
    let samples = Mutex::new(Vec::new());
    let work = async {
        tokio::try_join!(churn.run(deadline), troubles.run(stage, pace, seed.wrapping_add(1), deadline))
    };
    tokio::select! {
        result = work => { result?; }
        result = watch(stage, pace, pid, begun, troubles, &samples) => result?,
    }
    let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(samples.len() >= 4, "only {} samples of the operator: the machine is too slow", samples.len());
    Ok((begun, samples))
}

/// Prints the checks and writes the report.
fn publish(report: &Report<'_>, path: Option<&Path>) -> Result<()> {
    let mut verdict = String::new();
    report.verdict(&mut verdict);
    println!("{verdict}");
    if let Some(path) = path {
        save(path, &report.markdown())?;
        say(&format!("report: {}", path.display()));
    }
    Ok(())
}

/// Takes a sample of the operator at each interval; ends only with an error.
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
