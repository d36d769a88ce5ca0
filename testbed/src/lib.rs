//! A real cluster and real registries on one machine, without a container engine.
//!
//! Programs of production are programs here: etcd, kube-apiserver and kube-controller-manager make the [`Cluster`], with
//! kube-scheduler where it has nodes, whose pods a [`Player`] gives their life. The real `oras` ([`Oras`]) attaches to
//! real registries ([`registry`]), and the operator under test runs as a separate process ([`OperatorProcess`]) with a
//! `ServiceAccount`'s token. The programs are pinned and built on first use ([`tools`]). Faults are injected where the
//! world breaks: in front of the registry, by stopping programs, by pausing them.
//!
//! Nothing started here outlives the process that started it (see [`Process`]).

mod cluster;
mod definitions;
mod helm;
pub mod manifests;
mod operator;
mod oras;
mod output;
mod player;
mod ports;
mod process;
pub mod registry;
pub mod rendered;
mod scratch;
pub mod tools;
mod wait;

pub use cluster::{Cluster, ClusterOptions, SecondApiServer};
pub use definitions::Definitions;
pub use helm::Helm;
pub use manifests::Manifests;
pub use operator::{OperatorOptions, OperatorProcess};
pub use oras::Oras;
pub use output::Output;
pub use player::{Fate, Given, ImageId, Player, Start};
pub use process::Process;
pub use scratch::Scratch;
pub use wait::eventually;

/// Makes `ring` rustls' provider for this process; call it first in each test binary. Calling it again does
/// nothing.
///
/// rustls refuses to choose where several providers are compiled in, and panics on the first connection.
pub fn install_crypto_provider() {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
