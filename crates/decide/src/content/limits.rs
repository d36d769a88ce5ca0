//! Limits of a `ConfigMap` and its metadata, counted like in the programs that enforce them. The API server limits the
//! values, the body of a request and the metadata. etcd limits the stored object, which is larger than the request.
//!
//! An object beyond these limits would be refused again and again, so it is a failure that waits for somebody to act.

use std::collections::BTreeMap;

use api::Reason;
use oci::text;

use crate::Failure;

use super::values::Content;

/// Largest body of a request that the API server reads (`MaxRequestBodyBytes` in kubernetes
/// `staging/src/k8s.io/apiserver/pkg/server/config.go`). 3 MiB.
const MAX_REQUEST: usize = 3 * 1024 * 1024;

/// Largest write that etcd accepts (`--max-request-bytes`). 1.5 MiB.
const MAX_STORED: usize = 1536 * 1024;

/// Annotations of one object, keys and values (`TotalAnnotationSizeLimitB` in kubernetes
/// `staging/src/k8s.io/apimachinery/pkg/api/validation`). 256 KiB.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Part of the annotations that a resource may use. The rest is for annotations of the operator, mostly on revisions.
const MAX_OWN_ANNOTATIONS: usize = 64 * 1024;

/// Room in the stored object for everything except content: all allowed annotations, 64 labels of at most 380 bytes,
/// owner, names, and the overhead of etcd.
const REST_STORED: usize = MAX_ANNOTATIONS + 40 * 1024;

/// The same in a request, where escapes may make a byte six times as large. This is the worst case for annotations of
/// the resource. Annotations of the operator are JSON within JSON at worst.
const REST_REQUEST: usize = 6 * MAX_OWN_ANNOTATIONS + 2 * (MAX_ANNOTATIONS - MAX_OWN_ANNOTATIONS) + 40 * 1024;

/// Bytes around one entry as it is stored: tags and lengths of the entry, its key and its value.
const AROUND_ENTRY: usize = 16;

/// Most records in `managedFields` that list a key: ours from an apply, and one more from a patch, for example when a
/// key moves from text to bytes.
const WRITERS: usize = 2;

/// Bytes around a key in such a record: `"f:…":{},`.
const AROUND_FIELD: usize = r#""f:":{},"#.len();

/// Checks that an object with this content can be written and stored. [`check_size`](super::render::check_size) checks
/// the sum of its values.
///
/// # Errors
/// `TooLarge` with the limit, the size, and the cause.
pub fn check(content: &Content) -> Result<(), Failure> {
    let (stored, request) = (stored(content), request(content));
    let (most_stored, most_request) = (MAX_STORED - REST_STORED, MAX_REQUEST - REST_REQUEST);
    let count = content.data.len() + content.binary_data.len();
    if stored > most_stored {
        return Err(too_large(format!(
            "{count} files would take {stored} bytes in etcd, which has room for {most_stored}: each name is stored {} times, as the key and in managedFields; take fewer files with spec.files, or give them shorter keys",
            1 + WRITERS
        )));
    }
    if request > most_request {
        let worst = content.data.iter().max_by_key(|(_, value)| json_text(value) - value.len());
        let worst = worst.map(|(key, _)| format!(", most of all '{key}'")).unwrap_or_default();
        return Err(too_large(format!(
            "the files would take {request} bytes in a request to the API server, which has room for {most_request}: control characters take up to six bytes each there{worst}; take fewer with spec.files, or attach less"
        )));
    }
    Ok(())
}

fn too_large(why: String) -> Failure {
    Failure::new(Reason::TooLarge, why)
}

/// Bytes of the content in etcd: protobuf, and the JSON of `managedFields` within it.
fn stored(content: &Content) -> usize {
    let text = content.data.iter().map(|(key, value)| (key.len(), value.len()));
    let bytes = content.binary_data.iter().map(|(key, value)| (key.len(), value.len()));
    text.chain(bytes).map(|(key, value)| key + value + AROUND_ENTRY + WRITERS * (key + AROUND_FIELD)).sum()
}

/// Bytes of the content in a request: JSON, as [`json`](crate::json) writes it.
fn request(content: &Content) -> usize {
    let around = r#""":"","#.len();
    let text = content.data.iter().map(|(key, value)| key.len() + json_text(value) + around);
    let bytes =
        content.binary_data.iter().map(|(key, value)| key.len() + value.len().div_ceil(3) * 4 + around);
    text.chain(bytes).sum()
}

/// Bytes of a text in JSON, without the quotes.
fn json_text(text: &str) -> usize {
    let of = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c.is_ascii_graphic() || c == ' ' => 1,
        // Not all writers escape these characters. The larger form is counted.
        c if text::is_printable(c) => c.len_utf8(),
        c => c.len_utf8().max(6) * c.len_utf16(),
    };
    text.chars().map(of).sum()
}

/// Longest key that Kubernetes accepts.
const MAX_KEY: usize = 253;

/// The rule of Kubernetes for keys of a `ConfigMap` (`IsConfigMapKey` in apimachinery).
pub(crate) fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err("must have 1 to 253 characters");
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("may hold only letters, digits, '-', '_' and '.'");
    }
    if key == "." || key.starts_with("..") {
        return Err("must not be '.' or start with '..'");
    }
    Ok(())
}

/// Checks labels of a resource by the rules of the API server.
///
/// # Errors
/// A sentence that names the label.
pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in labels {
        let shown = text::brief(key);
        check_qualified(key).map_err(|why| format!("key '{shown}' {why}"))?;
        if !value.is_empty() {
            check_name(value)
                .map_err(|why| format!("the value of '{shown}', '{}', {why}", text::brief(value)))?;
        }
    }
    Ok(())
}

/// Checks annotations of a resource by the rules of the API server.
///
/// # Errors
/// A sentence that names the annotation, or the size of all annotations.
pub(crate) fn check_annotations(annotations: &BTreeMap<String, String>) -> Result<(), String> {
    for key in annotations.keys() {
        // The API server checks the key in lower case.
        check_qualified(&key.to_lowercase()).map_err(|why| format!("key '{}' {why}", text::brief(key)))?;
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_OWN_ANNOTATIONS {
        return Err(format!(
            "keys and values have {size} bytes; at most {MAX_OWN_ANNOTATIONS} (64 KiB): the rest of the 256 KiB of an object is for annotations of the operator; shorten them"
        ));
    }
    Ok(())
}

/// `IsQualifiedName` of apimachinery: a name, or a DNS subdomain, `/` and a name.
fn check_qualified(key: &str) -> Result<(), &'static str> {
    let name = match key.split_once('/') {
        Some((domain, name)) => {
            check_subdomain(domain)?;
            name
        }
        None => key,
    };
    check_name(name)
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let middle = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = [name.bytes().next(), name.bytes().next_back()];
    let sound = ends.iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric()));
    if sound && name.len() <= 63 && name.bytes().all(middle) {
        return Ok(());
    }
    Err("must have 1 to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends")
}

fn check_subdomain(domain: &str) -> Result<(), &'static str> {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if domain.len() <= 253 && domain.split('.').all(label) {
        return Ok(());
    }
    Err("must have a DNS name of lower case before the '/', at most 253 characters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Content {
        let mut content = Content::default();
        for (key, value) in files {
            match String::from_utf8(value) {
                Ok(text) => drop(content.data.insert(key, text)),
                Err(error) => drop(content.binary_data.insert(key, error.into_bytes())),
            }
        }
        content
    }

    fn many(count: usize, key: usize, value: usize) -> Content {
        content((0..count).map(|index| (format!("{index:0key$}"), vec![b'x'; value])))
    }

    #[test]
    fn what_a_config_map_may_hold_fits() {
        let one =
            |byte: &str, count: usize| content([("config.json".to_owned(), byte.repeat(count).into_bytes())]);
        check(&one("x", 1 << 20)).unwrap();
        check(&one("\"", 1 << 20)).unwrap();
        check(&one("\n", 1 << 20)).unwrap();
        check(&content([("a".to_owned(), vec![0xff; 1 << 20])])).unwrap();
        check(&many(1000, 20, 1000)).unwrap();
        check(&many(4000, 10, 200)).unwrap();
    }

    /// Within the 1 MiB of values, but the API server or etcd still refuses it.
    #[rstest::rstest]
    #[case::grows_sixfold_in_the_request(content([("a".to_owned(), vec![1; 600_000])]), "most of all 'a'")]
    #[case::so_do_others(content([("a".to_owned(), vec![0x7f; 600_000])]), "a request to the API server")]
    #[case::names_are_stored_three_times(many(4000, 250, 250), "in etcd")]
    #[case::names_alone(many(2000, 250, 1), "in etcd")]
    fn what_grows_on_its_way_is_too_large(#[case] content: Content, #[case] says: &str) {
        let failure = check(&content).unwrap_err();
        assert_eq!(failure.reason, Reason::TooLarge);
        assert!(failure.message.contains(says), "{}", failure.message);
    }

    #[rstest::rstest]
    #[case("team", "shop", true)]
    #[case("example.com/team", "", true)]
    #[case("team", "a b", false)]
    #[case("team", "-a", false)]
    #[case("Example.com/team", "a", false)]
    #[case("a/b/c", "a", false)]
    #[case("", "a", false)]
    fn labels_as_the_api_server_takes_them(#[case] key: &str, #[case] value: &str, #[case] taken: bool) {
        assert_eq!(check_labels(&[(key.to_owned(), value.to_owned())].into()).is_ok(), taken);
        let long = "a".repeat(64);
        assert!(check_labels(&[(key.to_owned(), long)].into()).is_err());
    }

    #[test]
    fn annotations_leave_room_for_those_of_the_operator() {
        let of = |key: &str, size: usize| check_annotations(&[(key.to_owned(), "x".repeat(size))].into());
        of("example.com/note", 60_000).unwrap();
        of("Example.com/Note", 1).unwrap();
        assert!(of("example.com/note", 65_530).unwrap_err().contains("65546 bytes"));
        assert!(of("no key", 1).unwrap_err().contains("'no key'"));
    }

    proptest! {
        /// The computed size is at least the size that is sent.
        #[test]
        fn no_request_is_larger_than_it_is_counted(files in prop::collection::btree_map("[a-z.]{1,9}", any::<Vec<u8>>(), 0..4), text: String, wild in "[\\x00-\\x1f\u{7f}-\u{a0}\u{2028}\u{feff}\u{e0041}]{0,9}") {
            let more = [("text".to_owned(), text.into_bytes()), ("wild".to_owned(), wild.into_bytes())];
            let content = content(files.into_iter().chain(more));
            let binary = content.binary_data.iter().map(|(key, value)| (key.clone(), k8s_openapi::ByteString(value.clone())));
            let object = k8s_openapi::api::core::v1::ConfigMap {
                data: Some(content.data.clone()),
                binary_data: Some(binary.collect()),
                ..Default::default()
            };
            let around = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{},"data":{},"binaryData":{}}"#.len();
            let sent = crate::json::to_yaml_safe(&object).unwrap();
            prop_assert!(sent.len() <= request(&content) + around, "{} above {}", sent.len(), request(&content));
            prop_assert!(serde_json::to_string(&object).unwrap().len() <= request(&content) + around);
        }
    }
}
