//! An operator of some namespaces: it looks at these and at no other.

use anyhow::Result;
use serde_json::json;

use crate::support::{Bench, cases, checked, same};

cases! {
    Embedded [only_the_named_namespaces_are_watched]
}

/// Three namespaces, two of them named. Everything works in those; in the third nothing is read, written or watched.
async fn only_the_named_namespaces_are_watched(bench: Bench) -> Result<()> {
    let (second, other) = (bench.neighbour().await?, bench.neighbour().await?);
    bench.world.operator.terminate().await?;
    let mark = bench.world.audit.mark()?;
    let named = format!("{},{}", bench.namespace, second.namespace);
    let operator = bench.world.replica("named", &["--namespaces", &named]).await?;
    for bench in [&other, &bench, &second] {
        let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
        bench.apply("web", json!({"image": image})).await?;
    }
    for bench in [&bench, &second] {
        bench.ready("web").await?;
        // Its ConfigMaps are watched as well.
        bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
        bench.wait_data("web", &crate::support::text(&[("config.json", "first")])).await?;
        bench.attach_at(&bench.image("web:v1"), 2, &[("config.json", "second")]).await?;
        bench.sync_ready("web").await?;
        same("config", bench.data("web").await?.get("config.json").map(String::as_str), Some("second"))?;
    }
    // By now it has had more than the time for the third.
    same("ConfigMap in the third", other.has_config_map("web").await?, false)?;
    let asked = bench.world.audit.all_since(mark)?;
    let elsewhere: Vec<_> = asked
        .iter()
        .filter(|request| ![&bench.namespace, &second.namespace].contains(&&request.namespace))
        .collect();
    checked("it asks for nothing elsewhere", elsewhere.is_empty(), &elsewhere)?;
    operator.terminate().await?;
    bench.world.operator.restart().await?;
    other.clean_up().await?;
    second.clean_up().await
}
