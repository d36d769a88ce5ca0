//! The status of a pod, as a kubelet writes it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::life::{End, Life, Phase, Run, State, Turned};
use super::part::{Part, Role};

pub(super) fn status(part: &Part, life: &Life) -> PodStatus {
    let address = life.address.to_string();
    let (init, main) = life.split(part);
    let list = |roles: &[Role], runs: &[Run]| -> Vec<_> {
        roles.iter().zip(runs).map(|(role, run)| container(part, role, run)).collect()
    };
    PodStatus {
        phase: Some(phase(life.phase(part)).to_owned()),
        conditions: Some(vec![
            condition("Initialized", life.initialized, "ContainersNotInitialized"),
            condition("ContainersReady", life.ready, "ContainersNotReady"),
            condition("Ready", life.ready, "ContainersNotReady"),
        ]),
        init_container_statuses: Some(list(&part.init, init)).filter(|list| !list.is_empty()),
        container_statuses: Some(list(&part.main, main)),
        start_time: Some(Time(life.since)),
        pod_ips: life.mounted.then(|| vec![PodIP { ip: address.clone() }]),
        pod_ip: life.mounted.then_some(address),
        ..PodStatus::default()
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    }
}

fn condition(kind: &str, turned: Turned, reason: &str) -> PodCondition {
    PodCondition {
        type_: kind.to_owned(),
        status: if turned.to { "True" } else { "False" }.to_owned(),
        reason: (!turned.to).then(|| reason.to_owned()),
        last_transition_time: Some(Time(turned.at)),
        ..PodCondition::default()
    }
}

fn container(part: &Part, role: &Role, run: &Run) -> ContainerStatus {
    // The API server takes no identity for a container that never was.
    let id =
        (!run.image_id.is_empty()).then(|| format!("testbed://{}/{}/{}", part.uid, role.name, run.restarts));
    ContainerStatus {
        name: role.name.clone(),
        image: role.image.clone(),
        image_id: run.image_id.clone(),
        container_id: id,
        ready: run.is_running(),
        started: Some(run.is_running()),
        restart_count: run.restarts,
        state: Some(state(&run.state)),
        last_state: run.last.map(terminated),
        ..ContainerStatus::default()
    }
}

fn state(state: &State) -> ContainerState {
    match state {
        State::Waiting { reason, message } => waiting(reason, message.clone()),
        State::Running { since } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
            ..ContainerState::default()
        },
        State::Ended(end) => terminated(*end),
        State::Crashed { .. } => {
            waiting("CrashLoopBackOff", Some("back-off restarting failed container".to_owned()))
        }
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    }
}

fn terminated(End { code, started, finished }: End) -> ContainerState {
    let time = |at: Timestamp| Some(Time(at));
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: code,
            reason: Some(if code == 0 { "Completed" } else { "Error" }.to_owned()),
            started_at: time(started),
            finished_at: time(finished),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}
