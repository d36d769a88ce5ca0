//! No change, no write: the cost of an unchanged resource.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use api::{Reason, annotation};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use testbed::registry::{Fault, RecordedRequest};

use crate::support::{Bench, Snapshot, cases, checked, eventually, is_resolve, same};

cases! {
    Embedded [
        an_unchanged_resource_costs_two_requests_and_no_write,
        without_the_referrers_api_it_costs_no_more,
        a_private_registry_costs_no_more,
        a_failing_resource_writes_nothing_either,
        an_attached_signature_fetches_no_content,
        two_resources_of_one_image_fetch_its_content_once,
        equal_content_in_a_new_artifact_is_written_once,
        a_renamed_target_comes_to_rest,
    ]
}

/// Intervals that are watched. Each takes a second.
const INTERVALS: usize = 5;

const FILES: [(&str, &str); 1] = [("config.json", "{}")];

/// What happened to a quiet namespace over some intervals.
struct Observed {
    /// Requests to the registry, from one resolve up to, and without, the one that follows the last interval.
    requests: Vec<RecordedRequest>,
    before: Snapshot,
    after: Snapshot,
    api_requests: Vec<String>,
}

impl Observed {
    /// No object may have changed, and only these requests may have gone to the API server.
    fn check_writes(&self, but: &[&str]) -> Result<()> {
        same("objects and their versions", &self.after, &self.before)?;
        let asked: Vec<_> =
            self.api_requests.iter().filter(|request| !but.contains(&request.as_str())).collect();
        checked("the API server was not asked", asked.is_empty(), asked)
    }

    /// Each interval is to cost these requests and no others.
    fn check_requests(&self, interval: &[String]) -> Result<()> {
        let seen: Vec<_> =
            self.requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
        let expected: Vec<_> = interval.iter().cycle().take(interval.len() * INTERVALS).cloned().collect();
        same("requests", seen, expected)
    }

    fn resolves(&self) -> usize {
        self.requests.iter().filter(|request| is_resolve(request)).count()
    }
}

/// Watches until the image was resolved once more than there are intervals: between two resolves lies a whole sync.
async fn observe(bench: &Bench) -> Result<Observed> {
    // Earlier work may still run: an event comes after its status. The next sync begins after all that.
    let settled = wait_for_resolves(bench, SystemTime::now(), 1).await?;
    let (mark, before) = (bench.world.audit.mark()?, bench.snapshot().await?);
    let start = settled.last().context("no request")?.at + Duration::from_nanos(1);
    let requests = wait_for_resolves(bench, start, INTERVALS + 2).await?;
    let after = bench.snapshot().await?;
    let asked = bench.world.audit.since(mark, &bench.namespace)?;
    let api_requests = asked
        .iter()
        .map(|request| format!("{} {} {}", request.verb, request.resource, request.name))
        .collect();
    let heads: Vec<usize> = requests
        .iter()
        .enumerate()
        .filter(|(_, request)| is_resolve(request))
        .map(|(index, _)| index)
        .collect();
    let (first, end) = (heads[0], heads[INTERVALS]);
    Ok(Observed { requests: requests[first..end].to_vec(), before, after, api_requests })
}

async fn wait_for_resolves(bench: &Bench, since: SystemTime, count: usize) -> Result<Vec<RecordedRequest>> {
    eventually(format!("{count} syncs"), || async {
        let requests = bench.requests_since(since);
        let resolves = requests.iter().filter(|request| is_resolve(request)).count();
        Ok(if resolves >= count { Ok(requests) } else { Err(format!("there were {resolves}")) })
    })
    .await
}

/// At most two requests for each interval, the intervals as long as they should be, and nothing at all for the API server.
async fn an_unchanged_resource_costs_two_requests_and_no_write(bench: Bench) -> Result<()> {
    let (image, digest, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    bench.ready("web").await?;
    let observed = observe(&bench).await?;
    observed.check_writes(&[])?;
    same("syncs", observed.resolves(), INTERVALS)?;
    let listing = format!("/v2/{}/web/referrers/{digest}", bench.namespace);
    observed.check_requests(&[
        format!("HEAD /v2/{}/web/manifests/v1", bench.namespace),
        format!("GET {listing}"),
    ])?;
    let times: Vec<_> = observed.requests.iter().step_by(2).map(|request| request.at).collect();
    for pair in times.windows(2) {
        let gap = pair[1].duration_since(pair[0])?;
        checked(
            "an interval of 1 s is not shortened by more than its spread",
            gap >= Duration::from_millis(940),
            gap,
        )?;
    }
    Ok(())
}

/// The missing API is remembered: from the second sync on there are the tag of the image and the tag of its referrers.
async fn without_the_referrers_api_it_costs_no_more(bench: Bench) -> Result<()> {
    // For oras as well, which then keeps the list under the tag.
    let prefix = format!("/v2/{}/", bench.namespace);
    bench.world.embedded.inject(
        Fault::when(move |request| {
            request.uri.path().starts_with(&prefix) && request.uri.path().contains("/referrers/")
        })
        .status(404),
    );
    bench.world.embedded.inject(
        Fault::on(&format!("/v2/{}/web/manifests/", bench.namespace)).method("PUT").headers(|headers| {
            headers.remove("oci-subject");
        }),
    );
    let (image, digest, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    bench.ready("web").await?;
    let observed = observe(&bench).await?;
    observed.check_writes(&[])?;
    // Registries that bill by the pull count no HEAD.
    let list = format!("/v2/{}/web/manifests/{}", bench.namespace, digest.replace(':', "-"));
    observed
        .check_requests(&[format!("HEAD /v2/{}/web/manifests/v1", bench.namespace), format!("HEAD {list}")])
}

/// The accepted token is remembered. The Secret is read again each time, so that a new password counts.
async fn a_private_registry_costs_no_more(bench: Bench) -> Result<()> {
    let (image, digest, _) = bench.image_with("web:v1", &FILES).await?;
    bench.make_private().await?;
    let registry = json!({"pullSecrets": [{"name": "regcred"}]});
    bench.apply("web", json!({"image": image, "interval": "1s", "registry": registry})).await?;
    bench.ready("web").await?;
    let observed = observe(&bench).await?;
    observed.check_writes(&["get secrets regcred"])?;
    let listing = format!("/v2/{}/web/referrers/{digest}", bench.namespace);
    observed
        .check_requests(&[format!("HEAD /v2/{}/web/manifests/v1", bench.namespace), format!("GET {listing}")])
}

/// An unchanged failure is written once, even if it happens again and again.
async fn a_failing_resource_writes_nothing_either(bench: Bench) -> Result<()> {
    bench.push(&bench.image("none:v1")).await?;
    bench.apply("none", json!({"image": bench.image("none:v1"), "interval": "1s"})).await?;
    bench.failed("none", Reason::ArtifactNotFound).await?;
    bench.wait_event("none", Reason::ArtifactNotFound).await?;
    let observed = observe(&bench).await?;
    observed.check_writes(&[])?;
    checked(
        "at most two requests for each sync",
        observed.requests.len() <= 2 * INTERVALS,
        observed.requests.len(),
    )
}

/// Other attached artifacts are listed with the config, but their content is not fetched.
async fn an_attached_signature_fetches_no_content(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.attach_with(&image, "application/vnd.example.signature", &[("sig", "x")], &[]).await?;
    let since = SystemTime::now();
    bench.sync_ready("web").await?;
    same("requests", bench.requests_since(since).len(), 2)
}

/// Content of one digest is never fetched twice.
async fn two_resources_of_one_image_fetch_its_content_once(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("web:v1", &FILES).await?;
    let since = SystemTime::now();
    for name in ["a", "b", "c"] {
        bench.apply(name, json!({"image": image})).await?;
    }
    for name in ["a", "b", "c"] {
        bench.ready(name).await?;
    }
    let requests = bench.requests_since(since);
    let count = |part: &str| requests.iter().filter(|request| request.path.contains(part)).count();
    same("fetches of the manifest", count(&artifact), 1)?;
    same("fetches of the layer", count("/blobs/"), 1)
}

/// The same bytes, attached again, are another revision, and the target names their new origin: a write for each, and
/// one for the status.
async fn equal_content_in_a_new_artifact_is_written_once(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    // The first update of an object that was created also takes its fields over; the second is like all others.
    bench.attach_at(&image, 2, &FILES).await?;
    bench.sync_ready("web").await?;
    let (before, mark) = (bench.config_map("web").await?, bench.world.audit.mark()?);
    let artifact = bench.attach_at(&image, 3, &FILES).await?;
    bench.sync_ready("web").await?;
    let after = bench.config_map("web").await?;
    same("data", &after.data, &before.data)?;
    let annotation = |config_map: &ConfigMap, key: &str| {
        config_map.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned()
    };
    same("artifact-digest", annotation(&after, annotation::ARTIFACT_DIGEST), Some(artifact))?;
    let hash = annotation::CONTENT_HASH;
    same("content-hash", annotation(&after, hash), annotation(&before, hash))?;
    let asked = bench.world.audit.since(mark, &bench.namespace)?;
    let written: Vec<_> =
        asked.iter().filter(|request| request.is_write()).map(|request| &*request.resource).collect();
    let written: Vec<_> = written.into_iter().filter(|resource| *resource != "events").collect();
    same(
        "writes, without those of events",
        written,
        vec!["configmaps", "configmaps", "artifactconfigs/status"],
    )
}

/// The same config under another name: the new objects are written, the old ones deleted, and that is all.
async fn a_renamed_target_comes_to_rest(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    bench.ready("web").await?;
    bench.apply("web", json!({"image": image, "interval": "1s", "target": {"name": "renamed"}})).await?;
    bench.ready("web").await?;
    observe(&bench).await?.check_writes(&[])
}
