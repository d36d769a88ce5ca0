//! Who waits, and since when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::share::Held;
use super::{Key, Lane};

/// A place in the order: by time, and where that is the same, by who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    pub(super) due: Instant,
    pub(super) number: u64,
}

/// What those in one line have in common: for all of them there is room, or for none. Lines at one registry stand side by
/// side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) lane: Lane,
    /// Which registries are asked; empty where none is.
    pub(super) place: Arc<str>,
    /// The last look at each of these resources was slow.
    pub(super) slow: bool,
    pub(super) namespace: Arc<str>,
}

impl Line {
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        (self.lane, self.slow) == (other.lane, other.slow) && self.place == other.place
    }
}

/// All that are due, by line: of thousands that wait for one registry only the first has to be looked at.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: BTreeMap<Line, BTreeMap<Ticket, Key>>,
    cluster: usize,
    registry: usize,
}

impl Lines {
    const fn count(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Cluster => &mut self.cluster,
            Lane::Registry => &mut self.registry,
        }
    }

    pub(super) const fn waiting(&self, lane: Lane) -> usize {
        match lane {
            Lane::Cluster => self.cluster,
            Lane::Registry => self.registry,
        }
    }

    pub(super) fn join(&mut self, line: Line, ticket: Ticket, key: Key) {
        *self.count(line.lane) += 1;
        self.waiting.entry(line).or_default().insert(ticket, key);
    }

    pub(super) fn leave(&mut self, line: &Line, ticket: Ticket) -> Option<Key> {
        let waiting = self.waiting.get_mut(line)?;
        let key = waiting.remove(&ticket)?;
        if waiting.is_empty() {
            self.waiting.remove(line);
        }
        *self.count(line.lane) -= 1;
        Some(key)
    }

    /// Takes out who waits longest, of the lines for which there is room.
    pub(super) fn pop(&mut self, held: &Held) -> Option<(Line, Ticket, Key)> {
        let mut first: Option<(Ticket, &Line)> = None;
        // Judged once for all namespaces there: with thousands of them this is what a turn costs.
        let mut at: Option<(&Line, bool)> = None;
        for (line, waiting) in &self.waiting {
            let Some((ticket, _)) = waiting.first_key_value() else { continue };
            if first.is_some_and(|(before, _)| before < *ticket) {
                continue;
            }
            let has_room = match at {
                Some((last, has_room)) if last.is_beside(line) => has_room,
                _ => held.has_room_at(line),
            };
            at = Some((line, has_room));
            if has_room && held.has_room_within(line) {
                first = Some((*ticket, line));
            }
        }
        let (ticket, line) = first.map(|(ticket, line)| (ticket, line.clone()))?;
        let key = self.leave(&line, ticket)?;
        Some((line, ticket, key))
    }
}
