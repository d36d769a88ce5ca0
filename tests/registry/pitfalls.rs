//! The ten pitfalls of other clients, each with its damage.

use api::Reason::{AuthenticationFailed, Forbidden, RateLimited};
use oci::{Digest, TITLE, media_type};
use serde_json::{Value, json};
use testbed::registry::Fault;

use crate::expect::Expect::{Api, Files, Nothing, Refused, Tag};
use crate::expect::rows;
use crate::push::{self, Pushed, Pusher};
use crate::world::{CONFIG, FILE, INDEX, REPOSITORY, World, access, keyring};

const DENIED: &str =
    r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
const TOO_MANY: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"rate limit exceeded"}]}"#;
const JSON: &[(&str, &str)] = &[("content-type", "application/json"), ("retry-after", "0")];

/// The registry has no API, and answers requests for the tag like this.
fn tag_answers(w: &World, status: u16, body: &'static str) -> Vec<Fault> {
    vec![w.on_api().status(404), w.on_tag().respond(status, JSON, body)]
}

// 1. A refusal with a JSON body on the referrers tag, taken for an empty list: pruning would delete what runs.
rows! {
    c01_forbidden_is_not_an_empty_list: |w| tag_answers(w, 403, DENIED) => Refused(Forbidden);
    c01_limited_is_not_an_empty_list: |w| tag_answers(w, 429, TOO_MANY) => Refused(RateLimited);
    c01_unauthorized_is_not_an_empty_list: |w| tag_answers(w, 401, DENIED) => Refused(AuthenticationFailed);
}

// 2. GitLab returns the image itself for the referrers tag (an index as image: `platforms.rs`).
rows! {
    c02_the_image_under_its_referrers_tag_is_no_list: |w| {
        vec![w.on_api().status(404), w.on_tag().redirect(307, &format!("/v2/{REPOSITORY}/manifests/v1"))]
    } => Nothing("");
}

/// The answers of GHCR to a request for referrers, on different days.
fn ghcr(w: &World, day: Fault) -> Vec<Fault> {
    w.elsewhere.inject(day);
    vec![w.on_api().redirect(303, &format!("http://{}/-/v2/packages/container", w.elsewhere.host()))]
}

// 3. GHCR redirects questions about referrers to a web site: 404, 429 or HTML, depending on the day.
rows! {
    c03_a_web_site_that_answers_404: |w| ghcr(w, Fault::always().respond(404, JSON, "{}")) => Tag;
    c03_a_web_site_that_answers_429: |w| ghcr(w, Fault::always().respond(429, &[("retry-after", "3600")], TOO_MANY)) => Tag;
    c03_a_web_site_that_answers_with_a_page: |w| ghcr(w, Fault::always().respond(200, &[("content-type", "text/html")], "<html>")) => Tag;
}

// 4. Lists cut off without paging, filters that are not applied: both invisible in small tests.
rows! {
    c04_the_config_is_on_the_last_page_and_nothing_is_filtered: |w| {
        let page = |number: usize, entry: &Pushed| {
            let here = move |request: &http::request::Parts| {
                let query = request.uri.query().unwrap_or_default();
                request.uri.path().contains("/referrers/") && if number == 0 { !query.contains("page=") } else { query == format!("page={number}") }
            };
            let next = format!("<?page={}>; rel=\"next\"", number + 1);
            let mut headers = vec![("content-type", INDEX)];
            if number < 20 {
                headers.push(("link", &next));
            }
            Fault::when(here).respond(200, &headers, push::index(&[entry.descriptor()]).to_string())
        };
        (0..21).map(|number| page(number, if number == 20 { &w.config } else { &w.other })).collect()
    } => Api;
}

/// What cosign and others push to the referrers tag.
fn carelessly(artifact: &Pushed) -> Value {
    json!({"mediaType": artifact.media_type, "digest": artifact.digest, "size": artifact.bytes.len(), "artifactType": media_type::EMPTY})
}

// 5. Entries under the tag without their type, and entries of what is long gone.
rows! {
    c05_entries_of_careless_pushers: |w| {
        let gone = Pushed::new(&push::image("gone"));
        w.tag_lists(&[carelessly(&gone), carelessly(&w.other), carelessly(&w.config), gone.as_subject()])
    } => Tag;
}

/// 6. Attached to the index, while a Pod names the image of its platform, or the other way round.
#[tokio::test]
async fn c06_index_and_image_are_different_digests() {
    let world = World::new().await;
    let mut entry = world.image.as_subject();
    entry["platform"] = json!({"os": "linux", "architecture": "arm64"});
    world.pusher.tag("multi", &push::index(&[entry])).await;
    let mut question = world.question();
    question.image = format!("{}/{REPOSITORY}:multi", world.registry.host()).parse().unwrap();
    assert_eq!(question.list().await.unwrap().artifacts, []);
    question.platform = Some("linux/arm64".parse().unwrap());
    let listing = question.list().await.unwrap();
    assert_eq!(listing.artifacts.len(), 1);
    assert!(listing.notes[0].contains(&world.image.digest.to_string()), "{:?}", listing.notes);
}

// 7. Plain files have the media type of a tar, and directories are told by an annotation alone. Names are paths.
rows! {
    c07_a_plain_file_that_calls_itself_a_tar: |w| {
        let bytes = "not a tar";
        let mut layer = push::descriptor("application/vnd.oci.image.layer.v1.tar+gzip", bytes.as_bytes());
        layer["annotations"] = json!({TITLE: "conf.d/plain"});
        let mut faults = w.only(&w.artifact(&[layer.clone()]));
        faults.push(w.serves_blob(&layer["digest"], bytes.as_bytes()));
        faults
    } => Files(&[("conf.d/plain", "not a tar")]);
}

/// 8. Credentials that bleed: between tenants, and to where a registry points.
#[tokio::test]
async fn c08_a_password_stays_with_its_tenant_and_its_registry() {
    let mut world = World::new().await;
    world.registry.require_basic("", "robot", "secret");
    world.access = access(keyring(&world.registry.host(), "robot", "secret"));
    assert_eq!(world.files().await.unwrap().len(), 1);
    world.access = access(keyring("registry.example.com", "robot", "secret"));
    assert_eq!(world.files().await.unwrap_err().reason, AuthenticationFailed);

    world.registry.clear_auth();
    world.access = access(keyring(&world.registry.host(), "robot", "other"));
    let challenge = format!("Bearer realm=\"http://{}/token\"", world.elsewhere.host());
    world.elsewhere.inject(Fault::always().respond(401, &[("www-authenticate", &challenge)], ""));
    world.registry.inject(world.on_image().redirect_to_host(307, &world.elsewhere.host()));
    world.files().await.unwrap_err();
    let elsewhere = world.elsewhere.requests();
    assert!(
        !elsewhere.is_empty() && elsewhere.iter().all(|request| request.authorization.is_none()),
        "{elsewhere:?}"
    );
}

/// 9. `oras attach` dates its manifests, so that the same file attached twice is two artifacts. Nothing distinguishes
/// the older of them from a rollback, so both are listed, and can still be fetched by their digests when the tag moves.
#[tokio::test]
async fn c09_the_same_file_twice_is_two_artifacts() {
    let world = World::new().await;
    let mut again =
        push::artifact(CONFIG, &world.image.as_subject(), &[push::file(FILE.0, FILE.1.as_bytes())]);
    again["annotations"] = json!({oci::CREATED: "2026-01-02T03:04:06Z"});
    let again = world.pusher.manifest(&again).await;
    let before = world.list().await.unwrap().artifacts;
    let mut digests = [&world.config.digest, &again.digest];
    digests.sort();
    assert_eq!(before.iter().map(|artifact| &artifact.digest).collect::<Vec<_>>(), digests);
    for fault in world.tag_lists(&[again.descriptor()]) {
        world.registry.inject(fault);
    }
    assert_eq!(world.list().await.unwrap().artifacts.len(), 1);
    for artifact in &before {
        assert_eq!(world.question().pull(artifact).await.unwrap().len(), 1, "{}", artifact.digest);
    }
}

/// 10. A mirror that has the image but not its artifacts.
#[tokio::test]
async fn c10_a_mirror_without_the_config_says_so_and_the_registry_can_be_used_instead() {
    let world = World::new().await;
    let mirror = Pusher::new(&format!("http://{}", world.elsewhere.host()), "mirror/web");
    mirror.blob(push::EMPTY).await;
    let copy = mirror.tag("v1", &serde_json::from_str(&world.image.bytes).unwrap()).await;
    assert_eq!(copy.digest, world.image.digest, "a copy has the same digest");
    let mut question = world.question();
    question.image = format!("{}/mirror/web:v1", world.elsewhere.host()).parse().unwrap();
    assert_eq!(
        question.list().await.unwrap().artifacts,
        [],
        "nothing is attached, in the mirror's own words"
    );
    question.referrers = Some(world.repository());
    assert_eq!(question.files().await.unwrap(), [(FILE.0.to_owned(), FILE.1.to_owned())]);
    // The other way round: the artifacts are only in the mirror.
    let config: Value = serde_json::from_str(&world.config.bytes).unwrap();
    mirror.blob(FILE.1.as_bytes()).await;
    mirror.manifest(&config).await;
    question.referrers = None;
    assert_eq!(question.files().await.unwrap().len(), 1);
}

/// Its runner-up: registries answer 404 for what `Accept` does not list.
#[tokio::test]
async fn c10_a_missing_accept_is_not_a_missing_image() {
    let world = World::new().await;
    let types: [(&Digest, &str); 2] =
        [(&world.image.digest, media_type::OCI_MANIFEST), (&world.config.digest, media_type::OCI_MANIFEST)];
    let paths: Vec<(String, &str)> =
        types.into_iter().map(|(digest, kind)| (digest.to_string(), kind)).collect();
    let is_unaccepted = move |request: &http::request::Parts| {
        let accept = request.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = request.uri.path();
        let needed = paths
            .iter()
            .find(|(digest, _)| path.ends_with(digest))
            .map_or(media_type::OCI_MANIFEST, |(_, kind)| kind);
        path.contains("/manifests/") && !accept.contains(needed)
    };
    world.registry.inject(Fault::when(is_unaccepted).status(404));
    assert_eq!(world.files().await.unwrap().len(), 1);
}
