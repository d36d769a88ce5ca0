//! The flags of leader election.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use anyhow::Context as _;
use decide::lease::Timing;
use kube::{Client, Config};

use crate::cluster::{Candidate, Election, Leadership};

/// Flags for several replicas, of which one writes.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Leader election")]
#[group(skip)]
pub struct Args {
    /// Write only while holding a Lease, so that several replicas can run: one is the leader, the others are standbys. A
    /// process that loses the Lease ends with an error.
    #[arg(long, env = "ARTIFACTCONFIG_LEADER_ELECT")]
    leader_elect: bool,

    /// Name of the Lease. Operators that watch different namespaces of one cluster need Leases with different names or in
    /// different namespaces.
    #[arg(
        long,
        env = "ARTIFACTCONFIG_LEASE_NAME",
        default_value = "artifactconfig",
        value_name = "NAME",
        requires = "leader_elect"
    )]
    lease_name: String,

    /// Namespace of the Lease. Default: that of the Pod, or of the kubeconfig's context.
    #[arg(long, env = "ARTIFACTCONFIG_LEASE_NAMESPACE", value_name = "NAME", requires = "leader_elect")]
    lease_namespace: Option<String>,

    /// How long the Lease stays valid after its last renewal, 3s to 1h. A failover takes that long after the leader was
    /// killed, and about 2 seconds after a regular end. The leader renews the Lease six times in that time, and ends if it
    /// could not renew it for two thirds of the time.
    #[arg(
        long,
        env = "ARTIFACTCONFIG_LEASE_DURATION",
        default_value = "15s",
        value_name = "DURATION",
        value_parser = timing,
        requires = "leader_elect"
    )]
    lease_duration: Timing,
}

impl Args {
    /// The election, if `--leader-elect` is set, and whether this process leads.
    ///
    /// # Errors
    /// If no client can be built from the configuration.
    pub(super) fn start(
        &self,
        config: &Config,
        instance: &str,
    ) -> anyhow::Result<(Option<Election>, Leadership)> {
        if !self.leader_elect {
            return Ok((None, Leadership::always()));
        }
        let client =
            Client::try_from(config.clone()).context("the client of the election cannot be built")?;
        let candidate = Candidate {
            namespace: self.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
            lease: self.lease_name.clone(),
            identity: identity(instance),
            timing: self.lease_duration,
        };
        let (election, leadership) = Election::new(client, candidate);
        Ok((Some(election), leadership))
    }
}

/// The Pod's name, and a number that no earlier process of that Pod had. So a restarted container does not take the Lease
/// of the killed one for its own.
fn identity(instance: &str) -> String {
    format!("{instance}_{:016x}", RandomState::new().build_hasher().finish())
}

fn timing(text: &str) -> Result<Timing, String> {
    let expected = "expected a duration from 3s to 1h, such as 15s";
    Timing::new(super::duration::parse(text, expected)?).ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use std::time::Duration;

    use super::*;

    #[rstest]
    #[case("15s", Some(15))]
    #[case("1m", Some(60))]
    #[case("2s", None)]
    #[case("2h", None)]
    #[case("-15s", None)]
    #[case("15", None)]
    #[case("", None)]
    fn lengths(#[case] text: &str, #[case] seconds: Option<u64>) {
        assert_eq!(timing(text).ok().map(Timing::lease), seconds.map(Duration::from_secs));
    }

    #[test]
    fn no_two_processes_have_one_identity() {
        assert_ne!(identity("pod-a"), identity("pod-a"));
    }
}
