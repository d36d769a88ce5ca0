//! From outside: `/metrics` about resources and registries, and a log level that changes at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use api::Reason;
use serde_json::json;
use testbed::registry::Fault;

use crate::support::{Bench, cases, checked, eventually, same};

cases! {
    Embedded [
        metrics_follow_a_resource_from_its_failure_to_its_end,
        registry_metrics_name_the_host_and_what_it_cost,
        metrics_tell_leadership_process_and_queue,
        the_log_level_changes_while_it_runs,
        the_list_of_metrics_is_the_one_that_is_served,
    ]
}

const FILES: [(&str, &str); 1] = [("config.json", "{}")];

/// One line of `/metrics`.
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        Some(Self {
            name: name.to_owned(),
            labels: labels.strip_suffix('}')?.to_owned(),
            value: value.parse().ok()?,
        })
    }

    fn has(&self, label: &str, value: &str) -> bool {
        self.labels.split("\",").any(|pair| pair.trim_end_matches('"') == format!("{label}=\"{value}"))
    }
}

async fn samples(bench: &Bench, name: &str) -> Result<Vec<Sample>> {
    let text = bench.world.operator.metrics().await?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.filter_map(Sample::parse).filter(|sample| sample.name == name).collect())
}

/// The samples of a metric that speak of a resource of this test.
async fn of_resource(bench: &Bench, name: &str, resource: &str) -> Result<Vec<Sample>> {
    let all = samples(bench, name).await?;
    let ours = |sample: &Sample| sample.has("namespace", &bench.namespace) && sample.has("name", resource);
    Ok(all.into_iter().filter(ours).collect())
}

async fn total(bench: &Bench, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let all = samples(bench, name).await?;
    let fits = |sample: &&Sample| labels.iter().all(|(label, value)| sample.has(label, value));
    Ok(all.iter().filter(fits).map(|sample| sample.value).sum())
}

/// The labels of a condition come and go with the condition, and all series of a resource with the resource.
async fn metrics_follow_a_resource_from_its_failure_to_its_end(bench: Bench) -> Result<()> {
    let ready = |status: &'static str, reason: &'static str| {
        let bench = &bench;
        eventually(format!("Ready to be {status} {reason}"), move || async move {
            let conditions = of_resource(bench, "artifactconfig_resource_condition", "web").await?;
            let ready: Vec<_> = conditions.iter().filter(|sample| sample.has("type", "Ready")).collect();
            let [only] = ready.as_slice() else { return Ok(Err(format!("{} series", ready.len()))) };
            let holds = only.has("status", status) && only.has("reason", reason) && is(only.value, 1.0);
            Ok(if holds { Ok(()) } else { Err(only.labels.clone()) })
        })
    };
    let image = bench.image("web:v1");
    let image_digest = bench.push(&image).await?;
    bench.apply("web", json!({"image": image})).await?;
    ready("False", "ArtifactNotFound").await?;
    same("info", of_resource(&bench, "artifactconfig_resource_info", "web").await?.len(), 0)?;

    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    let artifact = bench.attach(&image, &FILES).await?;
    bench.sync_ready("web").await?;
    ready("True", "Synced").await?;
    let info = of_resource(&bench, "artifactconfig_resource_info", "web").await?;
    let [info] = info.as_slice() else { anyhow::bail!("{} info series", info.len()) };
    for (label, value) in [
        ("image", image.as_str()),
        ("image_digest", &image_digest),
        ("artifact_digest", &artifact),
        ("target", "web"),
    ] {
        checked(&format!("{label} is {value}"), info.has(label, value), &info.labels)?;
    }
    let success =
        of_resource(&bench, "artifactconfig_resource_last_success_timestamp_seconds", "web").await?;
    let success = success.first().context("no time of last success")?.value;
    checked("the last success is just now", success >= before, success)?;

    bench.delete("web").await?;
    for metric in [
        "artifactconfig_resource_condition",
        "artifactconfig_resource_info",
        "artifactconfig_resource_last_success_timestamp_seconds",
    ] {
        eventually(format!("{metric} to end"), || async {
            let left = of_resource(&bench, metric, "web").await?.len();
            Ok(if left == 0 { Ok(()) } else { Err(format!("{left} series")) })
        })
        .await?;
    }
    Ok(())
}

fn is(value: f64, expected: f64) -> bool {
    (value - expected).abs() < f64::EPSILON
}

/// What blobs of the embedded registry have cost so far.
async fn costs(bench: &Bench) -> Result<[f64; 6]> {
    let host = bench.world.embedded.host();
    let host = ("host", host.as_str());
    let blob = ("operation", "blob");
    let requests = "artifactconfig_registry_requests_total";
    let waited = "artifactconfig_registry_waited_seconds_total";
    Ok([
        total(bench, requests, &[host, blob, ("status", "429")]).await?,
        total(bench, "artifactconfig_registry_retries_total", &[host, blob]).await?,
        total(bench, "artifactconfig_registry_throttled_total", &[host]).await?,
        total(bench, waited, &[host, ("cause", "retry_after")]).await?,
        total(bench, "artifactconfig_cache_lookups_total", &[("cache", "blob"), ("result", "hit")]).await?,
        total(bench, "artifactconfig_registry_received_bytes_total", &[host, blob]).await?,
    ])
}

/// Other tests ask the same registry at the same time, so what is counted can only be more.
async fn registry_metrics_name_the_host_and_what_it_cost(bench: Bench) -> Result<()> {
    let content = "x".repeat(50_000);
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", &content)]).await?;
    let prefix = format!("/v2/{}/web/blobs/", bench.namespace);
    bench
        .world
        .embedded
        .inject(Fault::on(&prefix).method("GET").respond(429, &[("retry-after", "1")], "").times(1));
    let before = costs(&bench).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    // The same content once more is no request.
    bench.apply("twin", json!({"image": image})).await?;
    bench.ready("twin").await?;
    let after = costs(&bench).await?;
    let least = [
        ("a 429", 1.0),
        ("a retry", 1.0),
        ("a throttling", 1.0),
        ("a second of Retry-After", 1.0),
        ("a hit", 1.0),
        ("the bytes", 50_000.0),
    ];
    for ((what, least), (before, after)) in least.into_iter().zip(before.into_iter().zip(after)) {
        checked(&format!("{what} more"), after >= before + least, (before, after))?;
    }
    let host = bench.world.embedded.host();
    let durations = samples(&bench, "artifactconfig_registry_request_duration_seconds_count").await?;
    let timed = durations.iter().any(|sample| sample.has("host", &host) && sample.has("operation", "blob"));
    checked("durations by host and operation", timed, &host)
}

/// What does not depend on any resource.
async fn metrics_tell_leadership_process_and_queue(bench: Bench) -> Result<()> {
    bench.push(&bench.image("none:v1")).await?;
    bench.apply("none", json!({"image": bench.image("none:v1")})).await?;
    bench.failed("none", Reason::ArtifactNotFound).await?;
    let one = async |name: &str| -> Result<f64> {
        let samples = samples(&bench, name).await?;
        same(&format!("samples of {name}"), samples.len(), 1)?;
        Ok(samples[0].value)
    };
    same("leader", is(one("artifactconfig_leader").await?, 1.0), true)?;
    same("panics", is(one("artifactconfig_panics_total").await?, 0.0), true)?;
    same("left out", is(one("artifactconfig_resources_omitted").await?, 0.0), true)?;
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
        "artifactconfig_runtime_workers",
        "artifactconfig_runtime_alive_tasks",
        "artifactconfig_queue_wait_seconds_count",
    ] {
        let value = one(name).await?;
        checked(&format!("{name} is above 0"), value > 0.0, value)?;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    let age = now - one("process_start_time_seconds").await?;
    checked(
        "it started since this test binary did, give or take a clock",
        (-2.0..3600.0).contains(&age),
        age,
    )?;
    // Many tests share the operator: that nobody waits is only true now and then, and must come.
    eventually("an empty queue", || async {
        let depth = one("artifactconfig_queue_depth").await?;
        Ok(if is(depth, 0.0) { Ok(()) } else { Err(format!("{depth} are due")) })
    })
    .await
}

/// Debug lines appear and go without a restart; what is no filter changes nothing.
async fn the_log_level_changes_while_it_runs(bench: Bench) -> Result<()> {
    let operator = &bench.world.operator;
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let quiet_looks = || {
        let log = operator.log();
        log.lines().filter(|line| line.contains("unchanged") && line.contains(&bench.namespace)).count()
    };
    bench.sync_ready("web").await?;
    same("level at the start", operator.log_level().await?, "info".to_owned())?;
    same("lines of looks without news", quiet_looks(), 0)?;

    let (status, why) = operator.set_log_level("artifactconfig=loud").await?;
    same("status for a wrong filter", status, 400)?;
    checked(
        "it says what one looks like",
        why.contains("artifactconfig=loud") && why.contains("such as"),
        &why,
    )?;
    same("status for a long filter", operator.set_log_level("a".repeat(5000)).await?.0, 413)?;
    same("status for an empty filter", operator.set_log_level("").await?.0, 400)?;
    same("the level is as it was", operator.log_level().await?, "info".to_owned())?;

    let debug = "artifactconfig=debug,info";
    same("answer", operator.set_log_level(debug).await?, (200, format!("{debug}\n")))?;
    bench.sync_ready("web").await?;
    // The line comes after the status that ends the wait.
    eventually("a debug line", || async {
        Ok(if quiet_looks() > 0 { Ok(()) } else { Err("there is none".to_owned()) })
    })
    .await?;
    same("answer", operator.set_log_level("info\n").await?, (200, "info\n".to_owned()))?;
    let changes = operator.log().lines().filter(|line| line.contains("log level changed")).count();
    same("lines that tell of the change", changes, 2)?;
    let seen = quiet_looks();
    bench.sync_ready("web").await?;
    bench.sync_ready("web").await?;
    same("lines of looks without news, afterwards", quiet_looks(), seen)
}

/// `docs/metrics.md` lists what is served, by name, type and labels, and nothing else.
async fn the_list_of_metrics_is_the_one_that_is_served(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    // Series of retries and throttling exist only after the first one.
    let blobs = format!("/v2/{}/web/blobs/", bench.namespace);
    bench
        .world
        .embedded
        .inject(Fault::on(&blobs).method("GET").respond(429, &[("retry-after", "1")], "").times(1));
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"))?;
    let mut listed = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells.as_slice() else { continue };
        let words =
            |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        // The main operator sends no traces.
        if let Some(name) = words(name).pop_first()
            && !meaning.contains("--otlp-endpoint")
        {
            listed.insert(name, ((*kind).to_owned(), words(labels)));
        }
    }
    let text = bench.world.operator.metrics().await?;
    let mut served = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (family, kind) = line.split_once(' ').context(line.to_owned())?;
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        served.insert(format!("{family}{suffix}"), kind.to_owned());
    }
    let kinds: BTreeMap<_, _> = listed.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
    same("names and types", served, kinds)?;
    for sample in text.lines().filter(|line| !line.starts_with('#')).filter_map(Sample::parse) {
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| sample.name.strip_suffix(suffix).filter(|name| listed.contains_key(*name)));
        let name = name.unwrap_or(&sample.name);
        let (_, labels) = listed.get(name).with_context(|| format!("{name} is not listed"))?;
        let keys = sample.labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        let keys: BTreeSet<_> = keys.filter(|key| key != "le").collect();
        same(&format!("labels of {name}"), &keys, labels)?;
    }
    Ok(())
}
