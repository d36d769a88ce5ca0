//! The watch of the resources. It always runs: without it nobody knows what is needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::annotation;
use futures::stream::BoxStream;
use kube::Resource as _;
use kube::api::ObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};

use super::demand::Kinds;
use super::kind::{Guarded, Kind, Place, told, watch_config};

/// Its name in rights, metrics and log lines.
pub(super) const NAME: &str = "artifactconfigs";

/// News of resources.
pub(super) enum Told {
    /// The list that is under way has a resource that needs these kinds.
    Expects(Kinds),
    /// A resource is there, or is another than before. Objects that cannot be parsed come through as well, to be told so
    /// in their status.
    Seen(Box<Guarded>),
    /// A resource is gone.
    Gone(Box<Guarded>),
    /// All resources of the scope are in its store: those that are not are gone.
    Listed,
}

/// The kinds of this list that a resource needs.
pub(super) fn needs(kinds: &[Box<dyn Kind>], resource: &Guarded) -> Kinds {
    kinds.iter().enumerate().filter(|(_, kind)| kind.is_needed_by(resource)).map(|(place, _)| place).collect()
}

/// News of resources, which the store has when they come.
pub(super) fn resources(
    place: &Place,
    writer: Writer<Guarded>,
    kinds: Arc<[Box<dyn Kind>]>,
) -> BoxStream<'static, Told> {
    let events = watcher(place.api::<Guarded>(), watch_config())
        .modify(|object| lighten(object.meta_mut()))
        .reflect(writer);
    let mut expected = Kinds::default();
    told(events, NAME, place, move |event| news(event, &kinds, &mut expected))
}

/// Each kind is expected once in a list, however many resources need it.
fn news(event: Event<Guarded>, kinds: &[Box<dyn Kind>], expected: &mut Kinds) -> Option<Told> {
    match event {
        Event::Apply(object) => Some(Told::Seen(Box::new(object))),
        Event::Delete(object) => Some(Told::Gone(Box::new(object))),
        Event::InitDone => Some(Told::Listed),
        Event::Init => {
            *expected = Kinds::default();
            None
        }
        // In the store only once the list is whole.
        Event::InitApply(object) => {
            let more = needs(kinds, &object).without(*expected);
            *expected = expected.and(more);
            (!more.is_empty()).then_some(Told::Expects(more))
        }
    }
}

/// Takes away what nobody reads of a resource, because each is held in memory; the annotation of `kubectl apply` alone is
/// as large as the `spec`. A resource is never written back whole, so that nothing is lost in the cluster.
fn lighten(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.labels = None;
    metadata.annotations = metadata
        .annotations
        .take()
        .and_then(|mut annotations| annotations.remove_entry(annotation::REQUESTED_AT))
        .map(|requested| BTreeMap::from([requested]));
}

#[cfg(test)]
mod tests {
    use decide::turns::Version;
    use futures::StreamExt as _;
    use serde_json::json;

    use super::super::kind::Change;
    use super::*;

    /// Stands for a kind: no other method is called here.
    struct Each(fn(&Guarded) -> bool);

    impl Kind for Each {
        fn name(&self) -> &'static str {
            "each"
        }

        fn is_needed_by(&self, resource: &Guarded) -> bool {
            self.0(resource)
        }

        fn watch(&self, _: &Place) -> BoxStream<'static, Change> {
            futures::stream::pending().boxed()
        }

        fn forget(&self) {}
    }

    #[test]
    fn a_list_expects_each_kind_once() {
        let named = |name: &str| {
            let object = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {}});
            serde_json::from_value::<Guarded>(object).unwrap()
        };
        let is_late = |object: &Guarded| object.meta().name.as_deref() == Some("late");
        let kinds: [Box<dyn Kind>; 3] =
            [Box::new(Each(|_| true)), Box::new(Each(|_| false)), Box::new(Each(is_late))];
        let mut expected = Kinds::default();
        let mut told = |event| match news(event, &kinds, &mut expected) {
            Some(Told::Expects(kinds)) => kinds.iter().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        // A list that is broken off and begins again shows everything once more.
        for _ in 0..2 {
            assert_eq!(told(Event::Init), [0_usize; 0]);
            assert_eq!(told(Event::InitApply(named("web"))), [0]);
            assert_eq!(told(Event::InitApply(named("other"))), [0_usize; 0]);
            assert_eq!(told(Event::InitApply(named("late"))), [2]);
        }
    }

    /// Also of one that cannot be read; and it is news by the same changes as before.
    #[rstest::rstest]
    #[case::asked_for_a_look(json!({"image": "r.example/web:v1", "artifactType": "a/b"}), json!({annotation::REQUESTED_AT: "now"}))]
    #[case::never_asked(json!({"image": "r.example/web:v1", "artifactType": "a/b"}), json!(null))]
    #[case::unreadable(json!({"image": 1}), json!({annotation::REQUESTED_AT: "now"}))]
    fn what_nobody_reads_of_a_resource_is_not_held(
        #[case] spec: serde_json::Value,
        #[case] ours: serde_json::Value,
    ) {
        let bare = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "spec": spec,
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 2, "resourceVersion": "7",
                "annotations": ours},
        });
        let mut full = bare.clone();
        full["metadata"]["labels"] = json!({"app.kubernetes.io/instance": "web"});
        full["metadata"]["managedFields"] = json!([{"manager": "kubectl", "operation": "Apply"}]);
        full["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!("{}");
        let read = |object: &serde_json::Value| serde_json::from_value::<Guarded>(object.clone()).unwrap();
        let (mut held, seen) = (read(&full), Version::of(&read(&full)));
        lighten(held.meta_mut());
        assert_eq!(held.meta(), read(&bare).meta());
        assert_eq!(Version::of(&held), seen);
    }
}
