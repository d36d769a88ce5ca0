//! Hosts as label values: they come from resources and from redirects, so their number is bounded.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

/// Most hosts with their own label value. A cluster uses a few registries, each with a token endpoint and a blob store.
/// With all operations and buckets, this makes some thousand series at most.
const HOSTS: usize = 50;

/// The label value of all other hosts.
pub(super) const OTHER: &str = "other";

/// The hosts with their own label value, for the life of the process, because a counter must not start again.
#[derive(Clone, Default)]
pub(super) struct Hosts(Arc<RwLock<HashSet<Arc<str>>>>);

impl Hosts {
    /// The label value for a host.
    pub(super) fn label(&self, host: &str) -> Arc<str> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Arc::clone(known);
        }
        let mut hosts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(host) {
            return Arc::clone(known);
        }
        if hosts.len() >= HOSTS {
            return OTHER.into();
        }
        let host: Arc<str> = host.into();
        hosts.insert(Arc::clone(&host));
        host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_beyond_the_bound_share_a_name() {
        let hosts = Hosts::default();
        for number in 0..HOSTS {
            let host = format!("r{number}.example");
            assert_eq!(&*hosts.label(&host), host);
        }
        assert_eq!(&*hosts.label("one-more.example"), OTHER);
        assert_eq!(&*hosts.label("r0.example"), "r0.example");
    }
}
