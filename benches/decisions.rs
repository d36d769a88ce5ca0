//! What the decisions cost that every reconcile makes, each alone and at the size of its bound.
#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot be set up ends")]

use std::convert::identity;
use std::hint::black_box;

use api::{
    ArtifactConfig, ArtifactConfigStatus, FileMapping, HistoryEntry, HistoryOutcome, Reason, SelectionPolicy,
};
use criterion::{Criterion, criterion_group, criterion_main};
use decide::Failure;
use decide::files::FileRules;
use decide::render::{MAX_CONFIG_MAP, render};
use decide::report::Report;
use decide::select::{Question, select};
use decide::spec::Selector;
use decide::status;
use decide::view::View;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use oci::{Artifact, ConfigFile, Digest, ImageRef, read_artifact};
use serde_json::json;

/// Manifests attached to one image: as many as a list may hold.
const ATTACHED: u32 = 10_000;

/// Files of a full `ConfigMap`.
const FILES: u64 = 16;

/// Entries of a full history: the greatest `spec.revisionHistoryLimit`.
const HISTORY: usize = 100;

fn digest(number: impl std::fmt::Display) -> Digest {
    Digest::sha256(number.to_string().as_bytes())
}

fn artifact(number: u32) -> Artifact<Failure> {
    let created = Timestamp::from_second(1_700_000_000 + i64::from(number)).expect("a time of our days");
    let manifest = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "custom/config",
        "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest("image"), "size": 5},
        "layers": [{"mediaType": "text/plain", "digest": digest("layer"), "size": 5}],
        "annotations": {
            "org.opencontainers.image.created": created.to_string(),
            "org.opencontainers.image.version": format!("1.{}.{}", number / 100, number % 100),
            "environment": if number.is_multiple_of(2) { "production" } else { "staging" },
        },
    });
    read_artifact(digest(number), manifest.to_string().as_bytes(), None, |error| {
        Failure::new(Reason::InvalidContent, error.to_string())
    })
}

fn selection(criterion: &mut Criterion) {
    let candidates: Vec<Artifact<Failure>> = (0..ATTACHED).map(artifact).collect();
    let (image, subject): (ImageRef, _) = ("r.example/web:v1".parse().expect("an image"), digest("image"));
    let question =
        Question { image: &image, subject: &subject, artifact_type: "custom/config", attached: &[] };
    let mut group = criterion.benchmark_group("select among 10,000");
    for (name, policy) in
        [("newest", SelectionPolicy::Newest), ("highest version", SelectionPolicy::HighestVersion)]
    {
        let annotations = [("environment".to_owned(), "production".to_owned())].into();
        let selector = Selector { annotations, policy };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                select(question, black_box(&candidates), &selector, identity).expect("a choice").artifact
            });
        });
    }
    group.finish();
}

fn rendering(criterion: &mut Criterion) {
    let line = "key: some value that a program reads\n";
    let length = usize::try_from(MAX_CONFIG_MAP / FILES).expect("a length");
    let text: Vec<u8> = line.bytes().cycle().take(length).collect();
    let file = |number| ConfigFile { path: format!("conf.d/{number}.yaml"), bytes: text.clone().into() };
    let files: Vec<ConfigFile> = (0..FILES).map(file).collect();
    let mappings = [FileMapping { path: "conf.d/*.yaml".to_owned(), key: None }];
    let rules = FileRules::parse(&mappings).expect("rules");
    let mut group = criterion.benchmark_group("1 MiB");
    group.bench_function("render", |bencher| {
        bencher.iter(|| render(black_box(&files), &[], &rules).expect("content"));
    });
    let content = render(&files, &[], &rules).expect("content");
    group.bench_function("hash", |bencher| bencher.iter(|| black_box(&content).hash()));
    group.finish();
}

fn history(number: usize) -> HistoryEntry {
    HistoryEntry {
        revision: i64::try_from(number).unwrap_or_default(),
        artifact: digest(number).to_string(),
        image: digest("image").to_string(),
        image_reference: Some("r.example/web:v1".to_owned()),
        config_map: Some(format!("web-{number:010x}")),
        hash: Some(digest("content").to_string()),
        applied_at: Timestamp::UNIX_EPOCH.to_string(),
        outcome: HistoryOutcome::Superseded,
    }
}

fn resource() -> ArtifactConfig {
    serde_json::from_value(json!({
        "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 3},
        "spec": {"image": "r.example/web:v1", "artifactType": "custom/config", "revisionHistoryLimit": HISTORY}
    }))
    .expect("a resource")
}

/// Whether a reconcile has something to write: the next status is made, and compared with the one that there is.
fn statuses(criterion: &mut Criterion) {
    let resource = DeserializeGuard(Ok(resource()));
    let failed = |why: &str| Report::failed(Failure::new(Reason::RegistryUnavailable, why));
    let next = |previous: &ArtifactConfigStatus, report: &Report| {
        status::next(&View::of(&resource, Some(previous), None), report, Timestamp::UNIX_EPOCH)
    };
    let is_due = |previous: &ArtifactConfigStatus, report: &Report| next(previous, report) != *previous;
    let full =
        ArtifactConfigStatus { history: (0..HISTORY).rev().map(history).collect(), ..Default::default() };
    let before = failed("registry r.example did not answer");
    let previous = next(&full, &before);
    let after = failed("registry r.example answered 503");
    let mut group = criterion.benchmark_group("status with 100 revisions");
    for (name, report, expected) in [("the same", &before, false), ("another", &after, true)] {
        assert_eq!(is_due(&previous, report), expected, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| is_due(black_box(&previous), black_box(report)));
        });
    }
    group.finish();
}

criterion_group!(benches, selection, rendering, statuses);
criterion_main!(benches);
