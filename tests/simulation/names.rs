//! The names of all things in these worlds: few, so that they meet often.

use std::collections::BTreeMap;

use api::FileMapping;
use oci::{ConfigFile, Digest};

pub const NAMESPACE: &str = "shop";
pub const REPOSITORY: &str = "r.example/shop/web";
pub const TYPE: &str = "custom/config";
pub const OTHER_TYPE: &str = "custom/other";
pub const SECRET: &str = "regcred";
/// The password, which must appear nowhere.
pub const PASSWORD: &str = "hunter2";
/// The same as in the pull secret: `robot:hunter2`.
pub const ENCODED_PASSWORD: &str = "cm9ib3Q6aHVudGVyMg==";

/// The resources.
pub const RESOURCES: [&str; 2] = ["web", "api"];
/// Names of targets that a spec may have, in addition to the name of the resource itself.
pub const TARGETS: [&str; 3] = ["web", SHARED, "other"];
/// The object into which resources merge.
pub const SHARED: &str = "shared";
pub const TAGS: [&str; 2] = ["v1", "v2"];
pub const IMAGES: usize = 3;
pub const LIMITS: [i32; 4] = [10, 2, 1, 0];

pub fn image(index: usize) -> Digest {
    Digest::sha256(format!("image {index}").as_bytes())
}

/// An image as a spec or a pod template names it.
pub fn reference(index: usize) -> String {
    match TAGS.get(index) {
        Some(tag) => format!("{REPOSITORY}:{tag}"),
        None => format!("{REPOSITORY}@{}", image(0)),
    }
}

/// Content of a `ConfigMap`, from `data` and `binaryData`.
pub type Bytes = BTreeMap<String, Vec<u8>>;

/// Files that somebody attaches.
pub fn files(kind: usize) -> Vec<ConfigFile> {
    let file = |path: &str, bytes: &[u8]| ConfigFile { path: path.to_owned(), bytes: bytes.to_vec().into() };
    let config = file("config.json", format!("{{\"version\":{kind}}}").as_bytes());
    match kind {
        // Binary beside text, and in the place of text.
        2 => vec![config, file("extra.bin", &[0, 159, 146, 150])],
        3 => vec![file("config.json", &[0, 159, 146, 150, 3])],
        // Without the file that a mapping may ask for.
        4 => vec![file("other.json", b"{}")],
        // Two files with one key.
        5 => vec![config, file("conf.d/a.ini", b"1"), file("conf.d.a.ini", b"2")],
        _ => vec![config],
    }
}

pub const KINDS: usize = 6;

/// `spec.files`.
pub fn mapping(index: usize) -> Vec<FileMapping> {
    let rule = |path: &str, key: Option<&str>| {
        vec![FileMapping { path: path.to_owned(), key: key.map(str::to_owned) }]
    };
    match index {
        1 => rule("config.json", Some("app.json")),
        2 => rule("*.json", None),
        3 => rule("missing.txt", None),
        _ => Vec::new(),
    }
}

pub const MAPPINGS: usize = 4;

/// The content that a mapping gives for files. Implemented again here, from the documentation of `spec.files`.
pub fn render(files: &[ConfigFile], mapping: &[FileMapping]) -> Option<Bytes> {
    let mut content = Bytes::new();
    for file in files {
        let key = match mapping.first() {
            None => file.path.replace('/', "."),
            Some(rule) if rule.path == file.path => rule.key.clone().unwrap_or_else(|| file.path.clone()),
            Some(rule) if rule.path == "*.json" && file.path.strip_suffix(".json").is_some() => {
                file.path.clone()
            }
            Some(_) => continue,
        };
        if content.insert(key, file.bytes.to_vec()).is_some() {
            return None;
        }
    }
    (!content.is_empty()).then_some(content)
}
