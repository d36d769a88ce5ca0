//! The `spec` for a command that reads the workload of `spec.workloadRef` from the cluster, with the rights of its user.

use api::{ArtifactConfig, Reason, Resolve, WorkloadRef};
use decide::spec::{self, Desired, Followed, Following};
use decide::workload::{self, Workload};
use decide::workload_kind::WorkloadKind;
use decide::{Failure, running};
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::page::next_page;

use super::kubectl_flags::Connection;
use super::resource::explained;
use super::said;

/// Pods per page: one page is in memory at a time.
const PAGE: u32 = 100;

/// Most pods that are read.
pub const MAX_PODS: usize = 10_000;

/// Parses the resource, with the present image of its workload.
///
/// # Errors
/// `InvalidSpec`, naming the field; `WorkloadNotFound` or `WorkloadUnavailable` if the workload cannot be read.
pub async fn parse(connection: &Connection, config: &ArtifactConfig) -> Result<Desired, Failure> {
    let followed = match &config.spec.workload_ref {
        Some(reference) => Some(follow(connection, config, reference).await),
        None => None,
    };
    spec::parse(config, followed)
}

async fn follow(connection: &Connection, config: &ArtifactConfig, reference: &WorkloadRef) -> Followed {
    let workload = Workload::read(
        &object(connection, reference).await?,
        reference,
        config.metadata.name.as_deref().unwrap_or_default(),
    )?;
    let mut found = Vec::new();
    if reference.resolve == Resolve::Pods {
        let labels = workload.selector()?;
        let all = pods(connection, Some(&labels), |pod| found.push(light(pod)));
        let unread =
            |why| unavailable(format!("the pods of {} were not read: {why}", workload::shown(reference)));
        if !all.await.map_err(|why| unread(said::chain(&why)))? {
            return Err(unread(format!("they are more than {MAX_PODS}")));
        }
    }
    let is_first = config.status.as_ref().is_none_or(|status| status.artifact.is_none());
    let image = running::image(&workload, &found, is_first)?;
    Ok(Following { workload: Box::new(workload), image })
}

/// The workload, as JSON.
///
/// # Errors
/// `WorkloadNotFound` if it does not exist; `WorkloadUnavailable` if this user cannot read it.
pub async fn object(connection: &Connection, reference: &WorkloadRef) -> Result<Value, Failure> {
    let shown = workload::shown(reference);
    let unread = |why: &str| {
        unavailable(format!("{shown} was not read: {why}; check your rights with kubectl auth can-i"))
    };
    let refused = |error| unread(&said::chain(&explained(error)));
    let kind = WorkloadKind::of(reference);
    kind.admit()?;
    let resource = match kind.plural() {
        Some(plural) => ApiResource::from_gvk_with_plural(&kind.gvk(), plural),
        None => kube::discovery::pinned_kind(&connection.client, &kind.gvk()).await.map_err(refused)?.0,
    };
    let api: Api<DynamicObject> =
        Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource);
    match api.get_opt(&reference.name).await.map_err(refused)? {
        Some(object) => serde_json::to_value(object).map_err(|error| unread(&error.to_string())),
        None => Err(Failure::new(
            Reason::WorkloadNotFound,
            format!(
                "spec.workloadRef: namespace '{}' has no {shown}; create it, or correct kind and name",
                connection.namespace
            ),
        )),
    }
}

/// Passes on each pod of the namespace, or each one with these labels. Returns whether these were all.
///
/// # Errors
/// If the API server does not answer or refuses.
pub async fn pods(
    connection: &Connection,
    labels: Option<&str>,
    mut each: impl FnMut(DynamicObject),
) -> anyhow::Result<bool> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> =
        Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource);
    let mut page =
        ListParams { label_selector: labels.map(str::to_owned), ..ListParams::default() }.limit(PAGE);
    let mut count = 0;
    loop {
        let list = api.list(&page).await.map_err(explained)?;
        count += list.items.len();
        let next = next_page(&page, &list.metadata);
        list.items.into_iter().for_each(&mut each);
        match next {
            Some(_) if count >= MAX_PODS => return Ok(false),
            Some(next) => page = next,
            None => return Ok(true),
        }
    }
}

/// The parts of a pod that tell its images. A pod has many more.
fn light(pod: DynamicObject) -> Value {
    let DynamicObject { metadata, data, .. } = pod;
    serde_json::json!({
        "metadata": {"name": metadata.name, "deletionTimestamp": metadata.deletion_timestamp},
        "spec": {"containers": data["spec"]["containers"]},
        "status": {"phase": data["status"]["phase"], "containerStatuses": data["status"]["containerStatuses"]},
    })
}

fn unavailable(why: String) -> Failure {
    Failure::new(Reason::WorkloadUnavailable, why)
}
