//! Rows of the checklist: the faults of the scene, and the expected answer of the client.

use std::time::Duration;

use api::Reason;
use decide::Failure;
use testbed::registry::Fault;

use crate::world::{FILE, REPOSITORY, World};

/// What the client has to answer.
#[derive(Debug)]
pub enum Expect {
    /// The attached file, found by the Referrers API.
    Api,
    /// The attached file, found under the referrers tag.
    Tag,
    /// These files.
    Files(&'static [(&'static str, &'static str)]),
    /// The answer that nothing is attached, with this remark for a person.
    Nothing(&'static str),
    /// A failure for this reason.
    Refused(Reason),
    /// A failure with any reason: most important, not the answer that nothing is attached.
    Unknown,
}

/// Longer than every allowed wait.
const LIMIT: Duration = Duration::from_secs(30);

/// Tests of one row each: `name: faults => expectation;`.
macro_rules! rows {
    ($($name:ident: $faults:expr => $expect:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            $crate::expect::row(stringify!($name), $faults, $expect).await;
        }
    )*};
}
pub(crate) use rows;

pub async fn row(name: &str, faults: impl FnOnce(&World) -> Vec<Fault>, expect: Expect) {
    let world = World::new().await;
    for fault in faults(&world) {
        world.registry.inject(fault);
    }
    let within = tokio::time::timeout(LIMIT, judge(&world, &expect)).await;
    within.unwrap_or_else(|_| {
        panic!("{name}: no answer within {LIMIT:?}; requests: {:?}", world.registry.requests())
    });
}

async fn judge(world: &World, expect: &Expect) {
    match expect {
        Expect::Api | Expect::Tag => {
            assert_eq!(world.files().await.unwrap(), [(FILE.0.to_owned(), FILE.1.to_owned())]);
            let by_tag = world.asked("GET", &world.image.digest.referrers_tag()) > 0;
            assert_eq!(by_tag, matches!(expect, Expect::Tag), "found by the tag");
        }
        Expect::Files(expected) => {
            let files = world.files().await.unwrap();
            let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            assert_eq!(files, *expected);
        }
        Expect::Nothing(note) => {
            let listing = world.list().await.unwrap();
            assert_eq!(listing.artifacts, []);
            let notes = listing.notes.join("; ");
            assert!(notes.contains(note), "expected a note with '{note}', found '{notes}'");
        }
        Expect::Refused(reason) => {
            let failure = world.files().await.unwrap_err();
            assert_eq!(failure.reason, *reason, "{failure:?}");
            tells(&failure, world);
        }
        Expect::Unknown => tells(&world.files().await.unwrap_err(), world),
    }
}

/// A message is for a person: one line that names what it is about.
pub fn tells(failure: &Failure, world: &World) {
    let message = &failure.message;
    let host = world.registry.host();
    let names = [host.as_str(), REPOSITORY, "sha256:", "sha512:"];
    assert!(
        names.iter().any(|name| message.contains(name)),
        "names neither registry nor repository nor digest: {message}"
    );
    assert!(!message.contains('\n') && message.len() < 1000, "{message}");
}
