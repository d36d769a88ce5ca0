//! The embedded registry as a client sees it: what it records, and what it can be made to do.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::{Client, StatusCode};
use testbed::registry::{EmbeddedRegistry, Fault};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn client() -> Client {
    testbed::install_crypto_provider();
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// A registry with one manifest, `a/b:v1`, that refers to nothing.
async fn registry() -> (EmbeddedRegistry, Client, String) {
    let registry = EmbeddedRegistry::start().await.unwrap();
    let client = client();
    let url = format!("http://{}/v2/a/b/manifests/v1", registry.host());
    let empty = r#"{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;
    let blob = format!(
        "http://{}/v2/a/b/blobs/uploads/?digest=sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        registry.host()
    );
    assert_eq!(client.post(blob).body("{}").send().await.unwrap().status(), StatusCode::CREATED);
    let manifest =
        format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{empty},"layers":[{empty}]}}"#);
    let put = client.put(&url).header("content-type", MANIFEST).body(manifest).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    registry.clear_requests();
    (registry, client, url)
}

#[tokio::test]
async fn requests_are_recorded_with_their_answers() {
    let (registry, client, url) = registry().await;
    client.get(format!("{url}?x=1")).header("authorization", "Basic xyz").send().await.unwrap();
    client.head(url.replace("v1", "v9")).send().await.unwrap();
    let requests = registry.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target().as_str()),
        ("GET", "/v2/a/b/manifests/v1?x=1")
    );
    assert_eq!((requests[0].status, requests[0].authorization.as_deref()), (Some(200), Some("Basic xyz")));
    assert_eq!((requests[1].method.as_str(), requests[1].status), ("HEAD", Some(404)));
    assert_eq!(requests[1].authorization, None);
}

#[tokio::test]
async fn faults_answer_instead_of_the_registry() {
    let (registry, client, url) = registry().await;
    let fault =
        registry.inject(Fault::on("/manifests/").respond(429, &[("retry-after", "2")], "slow down").times(1));
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(
        (refused.status(), refused.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "2")
    );
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK, "only once");
    assert_eq!(registry.hits(fault), 1);

    registry.inject(Fault::on("/manifests/").redirect_to_host(307, "127.0.0.1:1"));
    let redirect = client.get(&url).send().await.unwrap();
    assert_eq!(redirect.headers()["location"], "http://127.0.0.1:1/v2/a/b/manifests/v1");
    registry.clear_faults();

    registry.inject(Fault::always().disconnect());
    assert!(client.get(&url).send().await.is_err());
    registry.clear_faults();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn faults_change_what_the_registry_answers() {
    let (registry, client, url) = registry().await;
    let whole = client.get(&url).send().await.unwrap().bytes().await.unwrap();

    registry.inject(Fault::on("/manifests/").truncate(10));
    let cut = client.get(&url).send().await.unwrap();
    assert_eq!(cut.content_length(), Some(whole.len() as u64), "promised in full");
    assert!(cut.bytes().await.is_err(), "and broken off");
    registry.clear_faults();

    registry.inject(Fault::on("/manifests/").body(|parts, bytes| {
        parts.headers.insert("x-old-length", bytes.len().into());
        "changed"
    }));
    registry
        .inject(Fault::on("/manifests/").headers(|headers| drop(headers.remove("docker-content-digest"))));
    let changed = client.get(&url).send().await.unwrap();
    assert_eq!(changed.headers()["x-old-length"].to_str().unwrap(), whole.len().to_string());
    assert!(!changed.headers().contains_key("docker-content-digest"));
    assert_eq!(changed.text().await.unwrap(), "changed");
    registry.clear_faults();

    registry.inject(Fault::on("/manifests/").declares(1_000_000));
    let declared = client.get(&url).send().await.unwrap();
    assert_eq!(declared.content_length(), Some(1_000_000));
    assert!(declared.bytes().await.is_err(), "there is no more than there was");
    registry.clear_faults();

    registry.inject(Fault::on("/manifests/").endless());
    let mut endless = client.get(&url).send().await.unwrap();
    let mut seen = 0;
    while seen < 10_000_000 {
        seen += endless.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn slow_and_silent() {
    let (registry, client, url) = registry().await;
    registry.inject(Fault::on("/manifests/").delay(Duration::from_millis(200)).times(1));
    let started = Instant::now();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
    assert!(started.elapsed() >= Duration::from_millis(200));

    registry.inject(Fault::on("/manifests/").hang());
    registry.clear_requests();
    let hanging = client.get(&url).timeout(Duration::from_millis(200)).send().await;
    assert!(hanging.unwrap_err().is_timeout());
    assert_eq!(registry.requests()[0].status, None, "never answered");
}

#[tokio::test]
async fn stopping_breaks_connections_and_keeps_the_content() {
    let (registry, client, url) = registry().await;
    registry.inject(Fault::on("/manifests/").hang().times(1));
    let in_flight = tokio::spawn(client.get(&url).send());
    while registry.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    registry.stop().await;
    assert!(in_flight.await.unwrap().is_err());
    assert!(client.get(&url).send().await.unwrap_err().is_connect());
    registry.restart().await.unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn basic_credentials_by_repository() {
    let (registry, client, url) = registry().await;
    registry.require_basic("a/", "u", "p");
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    assert_eq!(client.get(&url).header("authorization", basic("u:x")).send().await.unwrap().status(), 401);
    assert_eq!(client.get(&url).header("authorization", basic("u:p")).send().await.unwrap().status(), 200);
    let elsewhere = url.replace("/a/b/", "/other/");
    assert_eq!(client.get(elsewhere).send().await.unwrap().status(), 404, "nobody asks there");
}

#[tokio::test]
async fn tokens_are_for_their_repository_and_action() {
    let (registry, client, url) = registry().await;
    let host = registry.host();
    registry.require_bearer("", "u", "p");
    let refused = client.get(&url).send().await.unwrap();
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(
        challenge,
        format!(r#"Bearer realm="http://{host}/token",service="testbed",scope="repository:a/b:pull""#)
    );
    let ask = format!("http://{host}/token?service=testbed&scope=repository:a/b:pull");
    assert_eq!(client.get(&ask).header("authorization", basic("u:x")).send().await.unwrap().status(), 401);
    let issued =
        client.get(&ask).header("authorization", basic("u:p")).send().await.unwrap().text().await.unwrap();
    let issued: serde_json::Value = serde_json::from_str(&issued).unwrap();
    let bearer = format!("Bearer {}", issued["token"].as_str().unwrap());
    assert_eq!(client.get(&url).header("authorization", &bearer).send().await.unwrap().status(), 200);
    let put = client.put(&url).header("authorization", &bearer).body("{}").send().await.unwrap();
    assert_eq!(put.status(), 401);
    assert!(put.headers()["www-authenticate"].to_str().unwrap().contains("insufficient_scope"));

    registry.revoke_tokens();
    let revoked = client.get(&url).header("authorization", &bearer).send().await.unwrap();
    assert!(revoked.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    assert!(
        registry.requests().iter().any(|request| request.path == "/token"),
        "the token server is recorded too"
    );
}

#[tokio::test]
async fn identity_tokens_are_traded_for_tokens() {
    let (registry, client, url) = registry().await;
    registry.require_identity_token("a/", "refresh-me");
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    let trade = async |token: &str| {
        let form = format!(
            "grant_type=refresh_token&service=testbed&scope=repository:a/b:pull&refresh_token={token}"
        );
        client.post(format!("http://{}/token", registry.host())).body(form).send().await.unwrap()
    };
    assert_eq!(trade("another").await.status(), 401);
    let issued: serde_json::Value =
        serde_json::from_str(&trade("refresh-me").await.text().await.unwrap()).unwrap();
    let bearer = format!("Bearer {}", issued["access_token"].as_str().unwrap());
    assert_eq!(client.get(&url).header("authorization", &bearer).send().await.unwrap().status(), 200);
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}
