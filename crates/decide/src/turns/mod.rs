//! Decides which resource gets the next turn.
//!
//! A reconcile that asks no registry has separate turns, so it never waits for a registry. Each registry and each
//! namespace gets a share of the turns at registries, and registries that hang get a small one (see `share`). Within
//! these shares, the resource that has been due longest comes first. A reconcile ends early if its resource has changed
//! since it began.

mod key;
mod line;
mod lines;
mod news;
mod share;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::key::Key;
pub use self::line::Lane;
pub use self::news::{Asks, Version};

use self::line::Line;
use self::lines::{Lines, Ticket};
use self::share::{Held, Hold};

/// A reconcile that held its turn for this long was slow. A working registry needs far less, and it takes far longer to
/// starve others.
pub const SLOW: Duration = Duration::from_secs(5);

/// When to reconcile again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After this time.
    After(Duration),
    /// When something changes.
    OnChange,
    /// As soon as a turn at registries is free. Without one it cannot continue.
    AtRegistry,
}

/// The result of news about a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The resource is due.
    pub due: bool,
    /// The running reconcile works for an outdated resource.
    pub over: bool,
}

/// All resources: which are due, which are being reconciled, and which is next.
#[derive(Debug)]
pub struct Turns {
    entries: HashMap<Key, Entry>,
    /// Resources that are not due yet, by the time when they will be.
    later: BTreeMap<Ticket, Key>,
    lines: Lines,
    held: Held,
    tickets: u64,
}

#[derive(Debug)]
struct Entry {
    version: Version,
    asks: Asks,
    /// Its place in the line, or in the list of later resources.
    ticket: Option<Ticket>,
    /// The servers that its next reconcile may ask.
    lane: Lane,
    /// Its last reconcile that asked a registry was slow.
    slow: bool,
    /// Boxed, because few are.
    running: Option<Box<Running>>,
}

/// A running reconcile.
#[derive(Debug)]
struct Running {
    hold: Hold,
    begun: Instant,
    /// Since when it was due.
    due: Instant,
    /// Its resource has changed since it began.
    over: bool,
    /// Since when the resource is due again, because of an event during the reconcile.
    again: Option<Instant>,
    /// The resource is deleted. Its data is dropped when the reconcile ends.
    gone: bool,
}

impl Turns {
    /// No resource waits. Allows this many reconciles at registries at the same time, and as many that ask no registry.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        Self {
            entries: HashMap::new(),
            later: BTreeMap::new(),
            lines: Lines::default(),
            held: Held::new(concurrency),
            tickets: 0,
        }
    }

    /// A resource exists, with these properties.
    pub fn seen(&mut self, key: &Key, version: Version, asks: Asks, now: Instant) -> Effect {
        let Some(entry) = self.entries.get_mut(key) else {
            self.held.uses(&asks.place);
            let lane = asks.first;
            let entry = Entry { version, asks, ticket: None, lane, slow: false, running: None };
            self.entries.insert(key.clone(), entry);
            self.enter(key, now);
            return Effect { due: true, over: false };
        };
        let is_back = entry.running.as_mut().is_some_and(|running| std::mem::take(&mut running.gone));
        if entry.version == version && !is_back {
            return Effect::default();
        }
        let ends = version.ends(&entry.version);
        let over = entry.running.as_mut().is_some_and(|running| ends && running.ends());
        self.leave(key);
        let Some(entry) = self.entries.get_mut(key) else { return Effect::default() };
        self.held.uses(&asks.place);
        self.held.leaves(&entry.asks.place);
        // Facts about another resource, or another registry, do not apply.
        entry.slow &= version.uid == entry.version.uid && asks.place == entry.asks.place;
        (entry.version, entry.asks) = (version, asks);
        self.arrive(key, now);
        Effect { due: true, over }
    }

    /// A resource is deleted. Returns whether this ends its running reconcile.
    pub fn gone(&mut self, key: &Key) -> bool {
        self.leave(key);
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let Some(running) = &mut entry.running else {
            self.forget(key);
            return false;
        };
        (running.again, running.gone) = (None, true);
        running.ends()
    }

    /// An object of a resource changed: the resource is due, if it exists.
    pub fn touched(&mut self, key: &Key, now: Instant) {
        self.arrive(key, now);
    }

    /// The resources of a namespace, or all.
    pub fn keys(&self, namespace: Option<&str>) -> impl Iterator<Item = &Key> {
        self.entries.keys().filter(move |key| namespace.is_none_or(|namespace| namespace == &*key.namespace))
    }

    /// Gives the next turn to the resource that has been due longest, if its registry and namespace have not used their
    /// share.
    pub fn next(&mut self, now: Instant) -> Option<(Key, Lane)> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().due <= now) {
            let (ticket, key) = first.remove_entry();
            if let Some(entry) = self.entries.get(&key) {
                self.lines.join(entry.line(&key), ticket, key);
            }
        }
        let (line, ticket, key) = self.lines.pop(&self.held)?;
        let entry = self.entries.get_mut(&key)?;
        entry.ticket = None;
        let asks = line.lane;
        entry.running = Some(Box::new(Running {
            hold: self.held.take(line),
            begun: now,
            due: ticket.due,
            over: false,
            again: None,
            gone: false,
        }));
        Some((key, asks))
    }

    /// A reconcile ended.
    pub fn ended(&mut self, key: &Key, next: Next, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(running) = entry.running.take() else { return };
        let Running { hold, begun, due, over, again, gone } = *running;
        self.held.give_back(&hold);
        let slow = now.saturating_duration_since(begun) >= SLOW;
        // A reconcile that was cancelled says nothing about the registry.
        if hold.line.lane == Lane::Registry && (slow || !over) {
            entry.slow = slow && hold.line.place == entry.asks.place;
            self.held.learn(&hold.line.place, slow);
        }
        entry.lane = entry.asks.first;
        match (again, next) {
            _ if gone => self.forget(key),
            (Some(again), _) => self.enter(key, again),
            (None, Next::AtRegistry) => {
                entry.lane = Lane::Registry;
                self.enter(key, due);
            }
            (None, Next::After(wait)) => {
                // A time beyond the range of the clock counts as never.
                if let Some(due) = now.checked_add(wait) {
                    self.enter(key, due);
                }
            }
            (None, Next::OnChange) => {}
        }
    }

    /// The time at which the next resource becomes due.
    #[must_use]
    pub fn wakes(&self) -> Option<Instant> {
        self.later.first_key_value().map(|(ticket, _)| ticket.due)
    }

    /// The number of due resources that wait for such a turn.
    #[must_use]
    pub const fn waiting(&self, lane: Lane) -> usize {
        self.lines.waiting(lane)
    }

    /// A resource is due now.
    fn arrive(&mut self, key: &Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(running) = &mut entry.running {
            if !running.gone {
                running.again.get_or_insert(now);
            }
            return;
        }
        // A resource that waits for a registry first reconciles again without one, because its target may have changed.
        if entry.ticket.is_some_and(|ticket| ticket.due <= now) && entry.lane == entry.asks.first {
            return;
        }
        self.leave(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.lane = entry.asks.first;
        }
        self.enter(key, now);
    }

    /// Puts the resource into its line.
    fn enter(&mut self, key: &Key, due: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.tickets += 1;
        let ticket = Ticket { due, number: self.tickets };
        entry.ticket = Some(ticket);
        self.later.insert(ticket, key.clone());
    }

    /// Removes the resource from its line.
    fn leave(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(ticket) = entry.ticket.take()
            && self.later.remove(&ticket).is_none()
        {
            self.lines.leave(&entry.line(key), ticket);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.held.leaves(&entry.asks.place);
        }
    }
}

impl Entry {
    fn line(&self, key: &Key) -> Line {
        let (place, slow) = match self.lane {
            Lane::Cluster => (Arc::default(), false),
            Lane::Registry => (Arc::clone(&self.asks.place), self.slow),
        };
        Line { lane: self.lane, place, slow, namespace: Arc::clone(&key.namespace) }
    }
}

impl Running {
    /// Marks the running reconcile as outdated. Returns whether it was not marked before.
    const fn ends(&mut self) -> bool {
        !std::mem::replace(&mut self.over, true)
    }
}

#[cfg(test)]
mod tests;
