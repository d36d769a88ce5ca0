//! Lists of what is attached: what takes more than one row of the checklist.

use std::sync::atomic::{AtomicUsize, Ordering};

use api::Reason::{InvalidContent, TooLarge, UnsupportedArtifact};
use http::HeaderValue;
use oci::{Algorithm, Digest, ImageRef, media_type};
use serde_json::{Value, json};
use testbed::registry::Fault;

use crate::expect::Expect::{Files, Nothing, Refused};
use crate::expect::{rows, tells};
use crate::push::{self, Pushed};
use crate::world::{CONFIG, FILE, INDEX, REPOSITORY, World};

#[tokio::test]
async fn a03_the_filter_is_sent_and_left_out_where_every_type_is_wanted() {
    let world = World::new().await;
    world.list().await.unwrap();
    let filtered = world.requests("GET", "/referrers/");
    assert_eq!(filtered[0].query.as_deref(), Some("artifactType=custom%2Fconfig"));
    world.registry.clear_requests();
    let mut question = world.question();
    question.artifact_type = None;
    assert_eq!(question.list().await.unwrap().artifacts.len(), 2);
    assert_eq!(world.requests("GET", "/referrers/")[0].query, None);
}

#[tokio::test]
async fn a03_a_type_is_encoded_and_compared_as_it_is() {
    let world = World::new().await;
    let odd = "application/vnd.example.config+json; v=\"1&2\"";
    world.pusher.attach(odd, &world.image.as_subject(), &[("odd", b"odd")]).await;
    let mut question = world.question();
    question.artifact_type = Some(odd);
    assert_eq!(question.files().await.unwrap(), [("odd".to_owned(), "odd".to_owned())]);
    question.artifact_type = Some("custom/CONFIG");
    assert_eq!(question.list().await.unwrap().artifacts, []);
}

/// Answers page by page, one artifact each, with relative links.
fn page_by_page(world: &World, artifacts: &[Pushed]) {
    for (number, artifact) in artifacts.iter().enumerate() {
        let query = format!("n=1&last={number}");
        let next = format!("<?n=1&last={}>; rel=\"next\"", number + 1);
        let mut headers = vec![("content-type", INDEX)];
        if number + 1 < artifacts.len() {
            headers.push(("link", &next));
        }
        let is_page = move |request: &http::request::Parts| {
            let path = request.uri.path().contains("/referrers/");
            let asked = request.uri.query().unwrap_or_default();
            path && (asked == query || (number == 0 && asked.starts_with("artifactType=")))
        };
        let body = push::index(&[artifact.descriptor()]).to_string();
        world.registry.inject(Fault::when(is_page).respond(200, &headers, body));
    }
}

#[tokio::test]
async fn a04_pages_of_one_are_read_to_the_end() {
    let world = World::new().await;
    let mut artifacts = vec![world.config.clone(), world.other.clone()];
    for number in 0..5 {
        let content = format!("{number}");
        let attached =
            world.pusher.attach(CONFIG, &world.image.as_subject(), &[("n", content.as_bytes())]).await;
        artifacts.push(attached);
    }
    page_by_page(&world, &artifacts);
    let listing = world.list().await.unwrap();
    let digests: Vec<&Digest> = listing.artifacts.iter().map(|artifact| &artifact.digest).collect();
    let mut expected: Vec<&Digest> = artifacts
        .iter()
        .map(|artifact| &artifact.digest)
        .filter(|digest| **digest != world.other.digest)
        .collect();
    expected.sort();
    assert_eq!(digests, expected, "all of them, in an order that does not depend on the registry's");
}

#[tokio::test]
async fn a04_pages_without_end_are_given_up() {
    let world = World::new().await;
    let count = AtomicUsize::new(0);
    let fault = world.registry.inject(world.on_api().body(move |parts, _| {
        let next = format!("<?page={}>; rel=\"next\"", count.fetch_add(1, Ordering::Relaxed));
        parts.headers.insert("link", HeaderValue::from_str(&next).unwrap());
        push::index(&[]).to_string()
    }));
    let failure = world.list().await.unwrap_err();
    assert_eq!(failure.reason, InvalidContent);
    tells(&failure, &world);
    assert!(world.registry.hits(fault) <= 100, "{} pages were read", world.registry.hits(fault));
}

/// Each page and each manifest keeps to its bound; all of them together would still be more than an operator has.
#[tokio::test]
async fn a11_many_large_pages_are_too_much_together() {
    let world = World::new().await;
    let count = AtomicUsize::new(0);
    let fault = world.registry.inject(world.on_api().body(move |parts, _| {
        let page = count.fetch_add(1, Ordering::Relaxed);
        let next = format!("<?page={page}>; rel=\"next\"");
        parts.headers.insert("link", HeaderValue::from_str(&next).unwrap());
        let entry =
            |number: usize| push::descriptor(media_type::OCI_MANIFEST, format!("{page} {number}").as_bytes());
        let mut listed = push::index(&(0..100).map(entry).collect::<Vec<_>>());
        listed["annotations"] = json!({"bulk": "x".repeat(3_900_000)});
        listed.to_string()
    }));
    let failure = world.list().await.unwrap_err();
    assert_eq!(failure.reason, TooLarge);
    tells(&failure, &world);
    assert!(world.registry.hits(fault) <= 20, "{} pages were read", world.registry.hits(fault));
}

#[tokio::test]
async fn a11_many_large_manifests_are_too_much_together() {
    let world = World::new().await;
    let mut listed = Vec::new();
    for number in 0..40 {
        let mut manifest = world.artifact(&[]);
        manifest["annotations"] = json!({"number": number.to_string(), "bulk": "x".repeat(250_000)});
        let manifest = Pushed::new(&manifest);
        listed.push(manifest.descriptor());
        world.registry.inject(world.serves(&manifest));
    }
    world.registry.inject(world.api_lists(&listed));
    let failure = world.list().await.map(|listing| listing.artifacts.len()).unwrap_err();
    assert_eq!(failure.reason, TooLarge);
    tells(&failure, &world);
}

#[tokio::test]
async fn a04_another_host_that_a_link_names_is_not_asked() {
    let world = World::new().await;
    let link = format!("<http://{}/v2/>; rel=\"next\"", world.elsewhere.host());
    let headers = [("content-type", INDEX), ("link", link.as_str())];
    world.registry.inject(world.on_api().respond(200, &headers, push::index(&[]).to_string()));
    assert_eq!(world.list().await.unwrap_err().reason, InvalidContent);
    assert!(world.elsewhere.requests().is_empty());
}

/// The image by another digest of its bytes, with a config that is attached to that.
async fn attached_to_sha512(world: &World) -> (ImageRef, Digest, Pushed) {
    let digest = Digest::of(Algorithm::Sha512, world.image.bytes.as_bytes());
    let subject =
        json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": world.image.bytes.len()});
    let artifact = world.pusher.attach(CONFIG, &subject, &[("sha512", b"found")]).await;
    let image = format!("{}/{REPOSITORY}@{digest}", world.registry.host()).parse().unwrap();
    (image, digest, artifact)
}

#[tokio::test]
async fn a07_an_image_by_its_sha512() {
    let world = World::new().await;
    let (image, _, _) = attached_to_sha512(&world).await;
    let mut question = world.question();
    question.image = image;
    assert_eq!(question.files().await.unwrap(), [("sha512".to_owned(), "found".to_owned())]);
}

#[tokio::test]
async fn a07_the_tag_of_a_sha512_is_cut_to_the_length_of_a_tag() {
    let world = World::new().await;
    let (image, digest, artifact) = attached_to_sha512(&world).await;
    let tag = format!("sha512-{}", &digest.hex()[..64]);
    world.pusher.tag(&tag, &push::index(&[artifact.descriptor()])).await;
    world.registry.inject(world.on_api().status(404));
    let mut question = world.question();
    question.image = image;
    assert_eq!(question.files().await.unwrap(), [("sha512".to_owned(), "found".to_owned())]);
    assert_eq!(world.asked("GET", &format!("/manifests/{tag}")), 1);
}

/// A digest that cannot be verified is refused where it is written, long before a registry is asked.
#[rstest::rstest]
#[case::sha384("sha384", 96)]
#[case::blake3("blake3", 64)]
#[case::compound("sha256+b64u", 64)]
fn a07_odd_algorithms_are_refused_by_name(#[case] algorithm: &str, #[case] length: usize) {
    let image = format!("r.example/web@{algorithm}:{}", "a".repeat(length));
    let error = image.parse::<ImageRef>().unwrap_err().to_string();
    assert!(error.contains(algorithm), "{error}");
}

/// An index that is attached, with these manifests.
fn attached_index(w: &World, manifests: &[Value]) -> Value {
    let mut index = push::index(manifests);
    index["artifactType"] = json!(CONFIG);
    index["subject"] = w.image.as_subject();
    index
}

fn part(number: usize) -> Value {
    let mut part = push::image("part");
    part["annotations"] = json!({"part": number.to_string()});
    part["layers"] = json!([push::file(FILE.0, FILE.1.as_bytes())]);
    part
}

/// The registry has these manifests, and the index of them is attached.
fn parts(w: &World, manifests: &[Value]) -> Vec<Fault> {
    let pushed: Vec<Pushed> = manifests.iter().map(Pushed::new).collect();
    let listed: Vec<Value> = pushed.iter().map(Pushed::descriptor).collect();
    let mut faults = w.only(&attached_index(w, &listed));
    faults.extend(pushed.iter().map(|manifest| w.serves(manifest)));
    faults
}

const GREETING: (&str, &str) = FILE;

rows! {
    a09_an_index_is_an_artifact_of_its_manifests: |w| parts(w, &[part(1)]) => Files(&[GREETING]);
    a09_the_files_of_all_manifests: |w| parts(w, &[part(1), part(2)]) => Files(&[GREETING, GREETING]);
    a09_what_describes_a_manifest_holds_no_files: |w| {
        let mut faults = parts(w, &[part(1)]);
        let mut attestation = push::descriptor(media_type::OCI_MANIFEST, b"attestation");
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        let listed = [Pushed::new(&part(1)).descriptor(), attestation];
        faults.splice(..2, w.only(&attached_index(w, &listed)));
        faults
    } => Files(&[GREETING]);
    a09_a_manifest_of_the_index_is_gone: |w| w.only(&attached_index(w, &[Pushed::new(&part(1)).descriptor()])) => Refused(InvalidContent);
    a09_half_an_index_is_no_config: |w| {
        let mut faults = parts(w, &[part(1)]);
        let unknown = json!({"mediaType": media_type::OCI_MANIFEST, "digest": "blake3:00", "size": 1});
        let listed = [Pushed::new(&part(1)).descriptor(), unknown];
        faults.splice(..2, w.only(&attached_index(w, &listed)));
        faults
    } => Refused(UnsupportedArtifact);
    a09_an_index_in_an_index_is_not_passed_over: |w| parts(w, &[part(1), push::index(&[])]) => Refused(UnsupportedArtifact);
    a09_an_index_of_too_many: |w| {
        let many: Vec<Value> = (0..65).map(part).collect();
        parts(w, &many)
    } => Refused(UnsupportedArtifact);
    a10_too_many_candidates: |w| {
        let many: Vec<Value> = (0..1001).map(|number| Pushed::new(&part(number)).descriptor()).collect();
        vec![w.api_lists(&many)]
    } => Refused(TooLarge);
    a23_an_error_that_is_dressed_up_as_a_list: |w| {
        vec![w.on_api().respond(200, &[("content-type", INDEX)], r#"{"errors":[{"code":"UNKNOWN"}]}"#)]
    } => Refused(InvalidContent);
    a23_a_list_without_the_member_that_lists: |w| {
        vec![w.on_api().respond(200, &[("content-type", INDEX)], json!({"mediaType": INDEX}).to_string())]
    } => Refused(InvalidContent);
    a23_go_writes_an_empty_list_as_null: |w| {
        let null = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": null, "annotations": null});
        vec![w.on_lists().respond(200, &[("content-type", INDEX)], null.to_string())]
    } => Nothing("");
}
