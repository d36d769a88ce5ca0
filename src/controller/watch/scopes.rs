//! The scopes that are watched, and the stores that the watches fill.

use std::sync::Arc;

use kube::Client;
use kube::runtime::reflector::{self, Store, store::Writer};
use tokio::sync::SetOnce;

use crate::cluster::{TargetStore, Targets};
use crate::namespace::{Namespace, Namespaces};
use crate::telemetry::ResourceStates;

use super::followers::Followers;
use super::kind::{Guarded, Kind};
use super::resources;
use super::targets::ConfigMaps;
use super::workloads::{OtherWorkloads, Workloads};

/// What is to be watched, and the stores for it.
pub struct Watches {
    pub(super) client: Client,
    pub(super) scopes: Vec<Scope>,
    pub(super) ready: Arc<SetOnce<()>>,
}

/// All namespaces, or one of several: a watch sees either, and a store is filled by one watch.
pub(super) struct Scope {
    pub(super) namespace: Option<Namespace>,
    pub(super) resources: (Store<Guarded>, Writer<Guarded>),
    targets: TargetStore,
    pub(super) followers: Followers,
}

impl Scope {
    fn new(namespace: Option<Namespace>) -> Self {
        Self {
            namespace,
            resources: reflector::store(),
            targets: TargetStore::default(),
            followers: Followers::default(),
        }
    }

    /// The kinds that are watched while a resource needs them. A further one is a file beside `targets.rs`, and a line
    /// here.
    pub(super) fn kinds(&self) -> Vec<Box<dyn Kind>> {
        let mut kinds: Vec<Box<dyn Kind>> = vec![Box::new(ConfigMaps(self.targets.clone()))];
        kinds.extend(Workloads::known(&self.followers).map(|kind| Box::new(kind) as Box<dyn Kind>));
        kinds.push(Box::new(OtherWorkloads::new(&self.followers)));
        kinds
    }
}

impl Watches {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new(client: Client, namespaces: &Namespaces) -> Self {
        let scopes = match namespaces {
            Namespaces::All => vec![Scope::new(None)],
            Namespaces::Only(named) => named.iter().cloned().map(Some).map(Scope::new).collect(),
        };
        Self { client, scopes, ready: Arc::new(SetOnce::new()) }
    }

    /// What will be known of the targets.
    #[must_use]
    pub fn targets(&self) -> Targets {
        let store = |scope: &Scope| scope.targets.clone();
        match self.scopes.as_slice() {
            [all] if all.namespace.is_none() => Targets::All(store(all)),
            each => {
                let named = |scope: &Scope| Some((scope.namespace.as_ref()?.to_string(), store(scope)));
                Targets::Each(Arc::new(each.iter().filter_map(named).collect()))
            }
        }
    }

    /// The resources as they are known whenever it is asked.
    #[must_use]
    pub fn resources(&self) -> ResourceStates {
        let stores: Vec<_> = self.scopes.iter().map(|scope| scope.resources.0.clone()).collect();
        Arc::new(move || stores.iter().flat_map(Store::state).collect())
    }

    /// Names of the kinds that may be watched.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let kinds = self.scopes.first().map(Scope::kinds).unwrap_or_default();
        std::iter::once(resources::NAME).chain(kinds.iter().map(|kind| kind.name())).collect()
    }

    /// Ends once every resource is known, and everything that is watched for resources.
    pub fn known(&self) -> impl Future<Output = ()> + Send + 'static {
        let ready = Arc::clone(&self.ready);
        async move {
            ready.wait().await;
        }
    }
}
