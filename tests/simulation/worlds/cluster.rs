//! The port to the API server. Rules check every write.

use std::sync::Arc;

use api::{ArtifactConfigStatus, MANAGER, Reason, WorkloadRef, label};
use artifactconfig::cluster::{Cluster, WriteError};
use decide::Failure;
use decide::bind::Offer;
use decide::event::EventDraft;
use decide::spec::Owner;
use decide::usage::Usage;
use decide::watched::Watched;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde_json::Value;

use super::objects::{Belongs, Object, Refusal, is_revision, label_of};
use super::workloads::Workload;
use super::{State, World};
use crate::names::{ENCODED_PASSWORD, SECRET};
use crate::prng::Prng;
use crate::rules::bound;
use crate::rules::instant::{self, Write};

fn trouble(_: &mut Prng) -> Failure {
    Failure::new(Reason::ApplyFailed, "the simulated API server has a fault")
}

fn trouble_with_workloads(_: &mut Prng) -> Failure {
    Failure::new(Reason::WorkloadUnavailable, "the simulated API server has a fault")
}

fn trouble_writing(random: &mut Prng) -> WriteError {
    if random.chance(300) { WriteError::Conflict } else { WriteError::Failure(trouble(random)) }
}

fn refused(refusal: Refusal) -> WriteError {
    match refusal {
        Refusal::Conflict => WriteError::Conflict,
        Refusal::Invalid(why) => WriteError::Failure(Failure::new(Reason::ApplyFailed, why)),
    }
}

fn name_of(map: &ConfigMap) -> &str {
    map.metadata.name.as_deref().unwrap_or_default()
}

/// The changes of a write, for a trace.
fn difference(before: Option<&ConfigMap>, after: &ConfigMap) -> String {
    let members = |map: &ConfigMap| {
        let mut value = serde_json::to_value(map).unwrap();
        for own in ["managedFields", "resourceVersion"] {
            value["metadata"].as_object_mut().unwrap().remove(own);
        }
        value.as_object().unwrap().clone()
    };
    let (before, after) = (before.map(members).unwrap_or_default(), members(after));
    let changed = after.iter().filter(|(member, value)| before.get(*member) != Some(*value));
    changed.map(|(member, value)| format!("{member}: {value}")).collect::<Vec<_>>().join(", ")
}

impl State {
    /// Writes, and lets the rules check the write.
    fn write(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Self) -> Result<ConfigMap, Refusal>,
    ) -> Result<ConfigMap, WriteError> {
        let before: Option<Object> = self.objects.get(name).cloned();
        self.writes += 1;
        let written = write(self).map_err(refused)?;
        self.trace
            .add(|| format!("      {}", difference(before.as_ref().map(|before| &before.map), &written)));
        instant::check(self, &Write::Put { before: before.as_ref(), after: &written });
        Ok(written)
    }

    fn pull_secret() -> Secret {
        let config = serde_json::json!({"auths": {"r.example": {"auth": ENCODED_PASSWORD}}}).to_string();
        Secret {
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            data: Some([(".dockerconfigjson".to_owned(), ByteString(config.into_bytes()))].into()),
            ..Secret::default()
        }
    }
}

impl Cluster for World {
    async fn secret(&self, _: &Owner, name: &str) -> Result<Option<Secret>, Failure> {
        self.step(
            || format!("read secret {name}"),
            trouble,
            |state| Ok((state.secret && name == SECRET).then(State::pull_secret)),
        )
        .await
    }

    async fn service_account(&self, _: &Owner, name: &str) -> Result<Option<ServiceAccount>, Failure> {
        self.step(|| format!("read service account {name}"), trouble, |_| Ok(None)).await
    }

    async fn status(&self, owner: &Owner) -> Result<Option<ArtifactConfigStatus>, Failure> {
        self.step(
            || "read status".to_owned(),
            trouble,
            |state| {
                let status = state.resources.actual(&owner.name).and_then(|config| config.status.clone());
                let artifact = status.as_ref().and_then(|status| status.artifact.as_ref());
                let digest = artifact.map(|artifact| artifact.digest.clone());
                state.run().statuses.push(digest.unwrap_or_default());
                Ok(status)
            },
        )
        .await
    }

    async fn generation(&self, owner: &Owner) -> Result<Option<i64>, Failure> {
        self.step(
            || "read the resource once more".to_owned(),
            trouble,
            |state| {
                let metadata = state.resources.actual(&owner.name).map(|config| &config.metadata);
                let metadata = metadata.filter(|now| now.uid.as_ref() == Some(&owner.uid));
                Ok(metadata.filter(|now| now.deletion_timestamp.is_none()).and_then(|now| now.generation))
            },
        )
        .await
    }

    async fn config_map(&self, _: &Owner, name: &str) -> Result<Option<ConfigMap>, Failure> {
        self.step(
            || format!("read {name}"),
            trouble,
            |state| Ok(state.objects.get(name).map(|object| object.map.clone())),
        )
        .await
    }

    fn version_of(&self, _: &Owner, name: &str) -> Option<String> {
        self.lock().watched().get(name)?.resource_version.clone()
    }

    fn owned(&self, owner: &Owner) -> Vec<Arc<Watched>> {
        let state = self.lock();
        let is_owned = |metadata: &&ObjectMeta| label_of(metadata, label::OWNER_UID) == Some(&owner.uid);
        state.watched().values().filter(is_owned).map(|metadata| Arc::new(Watched::of(metadata))).collect()
    }

    async fn revisions(&self, owner: &Owner, look: impl FnMut(&ConfigMap) + Send) -> Result<(), Failure> {
        let found = self
            .step(
                || "list revisions".to_owned(),
                trouble,
                |state| {
                    let is_selected = |object: &&Object| {
                        let metadata = &object.map.metadata;
                        is_revision(metadata)
                            && label_of(metadata, label::OWNER_UID) == Some(&owner.uid)
                            && label_of(metadata, label::MANAGED_BY) == Some(MANAGER)
                    };
                    let objects = state.objects.all().map(|(_, object)| object).filter(is_selected);
                    Ok(objects.map(|object| object.map.clone()).collect::<Vec<_>>())
                },
            )
            .await?;
        found.iter().for_each(look);
        Ok(())
    }

    async fn workload(&self, _: &Owner, reference: &WorkloadRef) -> Result<Option<Value>, Failure> {
        self.step(
            || format!("read workload {}", reference.name),
            trouble_with_workloads,
            |state| {
                bound::only_followers_pay(state, Some(reference));
                let template = state.workload(&reference.name).map(Workload::template);
                state.run().followed = template.map(|template| (template.image.clone(), template.bind));
                Ok(state.workload_object(&reference.name))
            },
        )
        .await
    }

    async fn pods(&self, _: &Owner, selector: &str) -> Result<Vec<Value>, Failure> {
        self.step(
            || format!("list pods with {selector}"),
            trouble_with_workloads,
            |state| {
                bound::only_followers_pay(state, None);
                Ok(state.pod_objects(selector))
            },
        )
        .await
    }

    async fn wake(&self, owner: &Owner, reference: &WorkloadRef, value: &str) -> Result<(), Failure> {
        self.step(
            || format!("wake workload {}: {value}", reference.name),
            trouble_with_workloads,
            |state| {
                state.writes += 1;
                bound::only_followers_pay(state, Some(reference));
                bound::woken_for_its_binding(state, value);
                state.wake_workload(owner, &reference.name, value);
                Ok(())
            },
        )
        .await
    }

    async fn offer(&self) -> Offer {
        Offer::Yes
    }

    async fn usage(&self, _: &Owner) -> Result<Usage, Failure> {
        self.step(
            || "list what is in use".to_owned(),
            trouble,
            |state| {
                let usage = state.usage();
                let run = state.run();
                run.in_use.extend(usage.config_maps.iter().cloned());
                run.images.extend(usage.images.iter().cloned());
                Ok(usage)
            },
        )
        .await
    }

    async fn create(&self, config_map: &ConfigMap) -> Result<ConfigMap, WriteError> {
        let name = name_of(config_map);
        self.step(
            || format!("create {name}"),
            trouble_writing,
            |state| {
                let belongs = Belongs::Resource(state.run().uid.clone());
                state.write(name, |state| state.objects.create(config_map, belongs))
            },
        )
        .await
    }

    async fn update(
        &self,
        config_map: &ConfigMap,
        observed: &ConfigMap,
        manager: &str,
    ) -> Result<ConfigMap, WriteError> {
        let (name, version) = (name_of(config_map), observed.metadata.resource_version.as_deref());
        self.step(
            || format!("update {name}"),
            trouble_writing,
            |state| {
                let uid = state.run().uid.clone();
                state.write(name, |state| state.objects.apply(config_map, version, manager, &uid))
            },
        )
        .await
    }

    async fn merge(
        &self,
        observed: &ConfigMap,
        patch: serde_json::Value,
        manager: &str,
    ) -> Result<ConfigMap, WriteError> {
        let name = name_of(observed);
        self.step(
            || format!("merge into {name}: {patch}"),
            trouble_writing,
            |state| state.write(name, |state| state.objects.merge(observed, &patch, manager)),
        )
        .await
    }

    async fn delete(&self, _: &Owner, observed: &Watched) -> Result<(), Failure> {
        let name = &*observed.name;
        self.step(
            || format!("delete {name}"),
            trouble,
            |state| {
                state.writes += 1;
                if let Some(gone) = state.objects.delete_observed(observed) {
                    instant::check(state, &Write::Delete { gone: &gone });
                }
                Ok(())
            },
        )
        .await
    }

    async fn write_status(
        &self,
        owner: &Owner,
        status: &ArtifactConfigStatus,
        version: Option<&str>,
    ) -> Result<Option<String>, WriteError> {
        self.lock().run().told = true;
        self.step(
            || {
                let ready = &status.conditions[0];
                format!("write status: {} {}: {}", ready.reason, ready.status, ready.message)
            },
            trouble_writing,
            |state| {
                state.writes += 1;
                // The API stores the serialized form.
                let text = serde_json::to_string(status).unwrap();
                let kept: ArtifactConfigStatus = serde_json::from_str(&text).unwrap();
                let Some(actual) = state.resources.actual(&owner.name) else { return Ok(None) };
                let (uid, at) = (&actual.metadata.uid, actual.metadata.resource_version.as_deref());
                if uid.as_ref() != Some(&owner.uid) || (version.is_some() && version != at) {
                    return Err(WriteError::Conflict);
                }
                let before = actual.status.clone().unwrap_or_default();
                instant::check(state, &Write::Status { before: &before, after: &kept, text: &text });
                Ok(state.store_status(&owner.name, &owner.uid, kept))
            },
        )
        .await
    }

    async fn publish(&self, _: &Owner, event: &EventDraft) {
        // A lost event is not sent again.
        let _: Result<(), Failure> = self
            .step(
                || format!("event {}", event.reason),
                trouble,
                |state| {
                    state.writes += 1;
                    instant::check(state, &Write::Event { event });
                    Ok(())
                },
            )
            .await;
    }
}
