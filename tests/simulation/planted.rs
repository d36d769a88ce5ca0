//! The ports of the operator: the worlds themselves, or the worlds behind a planted bug that the simulation must find.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use api::{ArtifactConfigStatus, Binding, FIELD_MANAGER, Reason, WorkloadRef};
use artifactconfig::cluster::{Cluster, WriteError};
use decide::Failure;
use decide::event::EventDraft;
use decide::spec::Owner;
use decide::usage::Usage;
use decide::watched::Watched;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use oci::{Digest, ImageRef, RepositoryRef};
use registry::{Access, Artifact, Error, Freshness, Listing, Pulled, Query, Registry, Subject, Wanted};
use serde_json::Value;

use crate::clock;
use crate::names;
use crate::worlds::World;
use crate::worlds::objects::is_revision;

/// The bug of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A revision is made only after the target that it keeps.
    TargetBeforeRevision,
    /// The target is written only after the status that reports it.
    StatusBeforeTarget,
    /// A failed listing counts as an empty one.
    FailureIsEmpty,
    /// An update ignores changes since the read.
    NoPrecondition,
    /// Existing objects are taken over.
    TakesOver,
    /// The `ConfigMaps` of pods do not count as used.
    CollectsUsed,
    /// The status has the present time.
    ClockInStatus,
    /// If nothing is attached, the target is deleted.
    DeletesWhenNothing,
    /// A write of the status ignores later writes.
    StatusOverAnything,
    /// The watch never reports revisions, so none is ever collected.
    CollectsNothing,
    /// Merging removes the keys of others.
    MergesOverOthers,
    /// Each merge uses another field manager, which does not own the keys of earlier merges.
    MergesAsAnybody,
    /// Other resources that merge into an object count as deleted.
    MergesWithRivals,
    /// A reference is bound to the digest of another image.
    BindsUnresolved,
    /// A config that nothing proves is bound.
    BindsUnproven,
    /// A revision is deleted together with its binding.
    DeletesUnbound,
    /// Only the `ConfigMaps` that pods and templates name count as used, not their images.
    IgnoresImages,
    /// The workload is woken although no binding is known.
    WakesAtOnce,
    /// A workload whose pods were refused is not woken.
    NeverWakes,
    /// Bindings stay when a resource follows no workload any more.
    BindsForever,
}

/// A delayed write: the object, and for an update the observed object and the field manager.
type PutOff = (ConfigMap, Option<(ConfigMap, String)>);

/// A port with a bug.
#[derive(Clone)]
pub struct Port {
    world: World,
    bug: Bug,
    later: Arc<Mutex<Vec<PutOff>>>,
}

impl Port {
    pub fn new(world: World, bug: Bug) -> Self {
        Self { world, bug, later: Arc::default() }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn put_off(&self, map: &ConfigMap, observed: Option<(ConfigMap, String)>) -> ConfigMap {
        self.later.lock().unwrap().push((map.clone(), observed));
        map.clone()
    }

    async fn catch_up(&self) {
        let later = std::mem::take(&mut *self.later.lock().unwrap());
        for (map, observed) in later {
            // The result does not matter.
            let _ = match observed {
                Some((observed, manager)) => self.world.update(&map, &observed, &manager).await,
                None => self.world.create(&map).await,
            };
        }
    }
}

impl Port {
    /// Changes the bindings of a status before it is written.
    fn bind_wrongly(&self, owner: &Owner, status: &mut ArtifactConfigStatus, before: &[Binding]) {
        let first = status.bindings.first().cloned();
        if self.has(Bug::BindsForever) && status.bindings.is_empty() {
            status.bindings = before.to_vec();
        }
        if self.has(Bug::BindsUnresolved)
            && let Some(first) = &first
        {
            let other = names::reference(usize::from(first.image == names::reference(0)));
            if status.bindings.iter().all(|binding| binding.image != other) {
                status.bindings.insert(0, Binding { image: other, ..first.clone() });
            }
        }
        if self.has(Bug::BindsUnproven)
            && let Some(binding) = self.world.lock().unproven_binding(owner)
        {
            status.bindings.insert(0, binding);
        }
    }

    async fn delete_unbound(&self, owner: &Owner, status: &ArtifactConfigStatus, before: &[Binding]) {
        let is_named = |name: &str| {
            status.bindings.iter().any(|binding| binding.config_map == name)
                || status.history.iter().any(|entry| entry.config_map.as_deref() == Some(name))
        };
        for Binding { config_map, .. } in before.iter().filter(|binding| !is_named(&binding.config_map)) {
            if let Ok(Some(there)) = self.world.config_map(owner, config_map).await {
                let _ = self.world.delete(owner, &Watched::of(&there.metadata)).await;
            }
        }
    }
}

fn is_merging(manager: &str) -> bool {
    manager != FIELD_MANAGER
}

fn nobody() -> Owner {
    Owner { name: String::new(), namespace: String::new(), uid: String::new() }
}

impl Registry for Port {
    async fn resolve(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> Result<Subject, Error> {
        self.world.resolve(access, image, freshness).await
    }

    async fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        query: Query<'_>,
    ) -> Result<Listing, Error> {
        let listing = self.world.referrers(access, subject, query).await;
        if self.has(Bug::FailureIsEmpty) { Ok(listing.unwrap_or_default()) } else { listing }
    }

    async fn artifact(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        digest: &Digest,
    ) -> Result<Option<Artifact>, Error> {
        self.world.artifact(access, repository, digest).await
    }

    async fn pull(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        artifact: &Artifact,
        wanted: Arc<dyn Wanted>,
    ) -> Result<Pulled, Error> {
        self.world.pull(access, repository, artifact, wanted).await
    }
}

impl Cluster for Port {
    async fn secret(&self, owner: &Owner, name: &str) -> Result<Option<Secret>, Failure> {
        self.world.secret(owner, name).await
    }

    async fn service_account(&self, owner: &Owner, name: &str) -> Result<Option<ServiceAccount>, Failure> {
        self.world.service_account(owner, name).await
    }

    async fn status(&self, owner: &Owner) -> Result<Option<ArtifactConfigStatus>, Failure> {
        let status = self.world.status(owner).await?;
        Ok(status.filter(|_| !self.has(Bug::MergesWithRivals)))
    }

    async fn generation(&self, owner: &Owner) -> Result<Option<i64>, Failure> {
        self.world.generation(owner).await
    }

    async fn config_map(&self, owner: &Owner, name: &str) -> Result<Option<ConfigMap>, Failure> {
        self.world.config_map(owner, name).await
    }

    fn version_of(&self, owner: &Owner, name: &str) -> Option<String> {
        self.world.version_of(owner, name)
    }

    fn owned(&self, owner: &Owner) -> Vec<Arc<Watched>> {
        let mut objects = self.world.owned(owner);
        if self.has(Bug::CollectsNothing) {
            objects.retain(|object| !object.is_revision);
        }
        objects
    }

    async fn revisions(&self, owner: &Owner, look: impl FnMut(&ConfigMap) + Send) -> Result<(), Failure> {
        self.world.revisions(owner, look).await
    }

    async fn workload(&self, owner: &Owner, reference: &WorkloadRef) -> Result<Option<Value>, Failure> {
        if self.has(Bug::WakesAtOnce) {
            let _ = self.world.wake(owner, reference, "web-0123456789.1").await;
        }
        self.world.workload(owner, reference).await
    }

    async fn pods(&self, owner: &Owner, selector: &str) -> Result<Vec<Value>, Failure> {
        self.world.pods(owner, selector).await
    }

    async fn wake(&self, owner: &Owner, reference: &WorkloadRef, value: &str) -> Result<(), Failure> {
        if self.has(Bug::NeverWakes) {
            return Ok(());
        }
        self.world.wake(owner, reference, value).await
    }

    async fn usage(&self, owner: &Owner) -> Result<Usage, Failure> {
        let in_use = self.world.usage(owner).await?;
        Ok(match self.bug {
            Bug::CollectsUsed => Usage { config_maps: BTreeSet::new(), ..in_use },
            Bug::IgnoresImages => Usage { images: BTreeSet::new(), ..in_use },
            _ => in_use,
        })
    }

    async fn create(&self, map: &ConfigMap) -> Result<ConfigMap, WriteError> {
        let is_revision = is_revision(&map.metadata);
        if self.has(Bug::TargetBeforeRevision) && is_revision
            || self.has(Bug::StatusBeforeTarget) && !is_revision
        {
            return Ok(self.put_off(map, None));
        }
        let mut created = self.world.create(map).await;
        if self.has(Bug::TakesOver) && created == Err(WriteError::Conflict) {
            let name = map.metadata.name.as_deref().unwrap_or_default();
            if let Ok(Some(there)) = self.world.config_map(&nobody(), name).await {
                created = self.world.update(map, &there, FIELD_MANAGER).await;
            }
        }
        if self.has(Bug::TargetBeforeRevision) {
            self.catch_up().await;
        }
        created
    }

    async fn update(
        &self,
        map: &ConfigMap,
        observed: &ConfigMap,
        manager: &str,
    ) -> Result<ConfigMap, WriteError> {
        if self.has(Bug::StatusBeforeTarget) && !is_revision(&map.metadata) {
            return Ok(self.put_off(map, Some((observed.clone(), manager.to_owned()))));
        }
        let mut observed = observed.clone();
        if self.has(Bug::NoPrecondition) {
            observed.metadata.resource_version = None;
        }
        if self.has(Bug::MergesAsAnybody) && is_merging(manager) {
            let version = observed.metadata.resource_version.as_deref().unwrap_or_default();
            return self.world.update(map, &observed, &format!("{manager}/{version}")).await;
        }
        let updated = self.world.update(map, &observed, manager).await;
        if self.has(Bug::MergesOverOthers) && is_merging(manager) {
            return self.world.merge(&updated?, serde_json::json!({"data": {"theirs": null}}), manager).await;
        }
        if self.has(Bug::TargetBeforeRevision) {
            self.catch_up().await;
        }
        updated
    }

    async fn merge(
        &self,
        observed: &ConfigMap,
        patch: serde_json::Value,
        manager: &str,
    ) -> Result<ConfigMap, WriteError> {
        self.world.merge(observed, patch, manager).await
    }

    async fn delete(&self, owner: &Owner, observed: &Watched) -> Result<(), Failure> {
        self.world.delete(owner, observed).await
    }

    async fn write_status(
        &self,
        owner: &Owner,
        status: &ArtifactConfigStatus,
        version: Option<&str>,
    ) -> Result<Option<String>, WriteError> {
        let mut status = status.clone();
        let ready = &mut status.conditions[0];
        if self.has(Bug::ClockInStatus) {
            ready.message = format!("{} at {}", ready.message, clock::second());
        }
        if self.has(Bug::DeletesWhenNothing) && ready.reason == Reason::ArtifactNotFound.as_str() {
            let name = status.target.as_ref().map_or(owner.name.as_str(), |target| target.name.as_str());
            if let Ok(Some(there)) = self.world.config_map(owner, name).await {
                let _ = self.world.delete(owner, &Watched::of(&there.metadata)).await;
            }
        }
        let before = self.world.lock().status_of(owner).map(|status| status.bindings).unwrap_or_default();
        self.bind_wrongly(owner, &mut status, &before);
        let version = version.filter(|_| !self.has(Bug::StatusOverAnything));
        let version = self.world.write_status(owner, &status, version).await;
        if self.has(Bug::DeletesUnbound) && version.is_ok() {
            self.delete_unbound(owner, &status, &before).await;
        }
        if self.has(Bug::StatusBeforeTarget) {
            self.catch_up().await;
        }
        version
    }

    async fn publish(&self, owner: &Owner, event: &EventDraft) {
        self.world.publish(owner, event).await;
    }
}

/// Plants a bug and expects that a rule reports it.
#[rstest::rstest]
#[case(Bug::TargetBeforeRevision, &["§2.8 revision first, then target"])]
#[case(Bug::StatusBeforeTarget, &["§2.8 status says what was applied"])]
#[case(Bug::FailureIsEmpty, &["§2.1 unknown is never none"])]
#[case(Bug::NoPrecondition, &["§2.5 not ours is never touched"])]
#[case(Bug::TakesOver, &["§2.5 not ours is never touched"])]
#[case(Bug::CollectsUsed, &["§2.9 what is in use is not collected", "§2.9 the revision of a bound pod is not collected"])]
#[case(Bug::ClockInStatus, &["§2.4 no change, no write"])]
// With merging, it also deletes an object of somebody else.
#[case(Bug::DeletesWhenNothing, &["§2.3 the last good outlives every failure", "§2.5 not ours is never touched"])]
#[case(Bug::CollectsNothing, &["nothing is left over"])]
#[case(Bug::MergesOverOthers, &["§2.5 merging leaves the rest alone"])]
// Keys of another field manager are never ours, so they are merged again and again.
#[case(Bug::MergesAsAnybody, &["nothing is left over", "§2.4 no change, no write"])]
#[case(Bug::MergesWithRivals, &["§2.8 it converges", "§2.4 no change, no write"])]
#[case(Bug::BindsUnresolved, &["§2.12 a binding is what the registry said"])]
#[case(Bug::BindsUnproven, &["§2.12 a binding is what the registry said"])]
#[case(Bug::DeletesUnbound, &["§2.9 bindings go first, revisions ten minutes later", "§2.9 the revision of a bound pod is not collected"])]
#[case(Bug::IgnoresImages, &["§2.9 the binding of an image in use stays"])]
#[case(Bug::WakesAtOnce, &["§2.13 a workload is woken for its binding, and nothing else of it is written"])]
#[case(Bug::NeverWakes, &["a refused workload is woken"])]
#[case(Bug::BindsForever, &["§2.16 who follows no workload pays for none"])]
#[case(Bug::StatusOverAnything, &["the history forgets nothing", "numbers are never used again"])]
fn a_planted_bug_is_found(#[case] bug: Bug, #[case] rules: &[&str]) {
    /// Several times as many as the rarest bug needs.
    const SEEDS: u64 = 4000;
    let found = crate::random::violations(0..SEEDS, bug);
    let (seed, violation) = found.first_key_value().unwrap_or_else(|| panic!("{bug:?} was not found"));
    println!("{bug:?} was found by seed {seed}: {}: {}", violation.rule, violation.what);
    assert!(rules.contains(&violation.rule), "{bug:?} was found by another rule: {violation:?}");
}
