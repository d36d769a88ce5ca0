//! Who gets the next turn.
//!
//! A look that asks no registry waits for none: it has turns of its own. Of the turns at registries each registry and each
//! namespace gets a share, and what hangs gets a small one (see `share`). Within that, what is due longest comes first.
//! And a look ends early where its resource is no longer the one that it was begun for.

mod line;
mod news;
mod share;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::news::{Asks, Version};

use self::line::{Line, Lines, Ticket};
use self::share::{Held, Hold};

/// A look that held its turn for this long was slow. Far above what a registry needs that works, and far below the
/// shortest time that it takes to starve others.
pub const SLOW: Duration = Duration::from_secs(5);

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name in there.
    pub name: Arc<str>,
}

impl Key {
    /// Names a resource.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// Whom a look may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The API server alone.
    Cluster,
    /// Registries as well.
    Registry,
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After this time.
    After(Duration),
    /// When something changes.
    OnChange,
    /// As soon as there is a turn at registries: without one it cannot go on.
    AtRegistry,
}

/// What came of news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The resource is due.
    pub due: bool,
    /// The look under way is for what is no more.
    pub over: bool,
}

/// All resources: which are due, which are looked at, and who comes next.
#[derive(Debug)]
pub struct Turns {
    entries: HashMap<Key, Entry>,
    /// What is not due yet, by its time.
    later: BTreeMap<Ticket, Key>,
    lines: Lines,
    held: Held,
    tickets: u64,
}

#[derive(Debug)]
struct Entry {
    version: Version,
    asks: Asks,
    /// Its place in the line, or among what comes later.
    ticket: Option<Ticket>,
    /// Whom its next look may ask.
    lane: Lane,
    /// Its last look at a registry was slow.
    slow: bool,
    /// Boxed, because few are.
    running: Option<Box<Running>>,
}

/// A look under way.
#[derive(Debug)]
struct Running {
    hold: Hold,
    begun: Instant,
    /// Since when it was due.
    due: Instant,
    /// What it was begun for is no more.
    over: bool,
    /// Since when the resource is due again, because something happened meanwhile.
    again: Option<Instant>,
    /// The resource is gone, and with the look goes what is known of it.
    gone: bool,
}

impl Turns {
    /// Nobody waits. So many looks at registries side by side, and as many that ask none.
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

    /// A resource is there, and like this.
    pub fn seen(&mut self, key: &Key, version: Version, asks: Asks, now: Instant) -> Told {
        let Some(entry) = self.entries.get_mut(key) else {
            self.held.uses(&asks.place);
            let lane = asks.first;
            let entry = Entry { version, asks, ticket: None, lane, slow: false, running: None };
            self.entries.insert(key.clone(), entry);
            self.enter(key, now);
            return Told { due: true, over: false };
        };
        let is_back = entry.running.as_mut().is_some_and(|running| std::mem::take(&mut running.gone));
        if entry.version == version && !is_back {
            return Told::default();
        }
        let ends = version.ends(&entry.version);
        let over = entry.running.as_mut().is_some_and(|running| ends && running.ends());
        self.leave(key);
        let Some(entry) = self.entries.get_mut(key) else { return Told::default() };
        self.held.uses(&asks.place);
        self.held.leaves(&entry.asks.place);
        // Of another resource, or another registry, nothing is known.
        entry.slow &= version.uid == entry.version.uid && asks.place == entry.asks.place;
        (entry.version, entry.asks) = (version, asks);
        self.arrive(key, now);
        Told { due: true, over }
    }

    /// A resource is gone. Returns whether the look at it that is under way is over thereby.
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

    /// An object of a resource changed: the resource is due, if there is one.
    pub fn touched(&mut self, key: &Key, now: Instant) {
        self.arrive(key, now);
    }

    /// The resources of a namespace, or all.
    pub fn keys(&self, namespace: Option<&str>) -> impl Iterator<Item = &Key> {
        self.entries.keys().filter(move |key| namespace.is_none_or(|namespace| namespace == &*key.namespace))
    }

    /// Gives the next turn: to whom it is due longest, of those whose registry and namespace have not got their share.
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

    /// A look ended.
    pub fn ended(&mut self, key: &Key, next: Next, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(running) = entry.running.take() else { return };
        let Running { hold, begun, due, over, again, gone } = *running;
        self.held.give_back(&hold);
        let slow = now.saturating_duration_since(begun) >= SLOW;
        // One that was broken off early says nothing of the registry.
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
                // What is too far away to be told is as good as never.
                if let Some(due) = now.checked_add(wait) {
                    self.enter(key, due);
                }
            }
            (None, Next::OnChange) => {}
        }
    }

    /// When somebody is due next who is not yet.
    #[must_use]
    pub fn wakes(&self) -> Option<Instant> {
        self.later.first_key_value().map(|(ticket, _)| ticket.due)
    }

    /// How many are due and wait for such a turn.
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
        // One that waits for a registry first does again what needs none: its target may be what changed.
        if entry.ticket.is_some_and(|ticket| ticket.due <= now) && entry.lane == entry.asks.first {
            return;
        }
        self.leave(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.lane = entry.asks.first;
        }
        self.enter(key, now);
    }

    /// Waits from then on.
    fn enter(&mut self, key: &Key, due: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.tickets += 1;
        let ticket = Ticket { due, number: self.tickets };
        entry.ticket = Some(ticket);
        self.later.insert(ticket, key.clone());
    }

    /// Waits no more.
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
    /// It is over. Returns whether that is news.
    const fn ends(&mut self) -> bool {
        !std::mem::replace(&mut self.over, true)
    }
}

#[cfg(test)]
mod tests;
