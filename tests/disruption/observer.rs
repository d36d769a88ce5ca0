//! Nobody ever sees half a config, or an older one after a newer one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::support::{Bench, same};

/// Two files that belong together, large enough to be seen half-written if they ever were.
pub fn files(round: u32) -> [(String, String); 2] {
    ["a.txt", "b.txt"].map(|name| (name.to_owned(), format!("round {round}\n").repeat(2000)))
}

/// Watches every version of every `ConfigMap`, and collects violations.
pub struct Observer {
    complaints: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Observer {
    pub fn start(bench: &Bench) -> Self {
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&complaints);
        let stream =
            watcher(bench.config_maps(), watcher::Config::default()).default_backoff().applied_objects();
        let task = tokio::spawn(async move {
            let mut newest = BTreeMap::new();
            let seen = stream.try_for_each(|config_map| {
                if let Err(why) = whole_and_not_older(&config_map, &mut newest) {
                    collected.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{why:#}"));
                }
                std::future::ready(Ok(()))
            });
            if let Err(why) = seen.await {
                collected
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(format!("the watch ended: {why}"));
            }
        });
        Self { complaints, task }
    }

    pub fn finish(self) -> Result<()> {
        self.task.abort();
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        same("complaints about what was to be seen", &*complaints, &Vec::<String>::new())
    }
}

fn whole_and_not_older(config_map: &ConfigMap, newest: &mut BTreeMap<String, u32>) -> Result<()> {
    let name = config_map.name_any();
    if name == "kube-root-ca.crt" {
        return Ok(());
    }
    let data = config_map.data.clone().unwrap_or_default();
    let first = data.get("a.txt").and_then(|text| text.lines().next()).context("a.txt is missing")?;
    let round: u32 = first.strip_prefix("round ").context("a.txt is something else")?.parse()?;
    if data != BTreeMap::from(files(round)) {
        bail!("{name} holds half a config of round {round}");
    }
    let before = newest.insert(name.clone(), round).unwrap_or_default();
    if before > round {
        bail!("{name} went back from round {before} to {round}");
    }
    Ok(())
}

/// Attaches the files of a round to each image; returns the artifacts' digests.
pub async fn attach_round(bench: &Bench, images: &[String], round: u32) -> Result<Vec<String>> {
    let files = files(round);
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    // Collected before they are polled: a closure that borrows per item defeats the proof that this is Send.
    let attaching: Vec<_> = images.iter().map(|image| bench.attach_at(image, round, &files)).collect();
    futures::stream::iter(attaching).buffered(2).try_collect().await
}
