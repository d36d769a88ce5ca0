//! Churn: what users, pipelines and people with kubectl do all day, in random order, and the model of it.

mod deeds;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

pub(super) use self::deeds::tried;
use super::model::{Files, Image, Model, Policy, Resource, Where};
use super::pace::Pace;
use super::stage::Stage;

/// Everything that may be done, and how often compared with the others.
const ACTS: [(Act, u32); 15] = [
    (Act::Attach, 40),
    (Act::Ask, 20),
    (Act::Create, 6),
    (Act::Delete, 6),
    (Act::RollBack, 6),
    (Act::Resume, 6),
    (Act::EditTarget, 8),
    (Act::DeleteTarget, 3),
    (Act::DeleteRevision, 3),
    (Act::Rename, 3),
    (Act::ChangeLimit, 3),
    (Act::ChangeImage, 2),
    (Act::MoveTag, 2),
    (Act::Suspend, 2),
    (Act::Wake, 3),
];

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Attach,
    Ask,
    Create,
    Delete,
    RollBack,
    Resume,
    EditTarget,
    DeleteTarget,
    DeleteRevision,
    Rename,
    ChangeLimit,
    ChangeImage,
    MoveTag,
    Suspend,
    Wake,
}

impl Act {
    const fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach a config",
            Self::Ask => "ask for a sync",
            Self::Create => "create a resource",
            Self::Delete => "delete a resource",
            Self::RollBack => "roll back",
            Self::Resume => "resume",
            Self::EditTarget => "edit a target by hand",
            Self::DeleteTarget => "delete a target",
            Self::DeleteRevision => "delete a revision",
            Self::Rename => "rename a target",
            Self::ChangeLimit => "change revisionHistoryLimit",
            Self::ChangeImage => "change spec.image",
            Self::MoveTag => "move a tag to a new image",
            Self::Suspend => "suspend",
            Self::Wake => "end suspension",
        }
    }
}

/// Acts at random, and keeps the model of the expected state.
pub(super) struct Churn<'a> {
    stage: &'a Stage,
    pace: Pace,
    random: fastrand::Rng,
    /// Intended number of resources, plus or minus a fifth.
    resources: usize,
    pub(super) model: Model,
    /// How often each act was done.
    pub(super) done: BTreeMap<&'static str, u64>,
    next: i64,
    last: Files,
}

impl<'a> Churn<'a> {
    pub(super) fn new(stage: &'a Stage, pace: Pace, seed: u64, resources: usize) -> Self {
        Self {
            stage,
            pace,
            random: fastrand::Rng::with_seed(seed),
            resources,
            model: Model::default(),
            done: BTreeMap::new(),
            next: 0,
            last: Files::new(),
        }
    }

    /// The world as it is when churn begins: an image for every two resources, half of them in each registry.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        for number in 0..self.resources.div_ceil(2) {
            let registry = if number % 2 == 0 { Where::Embedded } else { Where::Distribution };
            let reference = format!("{}/soak/image-{number}:v1", self.stage.host(registry));
            self.stage.oras.push_image(&reference).await?;
            self.model.images.push(Image { registry, reference, attached: Vec::new() });
            self.attach_to(number).await?;
        }
        while self.model.resources.len() < self.resources {
            self.create().await?;
        }
        Ok(())
    }

    /// Acts until the deadline.
    pub(super) async fn run(&mut self, deadline: Instant) -> Result<()> {
        let all: u32 = ACTS.iter().map(|(_, weight)| weight).sum();
        while Instant::now() < deadline {
            let mut choice = self.random.u32(0..all);
            let (act, _) = ACTS
                .iter()
                .find(|(_, weight)| {
                    let chosen = choice < *weight;
                    choice = choice.saturating_sub(*weight);
                    chosen
                })
                .copied()
                .unwrap_or(ACTS[0]);
            if self.act(act).await.with_context(|| format!("cannot {}", act.name()))? {
                *self.done.entry(act.name()).or_default() += 1;
            }
            sleep(std::time::Duration::from_millis(self.random.u64(self.pace.act.clone()))).await;
        }
        Ok(())
    }

    /// Ends all suspensions, and asks for a last reconcile of each resource.
    pub(super) async fn end(&mut self) -> Result<()> {
        let names: Vec<_> = self.model.resources.keys().cloned().collect();
        for name in names {
            if self.model.resources[&name].suspended {
                self.change(&name, |resource| resource.suspended = false).await?;
            }
            self.ask_for(&name).await?;
        }
        Ok(())
    }

    /// Does the act. `false` if it is not possible now, because a server is down on purpose or no resource fits.
    async fn act(&mut self, act: Act) -> Result<bool> {
        let stage = self.stage;
        if act == Act::Attach || act == Act::MoveTag {
            return self.act_on_registry(act).await;
        }
        let Ok(_api) = stage.gates.api.try_read() else { return Ok(false) };
        match act {
            Act::Create if self.model.resources.len() < self.resources * 6 / 5 => {
                self.create().await?;
                return Ok(true);
            }
            Act::Delete if self.model.resources.len() <= self.resources * 4 / 5 => return Ok(false),
            Act::Create => return Ok(false),
            _ => {}
        }
        let Some(name) = self.one(|_, _| true) else { return Ok(false) };
        match act {
            Act::Ask => self.ask_for(&name).await.map(|()| true),
            Act::Delete => self.delete(&name).await.map(|()| true),
            Act::EditTarget => self.edit_target(&name).await,
            Act::DeleteTarget => self.delete_target(&name).await,
            Act::DeleteRevision => self.delete_revision(&name).await,
            Act::ChangeLimit => {
                let limit = self.random.usize(1..=5);
                self.change(&name, |resource| resource.limit = limit).await.map(|()| true)
            }
            Act::ChangeImage => {
                let image = self.random.usize(0..self.model.images.len());
                // The config of a rollback is attached to the earlier image, and not to the new one.
                let change = |resource: &mut Resource| (resource.image, resource.rollback_to) = (image, None);
                self.change(&name, change).await.map(|()| true)
            }
            Act::RollBack => self.roll_back(&name).await,
            _ => self.act_on_some(act).await,
        }
    }

    /// Acts that need a resource in a certain state.
    async fn act_on_some(&mut self, act: Act) -> Result<bool> {
        let found = match act {
            Act::Resume => self.one(|_, resource| resource.rollback_to.is_some()),
            Act::Suspend => self.one(|_, resource| !resource.suspended),
            Act::Wake => self.one(|_, resource| resource.suspended),
            // Under the other policies the earlier target stays, and the model does not follow it.
            Act::Rename => self.one(|_, resource| resource.policy == Policy::Owner),
            _ => None,
        };
        let Some(name) = found else { return Ok(false) };
        let change = |resource: &mut Resource| match act {
            Act::Resume => resource.rollback_to = None,
            Act::Suspend => resource.suspended = true,
            Act::Wake => resource.suspended = false,
            _ if resource.target == resource.name => resource.target = format!("{}-renamed", resource.name),
            _ => resource.target.clone_from(&resource.name),
        };
        self.change(&name, change).await.map(|()| true)
    }

    async fn act_on_registry(&mut self, act: Act) -> Result<bool> {
        let stage = self.stage;
        let image = self.random.usize(0..self.model.images.len());
        let Ok(_gate) = stage.gate(self.model.images[image].registry).try_read() else { return Ok(false) };
        if act == Act::MoveTag {
            if self.model.holds(image) {
                return Ok(false);
            }
            stage.oras.push_image(&self.model.images[image].reference).await?;
            self.model.images[image].attached.clear();
        }
        self.attach_to(image).await?;
        Ok(true)
    }

    /// The name of a resource of which this is true.
    fn one(&mut self, is_meant: impl Fn(&Model, &Resource) -> bool) -> Option<String> {
        let model = &self.model;
        let names: Vec<&String> = model
            .resources
            .iter()
            .filter(|(_, resource)| is_meant(model, resource))
            .map(|(name, _)| name)
            .collect();
        (!names.is_empty()).then(|| names[self.random.usize(0..names.len())].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ACTS.iter().map(|(act, _)| act.name()).collect();
        assert_eq!(names.len(), ACTS.len());
        assert!(ACTS.iter().all(|(_, weight)| *weight > 0));
    }
}
