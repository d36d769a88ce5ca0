//! Number of requests to a registry. For a client that polls, every unneeded request has a price.

use std::sync::Arc;
use std::time::Duration;

use api::Reason::{DigestMismatch, RegistryUnavailable};
use registry::{Freshness, Keyring, OciRegistry, Settings};
use testbed::registry::Fault;

use crate::push::{self, Pusher};
use crate::world::{CONFIG, FILE, Files, Question, Seen, World, access, client, keyring};

/// The requests in short: method, and a word instead of a long path.
fn asked(world: &World) -> Vec<String> {
    let kinds =
        ["/manifests/v1", "/manifests/sha256-", "/manifests/", "/referrers/", "/blobs/", "/_oras/", "/token"];
    let short = |request: testbed::registry::RecordedRequest| {
        let kind = kinds.iter().find(|kind| request.path.contains(**kind));
        format!("{} {}", request.method, kind.map_or(request.path.as_str(), |kind| kind.trim_matches('/')))
    };
    let mut asked: Vec<String> = world.registry.requests().into_iter().map(short).collect();
    world.registry.clear_requests();
    asked.sort();
    asked
}

#[tokio::test]
async fn an_unchanged_tag_costs_one_head_and_one_list() {
    let world = World::new().await;
    world.files().await.unwrap();
    assert_eq!(asked(&world), ["GET blobs", "GET manifests", "GET referrers", "HEAD manifests/v1"]);
    for _ in 0..3 {
        world.files().await.unwrap();
        assert_eq!(asked(&world), ["GET referrers", "HEAD manifests/v1"]);
    }
}

#[tokio::test]
async fn a_pinned_digest_costs_one_list() {
    let world = World::new().await;
    let mut question = world.question();
    question.image = world.pinned();
    question.files().await.unwrap();
    assert_eq!(asked(&world), ["GET blobs", "GET manifests", "GET referrers"]);
    question.files().await.unwrap();
    assert_eq!(asked(&world), ["GET referrers"]);
}

/// "Nothing" needs the most general requests: without a filter, by the manifests' own types, and under the tag. After
/// that they are remembered.
#[tokio::test]
async fn an_image_without_config_costs_no_more_than_one_with_it() {
    let world = World::new().await;
    let mut question = world.question();
    question.artifact_type = Some("none/such");
    assert_eq!(question.list().await.unwrap().artifacts, []);
    let first = asked(&world);
    assert_eq!(
        first,
        [
            "GET _oras",
            "GET manifests",
            "GET manifests",
            "GET manifests/sha256-",
            "GET referrers",
            "GET referrers",
            "HEAD manifests",
            "HEAD manifests/v1"
        ]
    );
    question.list().await.unwrap();
    assert_eq!(asked(&world), ["GET referrers", "HEAD manifests/v1"]);
}

async fn all_at_once(questions: &[Question<'_>]) -> Vec<Files> {
    let all = futures::future::join_all(questions.iter().map(Question::files)).await;
    all.into_iter().collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn fifty_resources_on_one_image_cost_as_much_as_one() {
    let world = World::new().await;
    let question = Question { freshness: Freshness::Recent, ..world.question() };
    let answers = all_at_once(&vec![question; 50]).await;
    assert!(answers.iter().all(|files| files.len() == 1));
    assert_eq!(asked(&world), ["GET blobs", "GET manifests", "GET referrers", "HEAD manifests/v1"]);
}

#[tokio::test]
async fn fifty_resources_with_a_token_cost_as_much_as_one() {
    let world = World::new().await;
    world.registry.require_bearer("", "robot", "secret");
    let access = access(keyring(&world.registry.host(), "robot", "secret"));
    let question = Question { freshness: Freshness::Recent, access: &access, ..world.question() };
    all_at_once(&vec![question; 50]).await;
    let refused = "HEAD manifests/v1";
    assert_eq!(asked(&world), ["GET blobs", "GET manifests", "GET referrers", "GET token", refused, refused]);
}

#[tokio::test]
async fn other_credentials_are_other_questions() {
    let world = World::new().await;
    let host = world.registry.host();
    let accesses = [
        Keyring::default(),
        keyring(&host, "one", "1"),
        keyring(&host, "one", "2"),
        keyring(&host, "two", "1"),
    ]
    .map(access);
    let ask = |access| Question { freshness: Freshness::Recent, access, ..world.question() };
    let questions: Vec<_> = accesses.iter().flat_map(|access| [ask(access), ask(access)]).collect();
    all_at_once(&questions).await;
    let once = ["GET blobs", "GET manifests", "GET referrers", "HEAD manifests/v1"];
    let mut four_times = once.repeat(4);
    four_times.sort_unstable();
    assert_eq!(asked(&world), four_times);
}

/// Credentials for another registry make no difference to this one.
#[tokio::test]
async fn credentials_for_another_registry_are_no_other_question() {
    let world = World::new().await;
    let accesses = [Keyring::default(), keyring("registry.example.com", "one", "1")].map(access);
    let questions: Vec<_> = accesses
        .iter()
        .map(|access| Question { freshness: Freshness::Recent, access, ..world.question() })
        .collect();
    all_at_once(&questions).await;
    assert_eq!(asked(&world).len(), 4);
}

#[tokio::test]
async fn a_blob_of_one_digest_is_fetched_once() {
    let world = World::new().await;
    let same = FILE.1.as_bytes();
    world
        .pusher
        .attach(CONFIG, &world.image.as_subject(), &[("again.json", same), ("and-again.json", same)])
        .await;
    world.registry.clear_requests();
    assert_eq!(world.files().await.unwrap().len(), 3);
    assert_eq!(world.asked("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn a_missing_api_is_remembered_for_its_repository_and_credentials() {
    let world = World::new().await;
    world.registry.inject(world.on_api().status(404));
    world.files().await.unwrap();
    assert_eq!(
        asked(&world),
        ["GET blobs", "GET manifests", "GET manifests/sha256-", "GET referrers", "HEAD manifests/v1"]
    );
    // Some registries bill a `GET` of a manifest as a pull.
    world.files().await.unwrap();
    assert_eq!(asked(&world), ["HEAD manifests/sha256-", "HEAD manifests/v1"]);

    let other = access(keyring(&world.registry.host(), "robot", "secret"));
    Question { access: &other, ..world.question() }.list().await.unwrap();
    assert_eq!(world.asked("GET", "/referrers/"), 1, "others find out for themselves");
    world.registry.clear_requests();

    let pusher = Pusher::new(&format!("http://{}", world.registry.host()), "shop/api");
    pusher.blob(push::EMPTY).await;
    pusher.tag("v1", &push::image("api")).await;
    let image = format!("{}/shop/api:v1", world.registry.host()).parse().unwrap();
    Question { image, ..world.question() }.list().await.unwrap();
    assert_eq!(world.asked("GET", "/v2/shop/api/referrers/"), 1, "and so it is for other repositories");
}

/// A changed list under the tag is fetched, and so is one for which `HEAD` gives no digest.
#[tokio::test]
async fn a_changed_list_under_the_tag_is_fetched() {
    let world = World::new().await;
    world.registry.inject(world.on_api().status(404));
    assert_eq!(world.list().await.unwrap().artifacts.len(), 1);
    let more = world.pusher.attach(CONFIG, &world.image.as_subject(), &[("new", b"new")]).await;
    let listed = push::index(&[world.config.descriptor(), more.descriptor()]);
    world.pusher.tag(&world.image.digest.referrers_tag(), &listed).await;
    world.registry.clear_requests();
    assert_eq!(world.list().await.unwrap().artifacts.len(), 2);
    assert_eq!(world.asked("GET", "/manifests/sha256-"), 1);
    let says_nothing: [fn(Fault) -> Fault; 4] = [
        |head| head.headers(|headers| drop(headers.remove("docker-content-digest"))),
        |head| head.status(404),
        |head| head.status(403),
        |head| head.status(405),
    ];
    for nothing in says_nothing {
        let head = world.registry.inject(nothing(world.on_tag().method("HEAD")));
        world.registry.clear_requests();
        assert_eq!(world.list().await.unwrap().artifacts.len(), 2);
        assert_eq!(world.asked("GET", "/manifests/sha256-"), 1);
        world.registry.remove_fault(head);
    }
    let limited =
        world.registry.inject(world.on_tag().method("HEAD").respond(429, &[("retry-after", "0")], ""));
    assert_eq!(world.list().await.unwrap_err().reason, api::Reason::RateLimited);
    world.registry.remove_fault(limited);
    let gone = world.registry.inject(world.on_tag().status(404));
    assert_eq!(world.list().await.unwrap().artifacts.len(), 0);
    world.registry.remove_fault(gone);
    assert_eq!(world.list().await.unwrap().artifacts.len(), 2);
}

/// Only found without the filter: later lists cost the same.
#[tokio::test]
async fn a_filter_that_hides_the_config_is_left_out_from_then_on() {
    let world = World::new().await;
    let filtered = |request: &http::request::Parts| {
        let query = request.uri.query().unwrap_or_default();
        request.uri.path().contains("/referrers/") && query.contains("artifactType=")
    };
    let headers = [("content-type", crate::world::INDEX)];
    world.registry.inject(Fault::when(filtered).respond(200, &headers, push::index(&[]).to_string()));
    assert_eq!(world.files().await.unwrap().len(), 1);
    world.registry.clear_requests();
    assert_eq!(world.files().await.unwrap().len(), 1);
    assert_eq!(asked(&world), ["GET referrers", "HEAD manifests/v1"]);
}

#[tokio::test]
async fn an_api_that_fails_is_not_a_missing_api() {
    let world = World::new().await;
    world.registry.inject(world.on_api().respond(503, &[("retry-after", "0")], "").times(3));
    assert_eq!(world.list().await.unwrap_err().reason, RegistryUnavailable);
    world.registry.clear_requests();
    world.files().await.unwrap();
    assert_eq!(asked(&world), ["GET blobs", "GET manifests", "GET referrers", "HEAD manifests/v1"]);
}

/// A person who has just attached an artifact wants to see it.
#[tokio::test]
async fn a_question_for_now_is_not_answered_from_memory() {
    let world = World::new().await;
    let recent = Question { freshness: Freshness::Recent, ..world.question() };
    assert_eq!(recent.list().await.unwrap().artifacts.len(), 1);
    world.pusher.attach(CONFIG, &world.image.as_subject(), &[("new", b"new")]).await;
    assert_eq!(world.list().await.unwrap().artifacts.len(), 2);
    assert_eq!(recent.list().await.unwrap().artifacts.len(), 2, "and others profit from it");
}

#[tokio::test]
async fn a_question_for_now_does_not_wait_for_an_older_answer() {
    let world = World::new().await;
    let recent = Question { freshness: Freshness::Recent, ..world.question() };
    let slow = world.registry.inject(world.on_api().delay(Duration::from_millis(400)).times(1));
    let new = async {
        testbed::eventually("the first question arrives", Duration::from_secs(5), || async {
            Ok(if world.registry.hits(slow) == 1 { Ok(()) } else { Err("not yet".to_owned()) })
        })
        .await
        .unwrap();
        world.list().await.unwrap()
    };
    let (older, newer) = Box::pin(futures::future::join(recent.list(), new)).await;
    assert_eq!((older.unwrap().artifacts.len(), newer.artifacts.len()), (1, 1));
    assert_eq!(world.asked("GET", "/referrers/"), 2);
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let world = World::new().await;
    let question = Question { freshness: Freshness::Recent, ..world.question() };
    let unavailable = |place: Fault| (place.respond(503, &[("retry-after", "0")], ""), RegistryUnavailable);
    let damaged = |place: Fault| (place.body(|_, bytes| bytes.to_ascii_uppercase()), DigestMismatch);
    for (fault, reason) in [
        unavailable(world.on_image()),
        unavailable(world.on_api()),
        unavailable(world.on_config()),
        damaged(world.on_config()),
        unavailable(world.on_blob()),
        damaged(world.on_blob()),
    ] {
        let fault = world.registry.inject(fault);
        assert_eq!(question.files().await.unwrap_err().reason, reason);
        world.registry.remove_fault(fault);
    }
    assert_eq!(question.files().await.unwrap().len(), 1);
}

/// A missing manifest may come back: its absence is not a property of its digest.
#[tokio::test]
async fn a_missing_manifest_is_requested_again() {
    let world = World::new().await;
    let gone = world.registry.inject(world.on_config().status(404));
    assert_eq!(world.list().await.unwrap().artifacts, []);
    world.registry.remove_fault(gone);
    assert_eq!(world.files().await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_memory_everything_is_fetched_again_and_nothing_else_changes() {
    let mut world = World::new().await;
    world.client = client(Settings { content_cache: 0, ..Settings::default() });
    for _ in 0..2 {
        assert_eq!(world.files().await.unwrap().len(), 1);
        assert_eq!(asked(&world), ["GET blobs", "GET manifests", "GET referrers", "HEAD manifests/v1"]);
    }
}

#[tokio::test]
async fn every_request_is_reported_under_what_it_is_for() {
    let world = World::new().await;
    world.registry.require_bearer("", "robot", "secret");
    world.registry.inject(world.on_api().status(404));
    world.registry.inject(world.on_blob().disconnect().times(1));
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let observer = Arc::new(move |seen: registry::Observation<'_>| {
        if let registry::Observation::Requested(record) = seen {
            sink.lock().unwrap().push((record.operation, record.status));
        }
    });
    let client = OciRegistry::new(Settings::default(), observer).unwrap();
    let access = access(keyring(&world.registry.host(), "robot", "secret"));
    Question { client: &client, access: &access, ..world.question() }.files().await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [
            ("resolve", Some(401)),
            ("token", Some(200)),
            ("resolve", Some(200)),
            ("referrers", Some(404)),
            ("referrers", Some(200)),
            ("manifest", Some(200)),
            ("blob", None),
            ("blob", Some(200)),
        ]
    );
    assert_eq!(world.registry.requests().len(), seen.lock().unwrap().len());
}

/// A question that nobody waits for any more leaves nothing behind that others would wait for.
#[tokio::test]
async fn a_question_that_is_given_up_does_not_hold_others_up() {
    let world = World::new().await;
    let hang = world.registry.inject(world.on_api().hang().times(1));
    let question = Question { freshness: Freshness::Recent, ..world.question() };
    let given_up = tokio::time::timeout(Duration::from_millis(200), question.list()).await;
    assert!(given_up.is_err() && world.registry.hits(hang) == 1);
    let next = tokio::time::timeout(Duration::from_secs(10), question.files()).await;
    assert_eq!(next.unwrap().unwrap().len(), 1);
    // Nor does it keep its turn at the host.
    world.registry.inject(Fault::on("/referrers/").hang().times(40));
    for _ in 0..40 {
        let again = world.question();
        assert!(tokio::time::timeout(Duration::from_millis(20), again.list()).await.is_err());
    }
    world.registry.clear_faults();
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), world.files()).await.unwrap().unwrap().len(), 1);
}
