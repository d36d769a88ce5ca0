//! 20. Redirects. 21. Retries. 23. What every request says. 27. What a registry says aside.

use std::time::{Duration, SystemTime};

use api::Reason::{self, AuthenticationFailed, RateLimited, RegistryUnavailable};
use oci::{Digest, media_type};
use registry::{Rate, Settings};
use testbed::registry::Fault;

use crate::expect::tells;
use crate::logs;
use crate::push::Pusher;
use crate::world::{FILE, INDEX, REPOSITORY, World, access, client, keyring};

/// The scene with a password, and the attached file on another host as well.
async fn world() -> World {
    let mut world = World::new().await;
    world.access = access(keyring(&world.registry.host(), "robot", "secret"));
    let blobs = Pusher::new(&format!("http://{}", world.elsewhere.host()), REPOSITORY);
    blobs.blob(FILE.1.as_bytes()).await;
    world.elsewhere.clear_requests();
    world.registry.require_basic("", "robot", "secret");
    world
}

/// Requests that have shown the password.
fn shown(world: &World) -> usize {
    world.elsewhere.requests().iter().filter(|request| request.authorization.is_some()).count()
}

#[rstest::rstest]
#[tokio::test]
async fn a20_a_blob_that_lies_elsewhere(#[values(301, 302, 303, 307, 308)] status: u16) {
    let world = world().await;
    world.registry.inject(world.on_blob().redirect_to_host(status, &world.elsewhere.host()));
    assert_eq!(world.files().await.unwrap().len(), 1);
    assert_eq!(world.elsewhere.requests().len(), 1);
    assert_eq!(shown(&world), 0, "another port is another host");
}

#[tokio::test]
async fn a20_within_a_registry_a_password_goes_along() {
    let world = world().await;
    let moved = format!("/v2/{REPOSITORY}/blobs/{}?moved", world.blob());
    world.registry.inject(world.on_blob().redirect(307, &moved).times(1));
    assert_eq!(world.files().await.unwrap().len(), 1);
    let asked = world.requests("GET", "/blobs/");
    assert_eq!(asked.last().unwrap().query.as_deref(), Some("moved"));
    assert!(asked.last().unwrap().authorization.is_some());
}

#[tokio::test]
async fn a20_a_way_back_does_not_bring_the_password_back() {
    let world = world().await;
    let back = format!("http://{}/v2/{REPOSITORY}/blobs/{}", world.registry.host(), world.blob());
    world.elsewhere.inject(Fault::always().redirect(307, &back));
    let fault = world.on_blob().redirect_to_host(307, &world.elsewhere.host()).times(1);
    world.registry.inject(fault);
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, AuthenticationFailed, "{failure:?}");
    let asked = world.requests("GET", "/blobs/");
    assert!(asked[0].authorization.is_some() && asked[1].authorization.is_none(), "{asked:?}");
}

/// A registry may redirect to blobs on another host. That host never gets a password, even if it asks for one.
#[rstest::rstest]
#[case::basic("Basic realm=\"x\"")]
#[case::bearer("Bearer realm=\"http://ELSEWHERE/token\"")]
#[tokio::test]
async fn a20_the_challenge_of_another_host_is_not_answered(
    #[case] challenge: &str,
    #[values(World::on_image, World::on_api, World::on_config, World::on_blob)] place: fn(&World) -> Fault,
) {
    let world = world().await;
    let challenge = challenge.replace("ELSEWHERE", &world.elsewhere.host());
    world.elsewhere.inject(Fault::always().respond(401, &[("www-authenticate", &challenge)], ""));
    world.registry.inject(place(&world).redirect_to_host(307, &world.elsewhere.host()));
    if let Err(failure) = world.files().await {
        tells(&failure, &world);
    }
    let asked = world.elsewhere.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.path != "/token"), "{asked:?}");
    assert_eq!(shown(&world), 0);
}

#[rstest::rstest]
#[case::circle("http://REGISTRY/v2/shop/web/manifests/v1")]
#[case::no_url("http://[")]
#[case::no_http("file:///etc/passwd")]
#[tokio::test]
async fn a20_redirects_that_lead_nowhere(#[case] location: &str) {
    let world = world().await;
    let location = location.replace("REGISTRY", &world.registry.host());
    let fault = world.registry.inject(world.on_image().redirect(307, &location));
    let failure = world.list().await.unwrap_err();
    assert_eq!(failure.reason, RegistryUnavailable, "{failure:?}");
    tells(&failure, &world);
    assert!(world.registry.hits(fault) <= 20, "{} times", world.registry.hits(fault));
}

#[tokio::test]
async fn a20_a_redirect_without_a_target_is_a_failure_and_no_answer() {
    let world = world().await;
    for status in [301, 302, 303, 307, 308] {
        let fault = world.registry.inject(world.on_image().status(status));
        let failure = world.list().await.unwrap_err();
        assert_eq!(failure.reason, RegistryUnavailable, "{failure:?}");
        assert!(failure.message.contains("Location"), "{}", failure.message);
        tells(&failure, &world);
        world.registry.remove_fault(fault);
    }
}

/// The registry would log the operator in where it likes, with what it likes.
#[rstest::rstest]
#[case::image(World::on_image)]
#[case::api(World::on_api)]
#[case::artifact(World::on_config)]
#[case::blob(World::on_blob)]
#[tokio::test]
async fn a20_a_redirect_brings_no_credentials(
    #[case] place: fn(&World) -> Fault,
    #[values("http://admin:admin@ELSEWHERE/x", "//admin@ELSEWHERE/x", "http://:admin@REGISTRY/x")]
    location: &str,
) {
    let world = world().await;
    let location =
        location.replace("ELSEWHERE", &world.elsewhere.host()).replace("REGISTRY", &world.registry.host());
    world.registry.inject(place(&world).redirect(307, &location));
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, Reason::InvalidContent, "{failure:?}");
    assert!(
        failure.message.contains("user information") && !failure.message.contains("admin"),
        "{failure:?}"
    );
    tells(&failure, &world);
    assert!(world.elsewhere.requests().is_empty());
    assert!(world.registry.requests().iter().all(|request| request.path != "/x"));
}

/// A store of blobs gets no credentials, so they are not the cause, and the next URL gets a new signature.
#[rstest::rstest]
#[tokio::test]
async fn a20_a_store_that_refuses_is_named(#[values(401, 403)] status: u16) {
    let world = world().await;
    let store = world.elsewhere.host();
    world.registry.inject(world.on_blob().redirect_to_host(307, &store));
    let body = r#"{"errors":[{"code":"INTERNAL_SECRET"}]}"#;
    let fault = world.elsewhere.inject(Fault::always().respond(status, &[], body));
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, RegistryUnavailable, "{failure:?}");
    tells(&failure, &world);
    assert!(failure.message.contains(&store) && failure.message.contains("expired"), "{}", failure.message);
    for blame in ["right to pull", "pullSecrets", "INTERNAL_SECRET"] {
        assert!(!failure.message.contains(blame), "{}", failure.message);
    }
    assert_eq!(world.asked("GET", "/blobs/"), 3, "each time for a new URL");
    world.elsewhere.remove_fault(fault);
    world.elsewhere.inject(Fault::always().status(status).times(1));
    assert_eq!(world.files().await.unwrap().len(), 1, "a URL that ran out is no reason to give up");
}

#[tokio::test]
async fn a20_a_store_that_is_broken_is_named() {
    let world = world().await;
    world.registry.inject(world.on_blob().redirect_to_host(307, &world.elsewhere.host()));
    for (status, reason) in [(429, RateLimited), (503, RegistryUnavailable), (404, RegistryUnavailable)] {
        let fault = world.elsewhere.inject(Fault::always().respond(status, NOW, ""));
        let failure = world.files().await.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(failure.message.contains(&world.elsewhere.host()), "{}", failure.message);
        world.elsewhere.remove_fault(fault);
    }
}

/// A cancelled request releases its turn, at every stage.
#[rstest::rstest]
#[case::head(World::on_image, Fault::hang)]
#[case::body(World::on_blob, Fault::endless)]
#[case::token(|_: &World| Fault::on("/token"), Fault::hang)]
#[case::list(World::on_api, Fault::hang)]
#[tokio::test]
async fn a22_a_question_that_is_given_up_holds_nothing(
    #[case] place: fn(&World) -> Fault,
    #[case] hangs: fn(Fault) -> Fault,
) {
    let mut world = world().await;
    world.registry.clear_auth();
    world.registry.require_bearer("", "robot", "secret");
    world.client =
        client(Settings { rate: Rate { concurrency: 1, per_second: None }, ..Settings::default() });
    let fault = world.registry.inject(hangs(place(&world)));
    let asked = async {
        while world.registry.hits(fault) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = world.files() => {}
        () = asked => {}
    }
    world.registry.remove_fault(fault);
    let within = tokio::time::timeout(Duration::from_secs(10), world.files()).await;
    assert_eq!(within.expect("the only turn is held by nobody").unwrap().len(), 1);
}

/// The message names the server that fails, which is not always the registry.
#[tokio::test]
async fn a20_a_host_that_cannot_be_reached_is_named() {
    let world = world().await;
    world.elsewhere.stop().await;
    world.registry.inject(world.on_blob().redirect_to_host(307, &world.elsewhere.host()));
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, RegistryUnavailable, "{failure:?}");
    tells(&failure, &world);
    assert!(failure.message.contains(&world.elsewhere.host()), "{}", failure.message);
}

/// Proxies of the environment are used, and a registry that only the proxy can find is found.
#[tokio::test]
async fn a_proxy_of_the_environment_is_used() {
    let world = World::new().await;
    let home = tempfile::tempdir().unwrap();
    let discover = async |no_proxy: &str| {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_artifactconfig"))
            .args(["discover", "--plain-http", "registry.invalid/shop/web:v1"])
            .env("HOME", home.path())
            .env("HTTP_PROXY", format!("http://{}", world.registry.host()))
            .env("NO_PROXY", no_proxy)
            .output()
            .await
            .unwrap()
    };
    let found = discover("").await;
    let text = String::from_utf8_lossy(&found.stdout);
    assert!(found.status.success() && text.contains(FILE.0), "{found:?}");
    assert!(!world.registry.requests().is_empty());
    world.registry.clear_requests();
    assert!(!discover("registry.invalid").await.status.success());
    assert!(world.registry.requests().is_empty());
}

const NOW: &[(&str, &str)] = &[("retry-after", "0")];

#[rstest::rstest]
#[tokio::test]
async fn a21_what_may_pass_is_asked_again(#[values(408, 425, 429, 500, 502, 503, 504)] status: u16) {
    let world = World::new().await;
    for fault in [world.on_image(), world.on_api(), world.on_config(), world.on_blob()] {
        world.registry.inject(fault.respond(status, NOW, "").times(1));
    }
    assert_eq!(world.files().await.unwrap().len(), 1);
    assert_eq!(world.registry.requests().len(), 8, "each twice");
}

#[tokio::test]
async fn a21_a_connection_that_breaks_is_made_again() {
    let world = World::new().await;
    for fault in [world.on_image(), world.on_api(), world.on_config(), world.on_blob()] {
        world.registry.inject(fault.disconnect().times(1));
    }
    assert_eq!(world.files().await.unwrap().len(), 1);
}

#[rstest::rstest]
#[tokio::test]
async fn a21_what_will_not_pass_is_asked_once(#[values(400, 403, 404, 410, 418, 501, 505)] status: u16) {
    let world = World::new().await;
    world.registry.inject(world.on_image().status(status));
    world.list().await.unwrap_err();
    // `HEAD`, and then `GET`, which is the simpler request.
    assert_eq!(world.registry.requests().len(), 2);
}

#[tokio::test]
async fn a21_in_the_end_it_is_given_up() {
    let world = World::new().await;
    world.registry.inject(world.on_api().status(503));
    assert_eq!(world.list().await.unwrap_err().reason, RegistryUnavailable);
    let at: Vec<SystemTime> = world.requests("GET", "/referrers/").iter().map(|request| request.at).collect();
    assert_eq!(at.len(), 3);
    let between = |first: usize| at[first + 1].duration_since(at[first]).unwrap();
    assert!(between(0) >= Duration::from_millis(100) && between(1) >= Duration::from_millis(200), "{at:?}");
}

#[rstest::rstest]
#[case::seconds(|| "2".to_owned(), 2000)]
#[case::date(|| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2)), 900)]
#[tokio::test]
async fn a21_a_short_wait_that_is_asked_for_is_waited_out(
    #[case] retry_after: fn() -> String,
    #[case] least: u64,
) {
    let world = World::new().await;
    world.registry.inject(world.on_api().respond(429, &[("retry-after", &retry_after())], "").times(1));
    assert_eq!(world.files().await.unwrap().len(), 1);
    let at: Vec<SystemTime> = world.requests("GET", "/referrers/").iter().map(|request| request.at).collect();
    assert!(at[1].duration_since(at[0]).unwrap() >= Duration::from_millis(least), "{at:?}");
}

#[rstest::rstest]
#[case::seconds(|| "3600".to_owned())]
#[case::date(|| httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(1)))]
#[tokio::test]
async fn a21_a_long_wait_is_for_the_next_reconcile(
    #[case] retry_after: fn() -> String,
    #[values(429, 503)] status: u16,
) {
    let world = World::new().await;
    world.registry.inject(world.on_image().respond(status, &[("retry-after", &retry_after())], ""));
    let failure = world.list().await.unwrap_err();
    assert_eq!(failure.reason, if status == 429 { RateLimited } else { RegistryUnavailable });
    let wait = failure.retry_after.unwrap().as_secs();
    assert!((3590..=3600).contains(&wait), "{wait} s");
    assert_eq!(world.registry.requests().len(), 1);
}

#[rstest::rstest]
#[case::words("soon")]
#[case::nothing("")]
#[case::the_past("Thu, 01 Jan 1970 00:00:01 GMT")]
#[case::negative("-1")]
#[case::more_than_there_is("99999999999999999999999")]
#[tokio::test]
async fn a21_a_wait_that_makes_no_sense_is_none(#[case] retry_after: &str) {
    let world = World::new().await;
    world.registry.inject(world.on_image().respond(429, &[("retry-after", retry_after)], "").times(1));
    assert_eq!(world.files().await.unwrap().len(), 1);
}

/// A message holds nothing that changes by itself, because otherwise every reconcile would write the status.
#[rstest::rstest]
#[case::limited(429, RateLimited)]
#[case::unavailable(503, RegistryUnavailable)]
#[tokio::test]
async fn a21_a_message_is_the_same_each_time(#[case] status: u16, #[case] reason: Reason) {
    let world = World::new().await;
    let mut messages = std::collections::BTreeSet::new();
    for number in 0..2 {
        let body = format!(r#"{{"errors":[{{"code":"TOOMANYREQUESTS","message":"request {number}"}}]}}"#);
        let wait = (3600 + number).to_string();
        let headers = [("retry-after", wait.as_str()), ("x-request-id", wait.as_str())];
        let fault = world.registry.inject(world.on_api().respond(status, &headers, body));
        let failure = world.list().await.unwrap_err();
        assert_eq!(failure.reason, reason);
        tells(&failure, &world);
        messages.insert(failure.message);
        world.registry.remove_fault(fault);
    }
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages.first().unwrap().contains("TOOMANYREQUESTS"), "{messages:?}");
}

#[tokio::test]
async fn a21_as_fast_as_the_operator_may_ask_and_no_faster() {
    let mut world = World::new().await;
    world.client =
        client(Settings { rate: Rate { concurrency: 16, per_second: Some(20) }, ..Settings::default() });
    world.files().await.unwrap();
    let requests = world.registry.requests();
    let (begin, end) = (requests.first().unwrap().at, requests.last().unwrap().at);
    let least = Duration::from_millis(50) * u32::try_from(requests.len() - 1).unwrap();
    // The turns are spaced; what happens on the way to the registry is not ours.
    assert!(end.duration_since(begin).unwrap() + Duration::from_millis(40) >= least, "{requests:?}");
}

#[tokio::test]
async fn a23_every_request_says_what_it_takes() {
    let world = World::new().await;
    world.registry.inject(world.on_api().status(404));
    world.files().await.unwrap();
    let manifests = [
        media_type::OCI_MANIFEST,
        media_type::OCI_INDEX,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_LIST,
        media_type::OCI_ARTIFACT,
        media_type::ORAS_ARTIFACT,
    ];
    for request in world.registry.requests() {
        let header =
            |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accept = header("accept");
        let path = &request.path;
        if path.contains("/referrers/") || path.ends_with(&world.image.digest.referrers_tag()) {
            assert_eq!(accept, INDEX, "{path}");
        } else if path.contains("/manifests/") {
            assert!(
                manifests.iter().all(|kind| accept.split(", ").any(|accepted| accepted == *kind)),
                "{path}: {accept}"
            );
        }
        assert!(header("user-agent").starts_with("artifactconfig/"), "{path}");
    }
}

#[tokio::test]
async fn a27_a_warning_is_logged_once_and_changes_nothing() {
    let world = World::new().await;
    let text = format!("will be switched off {}", Digest::sha256(world.registry.host().as_bytes()).short());
    let warning = format!("299 - \"{text}\"");
    let warn = move |headers: &mut http::HeaderMap| drop(headers.insert("warning", warning.parse().unwrap()));
    world.registry.inject(Fault::always().headers(warn));
    for _ in 0..2 {
        assert_eq!(world.files().await.unwrap().len(), 1);
    }
    let lines = logs::lines_with(&text);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains(&world.registry.host()), "{lines:?}");
}

#[tokio::test]
async fn a27_a_registry_with_ever_new_warnings_is_logged_for_a_while() {
    let world = World::new().await;
    let text = Digest::sha256(format!("warnings of {}", world.registry.host()).as_bytes()).short();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let warning = text.clone();
    let warn = move |headers: &mut http::HeaderMap| {
        for _ in 0..90 {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            headers.append("warning", format!("299 - \"{warning} {number}\"").parse().unwrap());
        }
    };
    world.registry.inject(Fault::always().headers(warn));
    assert_eq!(world.files().await.unwrap().len(), 1);
    let lines = logs::lines_with(&text);
    assert_eq!(lines.len(), 10, "{lines:?}");
}
