//! Single pods, moment by moment.

use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus};
use serde_json::{Value, json};

use super::content::{Content, Contents};
use super::life::Life;
use super::part::{Key, Part};
use super::script::{Fate, Script};
use super::stage::{Outcome, Stage, What};
use super::starts::{Start, Starts};
use super::status::status;
use super::step::{Around, step};

/// A pod of the given spec, and everything around it.
struct Scene {
    part: Part,
    life: Life,
    contents: Contents,
    script: Script,
    now: Timestamp,
}

fn part(name: &str, spec: &Value) -> Part {
    let metadata = json!({"namespace": "shop", "name": name, "uid": format!("uid-of-{name}")});
    let pod: Pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
    Part::of(&pod).unwrap()
}

fn key(name: &str) -> Key {
    Key { namespace: "shop".into(), name: name.into() }
}

fn content(data: &Value) -> Content {
    Content::of(&serde_json::from_value::<ConfigMap>(json!({"metadata": {}, "data": data})).unwrap())
}

impl Scene {
    fn new(spec: &Value) -> Self {
        let part = part("web", spec);
        let life = Life::new(&part, Ipv4Addr::LOCALHOST, Timestamp::UNIX_EPOCH);
        let (contents, script) = (Contents::default(), Script::default());
        Self { part, life, contents, script, now: Timestamp::UNIX_EPOCH }
    }

    fn with(mut self, name: &str, data: &Value) -> Self {
        self.set(name, data);
        self
    }

    fn set(&mut self, name: &str, data: &Value) {
        self.contents.set(key(name), content(data));
    }

    fn step(&mut self) -> Vec<Start> {
        let around = Around { contents: &self.contents, script: &self.script, now: self.now };
        step(&self.part, &mut self.life, around)
    }

    fn pass(&mut self, milliseconds: i64) {
        self.now += SignedDuration::from_millis(milliseconds);
        self.step();
    }

    /// Phase, readiness, and of each container its state, restarts and last exit code.
    fn seen(&self) -> String {
        let PodStatus { phase, conditions, init_container_statuses, container_statuses, .. } =
            status(&self.part, &self.life);
        let ready = conditions.unwrap().iter().any(|one| one.type_ == "Ready" && one.status == "True");
        let containers = init_container_statuses.into_iter().chain(container_statuses).flatten().map(|one| {
            let state = one.state.unwrap();
            let last =
                one.last_state.and_then(|last| last.terminated).map(|end| format!(" {}", end.exit_code));
            let word = match (state.waiting, state.terminated) {
                (Some(waiting), _) => waiting.reason.unwrap(),
                (_, Some(end)) => format!("exit {}", end.exit_code),
                _ => "runs".into(),
            };
            let restarts =
                if one.restart_count > 0 { format!(" x{}", one.restart_count) } else { String::new() };
            format!("{}: {word}{restarts}{}", one.name, last.unwrap_or_default())
        });
        let ready = if ready { " ready" } else { "" };
        format!("{}{ready}; {}", phase.unwrap(), containers.collect::<Vec<_>>().join(", "))
    }
}

/// One container that mounts the ConfigMap `web`, changed.
fn spec(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "containers": [{"name": "main", "image": "web:v1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "web"}}],
    });
    change(&mut spec);
    spec
}

fn push(list: &mut Value, value: Value) {
    list.as_array_mut().unwrap().push(value);
}

fn env(reference: &Value) -> Value {
    json!([{"name": "X", "valueFrom": {"configMapKeyRef": reference}}])
}

#[test]
fn a_pod_waits_for_what_it_names_without_optional() {
    let waits = "Pending; main: ContainerCreating";
    let unset = "Pending; main: CreateContainerConfigError";
    let ready = "Running ready; main: runs";
    let here = json!({"a": "1"});
    let volume = |value: Value| spec(|spec| spec["volumes"][0] = value);
    let container = |field: &'static str, value: Value| spec(|spec| spec["containers"][0][field] = value);
    let cases = [
        (volume(json!({"name": "v", "configMap": {"name": "web"}})), ready),
        (volume(json!({"name": "v", "configMap": {"name": "none"}})), waits),
        (volume(json!({"name": "v", "configMap": {"name": "none", "optional": true}})), ready),
        (
            volume(json!({"name": "v", "configMap": {"name": "web", "items": [{"key": "a", "path": "p"}]}})),
            ready,
        ),
        (
            volume(json!({"name": "v", "configMap": {"name": "web", "items": [{"key": "b", "path": "p"}]}})),
            waits,
        ),
        (volume(json!({"name": "v", "projected": {"sources": [{"configMap": {"name": "web"}}]}})), ready),
        (volume(json!({"name": "v", "projected": {"sources": [{"configMap": {"name": "none"}}]}})), waits),
        (volume(json!({"name": "unused", "configMap": {"name": "none"}})), waits),
        (container("env", env(&json!({"name": "web", "key": "a"}))), ready),
        (container("env", env(&json!({"name": "web", "key": "b"}))), unset),
        (container("env", env(&json!({"name": "none", "key": "a"}))), unset),
        (container("env", env(&json!({"name": "none", "key": "a", "optional": true}))), ready),
        (container("envFrom", json!([{"configMapRef": {"name": "web"}}])), ready),
        (container("envFrom", json!([{"configMapRef": {"name": "none"}}])), unset),
        (container("envFrom", json!([{"configMapRef": {"name": "none", "optional": true}}])), ready),
    ];
    for (spec, expected) in cases {
        let mut scene = Scene::new(&spec).with("web", &here);
        scene.step();
        assert_eq!(scene.seen(), expected, "{spec}");
        if expected != ready {
            scene.set("none", &here);
            scene.set("web", &json!({"a": "1", "b": "2"}));
            scene.step();
            assert_eq!(scene.seen(), ready, "{spec}");
        }
    }
}

#[test]
fn a_container_gets_what_it_mounts_and_what_its_environment_names() {
    let spec = spec(|spec| {
        push(&mut spec["volumes"], json!({"name": "other", "configMap": {"name": "other"}}));
        spec["containers"][0]["envFrom"] =
            json!([{"configMapRef": {"name": "env"}}, {"configMapRef": {"name": "web"}}]);
        push(&mut spec["containers"], json!({"name": "proxy", "image": "proxy:v1"}));
    });
    let mut scene = Scene::new(&spec);
    for name in ["web", "other", "env"] {
        scene.set(name, &json!({}));
    }
    let starts = scene.step();
    let got: Vec<_> = starts
        .iter()
        .map(|start| {
            let names: Vec<_> = start.config_maps.iter().map(|given| given.config_map.as_str()).collect();
            format!("{}: {}", start.container, names.join(" "))
        })
        .collect();
    assert_eq!(got, ["main: env web", "proxy: "]);
    assert_eq!(scene.step(), [], "once");
}

#[test]
fn a_crash_is_counted_and_ends_when_the_content_is_better() {
    let mut scene = Scene::new(&spec(|_| ())).with("web", &json!({"crash": "7"}));
    scene.step();
    assert_eq!(scene.seen(), "Running; main: CrashLoopBackOff x1 7");
    scene.pass(99);
    assert_eq!(scene.seen(), "Running; main: CrashLoopBackOff x1 7");
    scene.pass(1);
    assert_eq!(scene.seen(), "Running; main: CrashLoopBackOff x2 7");
    scene.pass(199);
    assert_eq!(scene.seen(), "Running; main: CrashLoopBackOff x2 7");
    scene.set("web", &json!({}));
    scene.step();
    assert_eq!(scene.seen(), "Running ready; main: runs x3 7");
    scene.set("web", &json!({"crash": "1"}));
    scene.pass(60_000);
    assert_eq!(scene.seen(), "Running ready; main: runs x3 7", "content counts at the start");
}

#[test]
fn a_crash_stays_when_the_config_map_of_a_volume_is_deleted() {
    let mut scene = Scene::new(&spec(|_| ())).with("web", &json!({"crash": "7"}));
    scene.step();
    scene.contents.remove(&key("web"));
    scene.pass(100);
    assert_eq!(scene.seen(), "Running; main: CrashLoopBackOff x2 7");
    scene.set("web", &json!({}));
    scene.step();
    assert_eq!(scene.seen(), "Running ready; main: runs x3 7");
}

#[test]
fn pauses_between_crashes_grow_and_have_a_limit() {
    let mut scene = Scene::new(&spec(|_| ())).with("web", &json!({"crash": "1"}));
    scene.step();
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let next = scene.life.next().unwrap();
        pauses.push(next.duration_since(scene.now).as_millis());
        scene.now = next;
        scene.step();
    }
    assert_eq!(pauses[..4], [100, 200, 400, 800]);
    assert!(pauses[12..].iter().all(|pause| *pause == 30_000), "{pauses:?}");
}

#[test]
fn only_a_container_that_gets_the_key_crashes() {
    let spec = spec(|spec| {
        spec["volumes"][0]["configMap"]["items"] = json!([{"key": "a", "path": "a"}]);
        push(&mut spec["containers"], json!({"name": "other", "image": "other:v1"}));
    });
    let mut scene = Scene::new(&spec).with("web", &json!({"a": "1", "crash": "1"}));
    scene.step();
    assert_eq!(scene.seen(), "Running ready; main: runs, other: runs");
}

#[test]
fn restart_policies_decide_what_follows_an_exit() {
    for (policy, code, expected) in [
        ("Always", 0, "Running; main: CrashLoopBackOff x1 0"),
        ("Always", 2, "Running; main: CrashLoopBackOff x1 2"),
        ("OnFailure", 0, "Succeeded; main: exit 0"),
        ("OnFailure", 2, "Running; main: CrashLoopBackOff x1 2"),
        ("Never", 0, "Succeeded; main: exit 0"),
        ("Never", 2, "Failed; main: exit 2"),
    ] {
        let spec = spec(|spec| spec["restartPolicy"] = json!(policy));
        let mut scene = Scene::new(&spec).with("web", &json!({}));
        scene.step();
        assert_eq!(scene.seen(), "Running ready; main: runs");
        scene.script.fates.insert("web:v1".into(), Fate::Exits(code));
        scene.step();
        assert_eq!(scene.seen(), expected, "{policy} {code}");
        if scene.life.is_over(&scene.part) {
            scene.script.fates.clear();
            scene.pass(60_000);
            assert_eq!(scene.seen(), expected, "the end is the end");
        }
    }
}

#[test]
fn init_containers_come_first_and_sidecars_stay() {
    let spec = spec(|spec| {
        spec["restartPolicy"] = json!("Never");
        spec["initContainers"] = json!([
            {"name": "one", "image": "one:v1", "envFrom": [{"configMapRef": {"name": "one"}}]},
            {"name": "side", "image": "side:v1", "restartPolicy": "Always"},
        ]);
    });
    let mut scene = Scene::new(&spec);
    scene.step();
    assert_eq!(scene.seen(), "Pending; one: PodInitializing, side: PodInitializing, main: PodInitializing");
    scene.set("web", &json!({}));
    scene.step();
    assert_eq!(
        scene.seen(),
        "Pending; one: CreateContainerConfigError, side: PodInitializing, main: PodInitializing"
    );
    scene.set("one", &json!({}));
    scene.step();
    assert_eq!(scene.seen(), "Running ready; one: exit 0, side: runs, main: runs");
    scene.script.fates.insert("web:v1".into(), Fate::Exits(0));
    scene.step();
    assert_eq!(scene.seen(), "Succeeded; one: exit 0, side: exit 0, main: exit 0");

    let mut scene = Scene::new(&spec).with("web", &json!({})).with("one", &json!({"crash": "4"}));
    scene.step();
    assert_eq!(scene.seen(), "Failed; one: exit 4, side: PodInitializing, main: PodInitializing");
}

#[test]
fn a_missing_image_waits_until_it_is_there() {
    let mut scene = Scene::new(&spec(|_| ())).with("web", &json!({}));
    scene.script.fates.insert("web:v1".into(), Fate::Missing);
    assert_eq!(scene.step(), []);
    assert_eq!(scene.seen(), "Pending; main: ImagePullBackOff");
    scene.script.fates.clear();
    assert_eq!(scene.step().len(), 1);
    assert_eq!(scene.seen(), "Running ready; main: runs");
}

/// Carries out everything that is due; returns how many writes that took.
fn settle(stage: &mut Stage, script: &Script, now: Timestamp) -> usize {
    stage.ring(now);
    let mut starts = Starts::default();
    let mut writes = 0;
    while let Some(deed) = stage.next(script, &mut starts, now) {
        stage.done(deed, Outcome::Done, now);
        writes += 1;
    }
    writes
}

#[test]
fn ten_thousand_pods_at_rest_cost_nothing() {
    let (mut stage, script) = (Stage::default(), Script::default());
    let mut now = Timestamp::UNIX_EPOCH;
    stage.config_map(key("web"), content(&json!({})));
    let mut parts: Vec<_> = (0..10_000).map(|number| part(&format!("web-{number}"), &spec(|_| ()))).collect();
    for part in &parts {
        stage.pod(part.clone(), now);
    }
    now += SignedDuration::from_secs(1);
    assert_eq!(settle(&mut stage, &script, now), 10_000);
    // The watch tells of each write.
    for part in &mut parts {
        part.ready = true;
        stage.pod(part.clone(), now);
    }
    stage.config_map(key("web"), content(&json!({"crash": "1"})));
    assert_eq!(settle(&mut stage, &script, now), 0);
    assert_eq!(stage.next_timer(), None);
}

#[test]
fn a_write_that_failed_is_tried_again_and_a_deleted_pod_goes_once() {
    let (mut stage, script, mut starts) = (Stage::default(), Script::default(), Starts::default());
    let mut now = Timestamp::UNIX_EPOCH;
    stage.pod(part("web", &spec(|_| ())), now);
    assert!(stage.next(&script, &mut starts, now).is_none(), "its ConfigMaps may be under way");
    now += SignedDuration::from_secs(1);
    stage.ring(now);
    let deed = stage.next(&script, &mut starts, now).unwrap();
    stage.done(deed, Outcome::Failed, now);
    assert!(stage.next(&script, &mut starts, now).is_none());
    now = stage.next_timer().unwrap();
    assert_eq!(settle(&mut stage, &script, now), 1);

    let leaving = Part { leaving: true, ..part("web", &spec(|_| ())) };
    stage.pod(leaving.clone(), now);
    let deed = stage.next(&script, &mut starts, now).unwrap();
    assert!(matches!(deed.what, What::Delete));
    // Finalizers hold it.
    stage.pod(leaving.clone(), now);
    stage.done(deed, Outcome::Done, now);
    stage.pod(leaving, now);
    assert_eq!(settle(&mut stage, &script, now), 0);
}

#[test]
fn a_pod_that_a_lost_node_made_unready_becomes_ready_again() {
    let (mut stage, script) = (Stage::default(), Script::default());
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1);
    stage.config_map(key("web"), content(&json!({})));
    let web = part("web", &spec(|_| ()));
    stage.pod(web.clone(), Timestamp::UNIX_EPOCH);
    assert_eq!(settle(&mut stage, &script, now), 1);
    stage.pod(Part { ready: true, ..web.clone() }, now);
    assert_eq!(settle(&mut stage, &script, now), 0);
    stage.pod(web, now);
    assert_eq!(settle(&mut stage, &script, now), 1);
}

#[test]
fn another_pod_of_the_same_name_starts_from_the_beginning() {
    let (mut stage, script) = (Stage::default(), Script::default());
    let mut now = Timestamp::UNIX_EPOCH;
    stage.config_map(key("web"), content(&json!({})));
    let first = part("web", &spec(|_| ()));
    for uid in ["first", "second"] {
        stage.pod(Part { uid: uid.into(), ..first.clone() }, now);
        now += SignedDuration::from_secs(1);
        assert_eq!(settle(&mut stage, &script, now), 1, "{uid}");
    }
}
