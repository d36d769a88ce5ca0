//! Line 17, tokens: which answers of a token server have one, how long it serves, and where a password may go for it.

use std::time::Duration;

use api::Reason::{self, AuthenticationFailed, RateLimited, RegistryUnavailable};
use http::request::Parts;
use oci::ImageRef;
use registry::Keyring;
use testbed::registry::Fault;

use crate::auth::{PASSWORD, USER, bearer, challenges, found, refused, world};
use crate::expect::tells;
use crate::world::{Question, REPOSITORY, World, access, keyring};

#[tokio::test]
async fn a17_a_token_called_access_token() {
    let world = bearer().await;
    let only = |_: &mut http::response::Parts, bytes: bytes::Bytes| {
        let mut answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        answer.as_object_mut().unwrap().retain(|member, _| member == "access_token");
        answer.to_string()
    };
    world.registry.inject(Fault::on("/token").body(only));
    found(&world).await;
}

/// Token servers written in Go answer in many forms: the other members of the answer do not matter.
#[rstest::rstest]
#[case::null_beside(r#"{"token":"t","access_token":null,"expires_in":"300","issued_at":null}"#)]
#[case::null_before(r#"{"token":null,"access_token":"t","expires_in":-1,"refresh_token":{"a":[]}}"#)]
#[tokio::test]
async fn a17_a_token_is_taken_from_any_answer_that_has_one(#[case] body: &'static str) {
    let world = world().await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", world.registry.host());
    world.registry.inject(challenges(&[&challenge]));
    world.registry.inject(Fault::on("/token").respond(200, &[], body));
    found(&world).await;
    let shown = world.requests("GET", "/manifests/").into_iter().filter_map(|request| request.authorization);
    assert!(shown.into_iter().all(|value| value == "Bearer t"));
}

/// Neither a token for another repository nor one that may push is ever needed.
#[rstest::rstest]
#[case::push("repository:shop/web:pull,push")]
#[case::other("repository:bank/vault:pull")]
#[case::both("repository:shop/web:pull repository:bank/vault:pull,push,delete")]
#[case::everything("registry:catalog:*")]
#[tokio::test]
async fn a17_a_token_is_asked_to_pull_from_the_repository_alone(#[case] scope: &str) {
    let world = bearer().await;
    let host = world.registry.host();
    world.registry.inject(challenges(&[&format!(
        "Bearer realm=\"http://{host}/token\",service=\"testbed\",scope=\"{scope}\""
    )]));
    found(&world).await;
    let asked = world.requests("GET", "/token");
    assert_eq!(asked[0].query.as_deref(), Some("scope=repository%3Ashop%2Fweb%3Apull&service=testbed"));
}

#[tokio::test]
async fn a17_tokens_that_live_a_second() {
    let world = bearer().await;
    world.registry.set_token_lifetime(Duration::from_secs(1));
    found(&world).await;
    found(&world).await;
    assert!(world.asked("GET", "/token") > 1, "none is trusted to its last moment");
}

#[tokio::test]
async fn a17_a_token_that_ran_out_early_is_renewed_once() {
    let world = bearer().await;
    world.list().await.unwrap();
    world.registry.revoke_tokens();
    world.list().await.unwrap();
    assert_eq!(world.asked("GET", "/token"), 2);
}

/// ECR answers 403 if the token has expired.
#[tokio::test]
async fn a17_a_token_that_is_forbidden_is_renewed_once() {
    let world = bearer().await;
    world.list().await.unwrap();
    let first = world.requests("GET", "/referrers/").pop().unwrap().authorization.unwrap();
    let is_first = move |request: &Parts| {
        request.headers.get("authorization").is_some_and(|value| value.as_bytes() == first.as_bytes())
    };
    world.registry.inject(Fault::when(is_first).respond(403, &[], r#"{"errors":[{"code":"DENIED"}]}"#));
    world.list().await.unwrap();
    assert_eq!(world.asked("GET", "/token"), 2);
}

#[tokio::test]
async fn a17_an_identity_token_is_traded_for_a_token() {
    let mut world = World::new().await;
    world.registry.require_identity_token("", "refresh-me");
    let mut keys = Keyring::default();
    let document = format!(
        r#"{{"auths":{{"{}":{{"auth":"MDAwMDA6","identitytoken":"refresh-me"}}}}}}"#,
        world.registry.host()
    );
    keys.add_docker_config_json(document.as_bytes()).unwrap();
    world.access = access(keys);
    found(&world).await;
    let asked = world.requests("POST", "/token");
    assert_eq!(
        (asked.len(), &asked[0].query, &asked[0].authorization),
        (1, &None, &None),
        "it travels in the form alone"
    );
}

#[tokio::test]
async fn a17_anonymous_where_the_token_server_allows_it() {
    let world = World::new().await;
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"testbed\"", world.registry.host());
    world.registry.inject(challenges(&[&challenge]));
    world.registry.inject(Fault::on("/token").respond(200, &[], r#"{"token":"for-everybody"}"#));
    found(&world).await;
    assert_eq!(world.requests("GET", "/token")[0].authorization, None);
}

/// An outage of the token server is neither a wrong password nor a reason to go on anonymously.
#[rstest::rstest]
#[case::error(500, "", RegistryUnavailable)]
#[case::unavailable(503, "", RegistryUnavailable)]
#[case::too_many(429, "", RateLimited)]
#[case::redirected(302, "", RegistryUnavailable)]
#[case::no_token(200, "{}", RegistryUnavailable)]
#[case::no_json(200, "<html>", RegistryUnavailable)]
#[case::no_header_value(200, r#"{"token":"a\nb"}"#, RegistryUnavailable)]
#[case::refused(401, "", AuthenticationFailed)]
#[case::forbidden(403, "", AuthenticationFailed)]
#[tokio::test]
async fn a17_a_token_server_that_gives_none(
    #[case] status: u16,
    #[case] body: &'static str,
    #[case] reason: Reason,
) {
    let world = bearer().await;
    let elsewhere = format!("http://{}/token", world.elsewhere.host());
    world.registry.inject(Fault::on("/token").respond(
        status,
        &[("location", &elsewhere), ("retry-after", "0")],
        body,
    ));
    refused(&world, reason).await;
    assert!(world.elsewhere.requests().is_empty(), "a password goes where the challenge said and no further");
    let content = world.registry.requests().into_iter().filter(|request| request.path != "/token");
    assert!(content.into_iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn a17_a_token_server_says_when_to_come_back() {
    let world = bearer().await;
    world.registry.inject(Fault::on("/token").respond(429, &[("retry-after", "3600")], ""));
    let failure = world.files().await.unwrap_err();
    assert_eq!((failure.reason, failure.retry_after), (RateLimited, Some(Duration::from_hours(1))));
}

#[rstest::rstest]
#[case::endless(Fault::on("/token").endless())]
#[case::cut(Fault::on("/token").truncate(3))]
#[tokio::test]
async fn a17_a_token_server_that_does_not_come_to_an_end(#[case] fault: Fault) {
    let world = bearer().await;
    world.registry.inject(fault);
    refused(&world, RegistryUnavailable).await;
}

/// The registry chooses the realm. `localhost` stands for a public name here: only the registry's own host may name
/// an address that is not public.
#[rstest::rstest]
#[case::metadata("http://169.254.169.254/latest/meta-data/")]
#[case::private("http://10.0.0.1/token")]
#[case::loopback("http://ELSEWHERE/token")]
#[case::mapped("http://[::ffff:10.0.0.1]/token")]
#[case::file("file:///etc/passwd")]
#[case::user_information("http://user:pass@localhost/token")]
#[tokio::test]
async fn a17_a_realm_where_no_password_belongs(#[case] realm: &str) {
    let world = World::new().await;
    let realm = realm.replace("ELSEWHERE", &world.elsewhere.host());
    world.registry.inject(challenges(&[&format!("Bearer realm=\"{realm}\"")]));
    let host = world.registry.host().replace("127.0.0.1", "localhost");
    let access = access(keyring(&host, USER, PASSWORD));
    let image: ImageRef = format!("{host}/{REPOSITORY}:v1").parse().unwrap();
    let failure = Question::new(&world.client, &access, image).files().await.unwrap_err();
    assert_eq!(failure.reason, AuthenticationFailed, "{failure:?}");
    assert!(failure.message.contains(&host), "{}", failure.message);
    assert!(world.elsewhere.requests().is_empty());
}

/// A registry on a private address may name another one, but never that of a metadata service.
#[tokio::test]
async fn a17_a_realm_at_the_metadata_service() {
    let world = world().await;
    world.registry.inject(challenges(&["Bearer realm=\"http://169.254.169.254/token\""]));
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, Reason::RegistryNotAllowed, "{failure:?}");
    tells(&failure, &world);
}
