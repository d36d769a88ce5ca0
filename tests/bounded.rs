//! Every place where others choose the length of the work, with the worst input that can reach it: all work ends.
//!
//! The bound is a watchdog and not a measurement: exponential work takes hours, bounded work a moment. Unpacking and
//! patterns are counted beside their code, in `crates/registry/src/content/archive.rs` and
//! `crates/decide/src/content/pattern.rs`.

use std::collections::BTreeMap;
use std::convert::identity;
use std::sync::mpsc;
use std::time::Duration;

use api::{ArtifactConfig, FileMapping};
use decide::files::{Effort, FileRules};
use decide::render::render;
use decide::select::{self, Question};
use decide::spec::{self, Selector};
use decide::{Failure, json};
use oci::{Artifact, ConfigFile, Digest, ImageRef, Platform, normalize_path, text};
use registry::MAX_FILES;
use serde_json::json;

const WATCHDOG: Duration = Duration::from_mins(2);

/// Bytes of the largest manifest.
const MANIFEST: usize = 4 * 1024 * 1024;

/// Runs the work on a separate thread, which is abandoned if it does not end.
fn ends(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    assert!(ended.recv_timeout(WATCHDOG).is_ok(), "it has not ended within two minutes, or it panicked");
}

fn rules(paths: impl IntoIterator<Item = String>) -> Result<FileRules, String> {
    let mappings: Vec<_> = paths.into_iter().map(|path| FileMapping { path, key: None }).collect();
    FileRules::parse(&mappings)
}

fn file(path: &str, bytes: Vec<u8>) -> ConfigFile {
    ConfigFile { path: path.to_owned(), bytes: bytes.into() }
}

/// Seventeen letters of pattern froze the whole operator for hours.
#[test]
fn stars_before_a_separator() {
    ends(|| {
        let rules = rules(["*a*a*a*a*a*a*a*a*b".to_owned()]).unwrap();
        let path = format!("{}/x", "a".repeat(100));
        assert!(!rules.wants(&path, &Effort::default()).unwrap());
        assert!(rules.keys(&[&path], &[]).unwrap_err().message.contains("matches none"));
    });
}

#[rstest::rstest]
#[case::stars("*a".repeat(512), "a".repeat(1000))]
#[case::literal_after_a_star(format!("*{}b", "a".repeat(1000)), "a".repeat(1010))]
#[case::segments("**/a/".repeat(200) + "b", vec!["a"; 500].join("/"))]
#[case::stars_in_segments("**/*a*a*/".repeat(100) + "b", vec!["aaaaa"; 160].join("/"))]
#[case::classes("*[a-z]".repeat(170) + "B", "a".repeat(1000))]
#[case::one_large_class(format!("*[{}]", "ab".repeat(500)), "c".repeat(1000))]
fn as_many_of_the_worst_patterns_and_names_as_there_may_be(#[case] pattern: String, #[case] name: String) {
    ends(move || {
        let rules = rules((0..256).map(|_| pattern.clone())).unwrap();
        let names: Vec<String> = (0..MAX_FILES).map(|index| format!("{name}{index}")).collect();
        let effort = Effort::default();
        for name in &names {
            drop((rules.wants(name, &effort), rules.want_below(name, &effort)));
        }
        drop(rules.keys(&names.iter().map(String::as_str).collect::<Vec<_>>(), &names));
    });
}

#[rstest::rstest]
#[case::control(1)]
#[case::quote(b'"')]
#[case::newline(b'\n')]
#[case::binary(0xff)]
fn a_full_config(#[case] byte: u8) {
    ends(move || {
        drop(render(&[file("a", vec![byte; 1024 * 1024])], &[], &FileRules::default()));
        let many: Vec<_> =
            (0..MAX_FILES).map(|index| file(&format!("{index:0250}"), vec![byte; 250])).collect();
        drop(render(&many, &[], &FileRules::default()));
    });
}

#[rstest::rstest]
#[case::slashes("/")]
#[case::dots("./")]
#[case::ups("../")]
#[case::colons("a:")]
#[case::ats("a@")]
#[case::numbers("1.")]
#[case::dashes("a-.")]
#[case::separators("a__")]
#[case::escapes("\u{1b}\u{202e}\\")]
#[case::stars("*a")]
fn long_texts_are_parsed_or_refused(#[case] part: &str) {
    let long = part.repeat(MANIFEST / part.len());
    ends(move || {
        drop(normalize_path(&long));
        drop((long.parse::<ImageRef>(), long.parse::<Digest>(), long.parse::<Platform>()));
        drop((text::escape(&long), text::line(&long), text::brief(&long)));
        drop((json::to_printable(&long), json::to_yaml_safe(&long)));
        drop(FileRules::parse(&[FileMapping { path: long.clone(), key: Some(long.clone()) }]));
        let failure = Failure::new(api::Reason::InvalidContent, &long).at(&long);
        drop(failure.with_notes(&[long]));
    });
}

/// A thousand candidates, whose manifests are as large as they may be together in memory.
#[rstest::rstest]
#[case::numbers("1.")]
#[case::letters("a.")]
#[case::digits("9")]
fn candidates_with_long_versions_and_dates(
    #[case] part: &str,
    #[values("Newest", "HighestVersion", "Only")] policy: &str,
) {
    let (part, policy) = (part.to_owned(), policy.to_owned());
    ends(move || {
        let candidates: Vec<Artifact<Failure>> = (0..1000)
            .map(|index: u32| {
                let long = format!("1.0.0-{}{index}", part.repeat(8000));
                Artifact {
                    digest: Digest::sha256(&index.to_be_bytes()),
                    media_type: String::new(),
                    artifact_type: "custom/config".to_owned(),
                    subject: None,
                    annotations: [
                        ("org.opencontainers.image.version", long.as_str()),
                        ("org.opencontainers.image.created", long.as_str()),
                    ]
                    .into_iter()
                    .collect(),
                    layers: Box::default(),
                    children: Box::default(),
                    unreadable_children: 0,
                    fault: None,
                    manifest: None,
                }
            })
            .collect();
        let image = "r.example/web:v1".parse().unwrap();
        let question = Question {
            image: &image,
            subject: &Digest::sha256(b"image"),
            artifact_type: "custom/config",
            attached: &[],
        };
        let selector =
            Selector { annotations: BTreeMap::new(), policy: serde_json::from_value(json!(policy)).unwrap() };
        drop(select::select(question, &candidates, &selector, identity).map(|selected| selected.notes));
    });
}

/// A resource as large as etcd takes.
#[test]
fn a_resource_as_large_as_it_may_be() {
    ends(|| {
        let (long, many) = ("*a".repeat(512), "x".repeat(700_000));
        let object: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "image": "r.example/web:v1", "artifactType": many, "interval": "1s".repeat(1000),
                "files": vec![json!({"path": long}); 256],
                "target": {"labels": {"a": many}, "annotations": {"b": many}},
            }
        }))
        .unwrap();
        drop(spec::parse(&object, None));
    });
}
