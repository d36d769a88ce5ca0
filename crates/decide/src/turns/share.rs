//! Shares: how many turns a registry or a namespace may hold.
//!
//! A fixed number for each would not work, because enough groups together could hold all turns. Instead a group may
//! take one more turn while it holds less than a multiple of the *free* turns. Alone it gets a large part, and some
//! turns stay free for newcomers. The more turns groups hold, the fewer each of them gets.
//!
//! | of so many turns | a registry, or a namespace | a namespace at one registry |
//! | --- | --- | --- |
//! | at registries that answer | up to three quarters | up to five eighths |
//! | where it is doubtful that there will be an answer: half of them | up to a half of that | up to a third of that |
//! | without a registry, as many on top | three quarters | |
//!
//! An answer is doubtful if the registry has never answered, or if it or the resource's own last reconcile was slow
//! ([`super::SLOW`]).

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::line::{Lane, Line};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    Cluster,
    Answering,
    Doubtful,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    All,
    Place(Arc<str>),
    Namespace(Arc<str>),
    /// A namespace at a registry.
    Both(Arc<str>, Arc<str>),
}

impl Group {
    fn of(line: &Line) -> [Self; 4] {
        let (place, namespace) = (&line.place, &line.namespace);
        [
            Self::All,
            Self::Place(Arc::clone(place)),
            Self::Namespace(Arc::clone(namespace)),
            Self::Both(Arc::clone(place), Arc::clone(namespace)),
        ]
    }

    /// The multiple of the free turns that it may hold, as a fraction. `None` if only their number is a bound.
    const fn share(&self, pool: Pool) -> Option<(usize, usize)> {
        match (self, pool) {
            (Self::All, _) | (Self::Place(_) | Self::Both(..), Pool::Cluster) => None,
            (Self::Place(_), Pool::Answering) | (Self::Namespace(_), Pool::Cluster | Pool::Answering) => {
                Some((3, 1))
            }
            (Self::Both(..), Pool::Answering) => Some((5, 3)),
            (Self::Place(_) | Self::Namespace(_), Pool::Doubtful) => Some((1, 1)),
            (Self::Both(..), Pool::Doubtful) => Some((1, 2)),
        }
    }
}

/// The facts about a registry.
#[derive(Debug, Default)]
struct Place {
    /// Number of resources that name it. Without any, its facts are dropped.
    users: usize,
    answers: bool,
}

/// A turn that is held.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) line: Line,
    /// The facts at the time when the turn was given; those of the registry may change meanwhile.
    pool: Pool,
}

/// The turns that are held, by registry and namespace.
#[derive(Debug)]
pub(super) struct Held {
    size: usize,
    by: BTreeMap<(Pool, Group), usize>,
    places: HashMap<Arc<str>, Place>,
}

impl Held {
    pub(super) fn new(size: usize) -> Self {
        Self { size: size.max(1), by: BTreeMap::new(), places: HashMap::new() }
    }

    pub(super) fn uses(&mut self, place: &Arc<str>) {
        self.places.entry(Arc::clone(place)).or_default().users += 1;
    }

    pub(super) fn leaves(&mut self, place: &Arc<str>) {
        if let Some(known) = self.places.get_mut(place) {
            known.users = known.users.saturating_sub(1);
            if known.users == 0 {
                self.places.remove(place);
            }
        }
    }

    /// A reconcile that asked a registry ended.
    pub(super) fn learn(&mut self, place: &Arc<str>, slow: bool) {
        if let Some(known) = self.places.get_mut(place) {
            known.answers = !slow;
        }
    }

    /// Whether the share of the registry allows one more turn.
    pub(super) fn has_room_at(&self, line: &Line) -> bool {
        let [all, place, ..] = Group::of(line);
        self.is_below(line, [all, place])
    }

    /// Whether the share of the namespace allows one more turn.
    pub(super) fn has_room_within(&self, line: &Line) -> bool {
        let [_, _, namespace, both] = Group::of(line);
        self.is_below(line, [namespace, both])
    }

    fn is_below(&self, line: &Line, groups: [Group; 2]) -> bool {
        let pool = self.pool_of(line);
        let free = self.free(pool);
        free > 0
            && groups.into_iter().all(|group| match group.share(pool) {
                Some((of, each)) => self.count(pool, group) * each < free * of,
                None => true,
            })
    }

    pub(super) fn take(&mut self, line: Line) -> Hold {
        let pool = self.pool_of(&line);
        for group in Group::of(&line) {
            *self.by.entry((pool, group)).or_default() += 1;
        }
        Hold { line, pool }
    }

    pub(super) fn give_back(&mut self, Hold { line, pool }: &Hold) {
        for group in Group::of(line) {
            if let MapEntry::Occupied(mut held) = self.by.entry((*pool, group)) {
                *held.get_mut() -= 1;
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
    }

    fn pool_of(&self, line: &Line) -> Pool {
        match line.lane {
            Lane::Cluster => Pool::Cluster,
            Lane::Registry if line.slow => Pool::Doubtful,
            Lane::Registry => match self.places.get(&line.place) {
                Some(Place { answers: true, .. }) => Pool::Answering,
                _ => Pool::Doubtful,
            },
        }
    }

    fn count(&self, pool: Pool, group: Group) -> usize {
        self.by.get(&(pool, group)).copied().unwrap_or_default()
    }

    fn free(&self, pool: Pool) -> usize {
        let all = |pool| self.count(pool, Group::All);
        let at_registries = self.size.saturating_sub(all(Pool::Answering) + all(Pool::Doubtful));
        match pool {
            Pool::Cluster => self.size.saturating_sub(all(Pool::Cluster)),
            Pool::Answering => at_registries,
            Pool::Doubtful => self.size.div_ceil(2).saturating_sub(all(Pool::Doubtful)).min(at_registries),
        }
    }
}
