//! When a workload is woken whose pods were refused.
//!
//! A controller that cannot create a pod tries again after longer and longer pauses, up to a quarter of an hour
//! (kubernetes/kubernetes#98656). A change of an annotation of the workload makes it try at once, and starts no rollout,
//! because the pod template stays the same.

use std::time::Duration;

use api::Binding;
use jiff::Timestamp;

use crate::bindings;
use crate::workload::{Bind, Workload};

/// How often a workload is woken for one revision. An API server may admit pods by an older index for a moment, so once is
/// not enough; after ten times, in about 17 minutes, something else keeps its pods away.
const MOST: u32 = 10;

/// What to do about a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Set the annotation to this value now.
    Now(String),
    /// Decide again after this time.
    Later(Duration),
}

/// Whether a workload is to be woken: it refuses pods without their config, it lacks pods, and the config of its image is
/// known. `last` is the time when it was woken last, if this process did it.
#[must_use]
pub fn wake(
    workload: &Workload,
    bindings: &[Binding],
    last: Option<Timestamp>,
    now: Timestamp,
) -> Option<Wake> {
    let waits = workload.bind == Some(Bind::Require) && workload.is_short;
    let revision = &bindings::of(bindings, workload).filter(|_| waits)?.config_map;
    let before = workload.woken.as_deref().and_then(|woken| woken.rsplit_once('.'));
    let count = before.filter(|(name, _)| name == revision).and_then(|(_, count)| count.parse().ok());
    let count: u32 = count.unwrap_or_default();
    if count >= MOST {
        return None;
    }
    let pause = Duration::from_secs(2_u64.pow(count));
    let rest = last.filter(|_| count > 0).and_then(|last| {
        let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
        pause.checked_sub(passed).filter(|rest| !rest.is_zero())
    });
    Some(rest.map_or_else(|| Wake::Now(format!("{revision}.{}", count + 1)), Wake::Later))
}

#[cfg(test)]
mod tests {
    use api::{Resolve, WorkloadRef};

    use super::*;

    fn workload(bind: Option<Bind>, is_short: bool, woken: Option<&str>) -> Workload {
        let reference = WorkloadRef {
            api_version: None,
            kind: "Deployment".to_owned(),
            name: "web".to_owned(),
            container: Some("web".to_owned()),
            resolve: Resolve::Template,
            template_path: None,
        };
        let mut workload = Workload::named(&reference, "r.example/web:v2".to_owned());
        workload.bind = bind;
        workload.is_short = is_short;
        workload.woken = woken.map(str::to_owned);
        workload
    }

    fn bound(image: &str) -> Vec<Binding> {
        vec![Binding {
            image: image.to_owned(),
            digest: "sha256:1".to_owned(),
            container: "web".to_owned(),
            pinned: format!("{image}@sha256:1"),
            artifact: "sha256:2".to_owned(),
            config_map: "web-a.1-0123456789".to_owned(),
            hash: "sha256:3".to_owned(),
        }]
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[rstest::rstest]
    #[case::nobody_refuses(None, true, "r.example/web:v2", None)]
    #[case::it_starts_with_the_target(Some(Bind::Prefer), true, "r.example/web:v2", None)]
    #[case::all_pods_are_there(Some(Bind::Require), false, "r.example/web:v2", None)]
    #[case::not_known_yet(Some(Bind::Require), true, "r.example/web:v1", None)]
    #[case::known(Some(Bind::Require), true, "r.example/web:v2", Some("web-a.1-0123456789.1"))]
    fn it_is_woken_when_its_config_is_known(
        #[case] bind: Option<Bind>,
        #[case] is_short: bool,
        #[case] image: &str,
        #[case] expected: Option<&str>,
    ) {
        let decided = wake(&workload(bind, is_short, None), &bound(image), None, at(0));
        assert_eq!(decided, expected.map(|value| Wake::Now(value.to_owned())));
    }

    #[rstest::rstest]
    #[case::of_another_revision("web-b.5", Some(99), Some(Wake::Now("web-a.1-0123456789.1".to_owned())))]
    #[case::of_no_form("yes", Some(99), Some(Wake::Now("web-a.1-0123456789.1".to_owned())))]
    #[case::a_moment_ago("web-a.1-0123456789.2", Some(99), Some(Wake::Later(Duration::from_secs(3))))]
    #[case::long_enough_ago("web-a.1-0123456789.2", Some(96), Some(Wake::Now("web-a.1-0123456789.3".to_owned())))]
    #[case::by_another_process("web-a.1-0123456789.2", None, Some(Wake::Now("web-a.1-0123456789.3".to_owned())))]
    #[case::often_enough("web-a.1-0123456789.10", None, None)]
    fn it_is_woken_again_after_longer_and_longer_pauses(
        #[case] woken: &str,
        #[case] last: Option<i64>,
        #[case] expected: Option<Wake>,
    ) {
        let workload = workload(Some(Bind::Require), true, Some(woken));
        assert_eq!(wake(&workload, &bound("r.example/web:v2"), last.map(at), at(100)), expected);
    }
}
