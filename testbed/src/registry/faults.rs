//! The faults in force, and how often each was met.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::request::Parts;

use super::fault::{Action, Fault};

/// Names a fault, to take it back or to ask how often it was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultId(usize);

#[derive(Debug)]
struct Entry {
    /// `None`: taken back. The entry stays so that ids keep their meaning.
    fault: Option<Fault>,
    hits: u32,
}

/// In order of injection.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Entry>>);

impl Faults {
    pub(super) fn inject(&self, fault: Fault) -> FaultId {
        let mut entries = self.lock();
        entries.push(Entry { fault: Some(fault), hits: 0 });
        FaultId(entries.len() - 1)
    }

    pub(super) fn remove(&self, id: FaultId) {
        if let Some(entry) = self.lock().get_mut(id.0) {
            entry.fault = None;
        }
    }

    pub(super) fn clear(&self) {
        for entry in self.lock().iter_mut() {
            entry.fault = None;
        }
    }

    pub(super) fn hits(&self, id: FaultId) -> u32 {
        self.lock().get(id.0).map_or(0, |entry| entry.hits)
    }

    /// What happens to this request, in order of injection. Counts each as met.
    pub(super) fn actions_for(&self, request: &Parts) -> Vec<Action> {
        let mut actions = Vec::new();
        for entry in self.lock().iter_mut() {
            let Some(fault) = entry.fault.as_ref() else { continue };
            if fault.times.is_none_or(|times| entry.hits < times) && fault.is_for(request) {
                entry.hits += 1;
                actions.push(fault.action.clone());
            }
        }
        actions
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn request(method: &str, uri: &str) -> Parts {
        Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn method_path_and_count_decide() {
        let faults = Faults::default();
        let id = faults.inject(Fault::on("/referrers/").method("GET").status(503).times(2));
        assert!(faults.actions_for(&request("HEAD", "/v2/a/referrers/x")).is_empty());
        assert!(faults.actions_for(&request("GET", "/v2/a/manifests/x")).is_empty());
        assert_eq!(faults.actions_for(&request("GET", "/v2/a/referrers/x")).len(), 1);
        assert_eq!(faults.actions_for(&request("GET", "/v2/a/referrers/x?n=1")).len(), 1);
        assert!(faults.actions_for(&request("GET", "/v2/a/referrers/x")).is_empty(), "used up");
        assert_eq!(faults.hits(id), 2);
    }

    #[test]
    fn exact_paths_include_the_query_and_functions_see_everything() {
        let faults = Faults::default();
        faults.inject(Fault::exactly("/v2/a/tags/list?n=1"));
        let by_header = faults.inject(Fault::when(|request| request.headers.contains_key("range")));
        assert_eq!(faults.actions_for(&request("GET", "/v2/a/tags/list?n=1")).len(), 1);
        assert!(faults.actions_for(&request("GET", "/v2/a/tags/list")).is_empty());
        let mut ranged = request("GET", "/v2/");
        ranged.headers.insert("range", "bytes=0-".parse().unwrap());
        assert_eq!(faults.actions_for(&ranged).len(), 1);
        faults.remove(by_header);
        assert!(faults.actions_for(&ranged).is_empty());
        assert_eq!(faults.hits(by_header), 1, "the count outlives the fault");
    }

    #[test]
    fn several_faults_meet_one_request_in_order() {
        let faults = Faults::default();
        faults.inject(Fault::always().hang());
        faults.inject(Fault::always().truncate(1));
        let actions = faults.actions_for(&request("GET", "/"));
        assert!(matches!(actions[..], [Action::Hang, Action::TruncateBody(1)]));
        faults.clear();
        assert!(faults.actions_for(&request("GET", "/")).is_empty());
    }
}
