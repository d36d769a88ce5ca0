//! How the operator ends when it is asked to.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use testbed::registry::Fault;

use crate::support::{Bench, cases, checked, eventually, same, text};

cases! {
    Embedded [
        sigterm_ends_it_at_once,
        sigterm_ends_it_while_a_registry_hangs,
    ]
}

/// An idle operator has nothing to wait for.
const AT_ONCE: Duration = Duration::from_secs(3);

/// With a reconcile under way it may wait a while, but less than the 30 s after which Kubernetes kills.
const IN_TIME: Duration = Duration::from_secs(19);

/// Status 0, at once, with watches open; and the next one goes on where it stopped.
async fn sigterm_ends_it_at_once(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let start = Instant::now();
    let status = bench.world.operator.terminate().await?;
    let took = start.elapsed();
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.world.operator.restart().await?;
    same("exit status", status.code(), Some(0))?;
    checked("it ends at once", took < AT_ONCE, took)?;
    bench.wait_data("web", &text(&[("config.json", "second")])).await?;
    Ok(())
}

/// A request that is never answered does not keep it until it is killed.
async fn sigterm_ends_it_while_a_registry_hangs(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    let fault = bench.inject("/referrers/", Fault::hang);
    bench.apply("web", json!({"image": image})).await?;
    eventually("the operator to wait for the registry", || async {
        Ok(if bench.world.embedded.hits(fault) > 0 { Ok(()) } else { Err("it has not asked".to_owned()) })
    })
    .await?;
    let start = Instant::now();
    let status = bench.world.operator.terminate().await?;
    let took = start.elapsed();
    bench.world.embedded.remove_fault(fault);
    bench.world.operator.restart().await?;
    same("exit status", status.code(), Some(0))?;
    checked("it ends in time", took < IN_TIME, took)?;
    bench.ready("web").await?;
    Ok(())
}
