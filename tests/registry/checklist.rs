//! What a referrers client has to get right, line by line. Each test is named after its line; where a line takes more
//! than a fault and an answer, the rest of its tests is in the file that the comment names. The last test of this file
//! sees to it that no line is without one.
//!
//! Lines 24 (rollback) and 25 (image ids in the status of Pods) are not of this layer: what is kept for a rollback is
//! the `ConfigMap` (`crates/decide/src/target/plan/`, `tests/e2e/lifecycle.rs`), and the operator does not read the
//! status of Pods. Line 26 (signatures) is not built yet.

use api::Reason::{
    AuthenticationFailed, DigestMismatch, Forbidden, ImageNotFound, InvalidContent, RateLimited,
    RegistryUnavailable, TooLarge,
};
use http::HeaderMap;
use oci::media_type;
use serde_json::json;
use testbed::registry::Fault;

use crate::expect::Expect::{Api, Nothing, Refused, Tag, Unknown};
use crate::expect::rows;
use crate::push::{self, EMPTY, Pushed};
use crate::world::{FILE, INDEX, World};

const DIGEST: &str = "docker-content-digest";
const HTML: &[(&str, &str)] = &[("content-type", "text/html; charset=utf-8")];
const ENVELOPE: &str = r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#;
const JSON: &[(&str, &str)] = &[("content-type", "application/json"), ("retry-after", "0")];
const MIB: usize = 1024 * 1024;

fn no_digest(headers: &mut HeaderMap) {
    headers.remove(DIGEST);
}

/// The header of some other content.
fn another_digest(headers: &mut HeaderMap) {
    headers.insert(DIGEST, push::Pushed::new(&push::image("another")).digest.to_string().parse().unwrap());
}

fn sha512_digest(headers: &mut HeaderMap) {
    headers.insert(DIGEST, format!("sha512:{}", "ab".repeat(64)).parse().unwrap());
}

// 1. Tag → digest by HEAD, GET when no digest header.
rows! {
    a01_the_digest_of_a_tag_is_in_the_answer_to_head: |_| vec![] => Api;
    a01_without_the_header_the_content_is_hashed: |w| vec![w.on_image().method("HEAD").headers(no_digest)] => Api;
    a01_head_is_not_allowed: |w| vec![w.on_image().method("HEAD").status(405)] => Api;
    a01_head_finds_nothing_where_get_does: |w| vec![w.on_image().method("HEAD").status(404)] => Api;
    a01_head_is_forbidden: |w| vec![w.on_image().method("HEAD").status(403)] => Api;
    a01_head_is_unauthorized: |w| vec![w.on_image().method("HEAD").status(401)] => Api;
    a01_head_is_unknown: |w| vec![w.on_image().method("HEAD").status(501)] => Api;
    a01_head_fails: |w| vec![w.on_image().method("HEAD").status(500)] => Api;
    a01_head_answers_with_something_else: |w| vec![w.on_image().method("HEAD").status(204)] => Api;
    a01_the_header_is_no_text: |w| {
        let garbled = |headers: &mut HeaderMap| drop(headers.insert(DIGEST, http::HeaderValue::from_bytes(b"\xff").unwrap()));
        vec![w.on_image().method("HEAD").headers(garbled)]
    } => Api;
    a01_too_many_questions_are_not_followed_by_another: |w| vec![w.on_image().method("HEAD").respond(429, JSON, "")] => Refused(RateLimited);
    a01_the_header_is_of_an_unknown_algorithm: |w| {
        let unknown = |headers: &mut HeaderMap| drop(headers.insert(DIGEST, "blake3:00".parse().unwrap()));
        vec![w.on_image().method("HEAD").headers(unknown)]
    } => Api;
    a01_the_image_does_not_exist: |w| vec![w.on_image().respond(404, JSON, ENVELOPE)] => Refused(ImageNotFound);
    a01_a_login_page_is_no_image: |w| {
        let page = Fault::always().respond(200, HTML, "<html>who are you?</html>");
        vec![w.on_api().status(404), w.on_tag().status(404), page]
    } => Unknown;
    a01_a_digest_that_the_registry_does_not_have_is_not_an_image_without_config: |w| {
        vec![w.on_image().headers(another_digest)]
    } => Unknown;
}

// 2. Requested digest ≠ body → error, nothing written.
rows! {
    a02_another_manifest: |w| vec![w.on_config().body(|_, _| push::image("forged").to_string())] => Refused(DigestMismatch);
    a02_another_blob_of_the_same_size: |w| vec![w.on_blob().body(|_, bytes| bytes.to_ascii_uppercase())] => Refused(DigestMismatch);
    a02_a_shorter_blob: |w| vec![w.on_blob().body(|_, bytes| bytes.slice(1..))] => Refused(DigestMismatch);
    a02_a_longer_blob: |w| vec![w.on_blob().body(|_, bytes| [&bytes[..], b"!"].concat())] => Refused(DigestMismatch);
    a02_what_counts_is_the_body_and_not_the_header: |w| vec![w.on_config().headers(another_digest)] => Api;
    a02_the_header_may_be_of_another_algorithm: |w| vec![w.on_config().headers(sha512_digest)] => Api;
    a02_the_header_may_be_missing: |w| vec![w.on_config().headers(no_digest)] => Api;
    a02_the_size_in_the_descriptor_is_wrong: |w| {
        let mut layer = push::file(FILE.0, FILE.1.as_bytes());
        layer["size"] = json!(FILE.1.len() + 1);
        w.only(&w.artifact(&[layer]))
    } => Refused(DigestMismatch);
}

// 3. API path, filter sent and re-applied. More in `referrers.rs`.
rows! {
    a03_a_filter_that_was_not_applied_is_applied_here: |w| {
        vec![w.api_lists(&[w.other.descriptor(), w.config.descriptor()])]
    } => Api;
    a03_a_filter_that_is_said_to_be_applied_is_applied_all_the_same: |w| {
        let listed = push::index(&[w.other.descriptor(), w.config.descriptor()]).to_string();
        let headers = [("content-type", INDEX), ("oci-filters-applied", "artifactType")];
        vec![w.on_api().respond(200, &headers, listed)]
    } => Api;
    a03_only_other_types_are_listed: |w| vec![w.api_lists(&[w.other.descriptor()])] => Nothing("");
    a03_a_list_that_lies_about_the_type: |w| {
        let mut descriptor = w.other.descriptor();
        descriptor["artifactType"] = w.config.descriptor()["artifactType"].clone();
        vec![w.api_lists(&[descriptor])]
    } => Nothing("");
}

/// An empty first page, whose `Link` is this, and a second one with the config.
fn pages(w: &World, link: &str) -> Vec<Fault> {
    let is_second = |request: &http::request::Parts| {
        request.uri.path().contains("/referrers/")
            && request.uri.query().is_some_and(|query| query.contains("page=2"))
    };
    let second = push::index(&[w.config.descriptor()]).to_string();
    let first = [("content-type", INDEX), ("link", link)];
    vec![
        Fault::when(is_second).respond(200, &[("content-type", INDEX)], second),
        w.on_api().respond(200, &first, push::index(&[]).to_string()),
    ]
}

fn second_page(w: &World) -> String {
    format!("/v2/shop/web/referrers/{}?page=2", w.image.digest)
}

/// The same pages; the second one fails.
fn second_page_answers(w: &World, status: u16) -> Vec<Fault> {
    let fault = Fault::exactly(&second_page(w)).respond(status, JSON, ENVELOPE);
    [fault].into_iter().chain(pages(w, "<?page=2>; rel=next")).collect()
}

// 4. Paging to the end, relative and absolute links, cap, loop and cross-origin refusal. More in `referrers.rs`.
rows! {
    a04_a_relative_link: |w| pages(w, &format!("<{}>; rel=\"next\"", second_page(w))) => Api;
    a04_a_link_of_a_query_alone: |w| pages(w, "<?page=2>; rel=next") => Api;
    a04_an_absolute_link: |w| pages(w, &format!("<http://{}{}>; rel=\"next\"", w.registry.host(), second_page(w))) => Api;
    a04_a_link_among_others: |w| pages(w, "<?page=1>; rel=\"first\", <?page=2>; title=\"a, b\"; rel=\"prev next\"") => Api;
    a04_a_link_to_another_host: |w| {
        pages(w, &format!("<http://{}{}>; rel=\"next\"", w.elsewhere.host(), second_page(w)))
    } => Refused(InvalidContent);
    a04_a_link_to_itself: |w| {
        let itself = "<?artifactType=custom%2Fconfig>; rel=\"next\"";
        vec![w.on_api().respond(200, &[("content-type", INDEX), ("link", itself)], push::index(&[]).to_string())]
    } => Refused(InvalidContent);
    a04_a_circle: |w| {
        let circle = "<?page=0>; rel=\"next\"";
        vec![w.on_api().respond(200, &[("content-type", INDEX), ("link", circle)], push::index(&[]).to_string())]
    } => Refused(InvalidContent);
    a04_a_link_without_a_relation: |w| pages(w, "<?page=2>") => Api;
    a04_a_link_in_single_quotes: |w| pages(w, "<?page=2>; rel='next'") => Api;
    a04_a_link_without_brackets_is_not_the_end: |w| pages(w, "?page=2; rel=\"next\"") => Refused(InvalidContent);
    a04_a_link_that_does_not_close_is_not_the_end: |w| pages(w, "<?page=2; rel=\"next\"") => Refused(InvalidContent);
    a04_a_link_that_is_no_url_is_not_the_end: |w| pages(w, "<http://[>; rel=\"next\"") => Refused(InvalidContent);
    a04_a_link_that_is_no_text_is_not_the_end: |w| {
        let listed = push::index(&[w.config.descriptor()]).to_string();
        vec![w.on_api().body(move |parts, _| {
            parts.headers.insert("link", http::HeaderValue::from_bytes(b"<?page=\xff>; rel=next").unwrap());
            listed.clone()
        })]
    } => Refused(InvalidContent);
    a04_two_next_pages_are_not_one: |w| pages(w, "<?page=2>; rel=next, <?page=3>; rel=next") => Refused(InvalidContent);
    a04_the_second_page_is_missing: |w| second_page_answers(w, 404) => Refused(InvalidContent);
    a04_the_second_page_fails: |w| second_page_answers(w, 500) => Refused(RegistryUnavailable);
    a04_the_second_page_is_refused: |w| second_page_answers(w, 403) => Refused(Forbidden);
    a04_the_second_page_is_limited: |w| second_page_answers(w, 429) => Refused(RateLimited);
}

/// Some gateways compress for every client.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// GHCR redirects requests for referrers to its web site.
fn ghcr(w: &World, answer: Fault) -> Vec<Fault> {
    w.elsewhere.inject(answer);
    vec![w.on_api().redirect(303, &format!("http://{}/-/v2/packages/shop/web", w.elsewhere.host()))]
}

// 5. Fallback on the "unsupported" set.
rows! {
    a05_not_found: |w| vec![w.on_api().status(404)] => Tag;
    a05_bad_request: |w| vec![w.on_api().respond(400, JSON, ENVELOPE)] => Tag;
    a05_method_not_allowed: |w| vec![w.on_api().status(405)] => Tag;
    a05_not_acceptable: |w| vec![w.on_api().status(406)] => Tag;
    a05_not_implemented: |w| vec![w.on_api().status(501)] => Tag;
    a05_a_login_page: |w| vec![w.on_api().respond(200, HTML, "<html>who are you?</html>")] => Tag;
    a05_json_that_is_no_index: |w| vec![w.on_api().respond(200, &JSON[..1], "{}")] => Tag;
    a05_no_content_type: |w| vec![w.on_api().respond(200, &[], "{}")] => Tag;
    a05_a_list_that_is_sent_as_json: |w| {
        vec![w.on_api().respond(200, &JSON[..1], push::index(&[w.config.descriptor()]).to_string())]
    } => Api;
    a05_a_list_that_is_sent_as_nothing: |w| {
        vec![w.on_api().respond(200, &[], push::index(&[w.config.descriptor()]).to_string())]
    } => Api;
    a05_a_list_whose_content_type_is_no_text: |w| {
        vec![w.on_api().headers(|headers| drop(headers.insert("content-type", http::HeaderValue::from_bytes(b"\xff").unwrap())))]
    } => Api;
    a05_a_list_in_capitals: |w| {
        let kind = INDEX.to_uppercase();
        vec![w.on_api().respond(200, &[("content-type", &kind)], push::index(&[w.config.descriptor()]).to_string())]
    } => Api;
    a05_json_that_breaks_off_is_not_a_missing_api: |w| {
        vec![w.on_api().respond(200, &JSON[..1], r#"{"schemaVersion":2,"manifests":["#)]
    } => Refused(InvalidContent);
    a05_a_list_that_was_compressed_unasked: |w| {
        let listed = gzip(push::index(&[w.config.descriptor()]).to_string().as_bytes());
        vec![w.on_api().respond(200, &[("content-type", INDEX), ("content-encoding", "gzip")], listed)]
    } => Api;
    a05_everything_is_compressed_unasked: |_| {
        vec![Fault::on("/").method("GET").body(|parts, bytes| {
            parts.headers.insert("content-encoding", "gzip".parse().unwrap());
            gzip(&bytes)
        })]
    } => Api;
    a05_an_encoding_that_nobody_knows: |w| {
        vec![w.on_config().headers(|headers| drop(headers.insert("content-encoding", "br".parse().unwrap())))]
    } => Api;
    a05_a_redirect_to_a_web_site_that_answers_404: |w| ghcr(w, Fault::always().status(404)) => Tag;
    a05_a_redirect_to_a_web_site_that_answers_429: |w| ghcr(w, Fault::always().status(429)) => Tag;
    a05_a_redirect_to_a_web_site_that_answers_500: |w| ghcr(w, Fault::always().status(500)) => Tag;
    a05_a_redirect_to_a_web_site_that_answers_403: |w| ghcr(w, Fault::always().status(403)) => Tag;
    a05_a_redirect_to_a_web_site_that_answers_401: |w| ghcr(w, Fault::always().status(401)) => Tag;
    a05_a_redirect_to_a_login_page: |w| ghcr(w, Fault::always().respond(200, HTML, "<html>")) => Tag;
    a05_a_redirect_to_a_list_is_followed: |w| {
        let listed = push::index(&[w.config.descriptor()]).to_string();
        ghcr(w, Fault::always().respond(200, &[("content-type", INDEX)], listed))
    } => Api;
}

/// A place, and what has to happen for a request to get there; the fault comes first.
type Place = (&'static str, fn(&World) -> Vec<Fault>);

/// Everything that a request can be for, in the order of the questions.
const PLACES: [Place; 5] = [
    ("image", |w| vec![w.on_image()]),
    ("api", |w| vec![w.on_api()]),
    ("tag", |w| vec![w.on_tag(), w.on_api().status(404)]),
    ("artifact", |w| vec![w.on_config()]),
    ("blob", |w| vec![w.on_blob()]),
];

/// 6. Transient/forbidden never equals "none" on either path.
#[rstest::rstest]
#[case::unauthorized(401, AuthenticationFailed)]
#[case::forbidden(403, Forbidden)]
#[case::timeout(408, RegistryUnavailable)]
#[case::too_early(425, RegistryUnavailable)]
#[case::too_many(429, RateLimited)]
#[case::error(500, RegistryUnavailable)]
#[case::bad_gateway(502, RegistryUnavailable)]
#[case::unavailable(503, RegistryUnavailable)]
#[case::gateway_timeout(504, RegistryUnavailable)]
#[case::gone(410, RegistryUnavailable)]
#[tokio::test]
async fn a06_a_refusal_is_never_nothing(#[case] status: u16, #[case] reason: api::Reason) {
    for (place, faults) in PLACES {
        let name = format!("{status} for {place}");
        let refuse = |w: &World| {
            let mut faults = faults(w);
            faults[0] = faults[0].clone().respond(status, JSON, ENVELOPE);
            faults
        };
        crate::expect::row(&name, refuse, Refused(reason)).await;
    }
}

// What another host answers to a redirect is not the word of the registry either. (The Referrers API is an exception,
// see line 5: there it leads to the referrers tag, and not to "nothing".)
rows! {
    a06_an_image_that_is_missing_elsewhere: |w| vec![w.on_image().redirect_to_host(307, &w.elsewhere.host())] => Unknown;
    a06_a_tag_that_is_missing_elsewhere: |w| {
        vec![w.on_api().status(404), w.on_tag().redirect_to_host(307, &w.elsewhere.host())]
    } => Unknown;
    a06_an_artifact_that_is_missing_elsewhere: |w| vec![w.on_config().redirect_to_host(307, &w.elsewhere.host())] => Unknown;
    a06_a_blob_that_is_missing_elsewhere: |w| vec![w.on_blob().redirect_to_host(307, &w.elsewhere.host())] => Unknown;
}

// 7. Fallback tag for sha256/sha512/odd algorithms. SHA-512 and odd ones in `referrers.rs`.
rows! {
    a07_the_tag_of_a_sha256: |w| vec![w.on_api().status(404)] => Tag;
    a07_no_tag_is_the_word_that_there_is_nothing: |w| {
        vec![w.on_api().status(404), w.on_tag().respond(404, JSON, ENVELOPE)]
    } => Nothing("");
}

/// What the tag holds instead of a list.
fn tag_is(w: &World, media_type: &str, body: String) -> Vec<Fault> {
    vec![w.on_api().status(404), w.on_tag().respond(200, &[("content-type", media_type)], body)]
}

// 8. Fallback index must be an OCI index with digest ≠ subject. An index as subject in `platforms.rs`.
rows! {
    a08_an_image_manifest: |w| tag_is(w, media_type::OCI_MANIFEST, push::image("tagged").to_string()) => Nothing("no list");
    a08_a_docker_list: |w| {
        let list = json!({"schemaVersion": 2, "mediaType": media_type::DOCKER_LIST, "manifests": [w.config.descriptor()]});
        tag_is(w, media_type::DOCKER_LIST, list.to_string())
    } => Nothing("no list");
    a08_the_image_itself: |w| tag_is(w, media_type::OCI_MANIFEST, w.image.bytes.clone()) => Nothing("no list");
    a08_a_login_page: |w| tag_is(w, "text/html", "<html>".to_owned()) => Unknown;
}

// 9. Missing/empty artifactType derived from the manifest; index referrers. More in `referrers.rs`, and what may be wrong
// with an entry in `entries.rs`.
rows! {
    a09_no_artifact_type: |w| {
        let mut descriptor = w.config.descriptor();
        descriptor.as_object_mut().unwrap().remove("artifactType");
        w.tag_lists(&[descriptor])
    } => Tag;
    a09_the_empty_artifact_type: |w| {
        let mut descriptor = w.config.descriptor();
        descriptor["artifactType"] = json!(media_type::EMPTY);
        w.tag_lists(&[descriptor])
    } => Tag;
    a09_the_type_of_the_config_stands_for_a_missing_one: |w| {
        let mut manifest = w.artifact(&[push::file(FILE.0, FILE.1.as_bytes())]);
        manifest.as_object_mut().unwrap().remove("artifactType");
        manifest["config"] = push::descriptor("custom/config", EMPTY);
        w.only(&manifest)
    } => Api;
    a09_an_empty_platform_is_no_platform: |w| {
        let mut descriptor = w.config.descriptor();
        descriptor["platform"] = json!({});
        vec![w.api_lists(&[descriptor])]
    } => Api;
    a09_unknown_media_types_are_passed_over: |w| {
        let unknown = push::descriptor("application/vnd.example.thing.v9+json", EMPTY);
        let mut unknown_digest = json!({"mediaType": media_type::OCI_MANIFEST, "digest": "blake3:00", "size": 1});
        unknown_digest["artifactType"] = json!("other/type");
        vec![w.api_lists(&[unknown, unknown_digest, w.config.descriptor()])]
    } => Api;
    a09_an_unknown_digest_of_what_may_be_of_the_type_is_not_passed_over: |w| {
        let unknown_digest = json!({"mediaType": media_type::OCI_MANIFEST, "digest": "blake3:00", "size": 1});
        vec![w.api_lists(&[unknown_digest, w.config.descriptor()])]
    } => Refused(InvalidContent);
    a09_the_type_in_the_list_is_that_of_the_config: |w| {
        let mut descriptor = w.config.descriptor();
        descriptor["artifactType"] = json!("application/vnd.example.config.v1+json");
        vec![w.api_lists(&[descriptor])]
    } => Api;
    a09_a_registry_that_filters_by_the_type_of_the_config: |_| {
        let filtered = |request: &http::request::Parts| {
            request.uri.path().contains("/referrers/") && request.uri.query().is_some_and(|query| query.contains("artifactType="))
        };
        let headers = [("content-type", INDEX), ("oci-filters-applied", "artifactType")];
        vec![Fault::when(filtered).respond(200, &headers, push::index(&[]).to_string())]
    } => Api;
    a09_an_api_that_is_newly_there_and_empty: |w| {
        vec![w.on_api().respond(200, &[("content-type", INDEX)], push::index(&[]).to_string())]
    } => Tag;
}

// 10. Artifact's own subject.digest checked; stale entry 404 skipped with a warning; duplicates merged.
rows! {
    a10_attached_to_another_image: |w| {
        let another = Pushed::new(&push::image("another")).as_subject();
        w.only(&push::artifact("custom/config", &another, &[]))
    } => Nothing("attached to something else");
    a10_attached_to_another_image_and_listed_under_the_tag_of_this_one: |w| {
        let another = Pushed::new(&push::image("another")).as_subject();
        let forged = Pushed::new(&push::artifact("custom/config", &another, &[]));
        let mut faults = w.tag_lists(&[forged.descriptor()]);
        faults.push(w.serves(&forged));
        faults
    } => Nothing("attached to something else");
    a10_attached_to_nothing: |w| w.only(&push::artifact("custom/config", &json!(null), &[])) => Nothing("attached to something else");
    a10_a_stale_entry_alone: |w| vec![w.on_config().status(404)] => Nothing("gone from the registry");
    a10_a_stale_entry_among_others: |w| {
        let gone = Pushed::new(&w.artifact(&[]));
        w.tag_lists(&[gone.descriptor(), w.config.descriptor()])
    } => Tag;
    a10_duplicates: |w| vec![w.api_lists(&[w.config.descriptor(), w.config.descriptor()])] => Api;
    a10_the_image_itself_is_not_attached: |w| {
        let mut itself = w.image.descriptor();
        itself["artifactType"] = json!("custom/config");
        vec![w.api_lists(&[itself, w.config.descriptor()])]
    } => Api;
}

fn large(_: &mut http::response::Parts, _: bytes::Bytes) -> Vec<u8> {
    vec![b' '; 5 * MIB]
}

// 11. Size caps: manifest/index 4 MiB, blob ≤ remaining budget, declared size checked first, streamed counter. More in
// `content.rs`.
rows! {
    a11_a_large_image: |w| vec![w.on_image().headers(no_digest), w.on_image().method("GET").body(large)] => Refused(TooLarge);
    a11_a_large_list: |w| vec![w.on_api().body(large)] => Refused(TooLarge);
    a11_a_large_list_under_the_tag: |w| vec![w.on_api().status(404), w.on_tag().body(large)] => Refused(TooLarge);
    a11_a_large_manifest: |w| vec![w.on_config().body(large)] => Refused(TooLarge);
    a11_a_manifest_that_claims_to_be_large: |w| vec![w.on_config().declares(10_000_000_000)] => Refused(TooLarge);
    a11_an_endless_image: |w| vec![w.on_image().headers(no_digest), w.on_image().method("GET").endless()] => Refused(TooLarge);
    a11_an_endless_list: |w| vec![w.on_api().endless()] => Refused(TooLarge);
    a11_an_endless_list_under_the_tag: |w| vec![w.on_api().status(404), w.on_tag().endless()] => Refused(TooLarge);
    a11_an_endless_manifest: |w| vec![w.on_config().endless()] => Refused(TooLarge);
    a11_an_endless_refusal: |w| vec![w.on_config().body(|parts, _| {
        parts.status = http::StatusCode::FORBIDDEN;
        ""
    }), w.on_config().endless()] => Refused(Forbidden);
    a11_an_endless_blob: |w| vec![w.on_blob().endless()] => Refused(DigestMismatch);
    a11_a_blob_that_claims_to_be_large: |w| vec![w.on_blob().declares(10_000_000_000)] => Refused(DigestMismatch);
    a11_a_body_that_breaks_off: |w| vec![w.on_blob().truncate(5)] => Refused(RegistryUnavailable);
    a11_a_list_that_breaks_off: |w| vec![w.on_api().truncate(5)] => Refused(RegistryUnavailable);
    a11_a_descriptor_of_ten_gigabytes: |w| {
        let mut layer = push::file(FILE.0, FILE.1.as_bytes());
        layer["size"] = json!(10_000_000_000_u64);
        w.only(&w.artifact(&[layer]))
    } => Refused(TooLarge);
}

/// An artifact with its file inside of the manifest; the registry does not have it.
fn inline(w: &World, data: &str) -> Vec<Fault> {
    let mut layer = push::file(FILE.0, FILE.1.as_bytes());
    layer["data"] = json!(data);
    let mut faults = w.only(&w.artifact(&[layer]));
    faults.push(w.on_blob().status(404));
    faults
}

// 12. Inline `data` used only if digest+size match.
rows! {
    a12_good_data: |w| inline(w, "eyJncmVldGluZyI6ImhlbGxvIn0=") => Api;
    a12_other_data: |w| inline(w, "eyJncmVldGluZyI6ImhlbGwhIn0=") => Refused(DigestMismatch);
    a12_short_data: |w| inline(w, "eyJncmVldGluZyI6") => Refused(DigestMismatch);
    a12_data_that_is_no_base64: |w| inline(w, "not base64!") => Refused(InvalidContent);
}

// 13. Layers → files: `content.rs`. 14. Selection: `selection.rs`. 15. Older manifests: `legacy.rs`. 16. Index ↔
// platform: `platforms.rs`. 17. Auth, 18. isolation: `auth.rs` and `tenants.rs`. 19. Kubelet's table: `tenants.rs`,
// and beside the code in `crates/registry/src/credentials/keyring.rs`. 20. Redirects, 21. retries: `transport.rs`. 22. TLS: `tls.rs`.

/// The manifest of the config with this `Content-Type`.
fn content_type(w: &World, value: &'static str) -> Vec<Fault> {
    vec![w.on_config().headers(move |headers| drop(headers.insert("content-type", value.parse().unwrap())))]
}

// 23. Explicit Accept everywhere; Content-Type/mediaType mismatch and ambiguous docs refused. `Accept` in `transport.rs`.
rows! {
    a23_another_content_type: |w| content_type(w, media_type::OCI_INDEX) => Refused(InvalidContent);
    a23_a_parameter_does_not_matter: |w| content_type(w, "application/vnd.oci.image.manifest.v1+json; charset=utf-8") => Api;
    a23_a_content_type_that_says_nothing: |w| content_type(w, "application/json") => Api;
    a23_manifests_and_layers: |w| {
        let mut manifest = w.artifact(&[push::file(FILE.0, FILE.1.as_bytes())]);
        manifest["manifests"] = json!([]);
        w.only(&manifest)
    } => Refused(InvalidContent);
    a23_blobs_and_layers: |w| {
        let mut manifest = w.artifact(&[push::file(FILE.0, FILE.1.as_bytes())]);
        manifest["blobs"] = json!([]);
        w.only(&manifest)
    } => Refused(InvalidContent);
    a23_a_list_that_is_a_manifest_as_well: |w| {
        let mut listed = push::index(&[w.config.descriptor()]);
        listed["layers"] = json!([]);
        vec![w.on_api().respond(200, &[("content-type", INDEX)], listed.to_string())]
    } => Refused(InvalidContent);
    a23_a_list_that_says_it_is_something_else: |w| {
        let mut listed = push::index(&[w.config.descriptor()]);
        listed["mediaType"] = json!(media_type::DOCKER_LIST);
        vec![w.on_api().respond(200, &[("content-type", INDEX)], listed.to_string())]
    } => Refused(InvalidContent);
    a23_a_manifest_of_an_unknown_kind: |w| {
        let mut manifest = w.artifact(&[]);
        manifest["mediaType"] = json!("application/vnd.example.thing.v9+json");
        // Its own type is the one that is asked for.
        let mut descriptor = Pushed::new(&manifest).descriptor();
        descriptor["mediaType"] = json!(media_type::OCI_MANIFEST);
        vec![w.api_lists(&[descriptor]), w.serves(&Pushed::new(&manifest))]
    } => Refused(InvalidContent);
    a23_a_manifest_that_is_no_json: |w| {
        let bytes = "not json";
        let digest = oci::Digest::sha256(bytes.as_bytes());
        let descriptor = json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": bytes.len(), "artifactType": "custom/config"});
        let path = format!("/v2/shop/web/manifests/{digest}");
        vec![w.api_lists(&[descriptor]), Fault::exactly(&path).respond(200, &[("content-type", media_type::OCI_MANIFEST)], bytes)]
    } => Refused(InvalidContent);
}

// 27. `sha256-…` tags hidden from tag views (there are none); `Warning` headers logged once: `transport.rs`.

/// The harness itself is asked for its tests.
#[test]
fn every_line_of_the_checklist_has_a_test() {
    let listed = std::process::Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let has = |name: &str| listed.lines().any(|line| line.split("::").any(|part| part.starts_with(name)));
    let lines = (1..=23).chain([27]).map(|line| format!("a{line:02}_"));
    let missing: Vec<String> =
        lines.chain((1..=10).map(|pitfall| format!("c{pitfall:02}_"))).filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "lines and pitfalls without a test: {missing:?}");
}
