//! The next moment in the life of a pod: pod, ConfigMaps and script in, life out.

use jiff::{SignedDuration, Timestamp};

use super::content::Contents;
use super::life::{End, Life, Run, State};
use super::part::{Need, Part, Restart, Role};
use super::script::{Fate, Script};
use super::starts::{Given, Start};

/// Between a crash and the next start; doubled by each crash. The kubelet has 10 s and 5 min, too long for tests.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(100);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// The surroundings of a pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) contents: &'a Contents,
    pub(super) script: &'a Script,
    pub(super) now: Timestamp,
}

/// The result of an attempt to start a container.
enum Outcome {
    Waits { reason: &'static str, message: String },
    Exits(i32, Vec<Given>),
    Runs(Vec<Given>),
}

/// Lets everything happen that is due. Returns the containers that started.
pub(super) fn step(part: &Part, life: &mut Life, around: Around<'_>) -> Vec<Start> {
    let mut starts = Vec::new();
    let missing = |need| around.contents.missing(&part.key.namespace, need).is_some();
    if life.is_over(part) || !life.mounted && part.volumes.iter().any(missing) {
        return starts;
    }
    life.mounted = true;
    let mut open = true;
    for (place, role) in part.roles().enumerate() {
        let is_init = place < part.init.len();
        let Some(run) = life.runs.get_mut(place).filter(|_| open) else { break };
        if turn(part, role, run, is_init, around) {
            starts.push(start(part, role, run));
        }
        open = !is_init || run.is_past(role);
    }
    if life.is_over(part) {
        end_sidecars(life, around.now);
    }
    life.turn(part, around.now);
    starts
}

/// Returns whether the container started.
fn turn(part: &Part, role: &Role, run: &mut Run, is_init: bool, around: Around<'_>) -> bool {
    let now = around.now;
    match run.state {
        State::Ended(_) => false,
        State::Running { since } => {
            if let Fate::Exits(code) = around.script.fate(&role.image) {
                end(role, run, code, since, now);
            }
            false
        }
        State::Waiting { .. } => begin(role, run, outcome(part, role, around), is_init, around),
        State::Crashed { next } => {
            let outcome = again(part, role, run, around);
            // A repaired content is taken at once: no test waits for the end of a pause.
            if next > now && !matches!(outcome, Outcome::Runs(_)) {
                return false;
            }
            run.restarts += 1;
            begin(role, run, outcome, is_init, around)
        }
    }
}

/// The next attempt after a crash. A volume keeps the content of a ConfigMap that was deleted, so the crash stays too.
fn again(part: &Part, role: &Role, run: &Run, around: Around<'_>) -> Outcome {
    let is_gone = |need: &Need| around.contents.get(&part.key.namespace, &need.config_map).is_none();
    let had = |need: &Need| run.given.iter().any(|given| given.config_map == need.config_map);
    match run.last {
        Some(end) if role.mounted.iter().any(|need| is_gone(need) && had(need)) => {
            Outcome::Exits(end.code, run.given.clone())
        }
        _ => outcome(part, role, around),
    }
}

fn outcome(part: &Part, role: &Role, around: Around<'_>) -> Outcome {
    let namespace = &part.key.namespace;
    let fate = around.script.fate(&role.image);
    if fate == Fate::Missing {
        let message = format!("Back-off pulling image \"{}\"", role.image);
        return Outcome::Waits { reason: "ImagePullBackOff", message };
    }
    if let Some(message) = role.env.iter().find_map(|need| around.contents.missing(namespace, need)) {
        return Outcome::Waits { reason: "CreateContainerConfigError", message };
    }
    let needs = || role.mounted.iter().chain(&role.env);
    let given = given(namespace, needs(), around.contents);
    let of_content = |need: &Need| around.contents.get(namespace, &need.config_map)?.crash(need);
    match fate {
        Fate::Exits(code) => Outcome::Exits(code, given),
        _ => match needs().find_map(of_content) {
            Some(code) => Outcome::Exits(code, given),
            None => Outcome::Runs(given),
        },
    }
}

/// Each ConfigMap once, sorted. Optional ones that do not exist are left out.
fn given<'a>(namespace: &str, needs: impl Iterator<Item = &'a Need>, contents: &Contents) -> Vec<Given> {
    let mut given: Vec<_> = needs
        .filter_map(|Need { config_map, .. }| {
            let hash = contents.get(namespace, config_map)?.hash.clone();
            Some(Given { config_map: config_map.clone(), hash })
        })
        .collect();
    given.sort();
    given.dedup();
    given
}

/// Returns whether the container started.
fn begin(role: &Role, run: &mut Run, outcome: Outcome, is_init: bool, around: Around<'_>) -> bool {
    let now = around.now;
    let (given, code) = match outcome {
        Outcome::Waits { reason, message } => {
            run.state = State::Waiting { reason, message: Some(message) };
            return false;
        }
        Outcome::Exits(code, given) => (given, Some(code)),
        // An init container that is not made to crash ends at once.
        Outcome::Runs(given) => (given, (is_init && role.restart != Restart::Always).then_some(0)),
    };
    run.given = given;
    run.image_id = around.script.image_id(&role.image);
    run.state = State::Running { since: now };
    if let Some(code) = code {
        end(role, run, code, now, now);
    }
    true
}

fn end(role: &Role, run: &mut Run, code: i32, started: Timestamp, now: Timestamp) {
    let end = End { code, started, finished: now };
    let again = match role.restart {
        Restart::Always => true,
        Restart::OnFailure => code != 0,
        Restart::Never => false,
    };
    if !again {
        run.state = State::Ended(end);
        return;
    }
    run.last = Some(end);
    // The kubelet starts it again at once after the first crash, and pauses after the second.
    run.restarts = run.restarts.max(1);
    run.state = State::Crashed { next: now.saturating_add(pause(run.restarts)).unwrap_or(now) };
}

fn pause(restarts: i32) -> SignedDuration {
    let doubled = 1_i32.checked_shl(u32::try_from(restarts - 1).unwrap_or(0)).filter(|factor| *factor > 0);
    doubled
        .and_then(|factor| FIRST_PAUSE.checked_mul(factor))
        .map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// They run as long as the other containers do.
fn end_sidecars(life: &mut Life, now: Timestamp) {
    for run in &mut life.runs {
        if let State::Running { since } = run.state {
            run.state = State::Ended(End { code: 0, started: since, finished: now });
        }
    }
}

fn start(part: &Part, role: &Role, run: &Run) -> Start {
    Start {
        namespace: part.key.namespace.clone(),
        pod: part.key.name.clone(),
        uid: part.uid.clone(),
        container: role.name.clone(),
        image: role.image.clone(),
        config_maps: run.given.clone(),
    }
}
