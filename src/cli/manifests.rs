//! Files with resources → `ArtifactConfigs`, read as `kubectl apply --validate=strict` reads them. Pure but for [`read`].

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use api::{ArtifactConfig, GROUP};
use decide::near;
use kube::Resource as _;
use serde::Deserialize as _;
use serde_json::Value;

use super::fields;

/// Most bytes that are read: ten of the largest objects that a cluster stores, so that a file of another kind does not
/// fill the memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Deepest nesting of lists. `kubectl get` never writes a list within a list.
const MAX_DEPTH: usize = 8;

/// All `ArtifactConfigs` of a file, or of standard input (`-`), including those in lists.
///
/// # Errors
/// If the file cannot be read completely: a document is not a resource, a field is unknown, or the version is another
/// one.
pub fn read(path: &Path) -> anyhow::Result<Vec<ArtifactConfig>> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if is_stdin {
        bounded(std::io::stdin().lock())
    } else {
        ensure!(
            !path.is_dir(),
            "{name} is a directory; name a file, or pipe several: cat {name}/*.yaml | … -f -"
        );
        std::fs::File::open(path).and_then(bounded)
    }
    .with_context(|| format!("{name} cannot be read"))?;
    ensure!(bytes.len() as u64 <= MAX_BYTES, "{name} is too long; at most {MAX_BYTES} bytes are read");
    parse(&bytes).with_context(|| name)
}

fn bounded(reader: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
}

/// All `ArtifactConfigs` of a text in YAML or JSON. Other kinds are skipped.
fn parse(bytes: &[u8]) -> anyhow::Result<Vec<ArtifactConfig>> {
    let text = text(bytes)?;
    let (mut configs, mut others) = (Vec::new(), Vec::new());
    for (index, document) in documents(&text)?.into_iter().enumerate() {
        // An empty document, such as between two `---`, is skipped.
        if !document.is_null() {
            collect(document, &format!("document {}", index + 1), 0, &mut configs, &mut others)?;
        }
    }
    if configs.is_empty() {
        let kind = ArtifactConfig::kind(&());
        match others.as_slice() {
            [] => bail!("it holds no {kind}"),
            kinds => bail!("it holds no {kind}; there are {}", near::listed(kinds)),
        }
    }
    Ok(configs)
}

/// Decodes UTF-8, or UTF-16 with a byte order mark, which PowerShell writes with `>`.
fn text(bytes: &[u8]) -> anyhow::Result<String> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| -> anyhow::Result<String> {
        let (pairs, odd) = rest.as_chunks::<2>();
        ensure!(odd.is_empty(), "it begins like UTF-16 but ends in the middle of a character");
        let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
        String::from_utf16(&units).map_err(|_| anyhow!("it begins like UTF-16 but is not valid UTF-16"))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => {
            let text = std::str::from_utf8(rest).map_err(|error| {
                anyhow!("it is not text: byte {} is not UTF-8; save it as UTF-8", error.valid_up_to() + 1)
            })?;
            ensure!(!text.contains('\0'), "it is not text: it holds zero bytes; save it as UTF-8");
            Ok(text.to_owned())
        }
    }
}

/// The documents of a text. Some JSON is not valid YAML: JSON with tabs, or several objects in a row.
fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let error = match serde_saphyr::from_multiple(text) {
        Ok(documents) => return Ok(documents),
        Err(error) => error,
    };
    if text.trim_start().starts_with('{') {
        let read: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
        if let Ok(documents) = read {
            return Ok(documents);
        }
    }
    // The message is one line with the position, so the snippet of the text is left out.
    Err(anyhow!(error.without_snippet().to_string()).context("it is neither YAML nor JSON"))
}

fn collect(
    mut document: Value,
    place: &str,
    depth: usize,
    configs: &mut Vec<ArtifactConfig>,
    others: &mut Vec<String>,
) -> anyhow::Result<()> {
    let Some(kind) = document["kind"].as_str().map(str::to_owned) else {
        bail!("{place} is not a resource: it has no kind");
    };
    let version = document["apiVersion"].as_str().unwrap_or_default().to_owned();
    let ours = ArtifactConfig::kind(&());
    let of_ours = version.split_once('/').is_some_and(|(group, _)| group == GROUP);
    if kind == ours {
        configs.push(config(document, place)?);
    } else if kind == "List" || (of_ours && kind.strip_suffix("List") == Some(&*ours)) {
        ensure!(depth < MAX_DEPTH, "{place}: lists lie more than {MAX_DEPTH} deep in each other");
        let items = match document["items"].take() {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            _ => bail!("{place}: items is not a list"),
        };
        for (index, mut item) in items.into_iter().enumerate() {
            // Items of a typed list need not repeat the kind.
            if kind != "List" && item.is_object() {
                for (key, value) in [("kind", &*ours), ("apiVersion", version.as_str())] {
                    if item[key].is_null() {
                        item[key] = value.into();
                    }
                }
            }
            collect(item, &format!("{place}, items[{index}]"), depth + 1, configs, others)?;
        }
    } else if of_ours || !near::closest(&kind, &[&*ours]).is_empty() {
        bail!("{place}: there is no kind '{kind}'; did you mean '{ours}'?");
    } else {
        let name = document["metadata"]["name"].as_str().unwrap_or("(without a name)");
        others.push(format!("{kind} '{name}'"));
    }
    Ok(())
}

fn config(document: Value, place: &str) -> anyhow::Result<ArtifactConfig> {
    let (kind, expected) = (ArtifactConfig::kind(&()), ArtifactConfig::api_version(&()));
    let name = document["metadata"]["name"].as_str().map(|name| format!("{kind} '{name}'"));
    let name = name.unwrap_or_else(|| format!("{kind} without a name ({place})"));
    let version = document["apiVersion"].as_str().unwrap_or_default();
    if version != expected {
        bail!("{name}: apiVersion is '{version}', expected '{expected}'");
    }
    let unknown = fields::unknown(&document);
    ensure!(unknown.is_empty(), "{name}: {}", unknown.join("; "));
    ArtifactConfig::deserialize(document).with_context(|| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ONE: &str = "apiVersion: artifactconfig.dev/v1alpha1\nkind: ArtifactConfig\nmetadata: {name: NAME}\nspec: {image: r.example/web, artifactType: a/b}\n";

    fn one(name: &str) -> String {
        ONE.replace("NAME", name)
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let configs = parse(bytes).unwrap_or_else(|why| panic!("{why:#}"));
        configs.into_iter().map(|config| config.metadata.name.unwrap()).collect()
    }

    fn said(text: &str) -> String {
        format!("{:#}", parse(text.as_bytes()).unwrap_err())
    }

    fn object(name: &str) -> Value {
        json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "metadata": {"name": name},
            "spec": {"image": "r.example/web", "artifactType": "a/b"}
        })
    }

    /// Several resources in one file, with other kinds as in files of applications.
    #[test]
    fn all_of_a_file_are_read() {
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
        let text = format!("---\n# nothing\n---\n{}---\n{service}---\n---\n{}...\n", one("a"), one("b"));
        assert_eq!(names(text.as_bytes()), ["a", "b"]);
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(names(crlf.as_bytes()), ["a", "b"]);
    }

    #[test]
    fn lists_are_read() {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [
            object("a"), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}},
            {"apiVersion": "v1", "kind": "List", "items": [object("b")]},
        ]});
        assert_eq!(names(list.to_string().as_bytes()), ["a", "b"]);
        let mut bare = object("c");
        bare.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
        let typed = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfigList", "items": [bare, object("d")]
        });
        assert_eq!(names(typed.to_string().as_bytes()), ["c", "d"]);
        assert!(
            said(r#"{"apiVersion": "v1", "kind": "List", "items": null}"#)
                .contains("holds no ArtifactConfig")
        );
        assert!(said(r#"{"apiVersion": "v1", "kind": "List", "items": 1}"#).contains("items is not a list"));
        assert!(
            said(r#"{"apiVersion": "v1", "kind": "List", "items": [1]}"#)
                .contains("items[0] is not a resource")
        );
        let mut deep = object("x");
        for _ in 0..=MAX_DEPTH {
            deep = json!({"apiVersion": "v1", "kind": "List", "items": [deep]});
        }
        assert!(said(&deep.to_string()).contains("deep in each other"));
    }

    #[test]
    fn json_is_read_however_it_is_laid_out() {
        let indented = serde_json::to_string_pretty(&object("a")).unwrap().replace("  ", "\t");
        assert_eq!(names(indented.as_bytes()), ["a"]);
        assert_eq!(names(format!("{}\n{}", object("a"), object("b")).as_bytes()), ["a", "b"]);
    }

    #[test]
    fn text_of_other_editors_is_read() {
        assert_eq!(names(format!("\u{feff}{}", one("a")).as_bytes()), ["a"]);
        let units: Vec<u16> = format!("\u{feff}{}", one("ä")).encode_utf16().collect();
        let le: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let be: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        assert_eq!((names(&le), names(&be)), (vec!["ä".to_owned()], vec!["ä".to_owned()]));
        let why = |bytes: &[u8]| format!("{:#}", parse(bytes).unwrap_err());
        assert!(why(&le[..le.len() - 1]).contains("in the middle of a character"));
        assert!(why(&le[2..]).contains("save it as UTF-8"), "{}", why(&le[2..]));
        assert!(why(b"kind: \xff").contains("byte 7 is not UTF-8"), "{}", why(b"kind: \xff"));
    }

    #[test]
    fn what_is_no_resource_is_named() {
        assert!(said("").contains("holds no ArtifactConfig"));
        assert!(said("kind: Service\nmetadata: {name: web}\n").ends_with("there are Service 'web'"));
        assert!(said(&format!("{}---\nimage: x\n", one("a"))).contains("document 2 is not a resource"));
        assert!(said("just text\n").contains("document 1 is not a resource"));
        assert!(
            said(&one("a").replace("kind: ArtifactConfig", "kind: ArtifactConfigs")).contains("did you mean")
        );
        assert!(said(&one("a").replace("v1alpha1", "v1")).contains("expected 'artifactconfig.dev/v1alpha1'"));
        assert!(said(&one("a").replace("artifactType: a/b", "platform: 1")).contains("ArtifactConfig 'a'"));
        assert!(said("a: [\n").contains("neither YAML nor JSON"));
    }

    #[test]
    fn a_field_that_does_not_exist_is_refused() {
        let slip = one("a").replace("artifactType: a/b", "artifactType: a/b, pullSecrets: []");
        assert_eq!(
            said(&slip),
            "ArtifactConfig 'a': there is no field 'spec.pullSecrets'; did you mean 'spec.registry.pullSecrets'?"
        );
        let twice = one("a").replace("artifactType: a/b", "artifactType: a/b, artifactType: c/d");
        assert!(said(&twice).contains("artifactType"), "{}", said(&twice));
    }

    /// Nine levels of nine references each are 9⁹ nodes.
    #[test]
    fn references_do_not_multiply() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = format!("*a{}", level - 1);
            let line = format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(", "));
            bomb.push_str(&line);
        }
        assert!(said(&bomb).contains("neither YAML nor JSON"));
    }
}
