//! Short stories, each with one thing going wrong at each of its steps in turn.

use crate::acts::{Act, Back, Edit, What, When};
use crate::driver::{Simulation, within_runtime};
use crate::names::RESOURCES;
use crate::planted::Bug;
use crate::rules::Violation;
use crate::worlds::{Fault, Faults, Turn};

/// What there is, and then happens.
struct Scenario {
    name: &'static str,
    before: &'static [Act],
    /// In the middle: everything before has been reconciled.
    between: &'static [Act],
    change: &'static [Act],
}

const fn config(kind: usize) -> Act {
    Act::Attach { image: 0, kind, when: When::Now, what: What::Config }
}

const CREATE: Act = Act::Create("web");
const MERGE: Act = Act::Merging("web");
const TICK: Act = Act::Clock(5);

static SCENARIOS: [Scenario; 31] = [
    Scenario { name: "first sync", before: &[], between: &[], change: &[CREATE, config(0)] },
    Scenario { name: "update", before: &[CREATE, config(0)], between: &[], change: &[TICK, config(1)] },
    Scenario {
        name: "text becomes binary",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[TICK, config(3)],
    },
    Scenario {
        name: "rollback",
        before: &[CREATE, config(0)],
        between: &[TICK, config(1)],
        change: &[Act::Rollback("web", Back::History(1))],
    },
    Scenario {
        name: "rollback while the registry is down",
        before: &[CREATE, config(0)],
        between: &[TICK, config(1)],
        change: &[Act::Down, Act::Rollback("web", Back::History(1))],
    },
    Scenario {
        name: "rollback to what was never applied",
        before: &[CREATE, config(0), TICK, config(1)],
        between: &[],
        change: &[Act::Rollback("web", Back::Attached(0)), Act::Rollback("web", Back::Attached(1))],
    },
    Scenario {
        name: "rollback to what nobody knows",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[Act::Rollback("web", Back::Unknown)],
    },
    Scenario {
        name: "resume",
        before: &[CREATE, config(0)],
        between: &[TICK, config(1), Act::Rollback("web", Back::History(0))],
        change: &[Act::Resume("web")],
    },
    Scenario { name: "rename", before: &[CREATE, config(0)], between: &[], change: &[Act::Rename("web", 1)] },
    Scenario {
        name: "another mapping",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[Act::Mapping("web", 1)],
    },
    Scenario {
        name: "target deleted",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[Act::DeleteTarget("web")],
    },
    Scenario {
        name: "target edited while nothing is attached",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[Act::MoveTag { tag: 0, image: 1 }, Act::EditTarget("web", Edit::Change)],
    },
    Scenario {
        name: "revision deleted",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[Act::DeleteRevision("web", 0)],
    },
    Scenario {
        name: "revision forged",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[Act::Forge("web", 0)],
    },
    Scenario {
        name: "rollback to what was made anew, while the registry is down",
        before: &[CREATE, config(0)],
        between: &[TICK, config(1)],
        change: &[
            Act::DeleteRevision("web", 0),
            Act::DeleteRevision("web", 0),
            Act::Counterfeit("web", 1),
            Act::Counterfeit("web", 2),
            Act::Down,
            Act::Rollback("web", Back::History(1)),
        ],
    },
    Scenario {
        name: "rollback to what was never applied and vouches only for itself, while the registry is down",
        before: &[CREATE, config(0), TICK, config(1), TICK, config(2)],
        between: &[],
        change: &[Act::Counterfeit("web", 1), Act::Down, Act::Rollback("web", Back::Attached(1))],
    },
    Scenario {
        name: "the same, merged into an object of somebody else",
        before: &[MERGE, config(0), TICK, config(1), TICK, config(2)],
        between: &[],
        change: &[Act::Counterfeit("web", 1), Act::Down, Act::Rollback("web", Back::Attached(1))],
    },
    Scenario {
        name: "a bad artifact",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[TICK, Act::Attach { image: 0, kind: 1, when: When::Now, what: What::Defect }],
    },
    Scenario {
        name: "the limit is lowered while a pod uses a revision",
        before: &[CREATE, config(0)],
        between: &[Act::PodStart("web", 0), TICK, config(1)],
        change: &[Act::Limit("web", 2), TICK, config(6)],
    },
    Scenario {
        name: "deleted and made anew",
        before: &[CREATE, config(0)],
        between: &[],
        change: &[Act::Delete("web"), CREATE, TICK, config(1)],
    },
    Scenario {
        // What the patch says that moves the key has to go with the next config.
        name: "binary becomes text of an artifact without a time",
        before: &[CREATE, config(0)],
        between: &[TICK, config(3)],
        change: &[
            Act::Attach { image: 1, kind: 1, when: When::Never, what: What::Config },
            Act::MoveTag { tag: 0, image: 1 },
        ],
    },
    Scenario { name: "merging", before: &[], between: &[], change: &[MERGE, config(0)] },
    Scenario {
        name: "merging less than before",
        before: &[MERGE, config(2)],
        between: &[],
        change: &[TICK, config(0)],
    },
    Scenario {
        name: "merging what becomes binary, under another label",
        before: &[MERGE, Act::Team("web", true), config(0)],
        between: &[],
        change: &[TICK, config(3), Act::Team("web", false)],
    },
    Scenario {
        // The same after a start: what is merged is where to go back to.
        name: "merging, and back to what nothing keeps",
        before: &[MERGE, config(0)],
        between: &[TICK, config(1)],
        change: &[Act::Rollback("web", Back::History(1)), Act::Mapping("web", 1), Act::Limit("web", 3)],
    },
    Scenario {
        name: "two resources merge into one object",
        before: &[MERGE, config(0)],
        between: &[],
        change: &[Act::Merging("api"), Act::Delete("web")],
    },
    Scenario {
        // A revision that a pod uses stays, although a key of the target stands in the wrong place.
        name: "rollback to what only the target keeps, with a key moved by hand, while the registry is down",
        before: &[CREATE, config(0)],
        between: &[
            Act::PodStart("web", 0),
            Act::Rollback("web", Back::History(0)),
            Act::Limit("web", 3),
            Act::Down,
        ],
        change: &[Act::Limit("web", 0), Act::EditTarget("web", Edit::MoveToBinary)],
    },
    Scenario {
        // What was taken without proof does not come back by itself.
        name: "a target goes that was taken from what vouches only for itself",
        before: &[CREATE, config(0)],
        between: &[
            Act::WipeStatus("web"),
            Act::Mapping("web", 1),
            Act::Down,
            Act::Rollback("web", Back::Attached(0)),
        ],
        change: &[Act::Resume("web"), Act::DropTag(0), Act::Up, Act::DeleteTarget("web")],
    },
    Scenario {
        // The one that merges is reconciled first.
        name: "merging into the target of another resource, whose label somebody took away",
        before: &[MERGE, Act::Create("api"), Act::Rename("api", 2), config(0)],
        between: &[],
        change: &[Act::EditTarget("api", Edit::Unmanaged), Act::Mapping("web", 1), Act::Rename("web", 2)],
    },
    Scenario {
        name: "merging what stands there already, and back to it, while the registry is down",
        before: &[MERGE, Act::Create("api"), Act::Rename("api", 2), config(0)],
        between: &[],
        change: &[
            Act::EditTarget("api", Edit::Disown),
            Act::Rename("web", 2),
            Act::Rollback("web", Back::History(0)),
            Act::Limit("web", 3),
            Act::Down,
        ],
    },
    Scenario {
        name: "two resources, one target",
        before: &[CREATE, Act::Create("api"), config(0)],
        between: &[],
        change: &[Act::Rename("api", 0), Act::Rename("web", 1)],
    },
];

/// What others may do between any two steps.
const INTERFERENCES: [&[Act]; 27] = [
    &[TICK, config(6)],
    &[Act::Detach(0)],
    &[Act::MoveTag { tag: 0, image: 1 }],
    &[Act::Down],
    &[Act::EditTarget("web", Edit::Change)],
    &[Act::EditTarget("web", Edit::Add)],
    &[Act::EditTarget("web", Edit::MoveToBinary)],
    &[Act::EditTarget("web", Edit::Unmanaged)],
    &[Act::EditTarget("web", Edit::Disown)],
    &[Act::DeleteTarget("web")],
    &[Act::DeleteTarget("web"), Act::Foreign(0)],
    &[Act::DeleteRevision("web", 0)],
    &[Act::Forge("web", 0)],
    &[Act::Forge("web", 1)],
    &[Act::TakeRevision("web", 0)],
    &[Act::Down, Act::Impose("web", 0)],
    &[Act::Down, Act::Impose("web", 2), Act::DeleteTarget("web")],
    &[Act::DeleteRevision("web", 0), Act::Counterfeit("web", 2), Act::Rollback("web", Back::History(0))],
    &[Act::PodStart("web", 0)],
    &[Act::Rename("web", 2)],
    &[Act::Rollback("web", Back::History(0))],
    &[Act::Resume("web"), Act::Mapping("web", 2)],
    &[Act::Limit("web", 3)],
    &[Act::Suspend("web", true)],
    &[Act::WipeStatus("web")],
    &[Act::Delete("web"), Act::Garbage],
    &[Act::Delete("web"), Act::Create("web")],
];

/// What ends the turn of a look at "web".
const CHANGES: [&[Act]; 6] = [
    &[Act::Suspend("web", true)],
    &[Act::Delete("web")],
    &[Act::Mark("web")],
    &[Act::Delete("web"), Act::Create("web")],
    &[Act::Rollback("web", Back::History(1))],
    &[Act::Orphan("web", true), Act::Rename("web", 2)],
];

/// What goes wrong, after how many steps of the operator.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Nothing,
    Killed(usize),
    KilledTwice(usize, usize),
    Fault(usize, Fault),
    Act(usize, &'static [Act]),
    /// The watch tells of it at once.
    Told(usize, &'static [Act]),
    /// A step gets no answer, and then this happens.
    Silence(usize, &'static [Act]),
    /// Stopped, and awake again when the operator that took over has made so many steps. This happens in between.
    TakenOver(usize, usize, &'static [Act]),
    /// The watch lags behind, an artifact goes, and one answer is lost before and one after that.
    LostTwice(usize, usize, usize),
}

/// Plays a story to its end. Returns how many steps the operator made of it, and what was wrong.
fn play(scenario: &Scenario, trouble: Trouble, trace: bool) -> (usize, Option<Violation>, Vec<String>) {
    within_runtime(|| {
        let mut simulation = Simulation::new(0, trace, Bug::None);
        for acts in [scenario.before, scenario.between] {
            if !acts.is_empty() {
                simulation.act(acts);
                simulation.settle();
            }
        }
        simulation.act(scenario.change);
        let base = simulation.world.lock().steps;
        simulation.meets(trouble);
        let steps = simulation.world.lock().steps - base;
        if simulation.violation().is_none() {
            simulation.settle();
        }
        let state = simulation.world.lock();
        (steps, state.violation.clone(), state.trace.lines.clone())
    })
}

impl Simulation {
    fn act(&mut self, acts: &[Act]) {
        let mut state = self.world.lock();
        for act in acts {
            state.act(*act);
        }
        state.objects.resync();
        state.resources.resync();
    }

    /// Reconciles every resource, and meets the trouble meanwhile.
    fn meets(&mut self, trouble: Trouble) {
        let base = self.world.lock().steps;
        match trouble {
            Trouble::Nothing => self.rounds_until(usize::MAX),
            Trouble::Killed(step) => {
                self.rounds_until(base + step);
                self.restart();
            }
            Trouble::KilledTwice(first, second) => {
                self.rounds_until(base + first);
                self.restart();
                self.rounds_until(base + first + second);
                self.restart();
            }
            Trouble::Fault(step, fault) => {
                self.world.lock().faults = Faults::At(base + step, fault);
                self.rounds_until(usize::MAX);
            }
            Trouble::Act(step, acts) => {
                self.rounds_until(base + step);
                for act in acts {
                    self.world.lock().act(*act);
                }
                self.rounds_until(usize::MAX);
            }
            Trouble::Told(step, acts) => {
                self.rounds_until(base + step);
                self.act(acts);
                self.rounds_until(usize::MAX);
            }
            Trouble::Silence(step, acts) => {
                self.world.lock().faults = Faults::At(base + step, Fault::Hang);
                self.rounds_until(usize::MAX);
                self.act(acts);
                self.goes_on();
            }
            Trouble::LostTwice(first, second, nth) => self.loses_two_answers(first, second, nth),
            Trouble::TakenOver(step, later, acts) => self.is_taken_over(base + step, later, acts),
        }
    }

    /// The watch does not deliver the status that was written in between.
    fn loses_two_answers(&mut self, first: usize, second: usize, nth: usize) {
        self.loses_an_answer(first);
        self.world.lock().act(Act::Detach(nth));
        self.loses_an_answer(second);
        self.act(&[Act::Down]);
        self.rounds_until(usize::MAX);
    }

    /// The operator stops at this step. It goes on when the other one has made so many steps more.
    fn is_taken_over(&mut self, step: usize, later: usize, acts: &[Act]) {
        self.rounds_until(step);
        let stopped = self.running();
        if !acts.is_empty() {
            self.act(acts);
        }
        self.take_over();
        self.rounds_until(step.saturating_add(later));
        for who in stopped {
            self.finish(who);
        }
        self.rounds_until(usize::MAX);
    }

    /// One pass, of which so many steps are answered and the next one is not.
    fn loses_an_answer(&mut self, answered: usize) {
        let mut state = self.world.lock();
        state.faults = Faults::At(state.steps + answered, Fault::After);
        drop(state);
        self.run("web");
        self.world.lock().faults = Faults::None;
    }

    /// Whatever waits for a registry in vain ends once its resource has changed, without another word of it, and the next
    /// look follows.
    fn goes_on(&mut self) {
        for who in self.running() {
            self.end_turn(who);
            let is_over = self.world.lock().runs.get(&who).is_some_and(|run| run.turn == Turn::Over);
            let ended = self.poll(who).is_some();
            if is_over && !ended {
                self.violate("a change ends what hangs", format!("{who:?} still waits"));
            }
        }
        self.rounds_until(usize::MAX);
    }

    /// Reconciles every resource twice, up to this step. The watches tell nothing new meanwhile.
    fn rounds_until(&mut self, step: usize) {
        for name in RESOURCES.iter().chain(&RESOURCES) {
            let who = self.who(name);
            if !self.running().contains(&who) && !self.start(name) {
                continue;
            }
            while !self.is_hung() && self.violation().is_none() {
                if self.world.lock().steps >= step {
                    return;
                }
                if self.poll(who).is_some() {
                    break;
                }
            }
        }
    }
}

/// Plays every story with each of these troubles at each of its steps.
fn each(troubles: impl Fn(usize) -> Vec<Trouble>) {
    // One story alone, by a part of its name.
    let only = std::env::var("SIMULATION_STORY").unwrap_or_default();
    each_of(SCENARIOS.iter().filter(|scenario| scenario.name.contains(&only)), troubles);
}

fn each_of(scenarios: impl Iterator<Item = &'static Scenario>, troubles: impl Fn(usize) -> Vec<Trouble>) {
    let mut played = 0;
    let mut broken = Vec::new();
    for scenario in scenarios {
        let (steps, violation, lines) = play(scenario, Trouble::Nothing, true);
        assert!(violation.is_none(), "'{}' alone: {violation:#?}\n{}", scenario.name, lines.join("\n"));
        for trouble in (0..=steps).flat_map(&troubles) {
            played += 1;
            if let (_, Some(violation), _) = play(scenario, trouble, false) {
                broken.push((scenario, trouble, violation));
            }
        }
    }
    println!("{played} stories");
    for (scenario, trouble, violation) in &broken {
        println!("'{}', {trouble:?}: {}", scenario.name, violation.rule);
    }
    if let Some((scenario, trouble, Violation { rule, what })) = broken.first() {
        let (_, _, lines) = play(scenario, *trouble, true);
        panic!("{}\n'{}', {trouble:?}, breaks the rule '{rule}': {what}", lines.join("\n"), scenario.name);
    }
}

#[test]
fn killed_after_every_single_step() {
    each(|step| vec![Trouble::Killed(step)]);
}

#[test]
fn killed_again_on_the_way_back() {
    each(|step| (0..10).map(|second| Trouble::KilledTwice(step, second)).collect());
}

#[test]
fn every_call_fails_once() {
    each(|step| [Fault::Before, Fault::After, Fault::Hang].map(|fault| Trouble::Fault(step, fault)).to_vec());
}

/// What followed from a status of before is not what is applied, although this operator has applied it: it does not come into
/// the history under its old number.
#[test]
fn two_answers_are_lost_while_the_watch_lags() {
    // Those in which a config is replaced and comes back.
    let names = ["resume", "merging what becomes binary, under another label"];
    let scenarios = SCENARIOS.iter().filter(|scenario| names.contains(&scenario.name));
    each_of(scenarios, |step| {
        let second = 1..16;
        second.flat_map(|second| [0, 1].map(|nth| Trouble::LostTwice(step, second, nth))).collect()
    });
}

/// A panic is one resource's failure of one reconcile: it is told, the other resources go on, and nothing is lost. An
/// operator that does not catch it takes the simulation along.
#[test]
fn every_call_panics_once() {
    each(|step| [Fault::Panic, Fault::PanicAfter].map(|fault| Trouble::Fault(step, fault)).to_vec());
}

/// A leader that wakes up when another one has taken over, and goes on where it was: no write is lost, no revision is left
/// over, and it converges, although nothing but the versions stands in its way.
#[test]
fn a_leader_that_was_replaced_goes_on() {
    let meanwhile: [&[Act]; 4] = [
        &[],
        &[Act::Rename("web", 0)],
        // The one that took over goes by a status that the other one outruns.
        &[Act::Down],
        &[Act::Rollback("web", Back::History(0))],
    ];
    each(|step| {
        let later = [1, 3, 6, usize::MAX].into_iter();
        later.flat_map(|later| meanwhile.map(|acts| Trouble::TakenOver(step, later, acts))).collect()
    });
}

#[test]
fn others_act_between_any_two_steps() {
    each(|step| INTERFERENCES.iter().map(|acts| Trouble::Act(step, acts)).collect());
}

/// Suspended, deleted, edited or gone back in the middle of a look, and the watch tells of it: nothing is written any more
/// for what was asked before, the deleted leave nothing behind, and the operator converges.
#[test]
fn a_change_ends_the_reconcile_under_way() {
    each(|step| CHANGES.iter().map(|acts| Trouble::Told(step, acts)).collect());
}

/// The same while a registry, or the API server, gives no answer ever. What waits for a registry ends at once.
#[test]
fn a_change_ends_what_hangs() {
    each(|step| CHANGES.iter().map(|acts| Trouble::Silence(step, acts)).collect());
}
