//! Line 9, entries of a list: the members that are read, and damaged ones.

use api::Reason::InvalidContent;
use serde_json::json;
use testbed::registry::Fault;

use crate::expect::Expect::{Api, Refused};
use crate::expect::rows;
use crate::push;
use crate::world::{INDEX, World};

/// The config, listed with something odd about its entry.
fn entry(w: &World, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) -> Vec<Fault> {
    let mut descriptor = w.config.descriptor();
    change(descriptor.as_object_mut().unwrap());
    vec![w.api_lists(&[descriptor])]
}

/// The config, with something written in place of a member of its entry.
fn entry_with(w: &World, member: &str, value: serde_json::Value) -> Vec<Fault> {
    entry(w, |entry| drop(entry.insert(member.to_owned(), value)))
}

// Only the digest of an entry is needed, and its type for the filter. The manifest has everything else.
rows! {
    a09_an_entry_without_a_size: |w| entry(w, |entry| drop(entry.remove("size"))) => Api;
    a09_an_entry_with_a_size_below_zero: |w| entry_with(w, "size", json!(-1)) => Api;
    a09_an_entry_with_a_size_that_is_a_text: |w| entry_with(w, "size", json!("3")) => Api;
    a09_an_entry_with_a_null_among_its_annotations: |w| entry_with(w, "annotations", json!({"a": null})) => Api;
    a09_an_entry_with_a_number_among_its_annotations: |w| entry_with(w, "annotations", json!({"a": 3})) => Api;
    a09_an_entry_with_a_list_for_its_annotations: |w| entry_with(w, "annotations", json!([1])) => Api;
    a09_an_entry_whose_media_type_is_null: |w| entry_with(w, "mediaType", json!(null)) => Api;
    a09_an_entry_whose_media_type_is_json: |w| entry_with(w, "mediaType", json!("application/json")) => Api;
    a09_an_entry_whose_media_type_is_a_number: |w| entry_with(w, "mediaType", json!(3)) => Api;
    a09_an_entry_whose_platform_is_a_text: |w| entry_with(w, "platform", json!("linux/amd64")) => Api;
    a09_an_entry_whose_type_is_null: |w| entry_with(w, "artifactType", json!(null)) => Api;
    a09_an_entry_whose_type_is_a_number: |w| entry_with(w, "artifactType", json!(3)) => Api;
    a09_an_entry_in_capitals: |w| entry(w, |entry| {
        let digest = entry.remove("digest").unwrap();
        entry.insert("Digest".to_owned(), digest);
    }) => Api;
    a09_an_entry_without_a_digest: |w| entry(w, |entry| drop(entry.remove("digest"))) => Refused(InvalidContent);
    a09_an_entry_whose_digest_is_null: |w| entry_with(w, "digest", json!(null)) => Refused(InvalidContent);
    a09_an_entry_whose_digest_is_cut: |w| entry_with(w, "digest", json!("sha256:00")) => Refused(InvalidContent);
    a09_an_entry_that_is_null: |w| vec![w.api_lists(&[json!(null), w.config.descriptor()])] => Refused(InvalidContent);
    a09_an_entry_that_is_a_text: |w| vec![w.api_lists(&[json!("sha256"), w.config.descriptor()])] => Refused(InvalidContent);
    a09_an_entry_of_another_type_that_is_damaged: |w| {
        vec![w.api_lists(&[json!({"artifactType": "other/type", "digest": 3, "size": []}), w.config.descriptor()])]
    } => Api;
    a09_a_list_whose_media_type_is_empty: |w| {
        let mut listed = push::index(&[w.config.descriptor()]);
        listed["mediaType"] = json!("");
        vec![w.on_api().respond(200, &[("content-type", INDEX)], listed.to_string())]
    } => Api;
    a09_a_list_with_bytes_that_are_no_text: |w| {
        let mut descriptor = w.config.descriptor();
        descriptor["annotations"] = json!({"a": "?"});
        let text = push::index(&[descriptor]).to_string().into_bytes();
        let text: Vec<u8> = text.into_iter().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
        vec![w.on_api().respond(200, &[("content-type", INDEX)], text)]
    } => Api;
}
