//! A second writer writes after each write of the operator. The operator slows down, and reports it.

use anyhow::{Context as _, Result};
use api::{ArtifactConfig, Reason, condition};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::rollback::own;
use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Embedded [
        a_second_writer_is_named_and_not_outrun,
        a_single_edit_is_repaired_without_the_registry,
    ]
}

/// Adds a key whenever it is missing, as another operator would; until it is dropped.
struct Writer(tokio::task::JoinHandle<()>);

impl Writer {
    fn start(bench: &Bench) -> Self {
        let bench = bench.clone();
        Self(tokio::spawn(async move {
            loop {
                let seen = bench.data("web").await;
                if seen.is_ok_and(|data| !data.contains_key("theirs")) {
                    // Refused where the operator was faster.
                    let _ = bench.edit("web", &json!({"data": {"theirs": "x"}})).await;
                }
                tokio::task::yield_now().await;
            }
        }))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Events that tell of repairs.
async fn repairs(bench: &Bench) -> Result<Vec<Event>> {
    let api: Api<Event> = Api::namespaced(bench.world.cluster.admin(), &bench.namespace);
    let mut events = api.list(&ListParams::default()).await?.items;
    events.retain(|event| event.note.as_ref().is_some_and(|note| note.starts_with("repaired")));
    Ok(events)
}

/// Ready names the writer and the remedy; one event counts the repairs; the registry is not asked again; and when the
/// writer is gone, the target is right.
async fn a_second_writer_is_named_and_not_outrun(bench: Bench) -> Result<()> {
    let (registry, image, _) = own(&bench, "first").await?;
    bench.apply("web", json!({"image": image, "interval": "1h"})).await?;
    bench.ready("web").await?;
    // The reconcile that the watch triggers after the first write is over.
    bench.sync_ready("web").await?;
    let asked = registry.requests().len();
    let writer = Writer::start(&bench);
    let named = |resource: &ArtifactConfig| {
        resource.expect("True", Reason::Synced)?;
        let ready = resource.current(condition::READY)?.context("no condition Ready")?;
        let says = ready.message.contains("'kubectl-edit' (a field manager) keeps changing");
        checked("the message says who writes", says, &ready.message)
    };
    bench.wait("web", "to say who else writes", named).await?;
    // Status before event: the third repair is counted by the time that the fourth is.
    let events = crate::support::eventually("the event to count", || async {
        let events = repairs(&bench).await?;
        let counted = events.iter().filter_map(|event| Some(event.series.as_ref()?.count)).max();
        Ok(if counted >= Some(3) { Ok(events) } else { Err(format!("{events:?}")) })
    })
    .await?;
    same("events", events.len(), 1)?;
    same("requests to the registry", registry.requests().len(), asked)?;
    drop(writer);
    bench.wait_data("web", &text(&[("config.json", "first")])).await?;
    Ok(())
}

/// Also while `spec.rollbackTo` holds an earlier config.
async fn a_single_edit_is_repaired_without_the_registry(bench: Bench) -> Result<()> {
    let (registry, image, first) = own(&bench, "first").await?;
    for spec in [
        json!({"image": image, "interval": "1h"}),
        json!({"image": image, "rollbackTo": first, "interval": "1h"}),
    ] {
        bench.apply("web", spec).await?;
        bench.wait("web", "to be in place", |config| same("artifact", config.artifact()?, &first)).await?;
        bench.sync("web").await?;
        let asked = registry.requests().len();
        let edit: Value = json!({"data": {"config.json": "by hand"}});
        bench.edit("web", &edit).await?;
        bench.wait_data("web", &text(&[("config.json", "first")])).await?;
        same("requests to the registry", registry.requests().len(), asked)?;
    }
    Ok(())
}
