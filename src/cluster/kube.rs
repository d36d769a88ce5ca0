//! [`KubeCluster`]: the implementation of the port with a real API server.

use std::sync::Arc;

use api::{
    ArtifactConfig, ArtifactConfigStatus, FIELD_MANAGER, GROUP, MANAGER, Reason, STATUS_FIELD_MANAGER,
    WorkloadRef, label,
};
use decide::Failure;
use decide::bind::Offer;
use decide::event::{EventDraft, Series};
use decide::json::to_yaml_safe;
use decide::spec::Owner;
use decide::usage::Usage;
use decide::watched::Watched;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::page::next_page;

use super::policies::Policies;
use super::problem::{Problem, limited};
use super::targets::Targets;
use super::{Cluster, WriteError, usage, workloads};

/// Revisions in one page: each may have 1 MiB, and a page is in memory twice while it is read.
const REVISIONS: u32 = 8;

/// Most pages of revisions that are read. The history holds at most 101 entries, workloads keep few more revisions, and
/// others may have created objects with the same labels.
const REVISION_PAGES: usize = 64;

/// A real API server, and the watch caches.
#[derive(Clone)]
pub struct KubeCluster {
    client: Client,
    targets: Targets,
    policies: Policies,
    instance: String,
}

impl KubeCluster {
    /// `instance` is the name of this process in events.
    #[must_use]
    pub fn new(client: Client, targets: Targets, instance: String) -> Self {
        Self { client, targets, policies: Policies::default(), instance }
    }

    fn config_maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

impl Cluster for KubeCluster {
    async fn secret(&self, owner: &Owner, name: &str) -> Result<Option<Secret>, Failure> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &owner.namespace);
        limited(api.get_opt(name))
            .await
            .map_err(|problem| problem.into_failure(&format!("Secret '{name}' was not read")))
    }

    async fn service_account(&self, owner: &Owner, name: &str) -> Result<Option<ServiceAccount>, Failure> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &owner.namespace);
        limited(api.get_opt(name))
            .await
            .map_err(|problem| problem.into_failure(&format!("ServiceAccount '{name}' was not read")))
    }

    async fn status(&self, owner: &Owner) -> Result<Option<ArtifactConfigStatus>, Failure> {
        let resource = ApiResource::erase::<ArtifactConfig>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &owner.namespace, &resource);
        let object = limited(api.get_opt(&owner.name))
            .await
            .map_err(|problem| problem.into_failure("the status was not read"))?;
        // A status that cannot be parsed is not an empty one: a write would lose its history.
        let status = object.map(|mut object| serde_json::from_value(object.data["status"].take()));
        let status = status.transpose().map(Option::flatten);
        status.map_err(|error| {
            let why = format!(
                "the status cannot be read ({error}), so it is left as it is; install the operator that belongs to the definition"
            );
            Failure::new(Reason::ApplyFailed, why)
        })
    }

    async fn generation(&self, owner: &Owner) -> Result<Option<i64>, Failure> {
        let api: Api<ArtifactConfig> = Api::namespaced(self.client.clone(), &owner.namespace);
        let metadata = limited(api.get_metadata_opt(&owner.name))
            .await
            .map_err(|problem| problem.into_failure("the resource was not read again before the write"))?
            .map(|object| object.metadata);
        Ok(metadata
            .filter(|now| now.uid.as_ref() == Some(&owner.uid) && now.deletion_timestamp.is_none())
            .and_then(|now| now.generation))
    }

    async fn config_map(&self, owner: &Owner, name: &str) -> Result<Option<ConfigMap>, Failure> {
        limited(self.config_maps(&owner.namespace).get_opt(name))
            .await
            .map_err(|problem| problem.into_failure(&format!("ConfigMap '{name}' was not read")))
    }

    fn version_of(&self, owner: &Owner, name: &str) -> Option<String> {
        self.targets.within(&owner.namespace)?.version(&owner.namespace, name)
    }

    fn owned(&self, owner: &Owner) -> Vec<Arc<Watched>> {
        let targets = self.targets.within(&owner.namespace).filter(|_| !owner.uid.is_empty());
        targets.map(|targets| targets.owned(&owner.namespace, &owner.uid)).unwrap_or_default()
    }

    async fn revisions(&self, owner: &Owner, mut each: impl FnMut(&ConfigMap) + Send) -> Result<(), Failure> {
        // The same selector as that of the watch: an object that the watch does not show is never collected, so it must
        // not be used.
        let selector =
            format!("{}={MANAGER},{},{}={}", label::MANAGED_BY, label::REVISION, label::OWNER_UID, owner.uid);
        let mut parameters = ListParams::default().labels(&selector).limit(REVISIONS);
        let api = self.config_maps(&owner.namespace);
        for _ in 0..REVISION_PAGES {
            let page = limited(api.list(&parameters))
                .await
                .map_err(|problem| problem.into_failure("the revisions were not read"))?;
            page.items.iter().for_each(&mut each);
            match next_page(&parameters, &page.metadata) {
                Some(next) => parameters = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn workload(&self, owner: &Owner, reference: &WorkloadRef) -> Result<Option<Value>, Failure> {
        workloads::workload(&self.client, &owner.namespace, reference).await
    }

    async fn pods(&self, owner: &Owner, selector: &str) -> Result<Vec<Value>, Failure> {
        workloads::pods(&self.client, &owner.namespace, selector).await
    }

    async fn wake(&self, owner: &Owner, reference: &WorkloadRef, value: &str) -> Result<(), Failure> {
        workloads::wake(&self.client, owner, reference, value).await
    }

    async fn offer(&self) -> Offer {
        self.policies.offer(&self.client).await
    }

    async fn usage(&self, owner: &Owner) -> Result<Usage, Failure> {
        usage::usage(&self.client, &owner.namespace).await.map_err(|problem| {
            problem.into_failure("revisions were not collected, because it is not known which are in use")
        })
    }

    /// By `POST` and not by apply, because an apply would take over an object that someone else created meanwhile.
    async fn create(&self, config_map: &ConfigMap) -> Result<ConfigMap, WriteError> {
        let (name, namespace) = (config_map.name_any(), config_map.namespace().unwrap_or_default());
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        limited(self.config_maps(&namespace).create(&parameters, config_map)).await.map_err(|problem| {
            match problem {
                // The namespace is gone, so an immediate retry is of no use.
                Problem::NotFound => {
                    WriteError::Failure(problem.into_failure(&format!("ConfigMap '{name}' was not created")))
                }
                other => other.into_write_error(&name),
            }
        })
    }

    async fn update(
        &self,
        config_map: &ConfigMap,
        observed: &ConfigMap,
        manager: &str,
    ) -> Result<ConfigMap, WriteError> {
        let (name, namespace) = (config_map.name_any(), config_map.namespace().unwrap_or_default());
        let claimed = match claim(observed).filter(|_| manager == FIELD_MANAGER) {
            Some(patch) => Some(self.merge(observed, patch, manager).await?),
            None => None,
        };
        let mut applied = config_map.clone();
        // The version binds the write to the object that was read. The UID prevents an apply from creating a deleted
        // object again.
        applied.metadata.uid.clone_from(&observed.metadata.uid);
        applied.metadata.resource_version = claimed.as_ref().unwrap_or(observed).resource_version();
        let parameters = PatchParams::apply(manager).force();
        limited(self.config_maps(&namespace).patch(&name, &parameters, &apply(&applied)))
            .await
            .map_err(|problem| problem.into_write_error(&name))
    }

    async fn merge(
        &self,
        observed: &ConfigMap,
        mut patch: serde_json::Value,
        manager: &str,
    ) -> Result<ConfigMap, WriteError> {
        let (name, namespace) = (observed.name_any(), observed.namespace().unwrap_or_default());
        patch["metadata"]["resourceVersion"] = json!(observed.resource_version());
        let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        limited(self.config_maps(&namespace).patch(&name, &parameters, &Patch::Merge(&patch)))
            .await
            .map_err(|problem| problem.into_write_error(&name))
    }

    async fn delete(&self, owner: &Owner, observed: &Watched) -> Result<(), Failure> {
        let name = &*observed.name;
        let parameters = DeleteParams {
            // The precondition protects an object that someone else has taken over since the watch reported it.
            preconditions: Some(Preconditions {
                uid: observed.uid.as_deref().map(str::to_owned),
                resource_version: observed.version.as_deref().map(str::to_owned),
            }),
            ..DeleteParams::default()
        };
        match limited(self.config_maps(&owner.namespace).delete(name, &parameters)).await {
            Ok(_) | Err(Problem::NotFound | Problem::Conflict) => Ok(()),
            Err(problem) => Err(problem.into_failure(&format!("ConfigMap '{name}' was not deleted"))),
        }
    }

    async fn write_status(
        &self,
        owner: &Owner,
        status: &ArtifactConfigStatus,
        version: Option<&str>,
    ) -> Result<Option<String>, WriteError> {
        // The answer is read as metadata, because a resource whose spec cannot be parsed has a status too.
        let api: Api<PartialObjectMeta<ArtifactConfig>> =
            Api::namespaced(self.client.clone(), &owner.namespace);
        let patch = json!({
            "apiVersion": ArtifactConfig::api_version(&()),
            "kind": ArtifactConfig::kind(&()),
            // The UID prevents a write to a later resource with the same name. The version prevents a status that was
            // computed from an older one from overwriting a newer one.
            "metadata": {"name": owner.name, "uid": owner.uid, "resourceVersion": version},
            "status": status,
        });
        let parameters = PatchParams::apply(STATUS_FIELD_MANAGER).force();
        match limited(api.patch_status(&owner.name, &parameters, &apply(&patch))).await {
            Ok(object) => Ok(object.resource_version()),
            Err(Problem::NotFound) => Ok(None),
            Err(Problem::Conflict) => Err(WriteError::Conflict),
            Err(problem) => Err(WriteError::Failure(problem.into_failure("the status was not written"))),
        }
    }

    /// This does not use kube's `Recorder`, which folds events of one reason into a series with the first note. The
    /// second artifact of a day would be reported with the digest of the first.
    async fn publish(&self, owner: &Owner, draft: &EventDraft) {
        let now = Timestamp::now();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &owner.namespace);
        // An event of a series is found again by its name, also after a restart of the operator.
        let named_after = draft.series.map_or(now, |series| series.since);
        let name = format!("{}.{:x}", owner.name, named_after.as_nanosecond());
        if let Some(Series { count, .. }) = draft.series.filter(|series| series.count > 1) {
            let series = json!({"series": {"count": count, "lastObservedTime": MicroTime(now)}});
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(series));
            let counted = api.patch_metadata(&name, &parameters, &patch);
            // The API server deletes events after an hour; then the event is created again.
            if limited(counted).await.is_ok() {
                return;
            }
        }
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(owner.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(if draft.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(draft.reason.to_owned()),
            action: Some(draft.action.to_owned()),
            note: Some(draft.note.clone()),
            reporting_controller: Some(format!("{GROUP}/controller")),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(ObjectReference {
                api_version: Some(ArtifactConfig::api_version(&()).into_owned()),
                kind: Some(ArtifactConfig::kind(&()).into_owned()),
                name: Some(owner.name.clone()),
                namespace: Some(owner.namespace.clone()),
                uid: Some(owner.uid.clone()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        };
        match limited(api.create(&PostParams::default(), &event)).await {
            // The namespace is being deleted, so no one would read the event.
            Ok(_) | Err(Problem::Terminating | Problem::NotFound) => {}
            Err(problem) => {
                let failure = problem.into_failure("event");
                tracing::warn!(
                    namespace = owner.namespace,
                    name = owner.name,
                    error = failure.message,
                    "event not published"
                );
            }
        }
    }
}

/// An apply. The API server parses the body as YAML, in which text of others could have a special meaning, so it is
/// escaped.
fn apply(object: &impl serde::Serialize) -> Patch<Box<RawValue>> {
    let json = to_yaml_safe(object).and_then(RawValue::from_string);
    // These types always serialize. If one did not, the API server would refuse the request.
    Patch::Apply(json.unwrap_or_else(|_| RawValue::NULL.to_owned()))
}

/// Converts the ownership from the create into ownership by apply, so that a later apply also removes fields that it no
/// longer has: server-side apply distinguishes the two kinds (the same step as client-go's `csaupgrade`).
fn claim(observed: &ConfigMap) -> Option<serde_json::Value> {
    let mut entries = observed.metadata.managed_fields.clone()?;
    let ours = |operation: &str| {
        entries.iter().position(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some(operation)
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        })
    };
    if ours("Apply").is_some() {
        return None;
    }
    let created = ours("Update")?;
    entries[created].operation = Some("Apply".to_owned());
    Some(json!({"metadata": {"managedFields": entries}}))
}
