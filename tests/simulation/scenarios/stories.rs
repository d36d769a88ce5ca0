//! The stories, and the acts of others that may happen in the middle of them.

use api::Resolve;

use crate::acts::{Act, Back, Edit, What, When};

/// The state before, and the changes.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) before: &'static [Act],
    /// In the middle: everything before has been reconciled.
    pub(super) between: &'static [Act],
    pub(super) change: &'static [Act],
}

const fn config(kind: usize) -> Act {
    Act::Attach { image: 0, kind, when: When::Now, what: What::Config }
}

const CREATE: Act = Act::Create("web");

/// A config of the second image.
const fn config_of_v2(kind: usize) -> Act {
    Act::Attach { image: 1, kind, when: When::Now, what: What::Config }
}

/// Its pods require their config.
const DEPLOY: Act = Act::Deploy("web", 0, 0);

const FOLLOW: Act = Act::Follow("web", "web", Resolve::Template);

const MERGE: Act = Act::Merging("web");

const TICK: Act = Act::Clock(5);

pub(super) static SCENARIOS: [Scenario; 41] = [
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
        // After a restart the status says the same: nothing remembers what has no proof.
        name: "the same without revisions",
        before: &[CREATE, Act::Limit("web", 3), config(0), TICK, config(1), TICK, config(2)],
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
        // The annotations of the patch that moves the key must be removed with the next config.
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
        // The same after a restart: the merged keys are the source of the rollback.
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
        // A revision that a pod uses stays, although a key of the target is in the wrong map.
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
        // A config without proof does not come back by itself.
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
        // The resource that merges is reconciled first.
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
    Scenario {
        name: "an image is rolled out",
        before: &[CREATE, DEPLOY, FOLLOW, config(0), config_of_v2(1)],
        between: &[],
        change: &[Act::SetImage("web", 1)],
    },
    Scenario {
        // Its pods are refused until then, and nobody but the operator wakes their controller.
        name: "an image whose config comes later",
        before: &[CREATE, DEPLOY, FOLLOW, config(0)],
        between: &[Act::SetImage("web", 1)],
        change: &[TICK, config_of_v2(1)],
    },
    Scenario {
        name: "the same with an index that lags",
        before: &[CREATE, DEPLOY, FOLLOW, config(0)],
        between: &[Act::SetImage("web", 1), Act::IndexLags(true)],
        change: &[TICK, config_of_v2(1)],
    },
    Scenario {
        name: "undo while the registry is down",
        before: &[CREATE, DEPLOY, FOLLOW, config(0), config_of_v2(1)],
        between: &[Act::SetImage("web", 1)],
        change: &[Act::Down, Act::Undo("web", 0)],
    },
    Scenario {
        name: "another config of an image, and a pod more of the earlier image",
        before: &[CREATE, DEPLOY, FOLLOW, Act::Limit("web", 2), config(0)],
        between: &[Act::SetImage("web", 1)],
        change: &[TICK, config(6), config_of_v2(1), Act::Scale("web", 3)],
    },
    Scenario {
        // The binding of the first image has lost its last pod template.
        name: "a binding is collected while a pod of its image comes",
        before: &[CREATE, DEPLOY, FOLLOW, Act::Limit("web", 2), config(0), config_of_v2(1)],
        between: &[Act::SetImage("web", 1), TICK, config_of_v2(6), Act::IndexLags(true)],
        change: &[Act::DropSets("web"), TICK, config_of_v2(7), Act::Clock(900)],
    },
    Scenario {
        name: "a resource follows a workload no more, and again",
        before: &[CREATE, DEPLOY, FOLLOW, config(0), config_of_v2(1)],
        between: &[Act::Image("web", 1)],
        change: &[FOLLOW, Act::Drain("web", 0)],
    },
    Scenario {
        name: "rollback to what vouches only for itself, with a workload",
        before: &[CREATE, DEPLOY, FOLLOW, config(0), TICK, config(1), TICK, config(2)],
        between: &[],
        change: &[Act::Counterfeit("web", 1), Act::Down, Act::Rollback("web", Back::Attached(1))],
    },
    Scenario {
        name: "two resources follow one workload, and one config is missing",
        before: &[
            CREATE,
            FOLLOW,
            Act::Create("api"),
            Act::Follow("api", "web", Resolve::Template),
            Act::Mapping("api", 3),
            DEPLOY,
            config(0),
        ],
        between: &[],
        change: &[Act::Mapping("api", 0), Act::Scale("web", 3)],
    },
];

/// Acts of others between any two steps.
pub(super) const INTERFERENCES: [&[Act]; 34] = [
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
    &[Act::SetImage("web", 1)],
    &[Act::SetImage("web", 0), Act::Drain("web", 0)],
    &[Act::Undo("web", 0)],
    &[Act::Down, Act::Undo("web", 0), Act::Drain("web", 1)],
    &[Act::DropSets("web"), Act::Scale("web", 3)],
    &[Act::Undeploy("web")],
    &[Act::Image("web", 1)],
];

/// Changes that end the turn of a reconcile of "web".
pub(super) const CHANGES: [&[Act]; 7] = [
    &[Act::Suspend("web", true)],
    &[Act::Delete("web")],
    &[Act::Mark("web")],
    &[Act::Delete("web"), Act::Create("web")],
    &[Act::Rollback("web", Back::History(1))],
    &[Act::Orphan("web", true), Act::Rename("web", 2)],
    &[FOLLOW, Act::SetImage("web", 1)],
];
