//! Short stories. Each is played with one trouble at each of its steps.

mod stories;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::acts::{Act, Back};
use crate::driver::{Simulation, within_runtime};
use crate::names::RESOURCES;
use crate::planted::Bug;
use crate::rules::Violation;
use crate::worlds::{Fault, Faults, Turn};
use stories::{CHANGES, INTERFERENCES, SCENARIOS, Scenario};

/// A trouble, and the number of steps of the operator before it.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Nothing,
    Killed(usize),
    KilledTwice(usize, usize),
    Fault(usize, Fault),
    Act(usize, &'static [Act]),
    /// The watch reports it at once.
    Told(usize, &'static [Act]),
    /// A step gets no answer, and then this happens.
    Silence(usize, &'static [Act]),
    /// The operator stops, and wakes up after so many steps of the operator that took over. The acts happen in between.
    TakenOver(usize, usize, &'static [Act]),
    /// The watch lags behind, and an artifact is deleted. One answer is lost before that, and one after it.
    LostTwice(usize, usize, usize),
}

/// Plays a story to its end. Returns the number of steps, the violation and the trace.
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

    /// A reconcile that waits for a registry without success ends after a change of its resource, without another
    /// write, and the next reconcile follows.
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

    /// Reconciles every resource twice, up to this step. The watches deliver no news meanwhile.
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
fn each(troubles: impl Fn(usize) -> Vec<Trouble> + Sync) {
    // One story alone, by a part of its name.
    let only = std::env::var("SIMULATION_STORY").unwrap_or_default();
    each_of(SCENARIOS.iter().filter(|scenario| scenario.name.contains(&only)), troubles);
}

/// A story with a trouble that broke a rule.
type Broken = (&'static Scenario, Trouble, Violation);

/// Several stories at once: each is played by one thread.
fn each_of(
    scenarios: impl Iterator<Item = &'static Scenario>,
    troubles: impl Fn(usize) -> Vec<Trouble> + Sync,
) {
    let scenarios: Vec<&Scenario> = scenarios.collect();
    let (next, played, broken) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (count, found) = all_of(scenario, &troubles);
            played.fetch_add(count, Ordering::Relaxed);
            broken.lock().unwrap().extend(found);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    println!("{} stories", played.into_inner());
    let broken: Vec<Broken> = broken.into_inner().unwrap();
    for (scenario, trouble, violation) in &broken {
        println!("'{}', {trouble:?}: {}", scenario.name, violation.rule);
    }
    if let Some((scenario, trouble, Violation { rule, what })) = broken.first() {
        let (_, _, lines) = play(scenario, *trouble, true);
        panic!("{}\n'{}', {trouble:?}, breaks the rule '{rule}': {what}", lines.join("\n"), scenario.name);
    }
}

/// Plays a story with each trouble. Returns how often it was played with one.
fn all_of(scenario: &'static Scenario, troubles: impl Fn(usize) -> Vec<Trouble>) -> (usize, Vec<Broken>) {
    let (steps, violation, lines) = play(scenario, Trouble::Nothing, true);
    assert!(violation.is_none(), "'{}' alone: {violation:#?}\n{}", scenario.name, lines.join("\n"));
    let troubles = (0..=steps).flat_map(troubles).filter(|trouble| trouble.matters_to(scenario));
    let mut played = 0;
    let broken = troubles.inspect(|_| played += 1).filter_map(|trouble| {
        let (_, violation, _) = play(scenario, trouble, false);
        violation.map(|violation| (scenario, trouble, violation))
    });
    let broken = broken.collect();
    (played, broken)
}

impl Trouble {
    /// What happens to a workload matters only to a story that has one.
    fn matters_to(&self, scenario: &Scenario) -> bool {
        let is_of_a_workload = |act: &Act| {
            matches!(act, Act::SetImage(..) | Act::Undo(..) | Act::DropSets(..) | Act::Undeploy(..))
        };
        match self {
            Self::Act(_, acts) => scenario.follows() || !acts.iter().any(is_of_a_workload),
            _ => true,
        }
    }
}

impl Scenario {
    fn follows(&self) -> bool {
        let acts = [self.before, self.between, self.change];
        acts.into_iter().flatten().any(|act| matches!(act, Act::Follow(..)))
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

/// An application that followed from an outdated status does not count as applied, although this operator has made it.
/// It does not get into the history under its old number.
#[test]
fn two_answers_are_lost_while_the_watch_lags() {
    // The stories in which a config is replaced and comes back.
    let names = ["resume", "merging what becomes binary, under another label"];
    let scenarios = SCENARIOS.iter().filter(|scenario| names.contains(&scenario.name));
    each_of(scenarios, |step| {
        let second = 1..16;
        second.flat_map(|second| [0, 1].map(|nth| Trouble::LostTwice(step, second, nth))).collect()
    });
}

/// A panic is the failure of one reconcile of one resource: it is reported, the other resources continue, and nothing
/// is lost. If the operator does not catch it, the simulation panics.
#[test]
fn every_call_panics_once() {
    each(|step| [Fault::Panic, Fault::PanicAfter].map(|fault| Trouble::Fault(step, fault)).to_vec());
}

/// A leader wakes up after another one has taken over, and continues: no write is lost, no revision is left over, and
/// both converge, although only the versions prevent its writes.
#[test]
fn a_leader_that_was_replaced_goes_on() {
    let meanwhile: [&[Act]; 4] = [
        &[],
        &[Act::Rename("web", 0)],
        // The operator that took over uses a status that the other one has already replaced.
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

/// The resource is suspended, deleted, edited or rolled back during a reconcile, and the watch reports it. Nothing is
/// written for the earlier spec any more, a deleted resource leaves nothing behind, and the operator converges.
#[test]
fn a_change_ends_the_reconcile_under_way() {
    each(|step| CHANGES.iter().map(|acts| Trouble::Told(step, acts)).collect());
}

/// The same while a registry, or the API server, never answers. A reconcile that waits for a registry ends at once.
#[test]
fn a_change_ends_what_hangs() {
    each(|step| CHANGES.iter().map(|acts| Trouble::Silence(step, acts)).collect());
}
