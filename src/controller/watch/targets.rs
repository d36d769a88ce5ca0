//! The watch of the `ConfigMaps` that carry our label: targets and revisions. Each resource needs it.

use api::{ArtifactConfig, MANAGER, label};
use decide::turns::Key;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource as _, ResourceExt as _};

use crate::cluster::{TargetMeta, TargetStore};

use super::kind::{Change, Guarded, Kind, Place, told, watch_config};

/// By label and as metadata, into a store that the API server's client asks.
pub(super) struct ConfigMaps(pub(super) TargetStore);

impl Kind for ConfigMaps {
    fn name(&self) -> &'static str {
        "configmaps"
    }

    fn is_needed_by(&self, _: &Guarded) -> bool {
        true
    }

    fn watch(&self, place: &Place) -> BoxStream<'static, Change> {
        let store = self.0.clone();
        let config = watch_config().labels(&format!("{}={MANAGER}", label::MANAGED_BY));
        let events = watcher(place.api::<TargetMeta>(), config)
            .modify(|object| object.metadata.annotations = None)
            // Of the managed fields the store keeps whether the operator is among the managers.
            .inspect(move |event| {
                if let Ok(event) = event {
                    store.note(event);
                }
            });
        told(events, self.name(), place, change)
    }

    fn forget(&self) {
        self.0.clear();
    }
}

fn change(event: Event<TargetMeta>) -> Option<Change> {
    match event {
        Event::Apply(target) | Event::InitApply(target) | Event::Delete(target) => {
            owner_of(&target).map(|owner| Change::Touched(vec![owner]))
        }
        Event::InitDone => Some(Change::Listed),
        Event::Init => None,
    }
}

/// The resource that a target belongs to: its controller, or where it has none the one that its label names. The label
/// alone would not do, because it may be what somebody changed.
fn owner_of(target: &TargetMeta) -> Option<Key> {
    let controller = target.owner_references().iter().find(|reference| reference.controller == Some(true));
    let name = controller
        .filter(|controller| controller.kind == ArtifactConfig::kind(&()))
        .map(|controller| &controller.name)
        .or_else(|| target.labels().get(label::NAME))?;
    Some(Key::new(target.metadata.namespace.as_deref()?, name))
}
