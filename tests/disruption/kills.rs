//! The operator killed with SIGKILL at any moment: it converges, and nobody ever sees half a config.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::json;

use crate::observer::{Observer, attach_round, files};
use crate::random::Random;
use crate::support::{Bench, Ready as _, cases, checked, eventually, is_resolve, same, text};

cases! {
    Both [killed_at_random_moments_it_converges]
    Embedded [
        killed_while_targets_are_renamed_it_leaves_nothing_behind,
        what_happened_while_it_was_away_is_made_up_for,
        a_restart_writes_nothing,
        two_at_once_do_not_fight,
    ]
}

/// Resources that change side by side.
const RESOURCES: usize = 4;

/// Configs that each of them gets, and times that the operator is killed.
const ROUNDS: u32 = 8;

/// From the start of attaching: the attaching takes about half of it, the operator's work falls into the rest.
const WINDOW: Duration = Duration::from_millis(1500);

/// Configs are attached, and the operator dies at a random moment of each round. In the end everything is what was attached
/// last, and in between every version of every `ConfigMap` was a whole config, never older than the one before.
async fn killed_at_random_moments_it_converges(bench: Bench) -> Result<()> {
    let mut random = Random::new(bench.kind.name());
    let names: Vec<String> = (0..RESOURCES).map(|number| format!("web-{number}")).collect();
    let images: Vec<String> = names.iter().map(|name| bench.image(&format!("{name}:v1"))).collect();
    for image in &images {
        bench.push(image).await?;
    }
    let observer = Observer::start(&bench);
    for (name, image) in names.iter().zip(&images) {
        bench.apply(name, json!({"image": image, "interval": "1s"})).await?;
    }
    let mut last = Vec::new();
    for round in 1..=ROUNDS {
        let moment = random.moment(WINDOW);
        let kill = async {
            tokio::time::sleep(moment).await;
            bench.world.kill_operator().await
        };
        let (attached, killed) = tokio::join!(attach_round(&bench, &images, round), kill);
        killed?;
        last = attached?;
        bench.world.operator.restart().await?;
    }
    for (name, artifact) in names.iter().zip(&last) {
        bench
            .wait(name, "to have the last config", |config| {
                config.expect_synced()?;
                same("artifact", config.artifact()?, artifact)
            })
            .await?;
        same("data", bench.data(name).await?, BTreeMap::from(files(ROUNDS)))?;
    }
    observer.finish()
}

/// The target changes its name in each round, and the operator dies before, during or after it moves. In the end there is
/// the last target and no other.
async fn killed_while_targets_are_renamed_it_leaves_nothing_behind(bench: Bench) -> Result<()> {
    let mut random = Random::new("renames");
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    for round in 1..=ROUNDS {
        let moment = random.moment(Duration::from_millis(200));
        for number in 0..RESOURCES {
            let spec = json!({"image": image, "target": {"name": format!("web-{number}-{round}")}});
            bench.apply(&format!("web-{number}"), spec).await?;
        }
        tokio::time::sleep(moment).await;
        bench.world.kill_operator().await?;
        bench.world.operator.restart().await?;
    }
    let mut history = Vec::new();
    for number in 0..RESOURCES {
        let config = bench.ready(&format!("web-{number}")).await?;
        history.extend(config.seen()?.history.iter().filter_map(|entry| entry.config_map.clone()));
    }
    history.sort();
    let expected: Vec<String> = (0..RESOURCES).map(|number| format!("web-{number}-{ROUNDS}")).collect();
    eventually("the last targets, the revisions of the history, and nothing else", || async {
        let (targets, revisions) = bench.written().await?;
        let rest = targets == expected && revisions == history;
        Ok(if rest { Ok(()) } else { Err(format!("there are {targets:?} and {revisions:?}")) })
    })
    .await
}

/// Edits, deletions, renames and new configs of the meantime are noticed at the start, for every interval.
async fn what_happened_while_it_was_away_is_made_up_for(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let names = ["edited", "deleted", "renamed", "released"];
    for name in names {
        bench.apply(name, json!({"image": image})).await?;
        bench.ready(name).await?;
    }
    bench.world.kill_operator().await?;
    bench.edit("edited", &json!({"data": {"config.json": "by hand", "extra": "x"}})).await?;
    bench.config_maps().delete("deleted", &DeleteParams::default()).await?;
    bench.apply("renamed", json!({"image": image, "target": {"name": "elsewhere"}})).await?;
    bench.delete("released").await?;
    // No operator is needed for this one.
    bench.wait_gone("released").await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.world.operator.restart().await?;
    for target in ["edited", "deleted", "elsewhere"] {
        bench.wait_data(target, &text(&[("config.json", "second")])).await?;
    }
    bench.wait_gone("renamed").await?;
    same("what belongs to a deleted resource exists", bench.has_config_map("released").await?, false)
}

/// A restart reconciles everything and finds nothing to do: no write, no event.
async fn a_restart_writes_nothing(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.push(&bench.image("none:v1")).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.apply("none", json!({"image": bench.image("none:v1")})).await?;
    bench.ready("web").await?;
    bench.wait_event("web", api::Reason::Synced).await?;
    bench.wait_event("none", api::Reason::ArtifactNotFound).await?;
    let (before, mark) = (bench.snapshot().await?, bench.world.audit.mark()?);
    let start = std::time::SystemTime::now();
    bench.world.kill_operator().await?;
    bench.world.operator.restart().await?;
    // Each is resolved once at the start. What followed from it is over when the operator has ended in good order.
    eventually("both to be looked at", || async {
        let looked = bench.requests_since(start).iter().filter(|request| is_resolve(request)).count();
        Ok(if looked >= 2 { Ok(()) } else { Err(format!("{looked} were")) })
    })
    .await?;
    bench.world.operator.terminate().await?;
    let after = bench.snapshot().await?;
    let asked = bench.world.audit.since(mark, &bench.namespace)?;
    bench.world.operator.restart().await?;
    same("objects and their versions", after, before)?;
    let written: Vec<_> = asked.iter().filter(|request| request.is_write()).collect();
    same("writes", written.len(), 0)
}

/// For a moment of each rolling update there are two operators. They come to the same conclusions, and to rest.
async fn two_at_once_do_not_fight(bench: Bench) -> Result<()> {
    let observer = Observer::start(&bench);
    let image = bench.image("web-0:v1");
    bench.push(&image).await?;
    bench.apply("web-0", json!({"image": image, "interval": "1s"})).await?;
    let second = bench.world.replica("second", &[]).await?;
    let mut last = Vec::new();
    for round in 1..=3 {
        last = attach_round(&bench, std::slice::from_ref(&image), round).await?;
        bench
            .wait("web-0", "to have the config of the round", |config| {
                config.expect_synced()?;
                same("artifact", Some(config.artifact()?), last.first().map(String::as_str))
            })
            .await?;
    }
    let start = std::time::SystemTime::now();
    let resolves = |count: usize, since| {
        let bench = bench.clone();
        eventually(format!("{count} looks"), move || {
            let seen = bench.requests_since(since).iter().filter(|request| is_resolve(request)).count();
            std::future::ready(Ok(if seen >= count { Ok(()) } else { Err(format!("there were {seen}")) }))
        })
    };
    // Each reconciles once a second: by now both have seen the last config, and all their writes.
    resolves(6, start).await?;
    let (before, mark, start) =
        (bench.snapshot().await?, bench.world.audit.mark()?, std::time::SystemTime::now());
    resolves(6, start).await?;
    let after = bench.snapshot().await?;
    let asked = bench.world.audit.since(mark, &bench.namespace)?;
    second.terminate().await?;
    same("objects and their versions", after, before)?;
    let written: Vec<_> = asked.iter().filter(|request| request.is_write()).collect();
    checked("nothing was written", written.is_empty(), &written)?;
    same("artifact", Some(bench.get("web-0").await?.artifact()?), last.first().map(String::as_str))?;
    observer.finish()
}
