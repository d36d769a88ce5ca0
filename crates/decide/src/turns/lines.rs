//! The resources that wait for a turn, in the order of their waiting time.

use std::collections::BTreeMap;
use std::time::Instant;

use super::key::Key;
use super::line::{Lane, Line};
use super::share::Held;

/// A place in the order: by time, and for equal times by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    pub(super) due: Instant,
    pub(super) number: u64,
}

/// All due resources, by line. Of thousands that wait for one registry, only the first has to be checked.
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

    /// Removes the resource that has waited longest, from the lines that may get a turn.
    pub(super) fn pop(&mut self, held: &Held) -> Option<(Line, Ticket, Key)> {
        let mut first: Option<(Ticket, &Line)> = None;
        // Checked once for all namespaces of a registry: with thousands of them this dominates the cost of a turn.
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
