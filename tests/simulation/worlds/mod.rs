//! The two worlds of the reconcile in one state, and the steps of the reconcile.

pub mod cluster;
mod fields;
pub mod objects;
pub mod registry;
pub mod resources;
pub mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use ::registry::Artifact;
use decide::usage::Usage;
use decide::workload::Bind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oci::Digest;
use registry::Store;

use crate::clock;
use crate::prng::Prng;
use crate::rules::{Ledger, Violation};
use objects::Objects;
use resources::{Guarded, Resources};
use workloads::Workload;

/// A handle to the worlds.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

pub struct State {
    pub random: Prng,
    pub faults: Faults,
    pub registry: Store,
    pub objects: Objects,
    pub resources: Resources,
    /// Pods, and the `ConfigMap` that each names.
    pub pods: BTreeMap<String, String>,
    pub workloads: BTreeMap<&'static str, Workload>,
    /// Whether the pull secret exists.
    pub secret: bool,
    /// Names whose resources merge into objects of others.
    pub merging: BTreeSet<&'static str>,
    /// Running reconciles.
    pub runs: BTreeMap<Who, Run>,
    /// The reconcile that is being polled.
    pub acting: Who,
    /// The watch cache of a replaced operator at the time of its replacement.
    pub outdated: BTreeMap<usize, BTreeMap<String, ObjectMeta>>,
    /// Steps that the operator has made.
    pub steps: usize,
    /// Writes that the operator has made.
    pub writes: usize,
    pub ledger: Ledger,
    pub trace: Trace,
    pub violation: Option<Violation>,
}

/// A reconcile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// Counts the operators, of which the last one leads.
    pub operator: usize,
    /// The resource.
    pub name: &'static str,
}

/// The answers that one reconcile got: its writes must follow from them.
pub struct Run {
    pub uid: String,
    pub seen: Arc<Guarded>,
    pub subject: Option<Digest>,
    /// The last listing that was answered.
    pub listed: Option<Vec<Artifact>>,
    /// The registry said that the image does not exist.
    pub no_image: bool,
    /// The registry said whether it has the one artifact that it was asked for.
    pub artifact_answered: bool,
    /// The artifacts that the status named whenever the API server was asked for it; empty where it named none.
    pub statuses: Vec<String>,
    /// How often content or a manifest was asked for by digest.
    pub fetched: usize,
    /// The `ConfigMaps` that pods have named since the beginning, or since the operator asked.
    pub in_use: BTreeSet<String>,
    /// The images that pods and pod templates have named since the beginning, or since the operator asked.
    pub images: BTreeSet<String>,
    /// The digests that the registry gave for references.
    pub resolved: BTreeMap<String, Digest>,
    /// The image and the label of the workload that was read.
    pub followed: Option<(String, Option<Bind>)>,
    /// Objects that somebody deleted or replaced by hand meanwhile.
    pub disturbed: BTreeSet<String>,
    pub steps: usize,
    pub turn: Turn,
    /// How it was broken off, if it was.
    pub broken: Option<Broken>,
    /// A status was to be written.
    pub told: bool,
}

/// Marks a reconcile as disturbed while two operators run.
pub const ANOTHER_OPERATOR: &str = "another operator";

/// Marks a reconcile as disturbed while somebody takes the status away.
pub const STATUS: &str = "the status";

/// How far a reconcile has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is about to do something in the cluster.
    Cluster,
    /// It waits for the registry.
    Registry,
    /// Its turn ended while it waited for the registry: it writes nothing any more.
    Over,
}

/// How a reconcile ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A step gets no answer, ever.
    Hung,
    /// A step panicked.
    Panicked,
}

impl Run {
    pub fn panicked(&self) -> bool {
        self.broken == Some(Broken::Panicked)
    }

    pub fn new(uid: String, seen: Arc<Guarded>, usage: Usage) -> Self {
        Self {
            uid,
            seen,
            in_use: usage.config_maps,
            images: usage.images,
            resolved: BTreeMap::new(),
            followed: None,
            subject: None,
            listed: None,
            no_image: false,
            artifact_answered: false,
            statuses: Vec::new(),
            fetched: 0,
            disturbed: BTreeSet::new(),
            steps: 0,
            turn: Turn::Cluster,
            broken: None,
            told: false,
        }
    }
}

/// The fault of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has no effect.
    Before,
    /// It takes effect, and the answer is lost.
    After,
    /// There is no answer, ever.
    Hang,
    /// It panics, before it has any effect.
    Panic,
    /// It takes effect, and then panics.
    PanicAfter,
}

/// Which steps go wrong.
#[derive(Clone, Copy, Debug)]
pub enum Faults {
    None,
    /// One step, counted from 1.
    At(usize, Fault),
    /// So many of a thousand each.
    Random {
        fail: usize,
        lose: usize,
        hang: usize,
        panic: usize,
        stale: usize,
    },
}

/// The result of a step.
enum Answer<T> {
    Told(T),
    Never,
    Panic,
}

/// The trace, if it is enabled.
#[derive(Default)]
pub struct Trace {
    pub wanted: bool,
    pub lines: Vec<String>,
}

impl Trace {
    pub fn add(&mut self, line: impl FnOnce() -> String) {
        if self.wanted {
            let line = format!("{:>4} +{:>5}s  {}", self.lines.len(), clock::second() % 100_000, line());
            self.lines.push(line);
        }
    }
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        clock::reset();
        Self(Arc::new(Mutex::new(State {
            random: Prng::new(seed),
            faults: Faults::None,
            registry: Store::new(),
            objects: Objects::default(),
            resources: Resources::default(),
            pods: BTreeMap::new(),
            workloads: BTreeMap::new(),
            secret: true,
            merging: BTreeSet::new(),
            runs: BTreeMap::new(),
            acting: Who::default(),
            outdated: BTreeMap::new(),
            steps: 0,
            writes: 0,
            ledger: Ledger::default(),
            trace: Trace { wanted: trace, lines: Vec::new() },
            violation: None,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// One step of the operator: others may act before it, and it may go wrong.
    pub async fn step<T, E>(
        &self,
        what: impl FnOnce() -> String,
        trouble: fn(&mut Prng) -> E,
        effect: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        give_way().await;
        let answer = self.lock().take_step(what, trouble, effect);
        match answer {
            Answer::Told(answer) => answer,
            Answer::Never => std::future::pending().await,
            // Not by `panic!`, whose hook would print a thousand of them.
            Answer::Panic => std::panic::resume_unwind(Box::new("a simulated bug")),
        }
    }
}

/// Ends the poll once.
async fn give_way() {
    let mut given = false;
    std::future::poll_fn(
        |_| {
            if std::mem::replace(&mut given, true) { Poll::Ready(()) } else { Poll::Pending }
        },
    )
    .await;
}

impl State {
    /// The record of the acting reconcile.
    pub fn run(&mut self) -> &mut Run {
        self.runs.get_mut(&self.acting).unwrap()
    }

    fn take_step<T, E>(
        &mut self,
        what: impl FnOnce() -> String,
        trouble: fn(&mut Prng) -> E,
        effect: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Answer<Result<T, E>> {
        self.steps += 1;
        self.run().steps += 1;
        let fault = match self.faults {
            Faults::None => None,
            Faults::At(step, fault) => (step == self.steps).then_some(fault),
            Faults::Random { fail, lose, hang, panic, .. } => {
                let rest = 1000_usize.saturating_sub(fail + lose + hang + panic);
                let (early, late) = (panic / 2, panic - panic / 2);
                let faults = [
                    (fail, Some(Fault::Before)),
                    (lose, Some(Fault::After)),
                    (hang, Some(Fault::Hang)),
                    (early, Some(Fault::Panic)),
                    (late, Some(Fault::PanicAfter)),
                    (rest, None),
                ];
                self.random.weighted(&faults).flatten()
            }
        };
        let (step, Who { operator, name }) = (self.steps, self.acting);
        let who = if self.outdated.contains_key(&operator) { "outdated " } else { "" };
        self.trace.add(|| {
            let fault = fault.map(|fault| format!("  ✗ {fault:?}")).unwrap_or_default();
            format!("{who}{name} #{step}: {}{fault}", what())
        });
        match fault {
            None => {
                let answer = effect(self);
                if answer.is_err() {
                    self.trace.add(|| "      refused".to_owned());
                }
                Answer::Told(answer)
            }
            Some(Fault::Before) => Answer::Told(Err(trouble(&mut self.random))),
            Some(Fault::After) => {
                drop(effect(self));
                Answer::Told(Err(trouble(&mut self.random)))
            }
            Some(Fault::Hang) => {
                // Half of the requests without an answer have taken effect.
                if self.random.chance(500) {
                    drop(effect(self));
                }
                self.run().broken = Some(Broken::Hung);
                Answer::Never
            }
            Some(fault @ (Fault::Panic | Fault::PanicAfter)) => {
                if fault == Fault::PanicAfter {
                    drop(effect(self));
                }
                self.ledger.memory_is_lost();
                // It no longer waits for a registry.
                self.run().turn = Turn::Cluster;
                self.run().broken = Some(Broken::Panicked);
                Answer::Panic
            }
        }
    }

    /// The `ConfigMaps` as the watch of the acting operator has delivered them.
    pub fn watched(&self) -> &BTreeMap<String, ObjectMeta> {
        self.outdated.get(&self.acting.operator).unwrap_or(&self.objects.watch.view)
    }

    /// Whether this answer comes from a replica that lags behind.
    pub fn answers_stale(&mut self) -> bool {
        let Faults::Random { stale, .. } = self.faults else { return false };
        let stale = self.random.chance(stale) && self.registry.past != self.registry.held;
        if stale {
            self.trace.add(|| "      answered as it was before the last change".to_owned());
        }
        stale
    }

    pub fn violate(&mut self, rule: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.trace.add(|| format!("VIOLATED {rule}: {what}"));
        self.violation.get_or_insert(Violation { rule, what });
    }
}
