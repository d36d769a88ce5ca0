//! The real reconcile by real turns, in a world where a registry hangs and there is one turn of each kind.

use std::time::Instant;

use decide::turns::{Asks, Key, Lane, Turns, Version};

use crate::acts::{Act, Back, What, When};
use crate::driver::{Simulation, within_runtime};
use crate::names::NAMESPACE;
use crate::planted::Bug;
use crate::worlds::objects::content;
use crate::worlds::{Fault, Faults};

fn see(turns: &mut Turns, simulation: &Simulation, name: &'static str) {
    let object = simulation.world.lock().resources.view(name).unwrap();
    let told =
        turns.seen(&Key::new(NAMESPACE, name), Version::of(&object), Asks::of(&object), Instant::now());
    assert!(told.due, "{name} is due");
}

fn act(simulation: &Simulation, act: Act) {
    let mut state = simulation.world.lock();
    state.act(act);
    state.objects.resync();
    state.resources.resync();
}

/// The only turn at registries is held by a look that hangs. Going back has a turn of its own, is written and told; and so
/// is the same for the resource that hangs itself, once its look has been told that it is over.
#[test]
fn a_rollback_needs_no_turn_that_a_registry_holds() {
    within_runtime(|| {
        let mut simulation = Simulation::new(7, false, Bug::None);
        for name in ["web", "api"] {
            act(&simulation, Act::Create(name));
        }
        for kind in [0, 1] {
            act(&simulation, Act::Clock(5));
            act(&simulation, Act::Attach { image: 0, kind, when: When::Now, what: What::Config });
            simulation.settle();
        }
        let data = |simulation: &Simulation, name: &str| {
            content(&simulation.world.lock().objects.get(name).unwrap().map)
        };
        let (web, api) = (data(&simulation, "web"), data(&simulation, "api"));

        let mut turns = Turns::new(1);
        act(&simulation, Act::Request("api"));
        see(&mut turns, &simulation, "api");
        assert_eq!(turns.next(Instant::now()), Some((Key::new(NAMESPACE, "api"), Lane::Registry)));
        let steps = simulation.world.lock().steps;
        simulation.world.lock().faults = Faults::At(steps + 1, Fault::Hang);
        assert!(simulation.start_in("api", Some(Lane::Registry)));
        while !simulation.is_hung() {
            simulation.poll(simulation.who("api"));
        }

        act(&simulation, Act::Rollback("web", Back::History(1)));
        see(&mut turns, &simulation, "web");
        assert_eq!(turns.next(Instant::now()), Some((Key::new(NAMESPACE, "web"), Lane::Cluster)));
        assert!(simulation.start_in("web", Some(Lane::Cluster)));
        while simulation.running().contains(&simulation.who("web")) {
            simulation.poll(simulation.who("web"));
        }
        assert!(simulation.is_hung(), "the other one still does");
        assert_ne!(data(&simulation, "web"), web, "the config is back");

        act(&simulation, Act::Rollback("api", Back::History(1)));
        assert!(simulation.poll(simulation.who("api")).is_some(), "its look is over");
        assert!(simulation.start_in("api", Some(Lane::Cluster)));
        while simulation.running().contains(&simulation.who("api")) {
            simulation.poll(simulation.who("api"));
        }
        assert_ne!(data(&simulation, "api"), api, "so is that of the one that hung");
        simulation.settle();
        assert!(simulation.violation().is_none(), "{:?}", simulation.violation());
    });
}
