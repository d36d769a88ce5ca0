//! Line 15, artifacts from before the specification was finished.

use api::Reason;
use oci::media_type;
use serde_json::{Value, json};
use testbed::registry::Fault;

use crate::expect::Expect::{Api, Files, Nothing, Refused, Tag, Unknown};
use crate::expect::rows;
use crate::push::{self, Pushed};
use crate::world::{CONFIG, FILE, World};

/// An artifact manifest: its layers are called blobs, and there is no config.
fn manifest(w: &World, media_type: &str) -> Value {
    json!({
        "mediaType": media_type,
        "artifactType": CONFIG,
        "blobs": [push::file(FILE.0, FILE.1.as_bytes())],
        "subject": w.image.as_subject(),
        "annotations": {oci::CREATED: "2022-11-01T00:00:00Z"},
    })
}

/// The list of ORAS 0.14 and 0.15 answers with this; the standard ways find nothing.
fn legacy_list(w: &World, body: &Value) -> Vec<Fault> {
    let pushed = Pushed::new(&manifest(w, media_type::ORAS_ARTIFACT));
    vec![
        Fault::on("/_oras/artifacts/referrers").respond(
            200,
            &[("content-type", "application/json")],
            body.to_string(),
        ),
        w.api_lists(&[]),
        w.serves(&pushed),
    ]
}

fn legacy_entry(w: &World) -> Value {
    Pushed::new(&manifest(w, media_type::ORAS_ARTIFACT)).descriptor()
}

rows! {
    a15_an_oci_artifact_manifest: |w| w.only(&manifest(w, media_type::OCI_ARTIFACT)) => Api;
    a15_an_oci_artifact_manifest_under_the_tag: |w| {
        let pushed = Pushed::new(&manifest(w, media_type::OCI_ARTIFACT));
        let mut faults = w.tag_lists(&[pushed.descriptor()]);
        faults.push(w.serves(&pushed));
        faults
    } => Tag;
    a15_an_oras_artifact_manifest: |w| w.only(&manifest(w, media_type::ORAS_ARTIFACT)) => Api;
    a15_the_list_of_oras_artifact_manifests: |w| legacy_list(w, &json!({"referrers": [legacy_entry(w)]})) => Files(&[FILE]);
    a15_the_list_of_the_first_drafts: |w| legacy_list(w, &json!({"references": [legacy_entry(w)]})) => Files(&[FILE]);
    a15_an_empty_legacy_list: |w| legacy_list(w, &json!({"referrers": []})) => Nothing("");
    a15_go_writes_an_empty_legacy_list_as_null: |w| legacy_list(w, &json!({"referrers": null})) => Nothing("");
    a15_the_legacy_list_is_filtered_here_as_well: |w| {
        let mut other = legacy_entry(w);
        other["artifactType"] = json!("other/type");
        legacy_list(w, &json!({"referrers": [other]}))
    } => Nothing("");
    a15_the_subject_is_checked_there_as_well: |w| {
        let mut elsewhere = manifest(w, media_type::ORAS_ARTIFACT);
        elsewhere["subject"] = Pushed::new(&push::image("another")).as_subject();
        let pushed = Pushed::new(&elsewhere);
        let mut faults = legacy_list(w, &json!({"referrers": [pushed.descriptor()]}));
        faults.push(w.serves(&pushed));
        faults
    } => Nothing("attached to something else");
    a15_a_registry_that_fails_on_the_legacy_list: |w| {
        vec![w.api_lists(&[]), Fault::on("/_oras/").respond(503, &[("retry-after", "0")], "")]
    } => Refused(Reason::RegistryUnavailable);
    a15_a_registry_that_limits_the_legacy_list: |w| {
        vec![w.api_lists(&[]), Fault::on("/_oras/").respond(429, &[("retry-after", "0")], "")]
    } => Refused(Reason::RateLimited);
    a15_a_legacy_list_that_breaks_off_is_not_a_missing_one: |w| {
        vec![Fault::on("/_oras/").respond(200, &[("content-type", "application/json")], r#"{"referrers":["#), w.api_lists(&[])]
    } => Refused(Reason::InvalidContent);
    a15_a_damaged_entry_of_the_legacy_list_is_not_passed_over: |w| legacy_list(w, &json!({"referrers": [{"size": 1}]})) => Refused(Reason::InvalidContent);
    a15_a_second_page_of_the_legacy_list_is_not_left_unread: |w| {
        let headers = [("content-type", "application/json"), ("link", "<?n=1&nextToken=x>; rel=\"next\"")];
        vec![Fault::on("/_oras/").respond(200, &headers, r#"{"referrers":[]}"#), w.api_lists(&[])]
    } => Unknown;
}

#[tokio::test]
async fn a15_the_legacy_list_is_asked_for_image_and_type() {
    let world = World::new().await;
    for fault in legacy_list(&world, &json!({"referrers": [legacy_entry(&world)]})) {
        world.registry.inject(fault);
    }
    assert_eq!(world.files().await.unwrap().len(), 1);
    let asked = world.requests("GET", "/v2/shop/web/_oras/artifacts/referrers");
    let digest = world.image.digest.to_string().replace(':', "%3A");
    assert_eq!(asked[0].query, Some(format!("digest={digest}&artifactType=custom%2Fconfig")));
}

#[tokio::test]
async fn a15_the_legacy_list_is_asked_only_when_the_standard_ways_find_nothing() {
    let world = World::new().await;
    world.files().await.unwrap();
    let api = world.registry.inject(world.on_api().status(404));
    world.files().await.unwrap();
    assert!(world.registry.hits(api) > 0);
    assert_eq!(world.asked("GET", "/_oras/"), 0);
}

#[rstest::rstest]
#[case::not_found(404, "")]
#[case::forbidden_to_all(403, "")]
#[case::method_not_allowed(405, "")]
#[case::bad_request(400, "")]
#[case::not_implemented(501, "")]
#[case::login_page(200, "<html>")]
#[tokio::test]
async fn a15_a_registry_without_the_legacy_list_is_not_asked_again(
    #[case] status: u16,
    #[case] body: &'static str,
) {
    let world = World::new().await;
    world.registry.inject(world.api_lists(&[]));
    world.registry.inject(Fault::on("/_oras/").respond(status, &[], body));
    for _ in 0..3 {
        assert_eq!(world.list().await.unwrap().artifacts, []);
    }
    assert_eq!(world.asked("GET", "/_oras/"), 1);
    // The repository is remembered, and no other one with it. The first time, the list is asked for without a filter too.
    assert_eq!(world.asked("GET", "/referrers/"), 4);
}

#[tokio::test]
async fn a15_a_registry_with_the_legacy_list_is_asked_again() {
    let world = World::new().await;
    for fault in legacy_list(&world, &json!({"referrers": []})) {
        world.registry.inject(fault);
    }
    for _ in 0..2 {
        assert_eq!(world.list().await.unwrap().artifacts, []);
    }
    assert_eq!(world.asked("GET", "/_oras/"), 2);
}
