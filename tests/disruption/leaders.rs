//! Two replicas, of which one leads: for every failure of the leader, the other continues, and nothing is lost or done
//! twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::OperatorProcess;
use testbed::manifests::OPERATOR_NAMESPACE;

use crate::observer::{Observer, attach_round, files};
use crate::random::Random;
use crate::support::{ApiRequest, Bench, Ready as _, cases, checked, eventually, same};

cases! {
    Both [
        a_killed_leader_under_load_is_followed_without_a_lost_or_doubled_write,
        a_paused_leader_under_load_wakes_up_and_writes_nothing,
    ]
    Embedded [
        a_leader_that_ends_in_good_order_is_followed_at_once,
        a_leader_without_an_api_server_ends,
        a_leader_whose_lease_somebody_else_took_ends,
        a_lease_that_somebody_deleted_is_made_again,
        a_standby_is_ready_and_writes_nothing,
    ]
}

/// Short, so that a failover takes moments.
const SHORT: &str = "3s";

/// So long that a replica which follows within the time of a test did not wait for its end.
const LONG: &str = "10m";

/// Resources that change side by side.
const RESOURCES: usize = 3;

/// Configs that each of them gets while the leader is taken away.
const ROUNDS: u32 = 6;

/// The attaching of a round, and what the operator makes of it.
const WINDOW: Duration = Duration::from_millis(1200);

/// Two operators in the place of the usual one.
struct Pair {
    bench: Bench,
    duration: &'static str,
}

/// The only one that the chart gives rights to.
const LEASE: &str = "artifactconfig";

struct Replica {
    name: &'static str,
    process: OperatorProcess,
}

impl Pair {
    /// Takes the usual operator away, and starts the first replica, which leads.
    async fn led_by_first(bench: &Bench, duration: &'static str) -> Result<(Self, Replica)> {
        bench.world.operator.terminate().await?;
        let pair = Self { bench: bench.clone(), duration };
        pair.delete_lease().await?;
        let first = pair.replica("first").await?;
        pair.leads(&first).await?;
        Ok((pair, first))
    }

    async fn replica(&self, name: &'static str) -> Result<Replica> {
        let args = [
            "--leader-elect",
            "--lease-namespace",
            OPERATOR_NAMESPACE,
            "--lease-duration",
            self.duration,
            "--log-level=debug,hyper=info,tower=info",
        ];
        Ok(Replica { name, process: self.bench.world.replica(name, &args).await? })
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.bench.world.cluster.admin(), OPERATOR_NAMESPACE)
    }

    async fn holder(&self) -> Result<String> {
        let lease = self.leases().get_opt(LEASE).await?;
        Ok(lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default())
    }

    /// The earlier holder does not matter for this test.
    async fn delete_lease(&self) -> Result<()> {
        if self.leases().get_opt(LEASE).await?.is_some() {
            self.leases().delete(LEASE, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    async fn leads(&self, replica: &Replica) -> Result<()> {
        eventually(format!("{} to lead", replica.name), || async {
            let holder = self.holder().await?;
            let leads = holder.starts_with(&format!("{}_", replica.name));
            Ok(if leads { Ok(()) } else { Err(format!("'{holder}' does")) })
        })
        .await
    }

    /// Brings the usual operator back, and removes what the pair leaves.
    async fn end(self, replicas: Vec<Replica>) -> Result<()> {
        for replica in replicas {
            replica.process.terminate().await?;
        }
        self.delete_lease().await?;
        self.bench.world.operator.restart().await
    }
}

impl Replica {
    /// Waits until it has ended by itself, which is an error; returns the end of its log.
    async fn ends_with_an_error(&self) -> Result<String> {
        eventually(format!("{} to end", self.name), || async {
            Ok(match self.process.exit_status().await {
                Some(status) if status.code() == Some(1) => Ok(self.process.log()),
                Some(status) => Err(format!("it ended with {status}")),
                None => Err("it runs".to_owned()),
            })
        })
        .await
    }

    /// What the audit log calls its token.
    fn token(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.process.kubeconfig())?;
        let token = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).context("no token")?;
        let claims = token.trim_matches('"').split('.').nth(1).context("no claims")?;
        let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
        Ok(format!("JTI={}", claims["jti"].as_str().context("the token has no id")?))
    }
}

/// What is under load: images that get one config after the other, and resources that follow them.
struct Load {
    bench: Bench,
    images: Vec<String>,
    names: Vec<String>,
}

impl Load {
    async fn start(bench: &Bench) -> Result<Self> {
        let names: Vec<String> = (0..RESOURCES).map(|number| format!("web-{number}")).collect();
        let images: Vec<String> = names.iter().map(|name| bench.image(&format!("{name}:v1"))).collect();
        for (name, image) in names.iter().zip(&images) {
            bench.push(image).await?;
            bench.apply(name, json!({"image": image, "interval": "1s"})).await?;
        }
        Ok(Self { bench: bench.clone(), images, names })
    }

    async fn round(&self, round: u32) -> Result<Vec<String>> {
        attach_round(&self.bench, &self.images, round).await
    }

    /// Everything is as the last round made it, and each config that was applied was applied once.
    async fn settles(&self, last: &[String]) -> Result<()> {
        for (name, artifact) in self.names.iter().zip(last) {
            let config = self
                .bench
                .wait(name, "to have the last config", |config| {
                    config.expect_synced()?;
                    same("artifact", config.artifact()?, artifact)
                })
                .await?;
            same("data", self.bench.data(name).await?, BTreeMap::from(files(ROUNDS)))?;
            let history = &config.seen()?.history;
            let numbers: BTreeSet<_> = history.iter().map(|entry| entry.revision).collect();
            let artifacts: BTreeSet<_> = history.iter().map(|entry| &entry.artifact).collect();
            // Not without gaps: a number on a revision that a killed leader left is not given again.
            same("distinct numbers in the history", numbers.len(), history.len())?;
            same("distinct artifacts in the history", artifacts.len(), history.len())?;
        }
        let mut recorded = Vec::new();
        for name in &self.names {
            let config = self.bench.get(name).await?;
            recorded.extend(config.seen()?.history.iter().filter_map(|entry| entry.config_map.clone()));
        }
        recorded.sort();
        // What a killed leader left is collected after the status was written.
        eventually("the targets, the revisions of the history, and nothing else", || async {
            let (targets, revisions) = self.bench.written().await?;
            let rest = targets == self.names && revisions == recorded;
            Ok(if rest { Ok(()) } else { Err(format!("there are {targets:?} and {revisions:?}")) })
        })
        .await
    }
}

/// The tokens that wrote successfully in the namespace since a mark, each run of one writer once.
fn writers(bench: &Bench, mark: usize) -> Result<Vec<String>> {
    let mut writers: Vec<String> = bench
        .world
        .audit
        .since(mark, &bench.namespace)?
        .into_iter()
        .filter(|request| request.is_write() && request.status < 400)
        .map(|request| request.token)
        .collect();
    writers.dedup();
    Ok(writers)
}

/// SIGKILL at a random moment of the load. The other waits out the lease and takes over; in the log of the API server the
/// writes of the two do not overlap.
async fn a_killed_leader_under_load_is_followed_without_a_lost_or_doubled_write(bench: Bench) -> Result<()> {
    let mut random = Random::new(bench.kind.name());
    let observer = Observer::start(&bench);
    let (pair, first) = Pair::led_by_first(&bench, SHORT).await?;
    let second = pair.replica("second").await?;
    let (mark, load) = (bench.world.audit.mark()?, Load::start(&bench).await?);
    let mut last = Vec::new();
    for round in 1..=ROUNDS {
        let moment = random.moment(WINDOW);
        let kill = async {
            if round == ROUNDS / 2 {
                tokio::time::sleep(moment).await;
                first.process.kill().await?;
            }
            anyhow::Ok(())
        };
        let (attached, killed) = tokio::join!(load.round(round), kill);
        killed?;
        last = attached?;
    }
    pair.leads(&second).await?;
    load.settles(&last).await?;
    same("writers", writers(&bench, mark)?, vec![first.token()?, second.token()?])?;
    observer.finish()?;
    pair.end(vec![second]).await
}

/// SIGSTOP is worse than SIGKILL: the leader comes back in the middle of what it was doing, and believes that it leads.
async fn a_paused_leader_under_load_wakes_up_and_writes_nothing(bench: Bench) -> Result<()> {
    let mut random = Random::new(bench.kind.name());
    let observer = Observer::start(&bench);
    let (pair, first) = Pair::led_by_first(&bench, SHORT).await?;
    let second = pair.replica("second").await?;
    let (mark, load) = (bench.world.audit.mark()?, Load::start(&bench).await?);
    for round in 1..ROUNDS {
        let moment = random.moment(WINDOW);
        let pause = async {
            if round == ROUNDS / 2 {
                tokio::time::sleep(moment).await;
                first.process.pause(true).await?;
            }
            anyhow::Ok(())
        };
        let (attached, paused) = tokio::join!(load.round(round), pause);
        attached?;
        paused?;
    }
    pair.leads(&second).await?;
    let last = load.round(ROUNDS).await?;
    load.settles(&last).await?;
    let woken = bench.world.audit.mark()?;
    first.process.pause(false).await?;
    let log = first.ends_with_an_error().await?;
    checked("it says why", log.contains("is lost"), &log)?;
    let token = first.token()?;
    let late: Vec<_> = bench
        .world
        .audit
        .all_since(woken)?
        .into_iter()
        .filter(|request| request.token == token && request.is_write())
        .collect();
    checked("it wrote nothing after it woke up", late.is_empty(), &late)?;
    same("writers", writers(&bench, mark)?, vec![token, second.token()?])?;
    load.settles(&last).await?;
    observer.finish()?;
    pair.end(vec![second]).await
}

/// SIGTERM releases the lease: the other does not wait for its end, which here is minutes away.
async fn a_leader_that_ends_in_good_order_is_followed_at_once(bench: Bench) -> Result<()> {
    let (pair, first) = Pair::led_by_first(&bench, LONG).await?;
    let second = pair.replica("second").await?;
    let mark = bench.world.audit.mark()?;
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let status = first.process.terminate().await?;
    same("exit status", status.code(), Some(0))?;
    let start = Instant::now();
    pair.leads(&second).await?;
    checked("it did not wait for the end of the lease", start.elapsed() < Duration::from_mins(5), ())?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.sync_ready("web").await?;
    same("config", bench.data("web").await?.get("config.json").map(String::as_str), Some("second"))?;
    same("writers", writers(&bench, mark)?, vec![first.token()?, second.token()?])?;
    pair.end(vec![second]).await
}

/// A leader that cannot renew its lease cannot know whether somebody else leads.
async fn a_leader_without_an_api_server_ends(bench: Bench) -> Result<()> {
    let (pair, first) = Pair::led_by_first(&bench, SHORT).await?;
    let second = pair.replica("second").await?;
    bench.world.cluster.stop_api_server().await?;
    let ended = first.ends_with_an_error().await;
    bench.world.cluster.start_api_server().await?;
    let log = ended?;
    checked("it says why", log.contains("it was not renewed within 2 s"), &log)?;
    pair.leads(&second).await?;
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    pair.end(vec![second]).await
}

/// By hand, or by an operator of another cluster's restored backup: the holder believes the lease, not itself.
async fn a_leader_whose_lease_somebody_else_took_ends(bench: Bench) -> Result<()> {
    let (pair, first) = Pair::led_by_first(&bench, SHORT).await?;
    let patch = json!({"spec": {"holderIdentity": "somebody-else"}});
    pair.leases().patch(LEASE, &PatchParams::default(), &Patch::Merge(patch)).await?;
    let log = first.ends_with_an_error().await?;
    checked("it names the holder", log.contains("somebody-else holds it"), &log)?;
    // The new holder never renews it: the next replica takes over.
    let second = pair.replica("second").await?;
    pair.leads(&second).await?;
    pair.end(vec![second]).await
}

/// Tidying up does no harm: the leader leads on.
async fn a_lease_that_somebody_deleted_is_made_again(bench: Bench) -> Result<()> {
    let (pair, first) = Pair::led_by_first(&bench, SHORT).await?;
    let before = pair.holder().await?;
    pair.delete_lease().await?;
    pair.leads(&first).await?;
    same("holder", pair.holder().await?, before)?;
    // A label that somebody adds stays, and is no reason to end either.
    let patch = json!({"metadata": {"labels": {"team": "platform"}}});
    let labelled = pair.leases().patch(LEASE, &PatchParams::default(), &Patch::Merge(patch)).await?;
    eventually("another renewal", || async {
        let lease = pair.leases().get(LEASE).await?;
        let renewed = lease.spec != labelled.spec;
        let kept = lease.metadata.labels == labelled.metadata.labels;
        Ok(if renewed && kept { Ok(()) } else { Err(format!("{lease:?}")) })
    })
    .await?;
    same("it runs", first.process.exit_status().await.is_none(), true)?;
    pair.end(vec![first]).await
}

/// `/readyz` answers 200 while it waits (`replica` waits for that), and what it knows is complete before it leads.
async fn a_standby_is_ready_and_writes_nothing(bench: Bench) -> Result<()> {
    let (pair, first) = Pair::led_by_first(&bench, LONG).await?;
    let second = pair.replica("second").await?;
    let mark = bench.world.audit.mark()?;
    let load = Load::start(&bench).await?;
    let last = load.round(ROUNDS).await?;
    load.settles(&last).await?;
    let token = second.token()?;
    let asked = eventually("the standby to look at the lease", || async {
        let requests = bench.world.audit.all_since(mark)?;
        let asked: Vec<_> = requests.into_iter().filter(|request| request.token == token).collect();
        let looked = asked.iter().any(|request| request.resource == "leases");
        Ok(if looked { Ok(asked) } else { Err("it has not".to_owned()) })
    })
    .await?;
    checked("the standby writes nothing", !asked.iter().any(ApiRequest::is_write), &asked)?;
    pair.end(vec![first, second]).await
}
