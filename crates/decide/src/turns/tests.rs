//! Times are seconds from the beginning, and a reconcile takes as long as the test says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SIZE: usize = 16;

fn asks(place: &str, first: Lane) -> Asks {
    Asks { place: place.into(), first }
}

fn version(uid: &str, generation: i64, requested: Option<&str>) -> Version {
    let requested = requested.map(|requested| (api::annotation::REQUESTED_AT, requested));
    let annotations: BTreeMap<_, _> = requested.into_iter().collect();
    let object = serde_json::json!({
        "metadata": {"uid": uid, "generation": generation, "annotations": annotations}, "spec": {},
    });
    Version::of(&serde_json::from_value(object).unwrap())
}

/// A world in which a reconcile begins as soon as it gets a turn.
struct World {
    turns: Turns,
    begin: Instant,
    seconds: u64,
    running: BTreeMap<Key, Lane>,
    /// In the order of their beginning.
    begun: Vec<Key>,
}

impl World {
    fn new(size: usize) -> Self {
        let (turns, begin) = (Turns::new(size), Instant::now());
        Self { turns, begin, seconds: 0, running: BTreeMap::new(), begun: Vec::new() }
    }

    fn now(&self) -> Instant {
        self.begin + Duration::from_secs(self.seconds)
    }

    /// A resource at its first generation.
    fn there(&mut self, namespace: &str, name: &str, place: &str) -> Key {
        let key = Key::new(namespace, name);
        self.is(&key, 1, asks(place, Lane::Registry));
        key
    }

    fn is(&mut self, key: &Key, generation: i64, asks: Asks) -> Effect {
        let now = self.now();
        self.turns.seen(key, version(&key.name, generation, None), asks, now)
    }

    fn begin(&mut self) {
        let now = self.now();
        while let Some((key, lane)) = self.turns.next(now) {
            assert!(self.running.insert(key.clone(), lane).is_none(), "{key:?} is looked at twice at once");
            self.begun.push(key);
        }
    }

    fn end(&mut self, key: &Key, next: Next) {
        let now = self.now();
        assert!(self.running.remove(key).is_some(), "{key:?} is not looked at");
        self.turns.ended(key, next, now);
    }

    /// Every running reconcile ends.
    fn end_all(&mut self, next: Next) {
        for key in self.running.keys().cloned().collect::<Vec<_>>() {
            self.end(&key, next);
        }
    }

    /// This registry has answered.
    fn answers(&mut self, place: &str) {
        let key = self.there("prober", place, place);
        self.begin();
        self.end(&key, Next::OnChange);
        self.begun.clear();
    }

    fn at_registries(&self) -> usize {
        self.running.values().filter(|lane| **lane == Lane::Registry).count()
    }
}

#[test]
fn what_is_due_longest_comes_first() {
    let mut world = World::new(1);
    let keys = ["c", "a", "b"].map(|name| {
        world.seconds += 1;
        world.there("shop", name, "r.example")
    });
    for _ in &keys {
        world.begin();
        // Due again at once: each time behind all resources that already wait.
        world.end_all(Next::After(Duration::ZERO));
    }
    assert_eq!(world.begun, keys);
}

/// A resource that fails and is due again after a second does not displace others.
#[test]
fn everybody_has_a_turn_before_anybody_has_a_second() {
    let mut world = World::new(SIZE);
    for number in 0..200 {
        world.there("shop", &format!("web-{number}"), "r.example");
    }
    while world.begun.len() < 200 {
        world.begin();
        world.seconds += 60;
        world.end_all(Next::After(Duration::from_secs(1)));
    }
    let distinct: std::collections::BTreeSet<_> = world.begun.iter().take(200).collect();
    assert_eq!(distinct.len(), 200);
}

/// Two hundred reconciles hang, in any distribution. A resource of a registry that answers still gets its turn at once.
/// So does a rollback, which asks no registry.
#[rstest::rstest]
#[case::one_registry_one_namespace(1, 1)]
#[case::many_registries_in_one_namespace(200, 1)]
#[case::one_registry_from_many_namespaces(1, 200)]
#[case::many_of_both(200, 200)]
#[case::a_few_of_both(3, 2)]
fn what_hangs_starves_nobody(#[case] registries: usize, #[case] namespaces: usize) {
    let mut world = World::new(SIZE);
    let good = world.there("good", "good", "good.example");
    let night = Key::new("good", "night");
    world.is(&night, 1, asks("good.example", Lane::Registry));
    world.begin();
    world.end_all(Next::OnChange);
    for number in 0..200 {
        let (registry, namespace) = (number % registries, number % namespaces);
        world.there(
            &format!("evil-{namespace}"),
            &format!("web-{number}"),
            &format!("hangs-{registry}.example"),
        );
    }
    for round in 2..20 {
        world.begin();
        assert!(world.at_registries() > 0, "what hangs is asked all the same");
        assert!(world.at_registries() <= SIZE / 2, "{} hang", world.at_registries());
        world.is(&good, round, asks("good.example", Lane::Registry));
        world.is(&night, round, asks("good.example", Lane::Cluster));
        world.begin();
        for (key, lane) in [(&good, Lane::Registry), (&night, Lane::Cluster)] {
            assert_eq!(world.running.get(key), Some(&lane), "round {round}");
            world.end(key, Next::OnChange);
        }
        world.seconds += 60;
        world.end_all(Next::After(Duration::from_secs(30)));
    }
}

/// The same right after a start, when nothing is known of any registry: one more registry is asked beside one that hangs.
#[rstest::rstest]
#[case::one_registry_one_namespace(1, 1)]
#[case::many_registries_in_one_namespace(200, 1)]
#[case::one_registry_from_many_namespaces(1, 200)]
fn what_hangs_from_the_start_starves_nobody(#[case] registries: usize, #[case] namespaces: usize) {
    let mut world = World::new(SIZE);
    for number in 0..200 {
        let (registry, namespace) = (number % registries, number % namespaces);
        world.there(
            &format!("evil-{namespace}"),
            &format!("web-{number}"),
            &format!("hangs-{registry}.example"),
        );
    }
    world.begin();
    let good = world.there("good", "good", "good.example");
    world.begin();
    assert!(world.running.contains_key(&good));
}

/// The reconciles of one namespace at a registry are slow, and the registry answers others.
#[test]
fn a_namespace_leaves_room_at_its_registry() {
    let mut world = World::new(SIZE);
    world.answers("r.example");
    for number in 0..200 {
        world.there("busy", &format!("web-{number}"), "r.example");
    }
    world.begin();
    let (busy, good) = (world.running.len(), world.there("good", "good", "r.example"));
    world.begin();
    assert!(world.running.contains_key(&good), "beside {busy}");
    // And afterwards, when the registry was slow for all of these.
    world.end(&good, Next::OnChange);
    world.seconds += 60;
    world.end_all(Next::After(Duration::from_secs(1)));
    world.begin();
    let told = world.is(&good, 2, asks("r.example", Lane::Registry));
    world.begin();
    assert!(told.due && world.running.contains_key(&good));
}

/// A registry alone may use most of the turns. If it was slow once, it gets them back with its next answer.
#[test]
fn alone_it_gets_most_of_the_turns() {
    let mut world = World::new(SIZE);
    world.answers("r.example");
    for number in 0..200 {
        world.there(&format!("shop-{}", number % 2), &format!("web-{number}"), "r.example");
    }
    world.begin();
    assert_eq!(world.running.len(), 12);
    world.seconds += 60;
    world.end_all(Next::OnChange);
    world.begin();
    assert!((1..=SIZE / 4).contains(&world.running.len()), "{}", world.running.len());
    world.end_all(Next::OnChange);
    world.begin();
    assert_eq!(world.running.len(), 12);
}

/// One turn is enough for everything, one after the other.
#[test]
fn with_one_turn_each_everybody_comes_in_the_end() {
    let mut world = World::new(1);
    for number in 0..10 {
        world.there(&format!("shop-{number}"), "web", &format!("r-{number}.example"));
    }
    for _ in 0..10 {
        world.begin();
        assert_eq!(world.running.len(), 1);
        world.end_all(Next::OnChange);
    }
    assert_eq!(world.begun.len(), 10);
}

/// A registry without an answer does not count against another registry that the resource also names.
#[test]
fn a_mirror_that_hangs_takes_no_share_of_the_image_s_registry() {
    let place = |spec: serde_json::Value| {
        let object = serde_json::json!({"spec": spec, "metadata": {}});
        Asks::of(&serde_json::from_value(object).unwrap())
    };
    let spec = |mirror: Option<&str>| serde_json::json!({"image": "good.example/web:v1", "artifactType": "a/b", "referrersRepository": mirror});
    assert_eq!(place(spec(None)).place, place(spec(Some("good.example/mirror"))).place);
    assert_ne!(place(spec(None)).place, place(spec(Some("hangs.example/web"))).place);
}

#[rstest::rstest]
#[case::forward(serde_json::json!({}), Lane::Registry)]
#[case::back(serde_json::json!({"rollbackTo": "sha256:00"}), Lane::Cluster)]
#[case::suspended(serde_json::json!({"suspend": true}), Lane::Cluster)]
#[case::nonsense(serde_json::json!({"image": "???"}), Lane::Cluster)]
#[case::unreadable(serde_json::json!({"image": 1}), Lane::Cluster)]
fn who_needs_no_registry_begins_without(#[case] change: serde_json::Value, #[case] first: Lane) {
    let mut spec = serde_json::json!({"image": "r.example/web:v1", "artifactType": "a/b"});
    spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let object = serde_json::json!({"spec": spec, "metadata": {}});
    assert_eq!(Asks::of(&serde_json::from_value(object).unwrap()).first, first);
}

/// A change ends the running reconcile of the earlier state, and the next one follows as soon as it has ended.
#[test]
fn a_change_of_what_is_asked_for_ends_what_is_under_way() {
    let mut world = World::new(SIZE);
    let key = world.there("shop", "web", "r.example");
    world.begin();
    assert_eq!(world.is(&key, 1, asks("r.example", Lane::Registry)), Effect::default(), "nothing new");
    let told = world.is(&key, 2, asks("r.example", Lane::Cluster));
    assert_eq!(told, Effect { due: true, over: true });
    world.begin();
    assert_eq!(world.begun.len(), 1, "one at a time");
    world.end(&key, Next::After(Duration::from_mins(5)));
    world.begin();
    assert_eq!(world.running.get(&key), Some(&Lane::Cluster));
}

/// A request for a sync is handled after the running reconcile. Otherwise requests that come faster than the registry
/// answers would always end it early.
#[test]
fn a_request_ends_nothing_and_is_not_forgotten() {
    let mut world = World::new(SIZE);
    let key = world.there("shop", "web", "r.example");
    world.begin();
    let now = world.now();
    let asked =
        world.turns.seen(&key, version("web", 1, Some("now")), asks("r.example", Lane::Registry), now);
    assert_eq!(asked, Effect { due: true, over: false });
    world.end(&key, Next::OnChange);
    world.begin();
    assert_eq!(world.begun.len(), 2);
}

#[test]
fn deletion_ends_what_is_under_way_and_leaves_nothing_behind() {
    let mut world = World::new(SIZE);
    let (gone, waits) = (world.there("a", "gone", "r.example"), world.there("b", "web", "r.example"));
    world.begin();
    assert!(world.turns.gone(&gone) && !world.turns.gone(&gone), "told once");
    let now = world.now();
    world.turns.touched(&gone, now);
    world.end_all(Next::After(Duration::from_secs(1)));
    assert!(!world.turns.gone(&waits));
    world.seconds += 10;
    world.begin();
    assert_eq!(world.begun.len(), 2);
    let Turns { entries, later, held, .. } = &world.turns;
    assert!(entries.is_empty() && later.is_empty(), "{entries:?} {later:?}");
    assert_eq!(format!("{held:?}"), format!("{:?}", Held::new(SIZE)));
}

/// Deleted and created again under its name during its reconcile: it is another resource, and its reconcile follows.
#[test]
fn a_resource_that_is_created_again_is_reconciled_again() {
    let mut world = World::new(SIZE);
    let key = world.there("shop", "web", "r.example");
    world.begin();
    assert!(world.turns.gone(&key));
    let now = world.now();
    let told = world.turns.seen(&key, version("another", 1, None), asks("r.example", Lane::Registry), now);
    assert_eq!(told, Effect { due: true, over: false }, "it was told already");
    world.end(&key, Next::OnChange);
    world.begin();
    assert_eq!(world.begun.len(), 2);
}

/// A reconcile that cannot continue without a registry keeps its place among those that wait for one.
#[test]
fn who_turns_out_to_need_a_registry_keeps_the_place() {
    let mut world = World::new(1);
    let holder = world.there("a", "holder", "r.example");
    world.begin();
    world.seconds = 1;
    let back = Key::new("b", "back");
    world.is(&back, 1, asks("r.example", Lane::Cluster));
    world.begin();
    world.seconds = 2;
    let later = world.there("c", "later", "r.example");
    world.end(&back, Next::AtRegistry);
    world.begin();
    assert_eq!(world.turns.waiting(Lane::Registry), 2);
    // A change in the meantime is repaired without a registry.
    let now = world.now();
    world.turns.touched(&back, now);
    world.begin();
    assert_eq!(world.running.get(&back), Some(&Lane::Cluster));
    world.end(&back, Next::AtRegistry);
    world.end(&holder, Next::OnChange);
    world.begin();
    assert!(world.running.contains_key(&back) || world.running.contains_key(&later));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any sequence of events: never more turns than exist, one reconcile at a time for each resource, and a due
    /// resource gets its turn when the reconciles of others end.
    #[test]
    fn bounded_and_fair(size in 1_usize..20, acts in prop::collection::vec((0_u8..6, 0_usize..12, 0_u64..70), 1..200)) {
        let mut world = World::new(size);
        let key = |number: usize| Key::new(&format!("n{}", number % 3), &format!("web-{number}"));
        for (act, number, seconds) in acts {
            let (key, now) = (key(number), world.now());
            let place = format!("r{}.example", number % 4);
            match act {
                0 => drop(world.is(&key, i64::try_from(seconds).unwrap(), asks(&place, Lane::Registry))),
                1 => drop(world.is(&key, i64::try_from(seconds).unwrap(), asks(&place, Lane::Cluster))),
                2 => drop(world.turns.gone(&key)),
                3 => world.turns.touched(&key, now),
                4 => world.seconds += seconds,
                _ => {
                    if world.running.contains_key(&key) {
                        let next = [Next::OnChange, Next::AtRegistry, Next::After(Duration::from_secs(seconds))];
                        world.end(&key, next[number % 3]);
                    }
                }
            }
            world.begin();
            let cluster = world.running.len() - world.at_registries();
            prop_assert!(world.at_registries() <= size && cluster <= size);
        }
        world.end_all(Next::OnChange);
        for _ in 0..100 {
            world.seconds += 100;
            world.begin();
            world.end_all(Next::OnChange);
        }
        prop_assert_eq!(world.turns.waiting(Lane::Registry) + world.turns.waiting(Lane::Cluster), 0);
        prop_assert!(world.turns.wakes().is_none());
        for number in 0..12 {
            world.turns.gone(&key(number));
        }
        prop_assert_eq!(format!("{:?}", world.turns.held), format!("{:?}", Held::new(size)));
    }
}
