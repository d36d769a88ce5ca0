//! The API server: reads inputs, applies objects, writes status and events.
//!
//! [`Cluster`] is the port that the reconcile uses. [`KubeCluster`] implements it with a real API server.

mod apply;
mod election;
mod kube;
mod leadership;
mod permit;
mod policies;
mod problem;
mod read;
mod targets;
mod usage;
mod workloads;

use std::future::Future;
use std::sync::Arc;

use api::{ArtifactConfigStatus, WorkloadRef};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use serde_json::Value;

pub use self::apply::{Over, apply, discard};
pub use self::election::{Candidate, Election};
pub use self::kube::KubeCluster;
pub use self::leadership::Leadership;
pub use self::permit::{Missing, Permit, gated};
pub use self::read::access;
pub use self::targets::{TargetMeta, TargetStore, Targets};
pub(crate) use self::workloads::resource as workload_resource;
use decide::Failure;
use decide::bind::Offer;
use decide::event::EventDraft;
use decide::spec::Owner;
use decide::usage::Usage;
use decide::watched::Watched;

/// Why something was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The object has changed since it was read: read it again.
    Conflict,
    /// Anything else.
    Failure(Failure),
}

/// The requests of a reconcile to the API server. All objects are in the namespace of the owner.
pub trait Cluster: Send + Sync + 'static {
    /// A Secret; `None` if it does not exist.
    ///
    /// # Errors
    /// If the API server does not answer or refuses.
    fn secret(
        &self,
        owner: &Owner,
        name: &str,
    ) -> impl Future<Output = Result<Option<Secret>, Failure>> + Send;

    /// A `ServiceAccount`; `None` if it does not exist.
    ///
    /// # Errors
    /// If the API server does not answer or refuses.
    fn service_account(
        &self,
        owner: &Owner,
        name: &str,
    ) -> impl Future<Output = Result<Option<ServiceAccount>, Failure>> + Send;

    /// The present status of the owner, for a resource whose `spec` cannot be parsed.
    ///
    /// # Errors
    /// If the API server does not answer or refuses.
    fn status(
        &self,
        owner: &Owner,
    ) -> impl Future<Output = Result<Option<ArtifactConfigStatus>, Failure>> + Send;

    /// The present generation of the owner. `None` if it is deleted, is being deleted, or another resource has its
    /// name.
    ///
    /// # Errors
    /// If the API server does not answer or refuses.
    fn generation(&self, owner: &Owner) -> impl Future<Output = Result<Option<i64>, Failure>> + Send;

    /// The present `ConfigMap` of that name, with any owner.
    ///
    /// # Errors
    /// If the API server does not answer or refuses.
    fn config_map(
        &self,
        owner: &Owner,
        name: &str,
    ) -> impl Future<Output = Result<Option<ConfigMap>, Failure>> + Send;

    /// `resourceVersion` of a `ConfigMap` of ours as the watch last reported it. Costs no request.
    fn version_of(&self, owner: &Owner, name: &str) -> Option<String>;

    /// `ConfigMaps` that carry the owner's UID, as the watch last reported them. Costs no request.
    fn owned(&self, owner: &Owner) -> Vec<Arc<Watched>>;

    /// Passes each object that is labelled as a revision of the owner to the caller, with its content. One after the
    /// other, because each may have 1 MiB: the caller keeps only the parts that it needs.
    ///
    /// # Errors
    /// If the API server does not answer or refuses.
    fn revisions(
        &self,
        owner: &Owner,
        each: impl FnMut(&ConfigMap) + Send,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The workload that a resource follows, as JSON; `None` if it does not exist.
    ///
    /// # Errors
    /// `WorkloadNotFound` if the cluster does not have its kind; `WorkloadUnavailable` if the API server does not answer or
    /// refuses.
    fn workload(
        &self,
        owner: &Owner,
        reference: &WorkloadRef,
    ) -> impl Future<Output = Result<Option<Value>, Failure>> + Send;

    /// The pods that these labels select, as JSON: names, images, and the images that run.
    ///
    /// # Errors
    /// `WorkloadUnavailable` if the API server does not answer or refuses, or has too many of them.
    fn pods(&self, owner: &Owner, selector: &str)
    -> impl Future<Output = Result<Vec<Value>, Failure>> + Send;

    /// Makes the controller of a workload try again to create pods, by a new value of an annotation of the workload. It is
    /// not an error if the workload is gone.
    ///
    /// # Errors
    /// If the API server does not answer or refuses.
    fn wake(
        &self,
        owner: &Owner,
        reference: &WorkloadRef,
        value: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether the API server binds pods. An answer counts for a few minutes.
    fn offer(&self) -> impl Future<Output = Offer> + Send;

    /// The `ConfigMaps` and images that a workload in the namespace names: Pods, and every kind that creates Pods or stores
    /// a pod template.
    ///
    /// # Errors
    /// If any of these kinds cannot be listed whole: "in use" must never be guessed.
    fn usage(&self, owner: &Owner) -> impl Future<Output = Result<Usage, Failure>> + Send;

    /// Creates a `ConfigMap`.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if an object of that name exists.
    fn create(&self, config_map: &ConfigMap) -> impl Future<Output = Result<ConfigMap, WriteError>> + Send;

    /// Applies a `ConfigMap` over `observed`, as this field manager.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the object is no longer `observed`.
    fn update(
        &self,
        config_map: &ConfigMap,
        observed: &ConfigMap,
        manager: &str,
    ) -> impl Future<Output = Result<ConfigMap, WriteError>> + Send;

    /// Merges a patch into a `ConfigMap` that is still `observed`, as this field manager.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the object is no longer `observed`.
    fn merge(
        &self,
        observed: &ConfigMap,
        patch: serde_json::Value,
        manager: &str,
    ) -> impl Future<Output = Result<ConfigMap, WriteError>> + Send;

    /// Deletes a `ConfigMap` that still has this UID and `resourceVersion`.
    ///
    /// # Errors
    /// If the API server does not answer or refuses. It is not an error if the object is already gone.
    fn delete(&self, owner: &Owner, observed: &Watched) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Writes the status of the resource at this `resourceVersion`. Returns the new version; `None` if the resource is
    /// gone.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the resource has another version: its status may hold facts that this one lacks.
    fn write_status(
        &self,
        owner: &Owner,
        status: &ArtifactConfigStatus,
        version: Option<&str>,
    ) -> impl Future<Output = Result<Option<String>, WriteError>> + Send;

    /// Publishes an event about the owner. A lost event is not sent again.
    fn publish(&self, owner: &Owner, event: &EventDraft) -> impl Future<Output = ()> + Send;
}
