//! The verdict: what must be true in the end, and what the numbers may do on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::model::{Files, Model, Resource};
use super::pace::Pace;
use super::sample::Sample;
use super::stats::{median, slope};

/// How much memory may seem to grow over the second half of a long run: this share of what it is …
const GROWTH: f64 = 0.05;

/// … or this much, where that is more, in KiB. An allocator moves by as much from one quarter to the next.
const GROWTH_LEAST: f64 = 2048.0;

/// How many more descriptors, sockets, threads and tasks there may be in the end than at most in the first quarter: a
/// connection that was just opened, and one that is about to close.
const MORE: f64 = 4.0;

/// The same for a short run, which ends before idle connections are closed (90 s): those that a trouble left in the pools of
/// two registries and the API server are still there, each with a socket and a task.
const MORE_IDLE: f64 = 16.0;

/// How many of many complaints a check shows, and how much of each.
const SHOWN: usize = 5;
const LONGEST: usize = 300;

/// What the cluster holds.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Resources by name.
    pub(super) resources: BTreeMap<String, Value>,
    /// Content of every `ConfigMap`, by namespace and name.
    pub(super) content: BTreeMap<(String, String), Files>,
    /// Those that carry the operator's label.
    pub(super) managed: Vec<Managed>,
}

/// A `ConfigMap` of the operator.
#[derive(Debug, Clone)]
pub(super) struct Managed {
    pub(super) name: String,
    /// UID of the resource that it was written for.
    pub(super) owner: String,
    pub(super) is_revision: bool,
}

/// What is wrong with the state of the world, a sentence each.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Resources that are not what their model says.
    pub(super) state: Vec<String>,
    /// Revisions beyond a limit.
    pub(super) revisions: Vec<String>,
    /// `ConfigMaps` of deleted resources.
    pub(super) orphans: Vec<String>,
}

impl Complaints {
    /// Compares.
    pub(super) fn of(model: &Model, observed: &Observed) -> Self {
        let mut complaints = Self::default();
        for resource in model.resources.values() {
            if let Err(why) = state(model, resource, observed) {
                complaints.state.push(format!("{}: {why}", resource.name));
            }
            let count = |revision: &&Managed| revision.is_revision && revision.owner == resource.uid;
            let revisions = observed.managed.iter().filter(count).count();
            // What is applied, and as many earlier ones as the limit says.
            if revisions > resource.limit + 1 {
                complaints.revisions.push(format!(
                    "{}: {revisions} revisions, revisionHistoryLimit {}",
                    resource.name, resource.limit
                ));
            }
        }
        let unknown: Vec<_> =
            observed.resources.keys().filter(|name| !model.resources.contains_key(*name)).collect();
        complaints.state.extend(unknown.iter().map(|name| format!("{name}: it was deleted and is there")));
        let living: BTreeSet<_> = model.resources.values().map(|resource| &resource.uid).collect();
        for managed in &observed.managed {
            if !living.contains(&managed.owner) && !model.left.contains(&managed.owner) {
                let why =
                    if model.gone.contains(&managed.owner) { "that was deleted" } else { "nobody knows" };
                complaints.orphans.push(format!("ConfigMap {} belongs to a resource {why}", managed.name));
            }
        }
        complaints
    }

    /// Nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.state.is_empty() && self.revisions.is_empty() && self.orphans.is_empty()
    }
}

fn state(model: &Model, resource: &Resource, observed: &Observed) -> Result<(), String> {
    let object = observed.resources.get(&resource.name).ok_or("it is gone")?;
    let (status, metadata) = (&object["status"], &object["metadata"]);
    let wanted = model.wanted(resource).ok_or("nothing is attached to its image")?;
    let ready = status["conditions"].as_array().into_iter().flatten().find(|it| it["type"] == "Ready");
    let ready = ready.ok_or("it has no condition Ready")?;
    let reason = if resource.rollback_to.is_some() { "RolledBack" } else { "Synced" };
    if ready["status"] != "True" || ready["reason"] != reason {
        return Err(format!("Ready is {} for {}: {}", ready["status"], ready["reason"], ready["message"]));
    }
    if status["observedGeneration"] != metadata["generation"] {
        return Err(format!(
            "observedGeneration {} of {}",
            status["observedGeneration"], metadata["generation"]
        ));
    }
    if status["artifact"]["digest"].as_str() != Some(wanted) {
        return Err(format!("the status has {}, expected {wanted}", status["artifact"]["digest"]));
    }
    let target = (resource.namespace.clone(), resource.target.clone());
    let content = observed.content.get(&target).ok_or("there is no target")?;
    if Some(content) != model.content(resource).as_ref() {
        return Err(format!("ConfigMap {} does not hold {wanted}", resource.target));
    }
    Ok(())
}

/// One thing that was judged.
#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) seen: String,
    pub(super) expected: String,
    /// `None`: the run is too short to tell.
    pub(super) passed: Option<bool>,
}

impl Check {
    /// There is to be nothing of this; what there is, is listed in part.
    pub(super) fn none(name: &'static str, found: &[String]) -> Self {
        let shown: Vec<String> =
            found.iter().take(SHOWN).map(|text| text.chars().take(LONGEST).collect()).collect();
        let seen = match found.len() {
            0 => "none".to_owned(),
            count if count <= SHOWN => shown.join("; "),
            count => format!("{}; and {} more", shown.join("; "), count - SHOWN),
        };
        Self { name, seen, expected: "none".to_owned(), passed: Some(found.is_empty()) }
    }
}

/// What the samples say; `settled` is the one after everything has come to rest.
pub(super) fn of_samples(samples: &[Sample], settled: &Sample, pace: &Pace) -> Vec<Check> {
    let mut checks = memory(samples, pace);
    let idle = if pace.is_long() { MORE } else { MORE_IDLE };
    let mut level = |name, more, value: fn(&Sample) -> Option<f64>| {
        if let Some(check) = back_to_level(name, samples, settled, more, value) {
            checks.push(check);
        }
    };
    level("open descriptors", idle, |sample| Some(number(sample.usage.descriptors)));
    level("sockets", idle, |sample| Some(number(sample.usage.sockets)));
    level("connections to the API server", idle, |sample| Some(number(sample.api)));
    level("threads", MORE, |sample| Some(number(sample.usage.threads)));
    level("tokio tasks", idle, |sample| sample.metrics?.tasks);
    level("resources in the queue", MORE, |sample| sample.metrics?.queue);
    level("watches on ArtifactConfigs", MORE, |sample| sample.counts?.watches.map(number));
    checks
}

fn memory(samples: &[Sample], pace: &Pace) -> Vec<Check> {
    let half = &samples[samples.len() / 2..];
    let points: Vec<_> =
        half.iter().map(|sample| (sample.at.as_secs_f64(), number(sample.usage.rss))).collect();
    let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    let (third, fourth) = values.split_at(values.len() / 2);
    let (Some(slope), Some(third), Some(fourth), Some(middle), Some(first), Some(last)) =
        (slope(&points), median(third), median(fourth), median(&values), points.first(), points.last())
    else {
        return Vec::new();
    };
    let bound = (middle * GROWTH).max(GROWTH_LEAST);
    let growth = slope * (last.0 - first.0);
    let judged = |growth: f64| pace.is_long().then_some(growth <= bound);
    let expected = format!(
        "at most {:.0} KiB: {:.0} % of {middle:.0} KiB, or {GROWTH_LEAST:.0} KiB",
        bound,
        GROWTH * 100.0
    );
    vec![
        Check {
            name: "memory, trend of the second half",
            seen: format!("{growth:+.0} KiB ({:+.0} KiB an hour)", slope * 3600.0),
            expected: expected.clone(),
            passed: judged(growth),
        },
        Check {
            name: "memory, fourth quarter against third",
            seen: format!("{:+.0} KiB (medians {third:.0} and {fourth:.0} KiB)", fourth - third),
            expected,
            passed: judged(fourth - third),
        },
    ]
}

fn back_to_level(
    name: &'static str,
    samples: &[Sample],
    settled: &Sample,
    more: f64,
    value: fn(&Sample) -> Option<f64>,
) -> Option<Check> {
    let first = &samples[..samples.len().div_ceil(4)];
    let level = first.iter().filter_map(value).reduce(f64::max)?;
    let end = value(settled)?;
    Some(Check {
        name,
        seen: format!("{end:.0}"),
        expected: format!("at most {:.0}: {level:.0} in the first quarter and {more:.0}", level + more),
        passed: Some(end <= level + more),
    })
}

/// What is counted here is far below what an `f64` counts exactly.
#[expect(clippy::cast_precision_loss, reason = "below 2^52")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::model::tests::small;
    use super::*;

    /// What the cluster holds when all is well with `small`.
    fn well() -> Observed {
        let object = json!({
            "metadata": {"generation": 1},
            "status": {
                "observedGeneration": 1, "artifact": {"digest": "new"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Synced"}],
            },
        });
        let managed = |name: &str, is_revision| Managed { name: name.into(), owner: "u".into(), is_revision };
        Observed {
            resources: [("web".to_owned(), object)].into(),
            content: [(("n".to_owned(), "web".to_owned()), [("a".to_owned(), b"2".to_vec())].into())].into(),
            managed: vec![
                managed("web", false),
                managed("web-1", true),
                managed("web-2", true),
                managed("web-3", true),
            ],
        }
    }

    #[test]
    fn all_is_well() {
        let complaints = Complaints::of(&small(), &well());
        assert!(complaints.is_empty(), "{complaints:?}");
    }

    #[test]
    fn a_target_that_holds_something_else_is_seen() {
        let mut observed = well();
        observed.content.values_mut().next().unwrap().insert("intruder".into(), b"x".to_vec());
        assert_eq!(Complaints::of(&small(), &observed).state.len(), 1);
        observed.content.clear();
        assert_eq!(Complaints::of(&small(), &observed).state, ["web: there is no target"]);
    }

    #[test]
    fn a_status_that_says_something_else_is_seen() {
        for (pointer, value) in [
            ("/status/artifact/digest", json!("old")),
            ("/status/observedGeneration", json!(0)),
            ("/status/conditions/0/status", json!("False")),
            ("/status/conditions/0/reason", json!("RolledBack")),
            ("/status/conditions", json!([])),
        ] {
            let mut observed = well();
            *observed.resources.get_mut("web").unwrap().pointer_mut(pointer).unwrap() = value;
            assert_eq!(Complaints::of(&small(), &observed).state.len(), 1, "{pointer}");
        }
    }

    #[test]
    fn what_is_too_much_or_left_behind_is_seen() {
        let mut observed = well();
        observed.managed.push(Managed { name: "web-4".into(), owner: "u".into(), is_revision: true });
        assert_eq!(
            Complaints::of(&small(), &observed).revisions,
            ["web: 4 revisions, revisionHistoryLimit 2"]
        );

        let mut model = small();
        model.delete("web");
        let complaints = Complaints::of(&model, &well());
        assert_eq!(complaints.state, ["web: it was deleted and is there"]);
        assert_eq!(complaints.orphans.len(), 4);
        model.left.append(&mut model.gone);
        assert!(Complaints::of(&model, &well()).orphans.is_empty(), "these stay on purpose");
    }

    fn samples(rss: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |index: u64| {
            let mut sample = Sample { at: Duration::from_secs(15 * index), ..Sample::default() };
            sample.usage.rss = rss(index);
            sample.usage.descriptors = 20;
            sample
        };
        (0..240).map(sample).collect()
    }

    fn failed(checks: &[Check]) -> Vec<&'static str> {
        checks.iter().filter(|check| check.passed == Some(false)).map(|check| check.name).collect()
    }

    #[test]
    fn a_leak_is_seen_and_warming_up_is_none() {
        let pace = Pace::of(Duration::from_hours(1));
        let settled = &samples(|_| 0)[0];
        // Up in the first third, then level with bursts.
        let warm = samples(|index| 30_000 + 100 * index.min(80) + 9_000 * u64::from(index % 10 == 0));
        assert_eq!(failed(&of_samples(&warm, settled, &pace)), [""; 0]);
        // 30 KiB in 15 s are 7 MiB an hour.
        let leak = samples(|index| 30_000 + 30 * index + 500 * (index % 3));
        assert_eq!(failed(&of_samples(&leak, settled, &pace)).len(), 1);
        assert!(of_samples(&leak, settled, &Pace::of(Duration::from_mins(1)))[0].passed.is_none());
        let step = samples(|index| 30_000 + 10_000 * u64::from(index > 180));
        assert!(failed(&of_samples(&step, settled, &pace)).contains(&"memory, fourth quarter against third"));
    }

    #[test]
    fn descriptors_that_stay_open_are_seen() {
        let pace = Pace::of(Duration::from_hours(1));
        let all = samples(|_| 30_000);
        let mut settled = all[0].clone();
        assert_eq!(failed(&of_samples(&all, &settled, &pace)), [""; 0]);
        settled.usage.descriptors = 25;
        assert_eq!(failed(&of_samples(&all, &settled, &pace)), ["open descriptors"]);
        // A short run ends before idle connections are closed, and sees only what is more than those.
        let short = Pace::of(Duration::from_mins(1));
        assert_eq!(failed(&of_samples(&all, &settled, &short)), [""; 0]);
        // No connection is a thread.
        settled.usage.threads = 5;
        assert_eq!(failed(&of_samples(&all, &settled, &short)), ["threads"]);
        settled.usage.threads = 0;
        settled.usage.descriptors = 37;
        assert_eq!(failed(&of_samples(&all, &settled, &short)), ["open descriptors"]);
    }

    #[test]
    fn what_was_found_is_listed_in_part() {
        assert_eq!(Check::none("x", &[]).passed, Some(true));
        let many: Vec<_> = (0..9).map(|number| number.to_string()).collect();
        assert_eq!(Check::none("x", &many).seen, "0; 1; 2; 3; 4; and 4 more");
    }
}
