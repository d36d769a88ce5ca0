//! Proof of a revision by its bytes alone.
//!
//! A revision keeps the manifest of its artifact. The digest of the artifact verifies the manifest, and the digests in
//! the manifest verify the files. The bytes passed the same checks when they came from the registry. No label,
//! annotation or name needs to be trusted.

use std::collections::BTreeMap;

use oci::{Artifact, ConfigFile, Descriptor, Digest, normalize_path, parse_artifact};

use crate::files::FileRules;
use crate::render::{Content, render};
use crate::spec::Desired;

/// The artifact, if the manifest has this digest and the type in `spec`, and the rules of the resource make exactly
/// this content from its files.
///
/// `None` if a layer is a packed directory, because unpacked files do not prove the digest of the archive. `None` also
/// if the content was made by other rules.
#[must_use]
pub fn of(desired: &Desired, digest: &Digest, manifest: &str, content: &Content) -> Option<Artifact> {
    let artifact = manifest_of(digest, manifest)?;
    let is_whole = artifact.artifact_type == desired.artifact_type
        && artifact.subject.is_some()
        && is_rendered(&artifact.layers, &desired.files, content);
    is_whole.then_some(artifact)
}

/// The artifact of a manifest, if the manifest has this digest.
#[must_use]
pub fn manifest_of(digest: &Digest, manifest: &str) -> Option<Artifact> {
    digest.verify(manifest.as_bytes()).ok()?;
    parse_artifact(digest.clone(), manifest.as_bytes(), None).ok()
}

/// Whether the rules make exactly this content from these layers, byte for byte.
fn is_rendered(layers: &[Descriptor], rules: &FileRules, content: &Content) -> bool {
    files(layers, rules, content)
        .and_then(|(files, others)| render(&files, &others, rules).ok())
        .is_some_and(|rendered| rendered == *content)
}

/// The selected files of the layers, read from the content, and the paths of the others.
fn files(
    layers: &[Descriptor],
    rules: &FileRules,
    content: &Content,
) -> Option<(Vec<ConfigFile>, Vec<String>)> {
    let titled = layers.iter().filter_map(|layer| Some((layer, layer.title()?)));
    let mut by_path: BTreeMap<String, &Descriptor> = BTreeMap::new();
    for (layer, title) in titled {
        // Two files with one name are refused, as in `render`.
        let twice = by_path.insert(normalize_path(title).ok()?, layer).is_some();
        if twice || layer.is_directory() {
            return None;
        }
    }
    let paths: Vec<&str> = by_path.keys().map(String::as_str).collect();
    let keys = rules.keys(&paths, &[]).ok()?;
    let mut files = BTreeMap::new();
    for (key, path) in keys {
        let layer = by_path.get(path)?;
        let text = content.data.get(&key).map(String::as_bytes);
        let bytes = text.or_else(|| content.binary_data.get(&key).map(Vec::as_slice))?;
        if bytes.len() as u64 != layer.size || layer.digest.verify(bytes).is_err() {
            return None;
        }
        files.insert(path, ConfigFile { path: path.to_owned(), bytes: bytes.to_vec().into() });
    }
    let others = paths.iter().filter(|path| !files.contains_key(*path)).map(|path| (*path).to_owned());
    let others = others.collect();
    Some((files.into_values().collect(), others))
}

#[cfg(test)]
mod tests {
    use api::ArtifactConfig;

    use super::*;
    use crate::spec;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn desired(files: &Value) -> Desired {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
            "spec": {"image": "r.example/web:v1", "artifactType": "custom/config", "files": files}
        }))
        .unwrap();
        spec::parse(&config, None).unwrap()
    }

    fn layer(title: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": "a/b", "digest": Digest::sha256(bytes).to_string(), "size": bytes.len(),
            "annotations": {"org.opencontainers.image.title": title}})
    }

    fn manifest(layers: &[Value]) -> Value {
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "custom/config", "config": layer("", b"{}"), "layers": layers,
            "subject": {"digest": Digest::sha256(b"image").to_string(), "size": 1}})
    }

    fn content(data: &[(&str, &str)], binary: &[(&str, &[u8])]) -> Content {
        Content {
            data: data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            binary_data: binary.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect(),
        }
    }

    fn proven(files: &Value, manifest: &Value, content: &Content) -> bool {
        let text = manifest.to_string();
        of(&desired(files), &Digest::sha256(text.as_bytes()), &text, content).is_some()
    }

    fn two() -> Value {
        manifest(&[layer("config.json", b"{}"), layer("conf.d/logo.bin", &[0xff, 0])])
    }

    #[rstest]
    #[case::every_file(json!([]), content(&[("config.json", "{}")], &[("conf.d.logo.bin", &[0xff, 0])]), true)]
    #[case::one_of_them(json!([{"path": "config.json", "key": "app"}]), content(&[("app", "{}")], &[]), true)]
    #[case::other_bytes(json!([]), content(&[("config.json", "[]")], &[("conf.d.logo.bin", &[0xff, 0])]), false)]
    #[case::one_is_missing(json!([]), content(&[("config.json", "{}")], &[]), false)]
    #[case::one_too_many(json!([]), content(&[("config.json", "{}"), ("x", "")], &[("conf.d.logo.bin", &[0xff, 0])]), false)]
    #[case::under_another_key(json!([]), content(&[("other.json", "{}")], &[("conf.d.logo.bin", &[0xff, 0])]), false)]
    #[case::by_other_rules(json!([{"path": "*.json"}]), content(&[("app", "{}")], &[]), false)]
    #[case::text_as_bytes(json!([{"path": "config.json"}]), content(&[], &[("config.json", b"{}")]), false)]
    fn content_is_what_the_rules_make_of_the_layers(
        #[case] files: Value,
        #[case] content: Content,
        #[case] expected: bool,
    ) {
        assert_eq!(proven(&files, &two(), &content), expected);
    }

    /// A manifest with other content has another digest.
    #[test]
    fn a_manifest_of_another_digest_proves_nothing() {
        let forged = manifest(&[layer("config.json", b"EVIL")]).to_string();
        let content = content(&[("config.json", "EVIL")], &[]);
        let artifact = Digest::sha256(two().to_string().as_bytes());
        assert_eq!(of(&desired(&json!([])), &artifact, &forged, &content), None);
        assert!(of(&desired(&json!([])), &Digest::sha256(forged.as_bytes()), &forged, &content).is_some());
    }

    #[test]
    fn a_packed_directory_another_type_and_no_subject_are_not_proven() {
        let good = manifest(&[layer("config.json", b"{}")]);
        let content = content(&[("config.json", "{}")], &[]);
        assert!(proven(&json!([]), &good, &content));
        for (pointer, value) in [
            ("/layers/0/annotations/io.deis.oras.content.unpack", json!("true")),
            ("/artifactType", json!("custom/other")),
            ("/subject", json!(null)),
            ("/layers/0/size", json!(3)),
            ("/layers", json!([layer("config.json", b"{}"), layer("config.json", b"{}")])),
        ] {
            let mut bad = good.clone();
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            bad.pointer_mut(parent).unwrap()[member] = value;
            assert!(!proven(&json!([]), &bad, &content), "{pointer}");
        }
    }
}
