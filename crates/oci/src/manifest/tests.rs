use super::*;
use crate::{CREATED, Digest};
use serde_json::json;

const SUBJECT: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn descriptor(media_type: &str) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": SUBJECT, "size": 3})
}

fn artifact(document: &serde_json::Value, content_type: Option<&str>) -> Result<Artifact, ManifestError> {
    let bytes = document.to_string();
    parse_artifact(Digest::sha256(bytes.as_bytes()), bytes.as_bytes(), content_type)
}

#[test]
fn reads_what_oras_attach_writes() {
    let parsed = artifact(
        &json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "custom/config",
            "config": {"mediaType": media_type::EMPTY, "digest": SUBJECT, "size": 2, "data": "e30="},
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar"), descriptor(media_type::EMPTY)],
            "subject": descriptor(media_type::OCI_MANIFEST),
            "annotations": {CREATED: "2026-01-02T03:04:05Z"}
        }),
        Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
    )
    .unwrap();
    assert_eq!(parsed.artifact_type, "custom/config");
    assert_eq!(parsed.subject.as_ref().map(ToString::to_string).as_deref(), Some(SUBJECT));
    assert_eq!(parsed.created(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(parsed.layers.len(), 1, "the empty layer is no content");
}

#[test]
fn the_type_of_a_manifest_without_one_is_its_configs() {
    let mut document = json!({"mediaType": media_type::OCI_MANIFEST, "config": descriptor("custom/config"),
        "layers": [], "annotations": null, "subject": null});
    assert_eq!(artifact(&document, None).unwrap().artifact_type, "custom/config");
    document["artifactType"] = json!(media_type::EMPTY);
    assert_eq!(artifact(&document, None).unwrap().artifact_type, "custom/config");
}

#[test]
fn the_artifact_manifest_of_the_release_candidate_is_read() {
    let document = json!({"mediaType": media_type::OCI_ARTIFACT, "artifactType": "custom/config",
        "blobs": [descriptor("text/plain")], "subject": descriptor(media_type::OCI_MANIFEST)});
    assert_eq!(artifact(&document, None).unwrap().layers.len(), 1);
}

#[rstest::rstest]
#[case::two_readings(json!({"mediaType": media_type::OCI_INDEX, "manifests": [], "layers": []}), None, "ambiguous")]
#[case::header_disagrees(json!({"mediaType": media_type::OCI_MANIFEST, "layers": []}), Some(media_type::OCI_INDEX), "Content-Type")]
#[case::duplicate_member(json!("replaced"), None, "more than once")]
#[case::something_else(json!({"mediaType": "application/vnd.example.thing+json"}), None, "is not a manifest")]
#[case::bad_size(json!({"mediaType": media_type::OCI_MANIFEST, "layers": [{"digest": SUBJECT, "size": -1}]}), None, "cannot be read")]
fn refuses(#[case] document: serde_json::Value, #[case] content_type: Option<&str>, #[case] says: &str) {
    let result = if document == json!("replaced") {
        parse_artifact(Digest::sha256(b""), br#"{"layers": [], "layers": []}"#, None)
    } else {
        artifact(&document, content_type)
    };
    let error = result.unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn an_index_counts_what_it_cannot_read() {
    let document = json!({"mediaType": media_type::OCI_INDEX, "manifests": [
        descriptor(media_type::OCI_MANIFEST),
        {"mediaType": "x/y", "digest": "blake3:00", "size": 1},
        {"mediaType": media_type::OCI_MANIFEST, "digest": SUBJECT, "size": 1, "platform": {}},
    ]});
    let index = artifact(&document, None).unwrap();
    assert_eq!((index.children.len(), index.unreadable_children), (2, 1));
    let manifest = json!({"mediaType": media_type::OCI_MANIFEST, "layers": []}).to_string();
    assert!(parse_index(manifest.as_bytes(), None, None).is_err(), "an image manifest is no list");
}

/// Go writes `null` for everything that is empty.
#[test]
fn null_is_the_zero_value_everywhere() {
    let document = json!({
        "schemaVersion": null, "mediaType": null, "artifactType": null, "blobs": null, "manifests": null,
        "config": {"mediaType": "custom/config", "digest": null, "size": null, "annotations": null, "data": null},
        "layers": [{"mediaType": null, "digest": SUBJECT, "size": 3, "annotations": {"a": null}, "data": null, "platform": null}],
        "subject": null, "annotations": {"a": null, "b": "c"},
    });
    let read = artifact(&document, Some(media_type::OCI_MANIFEST)).unwrap();
    assert_eq!((read.artifact_type.as_str(), read.layers.len(), &read.subject), ("custom/config", 1, &None));
    assert_eq!(read.annotations.iter().collect::<Vec<_>>(), [("a", ""), ("b", "c")]);
}

/// Two parsers would read two different documents.
#[rstest::rstest]
#[case::the_same_name(r#"{"layers": [], "layers": [1]}"#)]
#[case::another_case(r#"{"layers": [], "Layers": [1]}"#)]
#[case::the_type(r#"{"layers": [], "artifactType": "a/b", "artifacttype": "c/d"}"#)]
#[case::the_subject(r#"{"layers": [], "subject": null, "subject": 1}"#)]
fn a_member_that_comes_twice_is_refused(#[case] text: &str) {
    assert!(parse_artifact(Digest::sha256(b""), text.as_bytes(), None).is_err());
}

/// Anybody may have written the document, and everyone who may read a condition would read its text.
#[rstest::rstest]
#[case(r#"{"config": "SECRET", "layers": []}"#)]
#[case(r#"{"mediaType": "SECRET"}"#)]
#[case(r#"{"mediaType": ["SECRET"]}"#)]
#[case(r#"{"layers": [], "annotations": "SECRET"}"#)]
#[case(r#"{"layers": [], "annotations": {"SECRET": 1}}"#)]
#[case(r#"{"layers": ["SECRET"]}"#)]
#[case(r#"{"layers": [{"digest": "SECRET", "size": "SECRET"}]}"#)]
#[case(r#"{"layers": [], "subject": {"digest": "SECRET"}}"#)]
#[case(r#"{"layers": [], "artifactType": {"SECRET": 1}}"#)]
#[case(r#""SECRET""#)]
#[case("SECRET")]
#[case(r#"{"SECRET": "#)]
fn no_message_repeats_what_was_sent(#[case] text: &str) {
    let digest = Digest::sha256(b"");
    for content_type in [None, Some("application/vnd.SECRET+json")] {
        if let Err(why) = parse_artifact(digest.clone(), text.as_bytes(), content_type) {
            assert!(!why.to_string().to_lowercase().contains("secret"), "{why}");
        }
        for list in [text.to_owned(), format!(r#"{{"manifests": [{text}], "referrers": [{text}]}}"#)] {
            for read in
                [parse_index(list.as_bytes(), content_type, None), parse_legacy_list(list.as_bytes(), None)]
            {
                let why = read.map_or_else(|why| why.to_string(), |_| String::new());
                assert!(!why.to_lowercase().contains("secret"), "{why}");
            }
        }
    }
}

/// A damaged member does not affect the others: the members that show that a manifest is of another type or subject are
/// still read.
#[rstest::rstest]
#[case::layer(json!({"layers": [{"digest": SUBJECT, "size": -1}]}), [true, true, true])]
#[case::kind(json!({"mediaType": "a/b"}), [true, true, true])]
#[case::annotation(json!({"annotations": {"a": 3}}), [true, true, false])]
#[case::subject(json!({"subject": 3}), [true, false, true])]
#[case::subject_without_a_digest(json!({"subject": {}}), [true, false, true])]
#[case::artifact_type(json!({"artifactType": 3}), [false, true, true])]
#[case::config_that_stands_for_the_type(json!({"artifactType": null, "config": 3}), [false, true, true])]
fn what_is_known_of_a_damaged_manifest(#[case] damage: serde_json::Value, #[case] known: [bool; 3]) {
    let mut document = json!({"mediaType": media_type::OCI_MANIFEST, "artifactType": "a/b", "layers": [],
        "subject": descriptor(media_type::OCI_MANIFEST), "annotations": {CREATED: "2026-01-02T03:04:05Z"}});
    for (name, value) in damage.as_object().unwrap() {
        document[name] = value.clone();
    }
    let bytes = document.to_string();
    let read = read_artifact(Digest::sha256(bytes.as_bytes()), bytes.as_bytes(), None, ManifestError::clone);
    let found = read.fault.unwrap().known;
    assert_eq!([found.artifact_type, found.subject, found.annotations], known);
    // A document that breaks off: only the members before that are known.
    let cut = bytes.find("\"subject\"").unwrap();
    let read = read_artifact(Digest::sha256(b""), &bytes.as_bytes()[..cut], None, ManifestError::clone);
    let found = read.fault.unwrap().known;
    assert!(!found.subject && found.artifact_type == (known[0] && document["artifactType"] != json!(null)));
}

/// Entries of a list that may be of the type must be readable. Entries that are certainly of another type need not be.
#[test]
fn an_entry_is_read_as_far_as_it_is_needed() {
    let other = json!({"artifactType": "x/y", "digest": SUBJECT, "size": 1});
    let typed = json!({"artifactType": "a/b", "digest": SUBJECT});
    let list = |entries: &[serde_json::Value]| {
        let text = json!({"mediaType": media_type::OCI_INDEX, "manifests": entries}).to_string();
        parse_index(text.as_bytes(), None, Some("a/b"))
    };
    let index = list(std::slice::from_ref(&other)).unwrap();
    assert_eq!((index.entries.len(), index.others.len()), (0, 1));
    assert!(index.types.iter().any(|listed| &**listed == "x/y"));
    assert_eq!(list(&[typed.clone(), typed.clone()]).unwrap().entries.len(), 1);
    assert!(list(&[json!({"artifactType": "x/y"})]).is_ok());
    for damaged in
        [json!({}), json!(null), json!(3), json!({"artifactType": 3}), json!({"digest": "sha256:0"})]
    {
        assert!(list(&[typed.clone(), damaged]).is_err());
    }
}
