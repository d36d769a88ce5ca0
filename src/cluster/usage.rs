//! Finds the `ConfigMaps` and images that workloads use, before revisions are deleted.

use decide::usage::Usage;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};

use crate::page::next_page;

use super::problem::{Problem, limited};

/// Kinds that use `ConfigMaps` or store pod templates. `kubectl rollout undo` returns to a `ReplicaSet` without pods or
/// to a `ControllerRevision`.
const KINDS: [(&str, &str, &str); 8] = [
    ("", "Pod", "pods"),
    ("apps", "ReplicaSet", "replicasets"),
    ("apps", "Deployment", "deployments"),
    ("apps", "StatefulSet", "statefulsets"),
    ("apps", "DaemonSet", "daemonsets"),
    ("apps", "ControllerRevision", "controllerrevisions"),
    ("batch", "Job", "jobs"),
    ("batch", "CronJob", "cronjobs"),
];

/// Objects per page: one page is in memory at a time.
const PAGE: u32 = 100;

/// Reads every object of these kinds in a namespace, a page at a time.
pub(super) async fn usage(client: &Client, namespace: &str) -> Result<Usage, Problem> {
    let mut usage = Usage::default();
    for (group, kind, plural) in KINDS {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = limited(api.list(&page)).await?;
            for object in &list.items {
                usage.add(&object.data);
            }
            match next_page(&page, &list.metadata) {
                Some(next) => page = next,
                None => break,
            }
        }
    }
    Ok(usage)
}
