//! Reads the workloads that resources follow, and their pods.

use api::{Reason, WorkloadRef, annotation};
use decide::Failure;
use decide::spec::Owner;
use decide::workload;
use decide::workload_kind::WorkloadKind;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::page::next_page;

use super::problem::{Problem, limited};

/// Pods per page: one page is in memory at a time.
const PAGE: u32 = 100;

/// Most pods of one workload that are read. A larger workload needs `resolve: Template`.
const MAX_PODS: usize = 10_000;

/// Field manager of the annotation. It begins with the operator's name, so that Flux and Argo CD can be told to leave it.
const WAKE_MANAGER: &str = "artifactconfig/wake";

/// How the API server calls a kind.
///
/// # Errors
/// `WorkloadNotFound` if it does not serve the kind; `WorkloadUnavailable` if it does not answer.
pub(crate) async fn resource(client: &Client, kind: &WorkloadKind) -> Result<ApiResource, Failure> {
    kind.admit()?;
    let gvk = kind.gvk();
    if let Some(plural) = kind.plural() {
        return Ok(ApiResource::from_gvk_with_plural(&gvk, plural));
    }
    match limited(kube::discovery::pinned_kind(client, &gvk)).await {
        Ok((resource, _)) => Ok(resource),
        Err(problem) => Err(not_served(kind, problem)),
    }
}

fn not_served(kind: &WorkloadKind, problem: Problem) -> Failure {
    let WorkloadKind { group, version, kind } = kind;
    let named = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    let absent = |why: &str| {
        Failure::new(
            Reason::WorkloadNotFound,
            format!(
                "spec.workloadRef: this cluster has no kind {kind} in {named}{why}; install its definition, or correct apiVersion and kind"
            ),
        )
    };
    match problem {
        Problem::NotFound | Problem::NoKind => absent(""),
        other => other
            .into_failure_of(Reason::WorkloadUnavailable, &format!("kind {kind} in {named} was not read")),
    }
}

/// The workload of a resource, as JSON.
pub(super) async fn workload(
    client: &Client,
    namespace: &str,
    reference: &WorkloadRef,
) -> Result<Option<Value>, Failure> {
    let resource = resource(client, &WorkloadKind::of(reference)).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let what = || format!("{} was not read", workload::shown(reference));
    let object = limited(api.get_opt(&reference.name)).await.map_err(|problem| unread(problem, &what()))?;
    object
        .map(serde_json::to_value)
        .transpose()
        .map_err(|error| Failure::new(Reason::WorkloadUnavailable, format!("{}: {error}", what())))
}

/// The right to read workloads is not among the defaults of the chart.
fn unread(problem: Problem, what: &str) -> Failure {
    let failure = problem.into_failure_of(Reason::WorkloadUnavailable, what);
    if !failure.message.contains("is forbidden") {
        return failure;
    }
    let advice = "set workloads.enabled in the chart, and workloads.kinds for kinds of others";
    Failure { message: format!("{}; {advice}", failure.message), ..failure }
}

/// Changes an annotation of a workload, and nothing else of it.
pub(super) async fn wake(
    client: &Client,
    owner: &Owner,
    reference: &WorkloadRef,
    value: &str,
) -> Result<(), Failure> {
    let resource = resource(client, &WorkloadKind::of(reference)).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &owner.namespace, &resource);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation::woken(&owner.name): value}}}));
    let parameters = PatchParams { field_manager: Some(WAKE_MANAGER.to_owned()), ..PatchParams::default() };
    match limited(api.patch_metadata(&reference.name, &parameters, &patch)).await {
        Ok(_) | Err(Problem::NotFound) => Ok(()),
        Err(problem) => Err(problem.into_failure_of(
            Reason::WorkloadUnavailable,
            &format!("{} was not woken", workload::shown(reference)),
        )),
    }
}

/// The pods that a selector selects, as JSON.
pub(super) async fn pods(client: &Client, namespace: &str, selector: &str) -> Result<Vec<Value>, Failure> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let no_pods = |problem: Problem| unread(problem, &format!("the pods with {selector} were not read"));
    let (mut page, mut pods) = (ListParams::default().labels(selector).limit(PAGE), Vec::new());
    loop {
        let list = limited(api.list(&page)).await.map_err(no_pods)?;
        let next = next_page(&page, &list.metadata);
        pods.extend(list.items.into_iter().map(lighten));
        match next {
            Some(_) if pods.len() >= MAX_PODS => {
                let why = format!(
                    "more than {MAX_PODS} pods have {selector}; use spec.workloadRef.resolve: Template"
                );
                return Err(Failure::new(Reason::WorkloadUnavailable, why));
            }
            Some(next) => page = next,
            None => return Ok(pods),
        }
    }
}

/// The parts of a pod that tell its images.
fn lighten(pod: DynamicObject) -> Value {
    let DynamicObject { metadata, data, .. } = pod;
    json!({
        "metadata": {"name": metadata.name, "deletionTimestamp": metadata.deletion_timestamp},
        "spec": {"containers": data["spec"]["containers"]},
        "status": {"phase": data["status"]["phase"], "containerStatuses": data["status"]["containerStatuses"]},
    })
}
