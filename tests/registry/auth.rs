//! Line 17, authorization: challenge from the actual 401, several challenges, Basic, Bearer, identity token, anonymous;
//! a wrong password surfaces as such; realm checks; token refreshed once on 401 and 403.

use std::time::Duration;

use api::Reason::{self, AuthenticationFailed, Forbidden};
use http::request::Parts;
use registry::{Credential, Keyring, Rate, Settings};
use testbed::registry::Fault;

use crate::expect::tells;
use crate::world::{Files, Question, World, access, client, keyring};

pub const USER: &str = "robot";
pub const PASSWORD: &str = "pass:word";

pub fn anonymous(request: &Parts) -> bool {
    !request.headers.contains_key("authorization")
}

pub fn is_token(request: &Parts) -> bool {
    request.uri.path() == "/token"
}

/// Requests for content that show no credentials are refused with these header lines.
pub fn challenges(values: &[&str]) -> Fault {
    let headers: Vec<_> = values.iter().map(|value| ("www-authenticate", *value)).collect();
    Fault::when(|request| anonymous(request) && !is_token(request)).respond(401, &headers, "")
}

/// The scene with credentials given.
pub async fn world() -> World {
    let mut world = World::new().await;
    world.access = access(keyring(&world.registry.host(), USER, PASSWORD));
    world
}

pub async fn bearer() -> World {
    let world = world().await;
    world.registry.require_bearer("", USER, PASSWORD);
    world
}

pub async fn refused(world: &World, reason: Reason) -> String {
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, reason, "{failure:?}");
    tells(&failure, world);
    failure.message
}

pub async fn found(world: &World) {
    assert_eq!(world.files().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a17_basic() {
    let world = world().await;
    world.registry.require_basic("", USER, PASSWORD);
    found(&world).await;
    let requests = world.registry.requests();
    assert_eq!(requests[0].authorization, None, "nothing is shown before it is asked for");
    assert!(requests[1..].iter().all(|request| request.authorization.is_some()), "and then at once");
}

#[tokio::test]
async fn a17_bearer_with_the_challenge_of_the_refused_request_itself() {
    let world = bearer().await;
    found(&world).await;
    assert_eq!(world.asked("GET", "/token"), 1, "one token serves all questions");
    assert!(
        !world.registry.requests().iter().any(|request| request.path == "/v2/"),
        "where many registries answer 200"
    );
    let asked = world.requests("GET", "/token");
    assert_eq!(asked[0].query.as_deref(), Some("scope=repository%3Ashop%2Fweb%3Apull&service=testbed"));
}

#[tokio::test]
async fn a17_a_challenge_without_scope_means_pulling_from_the_repository() {
    let world = bearer().await;
    let realm = format!("Bearer realm=\"http://{}/token\"", world.registry.host());
    world.registry.inject(challenges(&[&realm]));
    found(&world).await;
    assert_eq!(
        world.requests("GET", "/token")[0].query.as_deref(),
        Some("scope=repository%3Ashop%2Fweb%3Apull")
    );
}

#[rstest::rstest]
#[case::one_line(&["Basic realm=\"x\", Bearer realm=\"REALM\",service=\"testbed\""])]
#[case::two_lines(&["Basic realm=\"x\"", "Bearer realm=\"REALM\",service=\"testbed\""])]
#[case::among_unknown_ones(&["Negotiate", "bearer realm=\"REALM\", NTLM"])]
#[tokio::test]
async fn a17_several_challenges_and_a_token_is_preferred_to_a_password(#[case] lines: &[&str]) {
    let world = bearer().await;
    let realm = format!("http://{}/token", world.registry.host());
    let lines: Vec<String> = lines.iter().map(|line| line.replace("REALM", &realm)).collect();
    world.registry.inject(challenges(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
    found(&world).await;
    let shown = world.registry.requests().into_iter().filter(|request| request.path != "/token");
    assert!(shown.filter_map(|request| request.authorization).all(|value| value.starts_with("Bearer ")));
}

#[tokio::test]
async fn a17_the_second_challenge_is_answered_where_the_first_cannot_be() {
    let world = world().await;
    world.registry.require_basic("", USER, PASSWORD);
    let realm = format!("Bearer realm=\"http://{}/token\", Basic realm=\"x\"", world.registry.host());
    world.registry.inject(challenges(&[&realm]));
    world.registry.inject(Fault::on("/token").status(401));
    found(&world).await;
}

/// Challenges that clients written in Go accept, or worse ones.
#[rstest::rstest]
#[case::slash("Basic realm=/")]
#[case::nothing("Basic realm=")]
#[case::upper_case("BASIC REALM=\"x\",")]
#[case::behind_a_bad_one("Bearer realm=,service=\"x\", Basic realm=\"x\"")]
#[case::behind_an_unknown_one("Negotiate YII=, Digest qop=auth,,nonce, Basic realm=/")]
#[tokio::test]
async fn a17_a_challenge_that_others_can_read(#[case] challenge: &str) {
    let world = world().await;
    world.registry.require_basic("", USER, PASSWORD);
    world.registry.inject(challenges(&[challenge]));
    found(&world).await;
}

/// No credential was tried, so none is the cause.
#[rstest::rstest]
#[case::unknown(Some("Negotiate"), "cannot be read")]
#[case::no_url(Some("Bearer realm=\"/token\""), "cannot be read")]
#[case::nothing(None, "without a challenge")]
#[tokio::test]
async fn a17_a_challenge_that_nobody_can_read_is_named(#[case] challenge: Option<&str>, #[case] says: &str) {
    let world = world().await;
    let headers: Vec<_> = challenge.map(|challenge| ("www-authenticate", challenge)).into_iter().collect();
    world.registry.inject(world.on_image().respond(401, &headers, ""));
    let message = refused(&world, AuthenticationFailed).await;
    assert!(message.contains(says) && message.contains("were not sent"), "{message}");
    assert!(!message.contains("check user name"), "{message}");
    assert!(world.registry.requests().iter().all(|request| request.authorization.is_none()));
}

/// Public content is read even with an expired password. For private content, the password is the cause of the refusal.
#[tokio::test]
async fn a17_rejected_credentials_close_no_open_door() {
    let mut world = World::new().await;
    world.access = access(keyring(&world.registry.host(), USER, "outdated"));
    let challenge = format!("Bearer realm=\"http://{}/token\"", world.registry.host());
    world.registry.inject(challenges(&[&challenge]));
    world.registry.inject(Fault::when(|request| is_token(request) && !anonymous(request)).status(401));
    world.registry.inject(Fault::on("/token").respond(200, &[], r#"{"token":"for-everybody"}"#));
    found(&world).await;
    world.registry.clear_requests();
    found(&world).await;
    assert_eq!(world.asked("GET", "/token"), 0, "what let everybody in is remembered");

    let mut hidden = World::new().await;
    hidden.access = access(keyring(&hidden.registry.host(), USER, "outdated"));
    let challenge = format!("Bearer realm=\"http://{}/token\"", hidden.registry.host());
    let on_image = |request: &Parts| !anonymous(request) && request.uri.path().ends_with("/manifests/v1");
    hidden.registry.inject(Fault::when(on_image).status(404));
    hidden.registry.inject(challenges(&[&challenge]));
    hidden.registry.inject(Fault::when(|request| is_token(request) && !anonymous(request)).status(401));
    hidden.registry.inject(Fault::on("/token").respond(200, &[], r#"{"token":"for-everybody"}"#));
    let message = refused(&hidden, AuthenticationFailed).await;
    assert!(message.contains("does not accept the credentials"), "{message}");
}

/// The message depends on the credentials that were sent.
#[tokio::test]
async fn a17_credentials_that_were_not_sent_lack_no_right() {
    let world = world().await;
    world.registry.inject(world.on_image().status(403));
    let message = refused(&world, Forbidden).await;
    assert!(message.contains("were not sent") && !message.contains("right to pull"), "{message}");
    let nobody = World::new().await;
    nobody.registry.inject(nobody.on_image().status(403));
    let message = refused(&nobody, Forbidden).await;
    assert!(message.contains("spec.registry.pullSecrets") && !message.contains("right to pull"), "{message}");
}

/// The registry has just accepted them for the manifest.
#[tokio::test]
async fn a17_the_message_says_that_credentials_have_worked_before() {
    let world = world().await;
    world.registry.require_basic("", USER, PASSWORD);
    world.registry.inject(world.on_api().respond(401, &[("www-authenticate", "Basic realm=x")], ""));
    let message = refused(&world, AuthenticationFailed).await;
    assert!(message.contains("accepted for this repository before"), "{message}");
}

/// An unreadable entry for the registry is not the same as a missing entry.
#[tokio::test]
async fn a19_a_broken_entry_for_the_registry_is_named() {
    let mut world = World::new().await;
    let host = world.registry.host();
    let mut keys = Keyring::default();
    let document = format!(r#"{{"auths": {{"{host}": {{"auth": "%%%"}}}}}}"#);
    keys.add_docker_config_json(document.as_bytes()).unwrap_err();
    world.access = access(keys.clone());
    let message = refused(&world, Reason::InvalidCredentials).await;
    assert!(message.contains("not base64"), "{message}");
    assert!(world.registry.requests().is_empty());

    world.registry.require_basic("", USER, PASSWORD);
    keys.extend(keyring(&host, USER, PASSWORD), "Secret 'good'");
    world.access = access(keys.clone());
    found(&world).await;
    world.registry.require_basic("", USER, "another password");
    let message = refused(&world, AuthenticationFailed).await;
    assert!(message.contains("not base64"), "the other one may have been the right one: {message}");
}

#[tokio::test]
async fn a17_what_stays_forbidden_is_forbidden() {
    let world = bearer().await;
    world.list().await.unwrap();
    world.registry.clear_requests();
    world.registry.inject(Fault::when(|request| !anonymous(request) && !is_token(request)).status(403));
    let message = refused(&world, Forbidden).await;
    assert!(message.contains("right to pull"), "{message}");
    // With the remembered token, without one, for a new token, with that, and for an anonymous token; the last four
    // again by `GET`.
    assert!(world.registry.requests().len() <= 9, "{:?}", world.registry.requests());
}

#[tokio::test]
async fn a17_a_refusal_without_a_challenge() {
    let world = world().await;
    world.registry.inject(world.on_image().status(401));
    refused(&world, AuthenticationFailed).await;
    let shown = world.registry.requests().into_iter().filter_map(|request| request.authorization);
    assert_eq!(shown.count(), 0, "nobody has said how a password is to be sent");
}

#[rstest::rstest]
#[case::basic(true)]
#[case::bearer(false)]
#[tokio::test]
async fn a17_a_wrong_password_surfaces_as_such(#[case] basic: bool) {
    let mut world = World::new().await;
    world.access = access(keyring(&world.registry.host(), USER, "wrong"));
    if basic {
        world.registry.require_basic("", USER, PASSWORD);
    } else {
        world.registry.require_bearer("", USER, PASSWORD);
    }
    let message = refused(&world, AuthenticationFailed).await;
    assert!(message.contains("password"), "{message}");
    assert!(world.registry.requests().iter().all(|request| request.status == Some(401)));
}

#[rstest::rstest]
#[case::basic(true)]
#[case::bearer(false)]
#[tokio::test]
async fn a17_no_credentials_surface_as_such(#[case] basic: bool) {
    let world = World::new().await;
    if basic {
        world.registry.require_basic("", USER, PASSWORD);
    } else {
        world.registry.require_bearer("", USER, PASSWORD);
    }
    let message = refused(&world, AuthenticationFailed).await;
    assert!(message.contains("spec.registry.pullSecrets"), "{message}");
}

#[tokio::test]
async fn a17_every_credential_that_matches_is_tried_the_most_specific_first() {
    let mut world = World::new().await;
    world.registry.require_basic("", USER, PASSWORD);
    let host = world.registry.host();
    let mut keys = keyring(&host, USER, PASSWORD);
    let wrong =
        Credential { username: "old".to_owned(), password: "old".to_owned().into(), identity_token: None };
    keys.insert(&format!("{host}/shop"), wrong);
    world.access = access(keys);
    found(&world).await;
    let shown: Vec<_> =
        world.registry.requests().into_iter().map(|request| request.authorization).take(3).collect();
    assert_eq!(shown[0], None);
    assert!(shown[1].is_some() && shown[2].is_some() && shown[1] != shown[2], "{shown:?}");
}

/// Requests wait for a turn at the host, and so do the requests that they need before.
#[rstest::rstest]
#[case::token(|world: &World| world.registry.require_bearer("", USER, PASSWORD))]
#[case::password(|world: &World| world.registry.require_basic("", USER, PASSWORD))]
#[case::no_digest(|world: &World| {
    let no_digest = |headers: &mut http::HeaderMap| drop(headers.remove("docker-content-digest"));
    world.registry.inject(world.on_image().headers(no_digest));
})]
#[case::no_head(|world: &World| {
    world.registry.inject(world.on_image().method("HEAD").status(405));
})]
#[tokio::test]
async fn a17_one_turn_at_the_host_is_enough(#[case] arrange: fn(&World)) {
    let mut world = world().await;
    let rate = Rate { concurrency: 1, per_second: None };
    world.client = client(Settings { rate, ..Settings::default() });
    arrange(&world);
    let within = tokio::time::timeout(Duration::from_secs(10), world.files()).await;
    assert_eq!(within.expect("waits for a turn that it holds itself").unwrap().len(), 1);
}

#[tokio::test]
async fn a17_as_many_questions_as_there_are_turns() {
    let world = world().await;
    let mut repositories = Vec::new();
    for number in 0..40 {
        let repository = format!("many/{number}");
        let pusher = crate::push::Pusher::new(&format!("http://{}", world.registry.host()), &repository);
        pusher.blob(crate::push::EMPTY).await;
        pusher.tag("v1", &crate::push::image("many")).await;
        repositories.push(repository);
    }
    world.registry.require_bearer("", USER, PASSWORD);
    let ask = |repository: &String| {
        let image = format!("{}/{repository}:v1", world.registry.host()).parse().unwrap();
        let question = Question::new(&world.client, &world.access, image);
        async move { question.files().await }
    };
    let all = futures::future::join_all(repositories.iter().map(ask));
    let all = tokio::time::timeout(Duration::from_secs(20), all).await.expect("they wait for each other");
    let all: Result<Vec<Files>, _> = all.into_iter().collect();
    assert_eq!(all.unwrap().len(), 40);
}
