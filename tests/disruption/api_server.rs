//! An API server that goes away and comes back, or hangs.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, eventually, same, text};

cases! {
    Embedded [
        stopped_and_back,
        hanging_and_back,
    ]
}

/// The operator stays, and handles the missed changes: a new config, an edit, a new resource.
async fn stopped_and_back(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    bench.ready("web").await?;
    let pid = bench.world.operator.pid().await;
    bench.world.cluster.stop_api_server().await?;
    let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    // The operator has met the outage: it has found the new config, and could not write it.
    let met = bench.world.operator.log().len();
    let refused = eventually("the operator to notice", || async {
        let log = bench.world.operator.log();
        let since = log.get(met..).unwrap_or_default();
        Ok(if since.contains("watch failed") { Ok(()) } else { Err("its log says nothing".to_owned()) })
    });
    let refused = refused.await;
    bench.world.cluster.start_api_server().await?;
    refused?;
    bench.apply("late", json!({"image": image})).await?;
    bench
        .wait("web", "to have the new config", |config| {
            config.expect_synced()?;
            same("artifact", config.artifact()?, &second)
        })
        .await?;
    bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
    bench.wait_data("web", &text(&[("config.json", "second")])).await?;
    bench.ready("late").await?;
    same("the operator's process", bench.world.operator.pid().await, pid)?;
    same("it has ended", bench.world.operator.exit_status().await, None)
}

/// Silence is worse than a refusal: requests have an end, and nothing is stuck afterwards.
async fn hanging_and_back(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    bench.ready("web").await?;
    let start = std::time::SystemTime::now();
    bench.world.cluster.pause_api_server(true).await?;
    let attached = async {
        let second = bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
        // Its layer is fetched, so that the next thing to do is to write it.
        eventually("the new config to be fetched", || async {
            let fetched = bench.requests_since(start).iter().any(|request| request.path.contains("/blobs/"));
            Ok(if fetched { Ok(()) } else { Err("it was not".to_owned()) })
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        anyhow::Ok(second)
    };
    let attached = attached.await;
    bench.world.cluster.pause_api_server(false).await?;
    let second = attached?;
    bench
        .wait("web", "to have the new config", |config| {
            config.expect_synced()?;
            same("artifact", config.artifact()?, &second)
        })
        .await?;
    same("data", bench.data("web").await?, text(&[("config.json", "second")]))?;
    same("it has ended", bench.world.operator.exit_status().await, None)
}
