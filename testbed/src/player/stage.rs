//! All pods and ConfigMaps as the player knows them, and which pod is due.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;

use super::content::{Content, Contents};
use super::life::Life;
use super::part::{Key, Part};
use super::script::Script;
use super::starts::Starts;
use super::status::status;
use super::step::{Around, step};

/// From the first sight of a pod to its start. Pods and ConfigMaps come by two watches: a ConfigMap that was written
/// before the pod has to be seen first.
const SETTLE: SignedDuration = SignedDuration::from_millis(20);

/// From a write that failed to the next try.
const RETRY: SignedDuration = SignedDuration::from_millis(200);

/// 10.128.0.0: the first half of the network belongs to Services.
const ADDRESSES: u32 = 0x0a80_0000;

/// A write that is due.
#[derive(Debug)]
pub(super) struct Deed {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Write(Box<PodStatus>),
    Delete,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The pod does not exist any more.
    Gone,
    Failed,
}

#[derive(Debug)]
struct Actor {
    part: Part,
    life: Life,
    /// The status that the API server has accepted.
    written: Option<PodStatus>,
    deleted: bool,
    /// A write is under way; the next one waits for its end.
    busy: bool,
    queued: bool,
}

#[derive(Debug, Default)]
pub(super) struct Stage {
    actors: HashMap<Key, Actor>,
    contents: Contents,
    /// Pods that wait, or crash: news of ConfigMaps concern no others.
    restless: BTreeSet<Key>,
    queue: VecDeque<Key>,
    timers: BinaryHeap<Reverse<(Timestamp, Key)>>,
    addresses: u32,
}

impl Stage {
    /// A pod is there, or has changed.
    pub(super) fn pod(&mut self, part: Part, now: Timestamp) {
        let key = part.key.clone();
        if let Some(actor) = self.actors.get_mut(&key).filter(|actor| actor.part.uid == part.uid) {
            actor.part = part;
            return self.enqueue(&key);
        }
        self.addresses = self.addresses.wrapping_add(1) & 0x007f_ffff;
        let life = Life::new(&part, Ipv4Addr::from_bits(ADDRESSES | self.addresses), now);
        let actor = Actor { part, life, written: None, deleted: false, busy: false, queued: false };
        self.actors.insert(key.clone(), actor);
        self.wake(key, now, SETTLE);
    }

    pub(super) fn pod_gone(&mut self, key: &Key) {
        self.actors.remove(key);
        self.restless.remove(key);
    }

    /// These pods are there, and no others.
    pub(super) fn pods_listed(&mut self, listed: &BTreeSet<Key>) {
        self.actors.retain(|key, _| listed.contains(key));
        self.restless.retain(|key| listed.contains(key));
    }

    /// A ConfigMap is there, or has changed.
    pub(super) fn config_map(&mut self, key: Key, content: Content) {
        let name = key.name.clone();
        let namespace = key.namespace.clone();
        if !self.contents.set(key, content) {
            return;
        }
        let concerns = |key: &&Key| {
            key.namespace == namespace && self.actors.get(*key).is_some_and(|actor| actor.part.names(&name))
        };
        let due: Vec<_> = self.restless.iter().filter(concerns).cloned().collect();
        for key in due {
            self.enqueue(&key);
        }
    }

    pub(super) fn config_map_gone(&mut self, key: &Key) {
        self.contents.remove(key);
    }

    /// These ConfigMaps are there, and no others.
    pub(super) fn config_maps_listed(&mut self, listed: &BTreeSet<Key>) {
        self.contents.retain(listed);
    }

    /// The script is another one.
    pub(super) fn script_changed(&mut self) {
        let all: Vec<_> = self.actors.keys().cloned().collect();
        for key in all {
            self.enqueue(&key);
        }
    }

    /// When the next pod is due by itself.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Makes the pods due whose time has come.
    pub(super) fn ring(&mut self, now: Timestamp) {
        while self.next_timer().is_some_and(|at| at <= now) {
            if let Some(Reverse((_, key))) = self.timers.pop() {
                self.enqueue(&key);
            }
        }
    }

    /// Lets the pods that are due take their turn, up to the first that something is to be written of.
    pub(super) fn next(&mut self, script: &Script, starts: &mut Starts, now: Timestamp) -> Option<Deed> {
        loop {
            let key = self.queue.pop_front()?;
            let Some(actor) = self.actors.get_mut(&key) else { continue };
            if actor.busy {
                // Still queued: taken up again at the end of the write.
                continue;
            }
            actor.queued = false;
            let before = actor.life.next();
            let what = actor.turn(&self.contents, script, starts, now);
            actor.busy = what.is_some();
            let uid = actor.part.uid.clone();
            let next = actor.life.next().filter(|next| before != Some(*next));
            if actor.life.is_restless(&actor.part) && !actor.part.leaving {
                self.restless.insert(key.clone());
            } else {
                self.restless.remove(&key);
            }
            if let Some(next) = next {
                self.timers.push(Reverse((next, key.clone())));
            }
            if let Some(what) = what {
                return Some(Deed { key, uid, what });
            }
        }
    }

    /// A write has ended.
    pub(super) fn done(&mut self, deed: Deed, outcome: Outcome, now: Timestamp) {
        let Deed { key, uid, what } = deed;
        let Some(actor) = self.actors.get_mut(&key).filter(|actor| actor.part.uid == uid) else { return };
        actor.busy = false;
        if std::mem::take(&mut actor.queued) {
            self.enqueue(&key);
        }
        let Some(actor) = self.actors.get_mut(&key) else { return };
        match (outcome, what) {
            (Outcome::Done, What::Write(status)) => actor.written = Some(*status),
            (Outcome::Done, What::Delete) => actor.deleted = true,
            (Outcome::Gone, _) => self.pod_gone(&key),
            (Outcome::Failed, _) => self.wake(key, now, RETRY),
        }
    }

    fn enqueue(&mut self, key: &Key) {
        let Some(actor) = self.actors.get_mut(key) else { return };
        if !std::mem::replace(&mut actor.queued, true) {
            self.queue.push_back(key.clone());
        }
    }

    fn wake(&mut self, key: Key, now: Timestamp, after: SignedDuration) {
        self.timers.push(Reverse((now.saturating_add(after).unwrap_or(now), key)));
    }
}

impl Actor {
    fn turn(
        &mut self,
        contents: &Contents,
        script: &Script,
        starts: &mut Starts,
        now: Timestamp,
    ) -> Option<What> {
        if self.part.leaving {
            return (!self.deleted).then_some(What::Delete);
        }
        starts.add(step(&self.part, &mut self.life, Around { contents, script, now }));
        let status = status(&self.part, &self.life);
        // Somebody else turns `Ready` too: the controller of the nodes, when a node is not heard from.
        let same = self.written.as_ref() == Some(&status) && self.part.ready == self.life.ready.to;
        (!same).then(|| What::Write(Box::new(status)))
    }
}
