//! The watches that run. They start and end while others go on, and each fails by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use decide::turns::Key;
use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};
use kube::runtime::reflector::Store;
use tokio::sync::SetOnce;
use tokio::time::sleep_until;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::namespace::Namespace;
use crate::telemetry::Metrics;

use super::demand::{Demand, Steps};
use super::followers::Followers;
use super::hold::Hold;
use super::kind::{Change, Guarded, Kind, Place, key_of};
use super::resources::{self, needs, resources};
use super::scopes::{Scope, Watches};

/// What a scope tells the dispatcher.
pub(in crate::controller) enum News {
    /// A resource is there, or is another than before.
    Seen(Key, Box<Guarded>),
    /// A resource is gone.
    Gone(Key, Box<Guarded>),
    /// These are all resources of the scope: others are gone.
    Listed(Vec<(Key, Arc<Guarded>)>),
    /// An object changed that matters to these resources.
    Touched(Vec<Key>),
}

/// What a stream of a scope tells.
enum Told {
    Resources(resources::Told),
    Kind(usize, Change),
}

/// The watches of all scopes.
pub(in crate::controller) struct Streams {
    scopes: Vec<Watched>,
    all: SelectAll<BoxStream<'static, (usize, Told)>>,
    ready: Arc<SetOnce<()>>,
}

/// A scope, and what is watched there.
struct Watched {
    place: Place,
    store: Store<Guarded>,
    kinds: Arc<[Box<dyn Kind>]>,
    followers: Followers,
    /// The resources have been listed.
    is_listed: bool,
    demand: Demand,
    hold: Hold,
    /// What ends the watch of a kind when it is dropped.
    running: HashMap<usize, DropGuard>,
}

impl Streams {
    /// Watches the resources of each scope.
    pub(in crate::controller) fn open(watches: Watches, metrics: &Metrics) -> Self {
        let Watches { client, scopes, ready } = watches;
        let mut streams = Self { scopes: Vec::new(), all: SelectAll::new(), ready };
        for scope in scopes {
            let kinds = scope.kinds();
            let Scope { namespace, resources: (store, writer), followers, .. } = scope;
            let place = Place { client: client.clone(), namespace, metrics: metrics.clone() };
            let scope = Watched::new(place, store, kinds, followers);
            let told = resources(&scope.place, writer, Arc::clone(&scope.kinds));
            metrics.watch_started(resources::NAME);
            streams.add(scope, told);
        }
        streams
    }

    fn add(&mut self, scope: Watched, told: BoxStream<'static, resources::Told>) {
        let number = self.scopes.len();
        self.scopes.push(scope);
        self.all.push(told.map(move |told| (number, Told::Resources(told))).boxed());
    }

    /// The scopes in their order, each with its store.
    pub(in crate::controller) fn stores(&self) -> Vec<(Option<Namespace>, Store<Guarded>)> {
        self.scopes.iter().map(|scope| (scope.place.namespace.clone(), scope.store.clone())).collect()
    }

    /// The next news, with the number of their scope. `None` if all watches have ended. It may be dropped at its await
    /// without a loss.
    pub(in crate::controller) async fn next(&mut self) -> Option<(usize, News)> {
        loop {
            let wakes = self.scopes.iter().filter_map(Watched::wakes).min();
            let (number, news) = tokio::select! {
                told = self.all.next() => {
                    let (number, told) = told?;
                    (number, self.scopes.get_mut(number).and_then(|scope| scope.take(told)))
                }
                () = sleep_until(wakes.unwrap_or_else(Instant::now).into()), if wakes.is_some() => {
                    let now = Instant::now();
                    let is_due = |scope: &Watched| scope.wakes().is_some_and(|wakes| wakes <= now);
                    (self.scopes.iter().position(is_due).unwrap_or_default(), None)
                }
            };
            if let Some(news) = self.step(number, news) {
                return Some((number, news));
            }
        }
    }

    /// Starts and stops watches of a scope. Returns the news that go on.
    fn step(&mut self, number: usize, news: Option<News>) -> Option<News> {
        let scope = self.scopes.get_mut(number)?;
        let now = Instant::now();
        let Steps { start, stop } = scope.demand.steps(now);
        for kind in start.iter() {
            if let Some(changes) = scope.start(kind) {
                self.all.push(changes.map(move |change| (number, Told::Kind(kind, change))).boxed());
            }
        }
        for kind in stop.iter() {
            scope.stop(kind);
        }
        let news = scope.pass(news, now);
        if self.ready.get().is_none() && self.scopes.iter().all(Watched::is_settled) {
            let _ = self.ready.set(());
        }
        news
    }
}

impl Watched {
    fn new(place: Place, store: Store<Guarded>, kinds: Vec<Box<dyn Kind>>, followers: Followers) -> Self {
        let demand = Demand::new(kinds.len());
        let (hold, running) = (Hold::default(), HashMap::new());
        Self { place, store, kinds: kinds.into(), followers, is_listed: false, demand, hold, running }
    }

    fn wakes(&self) -> Option<Instant> {
        self.demand.wakes().into_iter().chain(self.hold.wakes()).min()
    }

    /// Whether everything is known that the resources need.
    fn is_settled(&self) -> bool {
        self.is_listed && self.demand.is_settled()
    }

    /// Learns what is needed.
    fn take(&mut self, told: Told) -> Option<News> {
        match told {
            Told::Resources(resources::Told::Expects(kinds)) => {
                self.demand.expect(kinds);
                None
            }
            Told::Resources(resources::Told::Seen(object)) => {
                let key = key_of(&object);
                self.demand.need(&key, needs(&self.kinds, &object));
                self.followers.seen(&key, &object);
                Some(News::Seen(key, object))
            }
            Told::Resources(resources::Told::Gone(object)) => {
                let key = key_of(&object);
                self.demand.gone(&key);
                self.followers.gone(&key);
                Some(News::Gone(key, object))
            }
            Told::Resources(resources::Told::Listed) => {
                self.is_listed = true;
                Some(self.list())
            }
            Told::Kind(_, Change::Touched(keys)) => Some(News::Touched(keys)),
            Told::Kind(kind, Change::Listed) => {
                self.demand.listed(kind);
                None
            }
        }
    }

    /// Everything that the store has.
    fn list(&mut self) -> News {
        let all = self.store.state().into_iter().map(|object| (key_of(&object), object)).collect::<Vec<_>>();
        self.demand.replace(all.iter().map(|(key, object)| (key, needs(&self.kinds, object))));
        self.followers.replace(all.iter().map(|(key, object)| (key, &**object)));
        News::Listed(all)
    }

    /// Keeps news back while the first resources wait. No news are lost: the store has all resources, and they are listed
    /// when the wait is over.
    fn pass(&mut self, news: Option<News>, now: Instant) -> Option<News> {
        let before = self.hold;
        self.hold = before.next(self.demand.is_used(), self.demand.is_settled(), now);
        match (before, self.hold) {
            (Hold::Open, _) => news,
            (_, Hold::Open) => match news {
                Some(News::Listed(all)) => Some(News::Listed(all)),
                _ => Some(self.list()),
            },
            (_, _) => None,
        }
    }

    fn start(&mut self, kind: usize) -> Option<BoxStream<'static, Change>> {
        let watched = self.kinds.get(kind)?;
        let end = CancellationToken::new();
        let told = watched.watch(&self.place).take_until(end.clone().cancelled_owned()).boxed();
        self.running.insert(kind, end.drop_guard());
        self.place.metrics.watch_started(watched.name());
        tracing::debug!(watched = watched.name(), namespace = self.namespace(), "watch started");
        Some(told)
    }

    fn stop(&mut self, kind: usize) {
        let (Some(_), Some(watched)) = (self.running.remove(&kind), self.kinds.get(kind)) else { return };
        watched.forget();
        self.place.metrics.watch_stopped(watched.name());
        tracing::debug!(watched = watched.name(), namespace = self.namespace(), "watch stopped");
    }

    fn namespace(&self) -> Option<&str> {
        self.place.namespace.as_ref().map(Namespace::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
    use kube::Config;
    use kube::runtime::reflector::{self, store::Writer};
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    /// A kind that every resource needs. Each start is a channel.
    #[derive(Clone, Default)]
    struct Fake {
        starts: Arc<Mutex<Vec<UnboundedSender<Change>>>>,
        forgotten: Arc<AtomicUsize>,
    }

    impl Fake {
        fn starts(&self) -> usize {
            self.starts.lock().unwrap().len()
        }

        fn tell(&self, start: usize, change: Change) {
            // Refused once the watch is stopped.
            let _ = self.starts.lock().unwrap()[start].unbounded_send(change);
        }
    }

    impl Kind for Fake {
        fn name(&self) -> &'static str {
            "fakes"
        }

        fn is_needed_by(&self, _: &Guarded) -> bool {
            true
        }

        fn watch(&self, _: &Place) -> BoxStream<'static, Change> {
            let (sender, changes) = unbounded();
            self.starts.lock().unwrap().push(sender);
            changes.boxed()
        }

        fn forget(&self) {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn none() -> Streams {
        Streams { scopes: Vec::new(), all: SelectAll::new(), ready: Arc::new(SetOnce::new()) }
    }

    /// The watch of resources, as a test sees it.
    struct Resources {
        told: UnboundedSender<resources::Told>,
        writer: Writer<Guarded>,
    }

    fn add(streams: &mut Streams, fake: &Fake) -> Resources {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config::new(http::Uri::from_static("http://127.0.0.1:1"));
        let client = kube::Client::try_from(config).unwrap();
        let place = Place { client, namespace: None, metrics: Metrics::new() };
        let (store, writer) = reflector::store();
        let (told, stream): (_, UnboundedReceiver<_>) = unbounded();
        streams.add(
            Watched::new(place, store, vec![Box::new(fake.clone())], Followers::default()),
            stream.boxed(),
        );
        Resources { told, writer }
    }

    fn resource(name: &str) -> Guarded {
        let object = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"},
            "spec": {"image": "r.example/web:v1", "artifactType": "a/b"},
        });
        serde_json::from_value(object).unwrap()
    }

    impl Resources {
        fn tell(&self, told: resources::Told) {
            self.told.unbounded_send(told).unwrap();
        }

        fn list(&mut self, names: &[&str]) {
            self.writer.apply_watcher_event(&Event::Init);
            for name in names {
                self.writer.apply_watcher_event(&Event::InitApply(resource(name)));
                self.tell(resources::Told::Expects([0].into_iter().collect()));
            }
            self.writer.apply_watcher_event(&Event::InitDone);
            self.tell(resources::Told::Listed);
        }

        fn see(&mut self, name: &str) {
            self.writer.apply_watcher_event(&Event::Apply(resource(name)));
            self.tell(resources::Told::Seen(Box::new(resource(name))));
        }

        fn lose(&mut self, name: &str) {
            self.writer.apply_watcher_event(&Event::Delete(resource(name)));
            self.tell(resources::Told::Gone(Box::new(resource(name))));
        }
    }

    /// All news that have come, in short.
    fn news(streams: &mut Streams) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(Some((scope, news))) = streams.next().now_or_never() {
            let what = match news {
                News::Seen(key, _) => format!("seen {}", key.name),
                News::Gone(key, _) => format!("gone {}", key.name),
                News::Listed(all) => format!("listed {}", all.len()),
                News::Touched(keys) => format!("touched {}", keys.first().unwrap().name),
            };
            all.push(format!("{scope} {what}"));
        }
        all
    }

    fn touched(name: &str) -> Change {
        Change::Touched(vec![Key::new("shop", name)])
    }

    #[tokio::test]
    async fn the_first_resources_wait_for_what_they_need_and_no_news_are_lost() {
        let (mut streams, fake) = (none(), Fake::default());
        let mut resources = add(&mut streams, &fake);
        assert_eq!((news(&mut streams), fake.starts()), (vec![], 0));
        resources.list(&["web"]);
        resources.see("late");
        assert_eq!((news(&mut streams), fake.starts()), (vec![], 1));
        fake.tell(0, touched("web"));
        assert!(news(&mut streams).is_empty());
        fake.tell(0, Change::Listed);
        assert_eq!(news(&mut streams), ["0 listed 2"]);
        resources.see("third");
        fake.tell(0, touched("web"));
        let mut rest = news(&mut streams);
        rest.sort();
        assert_eq!(rest, ["0 seen third", "0 touched web"]);
        for name in ["web", "late", "third"] {
            resources.lose(name);
        }
        assert_eq!(news(&mut streams), ["0 gone web", "0 gone late", "0 gone third"]);
        // The watch goes on for a while. Where it runs and has listed everything, nobody waits.
        resources.see("web");
        assert_eq!((news(&mut streams), fake.starts()), (vec!["0 listed 1".to_owned()], 1));
    }

    #[tokio::test]
    async fn a_watch_that_tells_nothing_stalls_no_other_scope() {
        let (mut streams, silent, fake) = (none(), Fake::default(), Fake::default());
        let (mut first, mut second) = (add(&mut streams, &silent), add(&mut streams, &fake));
        first.list(&["web"]);
        second.list(&["web"]);
        assert_eq!(news(&mut streams), Vec::<String>::new());
        fake.tell(0, Change::Listed);
        assert_eq!(news(&mut streams), ["1 listed 1"]);
        second.see("other");
        assert_eq!(news(&mut streams), ["1 seen other"]);
        assert_eq!(silent.starts(), 1);
    }

    #[tokio::test]
    async fn it_is_ready_when_everything_that_is_needed_is_listed() {
        let (mut streams, fake) = (none(), Fake::default());
        let (mut first, mut second) = (add(&mut streams, &fake), add(&mut streams, &Fake::default()));
        first.list(&["web"]);
        second.list(&[]);
        news(&mut streams);
        assert!(streams.ready.get().is_none());
        fake.tell(0, Change::Listed);
        news(&mut streams);
        assert!(streams.ready.get().is_some(), "the second scope needs nothing");
    }

    #[tokio::test]
    async fn nothing_of_a_watch_that_is_stopped_is_believed() {
        let (mut streams, fake) = (none(), Fake::default());
        let mut resources = add(&mut streams, &fake);
        resources.list(&["web"]);
        news(&mut streams);
        fake.tell(0, Change::Listed);
        assert_eq!(news(&mut streams), ["0 listed 1"]);
        fake.tell(0, touched("web"));
        streams.scopes[0].stop(0);
        assert_eq!((news(&mut streams), fake.forgotten.load(Ordering::Relaxed)), (vec![], 1));
        assert!(fake.starts.lock().unwrap()[0].is_closed(), "the stream is dropped");
    }

    #[tokio::test]
    async fn it_ends_when_all_watches_have_ended() {
        let (mut streams, fake) = (none(), Fake::default());
        drop(add(&mut streams, &fake));
        assert!(streams.next().await.is_none());
    }
}
