//! What the watches trigger: who is due, and the turns of those who are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use kube::Client;
use kube::Resource as _;
use kube::runtime::reflector::{ObjectRef, Store};
use registry::Registry;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::{KubeCluster, Leadership};
use crate::decide::turns::{Asks, Key, Lane, Next, Turns, Version};
use crate::types::Namespace;

use super::context::Context;
use super::look::look;
use super::turn::Turn;
use super::watch::{Guarded, News, Scope, Watches, key_of, resources, targets};

/// How long running reconciles may take to end after the signal: what they write is written in a moment, and what they
/// ask of registries is broken off. Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// How soon a resource is looked at again whose look ended without a word, which only a bug makes it do.
const AFTER_A_BUG: Duration = Duration::from_mins(1);

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Looks side by side that may ask registries, in all namespaces together; and as many that ask none.
    pub concurrency: u16,
    /// Nothing is reconciled without it.
    pub leadership: Leadership,
}

/// Runs until the context's `stop` is cancelled, then lets running reconciles end.
///
/// # Errors
/// Where the watches end by themselves, which they never should.
pub async fn run<R: Registry>(
    watches: Watches,
    context: Arc<Context<R, KubeCluster>>,
    options: Options,
) -> anyhow::Result<()> {
    let Watches { client, scopes } = watches;
    let Options { concurrency, leadership } = options;
    let stop = context.stop.clone();
    let mut desk = Desk::new(context, concurrency);
    let mut news = stream::select_all(scopes.into_iter().map(|scope| desk.open(&client, scope)));
    if let Some(ended) = stop.run_until_cancelled(desk.work(&mut news, &leadership)).await {
        return Err(ended);
    }
    drop(news);
    if timeout(GRACE, desk.rest()).await.is_err() {
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

/// Where news come in, and turns are given.
struct Desk<R> {
    context: Arc<Context<R, KubeCluster>>,
    turns: Turns,
    scopes: Vec<(Option<Namespace>, Store<Guarded>)>,
    looks: JoinSet<Next>,
    /// Whose look each of them is: name and UID.
    of: HashMap<Id, (Key, String)>,
    /// What tells each of them that it is over.
    over: HashMap<Key, CancellationToken>,
}

impl<R: Registry> Desk<R> {
    fn new(context: Arc<Context<R, KubeCluster>>, concurrency: u16) -> Self {
        let turns = Turns::new(concurrency.into());
        let (scopes, looks) = (Vec::new(), JoinSet::new());
        Self { context, turns, scopes, looks, of: HashMap::new(), over: HashMap::new() }
    }

    /// Watches a scope.
    fn open(&mut self, client: &Client, scope: Scope) -> BoxStream<'static, (usize, News)> {
        let (of_resources, of_targets) = (scope.api(client), scope.api(client));
        let Scope { namespace, resources: (store, writer), targets: target_store, known } = scope;
        let (number, metrics) = (self.scopes.len(), self.context.metrics.clone());
        self.scopes.push((namespace, store));
        let resources = resources(of_resources, writer, known.resources, metrics.clone());
        let targets = targets(of_targets, target_store, known.targets, metrics);
        stream::select(resources, targets).map(move |news| (number, news)).boxed()
    }

    /// Takes news in and gives turns, for as long as news come. Wherever it is dropped, nothing is half done.
    async fn work(
        &mut self,
        news: &mut (impl Stream<Item = (usize, News)> + Unpin),
        leadership: &Leadership,
    ) -> anyhow::Error {
        loop {
            let leads = leadership.holds();
            if leads {
                self.begin();
            }
            let wakes = self.turns.wakes();
            tokio::select! {
                told = news.next() => match told {
                    Some((scope, told)) => self.told(scope, told),
                    None => return anyhow::anyhow!("the watches ended although nobody asked them to"),
                },
                Some(ended) = self.looks.join_next_with_id() => self.ended(ended),
                () = sleep_until(wakes), if leads => {}
                // Without it nothing is looked at, however long it is due: the resource at hand would be as old as the wait.
                () = leadership.wait(), if !leads => {}
            }
        }
    }

    /// Ends when the looks that are under way have.
    async fn rest(&mut self) {
        while self.looks.join_next().await.is_some() {}
    }

    fn told(&mut self, scope: usize, news: News) {
        match news {
            News::Seen(object) => self.seen(&object),
            News::Gone(object) => {
                self.gone(&key_of(&object));
                self.context.memory.forget(uid_of(&object));
            }
            News::Listed => self.listed(scope),
            News::Touched(key) => {
                self.context.metrics.queue().touched(&key.namespace, &key.name);
                self.turns.touched(&key, Instant::now());
            }
        }
    }

    fn seen(&mut self, object: &Guarded) {
        let key = key_of(object);
        let told = self.turns.seen(&key, Version::of(object), Asks::of(object), Instant::now());
        if told.due {
            self.context.metrics.queue().changed(&key.namespace, &key.name);
        }
        if told.over {
            self.end(&key);
        }
    }

    fn gone(&mut self, key: &Key) {
        self.context.metrics.queue().gone(&key.namespace, &key.name);
        if self.turns.gone(key) {
            self.end(key);
        }
    }

    /// Everything of a scope is in its store: what is not there went while nobody watched.
    fn listed(&mut self, scope: usize) {
        let Some((namespace, store)) = self.scopes.get(scope) else { return };
        let namespace = namespace.as_ref().map(Namespace::as_str);
        let gone: Vec<Key> =
            self.turns.keys(namespace).filter(|key| object_of(store, key).is_none()).cloned().collect();
        let there = store.state();
        for key in gone {
            self.gone(&key);
        }
        for object in there {
            self.seen(&object);
        }
    }

    /// The look at a resource is over.
    fn end(&self, key: &Key) {
        if let Some(over) = self.over.get(key) {
            over.cancel();
        }
    }

    /// Begins every look for which there is a turn.
    fn begin(&mut self) {
        while let Some((key, lane)) = self.turns.next(Instant::now()) {
            match self.object(&key) {
                Some(object) => self.look(key, lane, object),
                // Its deletion is in the store and not here yet.
                None => self.turns.ended(&key, Next::OnChange, Instant::now()),
            }
        }
        self.context.metrics.queue().waits_for_registries(self.turns.waiting(Lane::Registry));
    }

    fn object(&self, key: &Key) -> Option<Arc<Guarded>> {
        self.scopes.iter().find_map(|(_, store)| object_of(store, key))
    }

    fn look(&mut self, key: Key, lane: Lane, object: Arc<Guarded>) {
        let over = CancellationToken::new();
        let turn = Turn::new(lane, over.clone(), (self.context.now)());
        let (context, uid) = (Arc::clone(&self.context), uid_of(&object).to_owned());
        let task = self.looks.spawn(async move { look(&object, &context, &turn).await });
        self.of.insert(task.id(), (key.clone(), uid));
        self.over.insert(key, over);
    }

    fn ended(&mut self, ended: Result<(Id, Next), JoinError>) {
        let (id, next) = ended.unwrap_or_else(|error| {
            tracing::error!(error = %error, "a look ended without a word; please report it");
            (error.id(), Next::After(AFTER_A_BUG))
        });
        let Some((key, uid)) = self.of.remove(&id) else { return };
        self.over.remove(&key);
        self.turns.ended(&key, next, Instant::now());
        if self.object(&key).is_none_or(|object| uid_of(&object) != uid) {
            // Gone meanwhile, and its look has remembered something once more.
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
