//! The API server: inputs read, steps applied, status and events written.
//!
//! [`Cluster`] is the port that the reconcile works against; [`KubeCluster`] answers it from a real API server.

mod apply;
mod election;
mod kube;
mod leadership;
mod problem;
mod read;
mod targets;
mod usage;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

pub use self::apply::{apply, discard, unused};
pub use self::election::{Candidate, Election};
pub use self::kube::KubeCluster;
pub use self::leadership::{Leadership, gated};
pub use self::read::access;
pub use self::targets::{TargetMeta, TargetStore, Targets};

use crate::api::ArtifactConfigStatus;
use crate::decide::event::EventDraft;
use crate::decide::spec::Owner;
use crate::decide::watched::Watched;
use crate::types::Failure;

/// Why something was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The object is not what it was when it was looked at: look again.
    Conflict,
    /// Anything else.
    Failure(Failure),
}

/// What the reconcile needs of an API server. Everything lies in the namespace of the owner.
pub trait Cluster: Send + Sync + 'static {
    /// A Secret, or nothing where there is none of that name.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses.
    fn secret(
        &self,
        owner: &Owner,
        name: &str,
    ) -> impl Future<Output = Result<Option<Secret>, Failure>> + Send;

    /// A `ServiceAccount`, or nothing where there is none of that name.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses.
    fn service_account(
        &self,
        owner: &Owner,
        name: &str,
    ) -> impl Future<Output = Result<Option<ServiceAccount>, Failure>> + Send;

    /// The status of the owner as it is now, for a resource whose `spec` cannot be read.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses.
    fn status(
        &self,
        owner: &Owner,
    ) -> impl Future<Output = Result<Option<ArtifactConfigStatus>, Failure>> + Send;

    /// The generation of the owner as it is now. Nothing, where it is gone or going, and where another one has its name.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses.
    fn generation(&self, owner: &Owner) -> impl Future<Output = Result<Option<i64>, Failure>> + Send;

    /// The `ConfigMap` of that name, whoever it belongs to, as it is now.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses.
    fn target(
        &self,
        owner: &Owner,
        name: &str,
    ) -> impl Future<Output = Result<Option<ConfigMap>, Failure>> + Send;

    /// `resourceVersion` of a `ConfigMap` of ours as the watch last reported it. Costs no request.
    fn target_version(&self, owner: &Owner, name: &str) -> Option<String>;

    /// `ConfigMaps` that carry the owner's UID, as the watch last reported them. Costs no request.
    fn owned(&self, owner: &Owner) -> Vec<Arc<Watched>>;

    /// Looks at what is labelled as a revision of the owner, with its content. One after the other, because each may have
    /// 1 MiB: what of it is to be kept is for the caller to take.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses.
    fn revisions(
        &self,
        owner: &Owner,
        look: impl FnMut(&ConfigMap) + Send,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Names of all `ConfigMaps` that a workload in the namespace uses: Pods, and every kind that makes or remembers
    /// some.
    ///
    /// # Errors
    /// Where any of these kinds cannot be listed whole: "in use" must never be guessed.
    fn config_maps_in_use(
        &self,
        owner: &Owner,
    ) -> impl Future<Output = Result<BTreeSet<String>, Failure>> + Send;

    /// Creates a `ConfigMap`.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] where one of that name exists by now.
    fn create(&self, config_map: &ConfigMap) -> impl Future<Output = Result<ConfigMap, WriteError>> + Send;

    /// Applies a `ConfigMap` over `observed`, as this field manager.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] where the object is no longer `observed`.
    fn update(
        &self,
        config_map: &ConfigMap,
        observed: &ConfigMap,
        manager: &str,
    ) -> impl Future<Output = Result<ConfigMap, WriteError>> + Send;

    /// Merges a patch into a `ConfigMap` that is still `observed`, as this field manager.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] where the object is no longer `observed`.
    fn merge(
        &self,
        observed: &ConfigMap,
        patch: serde_json::Value,
        manager: &str,
    ) -> impl Future<Output = Result<ConfigMap, WriteError>> + Send;

    /// Deletes a `ConfigMap` that still has this UID and `resourceVersion`.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses; not where it is gone already.
    fn delete(&self, owner: &Owner, observed: &Watched) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Writes a status over that of the resource at this `resourceVersion`. Returns the new one, or nothing where the
    /// resource is gone.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] where the resource is at another version: its status may say what this one does not know.
    fn write_status(
        &self,
        owner: &Owner,
        status: &ArtifactConfigStatus,
        version: Option<&str>,
    ) -> impl Future<Output = Result<Option<String>, WriteError>> + Send;

    /// Publishes an event about the owner. An event that is lost is not tried again.
    fn publish(&self, owner: &Owner, event: &EventDraft) -> impl Future<Output = ()> + Send;
}
