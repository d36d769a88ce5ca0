//! Pods that live: the real controllers and scheduler, `kubectl`, and the player in place of kubelets.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod deployments;
mod disruptions;
mod lives;
mod manifests;
mod workloads;
mod world;
