//! Many pods, images, resources and bindings.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::place::{Place, config, is_whole, pod};
use crate::stage::{Shared, same};

crate::stage::cases! {
    Shared [
        five_hundred_pods_of_twenty_images_have_the_config_of_their_own,
        fifty_resources_with_a_hundred_bindings_are_within_the_budget,
    ]
}

const PODS: usize = 500;
const IMAGES: usize = 20;

/// Bindings of one resource: as many as the definition allows.
const BINDINGS: usize = 100;
const RESOURCES: usize = 50;
const VOLUMES: usize = 20;

/// An image with its digest, as long as they are in practice.
fn named(number: usize) -> (String, String) {
    let image = format!("registry.example.com:5000/shop/frontend/web:v{number}.0.1-build.20260101");
    (image, format!("sha256:{number:064}"))
}

/// Bindings of numbered images to revisions of a resource, newest first.
fn many(name: &str, count: usize) -> Value {
    let rows: Vec<_> = (0..count).rev().map(|number| (named(number), format!("{name}-{number}"))).collect();
    let rows: Vec<_> =
        rows.iter().map(|((image, digest), revision)| (&**image, &**digest, &**revision)).collect();
    config(name, "web", &rows)
}

/// Checklist of admission controllers: one of them once wrote the digest of another image while many pods came at once.
async fn five_hundred_pods_of_twenty_images_have_the_config_of_their_own(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    place.write(&many("web", IMAGES)).await?;
    place.are_writes_seen().await?;
    let create = |number: usize| {
        let place = &place;
        async move {
            let (image, digest) = named(number % IMAGES);
            let created = place.send(&pod("require", &image, "web"), false).await?;
            let created = created.map_err(anyhow::Error::msg).context(image.clone())?;
            is_whole(&created, "web", &format!("{image}@{digest}"), &format!("web-{}", number % IMAGES))
        }
    };
    let all: Vec<()> = stream::iter(0..PODS).map(create).buffer_unordered(100).try_collect().await?;
    same("pods", all.len(), PODS)
}

/// CEL has a budget for each expression. Above it the pod would be refused with another message.
async fn fifty_resources_with_a_hundred_bindings_are_within_the_budget(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    let write = |number: usize| {
        let place = &place;
        async move { place.write(&many(&format!("web{number}"), BINDINGS)).await }
    };
    stream::iter(0..RESOURCES).map(write).buffer_unordered(16).try_collect::<Vec<()>>().await?;
    place.are_writes_seen().await?;
    let volume =
        |number: usize| json!({"name": format!("v{number}"), "configMap": {"name": format!("web{number}")}});
    let volumes: Vec<Value> = (0..VOLUMES).map(volume).collect();
    // The oldest binding is the last one that is compared.
    let (image, digest) = named(0);
    let retagged = format!("registry.example.com:5000/shop/frontend/web:stable@{digest}");
    for (sent, pinned) in [(&image, &format!("{image}@{digest}")), (&retagged, &retagged)] {
        let mut pod = pod("require", sent, "web0");
        pod["spec"]["volumes"] = json!(volumes);
        let admitted = place.try_pod(&pod).await?.map_err(anyhow::Error::msg)?;
        is_whole(&admitted, "web0", pinned, "web0-0")?;
        for (number, volume) in admitted["spec"]["volumes"].as_array().into_iter().flatten().enumerate() {
            same("volume", &volume["configMap"]["name"], &json!(format!("web{number}-0")))?;
        }
    }
    let refused = place.try_pod(&pod("require", "r.example/unknown:v1", "web0")).await?;
    let message = refused.err().context("an unknown image is admitted")?;
    ensure!(message.contains("no config is known yet for image 'r.example/unknown:v1'"), "{message}");
    Ok(())
}
