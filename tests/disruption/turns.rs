//! Who gets a turn while registries hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use api::Reason;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Bench, Ready as _, cases, checked, eventually, same, text};

cases! {
    Embedded [
        two_hundred_that_hang_starve_nobody,
    ]
}

/// How many resources hang.
const HANGING: usize = 200;

/// A fraction of one `spec.timeout`, which the hanging reconciles take, and much more than a reconcile that waits for
/// none of them takes.
const SOON: Duration = Duration::from_secs(15);

/// Takes connections and never answers.
struct Silent {
    host: String,
    connections: Arc<AtomicUsize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Silent {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (host, connections) = (listener.local_addr()?.to_string(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                open.push(connection);
            }
        });
        Ok(Self { host, connections, accepting })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// More resources than turns hang on a registry that never answers. In another namespace, somebody asks for a sync of
/// one resource and rolls back another one, and neither waits for the hanging ones. Nor do they wait after a restart,
/// when no facts about registries are known.
async fn two_hundred_that_hang_starve_nobody(bench: Bench) -> Result<()> {
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    for name in ["good", "night"] {
        bench.apply(name, json!({"image": image})).await?;
        bench.ready(name).await?;
    }
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    for name in ["good", "night"] {
        bench.sync_ready(name).await?;
    }
    let (silent, crowd) = (Silent::start().await?, bench.neighbour().await?);
    let hanging = json!({"image": format!("{}/web:v1", silent.host)});
    futures::stream::iter(0..HANGING)
        .map(|number| {
            let (crowd, spec) = (crowd.clone(), hanging.clone());
            async move { crowd.apply(&format!("hangs-{number}"), spec).await.map(drop) }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    eventually("the silent registry to be asked", || async {
        Ok(if silent.connections.load(Ordering::Relaxed) > 1 { Ok(()) } else { Err("nobody did".to_owned()) })
    })
    .await?;

    let third = bench.attach_at(&image, 3, &[("config.json", "third")]).await?;
    let asked = Instant::now();
    bench.request("good").await?;
    bench.apply("night", json!({"image": image, "rollbackTo": first})).await?;
    bench.wait_data("night", &text(&[("config.json", "first")])).await?;
    bench.wait("night", "to be rolled back", |config| config.expect("True", Reason::RolledBack)).await?;
    bench.wait_data("good", &text(&[("config.json", "third")])).await?;
    checked("both came soon", asked.elapsed() < SOON, asked.elapsed())?;
    bench.wait("good", "to say so", |config| same("artifact", config.artifact()?, &third)).await?;

    bench.world.kill_operator().await?;
    let before = silent.connections.load(Ordering::Relaxed);
    bench.world.operator.restart().await?;
    eventually("the silent registry to be asked again", || async {
        let now = silent.connections.load(Ordering::Relaxed);
        Ok(if now > before { Ok(()) } else { Err("nobody did".to_owned()) })
    })
    .await?;
    let asked = Instant::now();
    bench.apply("night", json!({"image": image})).await?;
    bench.wait_data("night", &text(&[("config.json", "third")])).await?;
    checked("forward again soon", asked.elapsed() < SOON, asked.elapsed())?;
    crowd.clean_up().await
}
