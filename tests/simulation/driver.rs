//! Runs reconciles a step at a time, kills them, and brings the worlds to rest.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use api::Reason;
use artifactconfig::controller::{Context, Memory, Next, Turn, reconcile};
use artifactconfig::telemetry::Metrics;
use decide::turns::{Asks, Lane, Version};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::names::RESOURCES;
use crate::planted::{Bug, Port};
use crate::rules::{Violation, settled};
use crate::worlds::{self, ANOTHER_OPERATOR, Broken, Faults, Run, Who, World};

/// Most steps of one reconcile. The longest so far takes about 30; beyond this bound it never ends.
const STEPS: usize = 100;

/// Most rounds until no more writes come.
const ROUNDS: usize = 16;

/// Time between two rounds: longer than every wait of the operator before its next reconcile.
const ROUND: i64 = 700;

/// A running reconcile, and the token that ends its turn.
struct Reconcile {
    future: Pin<Box<dyn std::future::Future<Output = Next> + Send>>,
    over: CancellationToken,
}

pub struct Simulation {
    pub world: World,
    ports: Port,
    metrics: Metrics,
    operator: Arc<Context<Port, Port>>,
    running: BTreeMap<Who, Reconcile>,
    /// Number of operators before this one.
    generation: usize,
}

impl Simulation {
    pub fn new(seed: u64, trace: bool, bug: Bug) -> Self {
        let world = World::new(seed, trace);
        let ports = Port::new(world.clone(), bug);
        let metrics = Metrics::new();
        let operator = operator(&ports, &metrics);
        Self { world, ports, metrics, operator, running: BTreeMap::new(), generation: 0 }
    }

    /// The operator is killed and started again: it only knows the news of its watches.
    pub fn restart(&mut self) {
        self.stop_all();
        self.world.lock().trace.add(|| "──── the operator is killed and started again".to_owned());
        self.begin();
    }

    /// The operator is stopped for a while, and another one takes over. When the first one wakes up, it continues with
    /// its writes. Only the versions to which its writes are bound prevent them.
    pub fn take_over(&mut self) {
        // Only one operator sleeps at a time: earlier ones are gone.
        let outdated: Vec<Who> =
            self.running.keys().copied().filter(|who| who.operator < self.generation).collect();
        let mut state = self.world.lock();
        for who in outdated {
            self.running.remove(&who);
            state.runs.remove(&who);
        }
        let known = state.objects.watch.view.clone();
        state.outdated = [(self.generation, known)].into();
        state.trace.add(|| "──── another operator takes over".to_owned());
        for run in state.runs.values_mut() {
            run.disturbed.insert(ANOTHER_OPERATOR.to_owned());
        }
        drop(state);
        self.begin();
    }

    fn stop_all(&mut self) {
        self.running.clear();
        let mut state = self.world.lock();
        state.runs.clear();
        state.outdated.clear();
    }

    /// An operator that only knows the news of its watches.
    fn begin(&mut self) {
        self.generation += 1;
        self.operator = operator(&self.ports, &self.metrics);
        let mut state = self.world.lock();
        state.resources.resync();
        state.objects.resync();
    }

    /// Starts a reconcile if the watch knows the resource and none is running.
    pub fn start(&mut self, name: &'static str) -> bool {
        self.start_in(name, None)
    }

    /// In this lane, or in the one that the resource begins with.
    pub fn start_in(&mut self, name: &'static str, lane: Option<Lane>) -> bool {
        let who = self.who(name);
        let mut state = self.world.lock();
        let Some(seen) = state.resources.view(name).filter(|_| !self.running.contains_key(&who)) else {
            return false;
        };
        let metadata = &seen.0.as_ref().unwrap().metadata;
        let (uid, version) = (metadata.uid.clone().unwrap(), metadata.resource_version.clone());
        let behind = state.resources.behind(name);
        state
            .trace
            .add(|| format!("{name} starts; sees version {} ({behind} behind)", version.unwrap_or_default()));
        let mut run = Run::new(uid, seen.clone(), state.usage());
        run.disturbed.extend((!state.outdated.is_empty()).then(|| ANOTHER_OPERATOR.to_owned()));
        state.runs.insert(who, run);
        drop(state);
        let (operator, over) = (self.operator.clone(), CancellationToken::new());
        let lane = lane.unwrap_or_else(|| Asks::of(&seen).first);
        let turn = Turn::new(lane, over.clone(), clock::now());
        let future = Box::pin(async move { reconcile(&seen, &operator, &turn).await });
        self.running.insert(who, Reconcile { future, over });
        true
    }

    /// The reconcile of a resource by the operator that leads.
    pub const fn who(&self, name: &'static str) -> Who {
        Who { operator: self.generation, name }
    }

    /// Running reconciles, including those of an operator that was replaced.
    pub fn running(&self) -> Vec<Who> {
        self.running.keys().copied().collect()
    }

    /// Whether a reconcile waits for an answer that never comes.
    pub fn is_hung(&self) -> bool {
        self.world.lock().runs.values().any(|run| run.broken == Some(Broken::Hung))
    }

    /// Ends the turn of a reconcile whose resource has changed, according to the watch.
    pub fn end_turn(&mut self, who: Who) {
        let Some(running) = self.running.get(&who).filter(|_| who.operator == self.generation) else {
            return;
        };
        let mut state = self.world.lock();
        let view = state.resources.view(who.name);
        let Some(run) = state.runs.get_mut(&who).filter(|_| !running.over.is_cancelled()) else { return };
        let seen = Version::of(&run.seen);
        if view.is_none_or(|view| Version::of(&view).ends(&seen)) {
            running.over.cancel();
            if run.turn == worlds::Turn::Registry {
                run.turn = worlds::Turn::Over;
            }
            state.trace.add(|| format!("{}: its turn is over", who.name));
        }
    }

    /// One step of a running reconcile. Returns its record when it has ended.
    pub fn poll(&mut self, who: Who) -> Option<Run> {
        let name = who.name;
        self.end_turn(who);
        let running = self.running.get_mut(&who)?;
        self.world.lock().acting = who;
        let polled = running.future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        let mut state = self.world.lock();
        if polled == Poll::Pending {
            let steps = state.runs.get(&who)?.steps;
            if steps > STEPS {
                state
                    .violate("§2.7 everything is bounded", format!("{name}: {steps} steps in one reconcile"));
            }
            return None;
        }
        state.trace.add(|| format!("{name} ends: {polled:?}"));
        self.running.remove(&who);
        let run = state.runs.remove(&who)?;
        if !self.running.keys().any(|other| other.operator < self.generation) {
            state.outdated.clear();
        }
        drop(state);
        if run.panicked() {
            self.sees_the_panic(name, &run);
        }
        // It gets a turn at registries at once, unless its resource has changed meanwhile.
        let goes_on = polled == Poll::Ready(Next::AtRegistry) && who.operator == self.generation;
        if goes_on && self.start_in(name, Some(Lane::Registry)) {
            return None;
        }
        Some(run)
    }

    /// A panic must be visible: it is counted, and reported in the status unless the write of the status panicked. Not
    /// checked if others acted, because their writes may prevent the write of the status.
    fn sees_the_panic(&self, name: &str, run: &Run) {
        if !matches!(self.world.lock().faults, Faults::At(..)) {
            return;
        }
        let counted = self.metrics.text().contains(&format!("reason=\"{}\"", Reason::InternalError));
        if !counted || !run.told {
            let what = format!("{name}: counted: {counted}, told: {}", run.told);
            self.violate("a panic does not go unseen", what);
        }
    }

    /// Runs a reconcile to its end. `None` if nothing has to be reconciled, or if no answer comes.
    pub fn run(&mut self, name: &'static str) -> Option<Run> {
        let who = self.who(name);
        if !self.running.contains_key(&who) && !self.start(name) {
            return None;
        }
        self.finish(who)
    }

    /// The rest of a running reconcile.
    pub fn finish(&mut self, who: Who) -> Option<Run> {
        for _ in 0..2 * STEPS {
            if let Some(run) = self.poll(who) {
                return Some(run);
            }
            if self.is_hung() || self.violation().is_some() {
                return None;
            }
        }
        None
    }

    pub fn violation(&self) -> Option<Violation> {
        self.world.lock().violation.clone()
    }

    pub fn violate(&self, rule: &'static str, what: impl Into<String>) {
        self.world.lock().violate(rule, what);
    }

    /// Delivers all news of the watches.
    fn catch_up(&self) {
        let mut state = self.world.lock();
        state.objects.resync();
        state.resources.resync();
    }

    /// Nothing fails any more, and nobody acts. The operator must reach the state of the model, and stay there, even
    /// after a restart.
    pub fn settle(&mut self) {
        if self.is_hung() {
            self.restart();
        }
        self.world.lock().faults = Faults::None;
        self.world.lock().trace.add(|| "──── from here on nothing happens but the operator".to_owned());
        for who in self.running() {
            self.finish(who);
        }
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            self.world.lock().collect_garbage();
            let before = self.world.lock().writes;
            self.round();
            quiet = if self.world.lock().writes == before { quiet + 1 } else { 0 };
            if quiet == 2 || self.violation().is_some() {
                break;
            }
        }
        if quiet < 2 {
            self.violate("§2.4 no change, no write", format!("still writing after {ROUNDS} rounds"));
            return;
        }
        let before = self.world.lock().writes;
        for (name, fetched) in self.round() {
            settled::check(&mut self.world.lock(), name, fetched);
        }
        if self.violation().is_some() {
            return;
        }
        self.restart();
        self.round();
        if self.world.lock().writes != before {
            self.violate("§2.4 no change, no write", "the operator wrote because it was started again");
        }
        for name in RESOURCES {
            settled::check(&mut self.world.lock(), name, 0);
        }
    }

    /// Reconciles every resource once, with all news delivered. Returns how often each asked for content.
    fn round(&mut self) -> Vec<(&'static str, usize)> {
        clock::advance(ROUND);
        let mut fetched = Vec::new();
        for name in RESOURCES {
            self.catch_up();
            fetched.extend(self.run(name).map(|run| (name, run.fetched)));
        }
        fetched
    }
}

fn operator(ports: &Port, metrics: &Metrics) -> Arc<Context<Port, Port>> {
    Arc::new(Context {
        registry: ports.clone(),
        cluster: ports.clone(),
        memory: Memory::new(),
        metrics: metrics.clone(),
        now: clock::now,
        stop: CancellationToken::new(),
    })
}

/// Provides the runtime that a simulation needs: timers of `spec.timeout`, which never fire.
pub fn within_runtime<T>(simulate: impl FnOnce() -> T) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    }
    RUNTIME.with(|runtime| {
        let _entered = runtime.enter();
        simulate()
    })
}
