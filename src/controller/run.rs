//! Dispatch: the watches make resources due, and each due resource gets a turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use decide::turns::{Asks, Key, Lane, Next, Turns, Version};
use kube::Resource as _;
use kube::runtime::reflector::{ObjectRef, Store};
use registry::Registry;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::{KubeCluster, Permit};
use crate::namespace::Namespace;

use super::context::Context;
use super::observed::observed;
use super::turn::Turn;
use super::watch::{Guarded, News, Streams, Watches};

/// How long running reconciles may take to end after the signal. Their writes take moments, and their questions to
/// registries are broken off. Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// The pause after a reconcile that ended without a result, which only a bug can cause.
const AFTER_A_BUG: Duration = Duration::from_mins(1);

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Concurrent reconciles that may ask registries, in all namespaces together; and as many that ask none.
    pub concurrency: u16,
    /// Without it nothing is reconciled, because nothing could be written.
    pub permit: Permit,
}

/// Runs until the context's `stop` is cancelled, then lets running reconciles end.
///
/// # Errors
/// If the watches end by themselves, which they never should.
pub async fn run<R: Registry>(
    watches: Watches,
    context: Arc<Context<R, KubeCluster>>,
    options: Options,
) -> anyhow::Result<()> {
    let Options { concurrency, permit } = options;
    let stop = context.stop.clone();
    let mut news = Streams::open(watches, &context.metrics);
    let mut dispatcher = Dispatcher::new(context, concurrency, news.stores());
    if let Some(ended) = stop.run_until_cancelled(dispatcher.work(&mut news, &permit)).await {
        return Err(ended);
    }
    drop(news);
    if timeout(GRACE, dispatcher.drained()).await.is_err() {
        tracing::warn!(seconds = GRACE.as_secs(), "reconciles did not end in time; ending without them");
    }
    Ok(())
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Takes news from the watches, and gives turns.
struct Dispatcher<R> {
    context: Arc<Context<R, KubeCluster>>,
    turns: Turns,
    scopes: Vec<(Option<Namespace>, Store<Guarded>)>,
    /// The reconciles under way.
    running: JoinSet<Next>,
    /// Name and UID of the resource of each running task.
    of: HashMap<Id, (Key, String)>,
    /// Cancels the reconcile of a resource.
    cancels: HashMap<Key, CancellationToken>,
}

impl<R: Registry> Dispatcher<R> {
    fn new(
        context: Arc<Context<R, KubeCluster>>,
        concurrency: u16,
        scopes: Vec<(Option<Namespace>, Store<Guarded>)>,
    ) -> Self {
        let (turns, running) = (Turns::new(concurrency.into()), JoinSet::new());
        Self { context, turns, scopes, running, of: HashMap::new(), cancels: HashMap::new() }
    }

    /// Takes news and gives turns, for as long as news come. It may be dropped at any await without a loss.
    async fn work(&mut self, news: &mut Streams, permit: &Permit) -> anyhow::Error {
        loop {
            let permitted = permit.check().is_ok();
            if permitted {
                self.begin();
            }
            let wakes = self.turns.wakes();
            tokio::select! {
                next = news.next() => match next {
                    Some((scope, news)) => self.take(scope, news),
                    None => return anyhow::anyhow!("the watches ended unexpectedly"),
                },
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = sleep_until(wakes), if permitted => {}
                // A standby reconciles nothing, however long it is due: the resource at hand would be as old as the wait.
                () = permit.wait(), if !permitted => {}
            }
        }
    }

    /// Ends when the running reconciles have ended.
    async fn drained(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    fn take(&mut self, scope: usize, news: News) {
        match news {
            News::Seen(key, object) => self.seen(&key, &object),
            News::Gone(key, object) => {
                self.gone(&key);
                self.context.memory.forget(uid_of(&object));
            }
            News::Listed(all) => self.listed(scope, &all),
            News::Touched(keys) => {
                for key in keys {
                    self.context.metrics.queue().touched(&key.namespace, &key.name);
                    self.turns.touched(&key, Instant::now());
                }
            }
        }
    }

    fn seen(&mut self, key: &Key, object: &Guarded) {
        let effect = self.turns.seen(key, Version::of(object), Asks::of(object), Instant::now());
        if effect.due {
            self.context.metrics.queue().changed(&key.namespace, &key.name);
        }
        if effect.over {
            self.cancel(key);
        }
    }

    fn gone(&mut self, key: &Key) {
        self.context.metrics.queue().gone(&key.namespace, &key.name);
        if self.turns.gone(key) {
            self.cancel(key);
        }
    }

    /// All resources of a scope: one that is missing was deleted while nobody watched.
    fn listed(&mut self, scope: usize, all: &[(Key, Arc<Guarded>)]) {
        let Some((namespace, store)) = self.scopes.get(scope) else { return };
        let namespace = namespace.as_ref().map(Namespace::as_str);
        let gone: Vec<Key> =
            self.turns.keys(namespace).filter(|key| object_of(store, key).is_none()).cloned().collect();
        for key in gone {
            self.gone(&key);
        }
        for (key, object) in all {
            self.seen(key, object);
        }
    }

    /// Ends the turn of a resource.
    fn cancel(&self, key: &Key) {
        if let Some(cancel) = self.cancels.get(key) {
            cancel.cancel();
        }
    }

    /// Starts every reconcile for which there is a turn.
    fn begin(&mut self) {
        while let Some((key, lane)) = self.turns.next(Instant::now()) {
            match self.object(&key) {
                Some(object) => self.start(key, lane, object),
                // The store knows of its deletion, and the news of that has not come yet.
                None => self.turns.ended(&key, Next::OnChange, Instant::now()),
            }
        }
        self.context.metrics.queue().waits_for_registries(self.turns.waiting(Lane::Registry));
    }

    fn object(&self, key: &Key) -> Option<Arc<Guarded>> {
        self.scopes.iter().find_map(|(_, store)| object_of(store, key))
    }

    fn start(&mut self, key: Key, lane: Lane, object: Arc<Guarded>) {
        let over = CancellationToken::new();
        let turn = Turn::new(lane, over.clone(), (self.context.now)());
        let (context, uid) = (Arc::clone(&self.context), uid_of(&object).to_owned());
        let task = self.running.spawn(async move { observed(&object, &context, &turn).await });
        self.of.insert(task.id(), (key.clone(), uid));
        self.cancels.insert(key, over);
    }

    fn ended(&mut self, ended: Result<(Id, Next), JoinError>) {
        let (id, next) = ended.unwrap_or_else(|error| {
            tracing::error!(error = %error, "a reconcile ended without a result; report it");
            (error.id(), Next::After(AFTER_A_BUG))
        });
        let Some((key, uid)) = self.of.remove(&id) else { return };
        self.cancels.remove(&key);
        self.turns.ended(&key, next, Instant::now());
        if self.object(&key).is_none_or(|object| uid_of(&object) != uid) {
            // Deleted meanwhile, and its reconcile has written to the memory once more.
            self.context.memory.forget(&uid);
        }
    }
}

fn uid_of(object: &Guarded) -> &str {
    object.meta().uid.as_deref().unwrap_or_default()
}

fn object_of(store: &Store<Guarded>, key: &Key) -> Option<Arc<Guarded>> {
    store.get(&ObjectRef::new(&key.name).within(&key.namespace))
}
