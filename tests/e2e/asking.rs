//! Asking for a sync, suspending, and resuming.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use api::Reason;
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Embedded [
        a_request_brings_the_sync_forward,
        a_request_that_was_handled_is_not_handled_again,
        suspended_nothing_is_asked_and_nothing_written,
        suspended_from_the_start_nothing_is_applied,
        suspending_a_failure_leaves_the_verdict,
    ]
}

/// With an interval of an hour, the annotation makes the difference at once, and the status echoes it.
async fn a_request_brings_the_sync_forward(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let artifact = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    let config = bench.sync_ready("web").await?;
    same("artifact", config.artifact()?, &artifact)?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// Other changes of metadata are not requests, even while the annotation is set.
async fn a_request_that_was_handled_is_not_handled_again(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.sync_ready("web").await?;
    bench.sync_ready("web").await?;
    // Answers of the registry are shared for up to a second: a reconcile within it would send no request, and the test
    // could not notice it.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (since, mark) = (SystemTime::now(), bench.world.audit.mark()?);
    bench.kubectl(&["annotate", "acfg", "web", "note=hello"]).await?;
    bench.kubectl(&["label", "acfg", "web", "team=shop"]).await?;
    past(&bench).await?;
    let requests = bench.requests_since(since);
    let asked: Vec<_> = requests.iter().filter(|request| request.path.contains("/web/")).collect();
    checked("the registry was not asked", asked.is_empty(), &asked)?;
    let requests = bench.world.audit.since(mark, &bench.namespace)?;
    let about: Vec<_> = requests.iter().filter(|request| request.name == "web").collect();
    checked("nor the API server", about.is_empty(), &about)
}

/// Suspended: no request, no write, no repair, and the data stays. After the resume, all missed changes are handled.
async fn suspended_nothing_is_asked_and_nothing_written(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    let config =
        bench.wait("web", "to be suspended", |config| config.expect("True", Reason::Suspended)).await?;
    same("artifact", config.artifact()?, &first)?;

    let since = SystemTime::now();
    let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    let edited = bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
    let token = bench.request("web").await?;
    past(&bench).await?;
    let requests = bench.requests_since(since);
    let asked: Vec<_> = requests.iter().filter(|request| request.path.contains("/web/")).collect();
    checked("the registry was not asked", asked.is_empty(), &asked)?;
    same("the ConfigMap", bench.config_map("web").await?, edited)?;
    let config = bench.get("web").await?;
    config.expect("True", Reason::Suspended)?;
    same("whoever asked is not told that it was done", &config.seen()?.last_handled_requested_at, &None)?;

    bench.apply("web", json!({"image": image})).await?;
    let config = bench.ready("web").await?;
    same("artifact", config.artifact()?, &second)?;
    same("the request is handled now", &config.seen()?.last_handled_requested_at, &Some(token))?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))
}

/// A resource that was never synced is neither ready nor failed while it is suspended.
async fn suspended_from_the_start_nothing_is_applied(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    bench.wait("web", "to be suspended", |config| config.expect("Unknown", Reason::Suspended)).await?;
    same("a ConfigMap exists", bench.has_config_map("web").await?, false)?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "first")]))
}

/// A resource that was not ready does not become ready by a suspension.
async fn suspending_a_failure_leaves_the_verdict(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::ImageNotFound).await?;
    bench.apply("web", json!({"image": image, "suspend": true})).await?;
    bench.wait("web", "to be suspended", |config| config.expect("False", Reason::Suspended)).await?;
    Ok(())
}

/// Waits until the operator has handled all changes so far: they reach it in their order, and a later one has been
/// handled.
async fn past(bench: &Bench) -> Result<()> {
    let image = bench.image("sentinel:v1");
    bench.push(&image).await?;
    bench.attach(&image, &[("config.json", "sentinel")]).await?;
    bench.apply("sentinel", json!({"image": image})).await?;
    bench.ready("sentinel").await?;
    bench.edit("sentinel", &json!({"data": null})).await?;
    bench.wait_data("sentinel", &text(&[("config.json", "sentinel")])).await?;
    Ok(())
}
