//! Sixteen looks side by side, as many as the operator has, each at a registry that sends the worst it can. They run in a
//! process of their own, so that its high-water mark is theirs.

use std::process::Command;
use std::sync::Arc;

use oci::{Digest, ImageRef, media_type};
use registry::{Access, Freshness, Keyring, OciRegistry, Query, Registry as _, Settings, Subject};
use serde_json::json;
use testbed::registry::{EmbeddedRegistry, Fault};

/// What the chart gives the operator.
const LIMIT: u64 = 256 * 1024 * 1024;

/// What the operator takes beside: resources, watches, the API server's answers.
const RESERVED: u64 = 40 * 1024 * 1024;

const HOST: &str = "ARTIFACTCONFIG_TEST_HOSTILE_REGISTRY";

const SUBJECT: &[u8] = b"image";

/// Nearly 4 MiB.
const LARGE: usize = 4_150_000;

/// A manifest that passes every check until it is too much, with something in it that is different each time.
fn manifest(kind: usize, number: usize) -> Vec<u8> {
    let subject =
        json!({"mediaType": media_type::OCI_MANIFEST, "digest": Digest::sha256(SUBJECT), "size": 5});
    let mut manifest = json!({"mediaType": media_type::OCI_MANIFEST, "artifactType": "custom/config", "subject": subject,
        "annotations": {"number": number.to_string()}});
    let layer = |data: &str| json!({"digest": Digest::sha256(b"layer"), "size": 5, "data": data});
    match kind % 4 {
        0 => manifest["layers"] = json!([layer(&"A".repeat(1_900_000))]),
        1 => manifest["layers"] = (0..4000).map(|_| layer(&"A".repeat(100))).collect(),
        2 => {
            let many = (0..1000).map(|key| (key.to_string(), json!("x".repeat(200))));
            manifest["annotations"] =
                many.chain([("number".to_owned(), json!(number.to_string()))]).collect();
            manifest["zzz"] = json!("x".repeat(3_000_000));
        }
        _ => {
            let layers = vec![layer("").to_string(); 30_000].join(",");
            let text = manifest.to_string();
            return text.replacen('{', &format!(r#"{{"layers":[{layers}],"#), 1).into_bytes();
        }
    }
    manifest.to_string().into_bytes()
}

fn hostile(registry: &EmbeddedRegistry) {
    let digests: Vec<Digest> = (0..24)
        .map(|number| {
            let bytes = manifest(number / 6, number);
            let digest = Digest::sha256(&bytes);
            let headers = [("content-type", media_type::OCI_MANIFEST)];
            registry.inject(Fault::on(&format!("/manifests/{digest}")).respond(200, &headers, bytes));
            digest
        })
        .collect();
    let index =
        |entries: String| format!(r#"{{"mediaType":"{}","manifests":[{entries}]}}"#, media_type::OCI_INDEX);
    let entry = |digest: &Digest| format!(r#"{{"digest":"{digest}","size":1}}"#);
    let headers = [("content-type", media_type::OCI_INDEX)];
    let list = |kind: usize, body: String| {
        let place = format!("/v2/hostile{kind}/");
        Fault::when(move |request| {
            request.uri.path().starts_with(&place) && !request.uri.path().contains("sha256:0")
        })
        .respond(200, &headers, body)
    };
    // A list of objects without end; one of many candidates with annotations; each quarter of the manifests.
    registry.inject(list(0, index(format!("{}{{}}", r#"{"a":1},"#.repeat(LARGE / 8)))));
    let annotated = |number: usize| {
        let digest = Digest::sha256(&number.to_be_bytes());
        format!(r#"{{"digest":"{digest}","annotations":{{"a":"{}"}}}}"#, "x".repeat(1900))
    };
    registry.inject(list(1, index((0..1000).map(annotated).collect::<Vec<_>>().join(","))));
    for quarter in 0..4 {
        let entries: Vec<String> = digests[quarter * 6..][..6].iter().map(entry).collect();
        registry.inject(list(2 + quarter, index(entries.join(","))));
    }
    registry.inject(list(6, index(digests.iter().map(entry).collect::<Vec<_>>().join(","))));
    let many = |number: usize| entry(&Digest::sha256(&number.to_be_bytes()));
    registry.inject(list(7, index((0..40_000).map(many).collect::<Vec<_>>().join(","))));
}

#[tokio::test]
async fn sixteen_hostile_registries_fit_into_the_charts_limit() {
    testbed::install_crypto_provider();
    let registry = EmbeddedRegistry::start().await.unwrap();
    hostile(&registry);
    let program = std::env::current_exe().unwrap();
    let host = registry.host();
    let child = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(program);
        command
            .args(["sixteen::reconciles_side_by_side", "--exact", "--ignored", "--nocapture"])
            .env(HOST, host);
        command.output().unwrap()
    });
    let output = child.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let peak = said.lines().find_map(|line| line.split_once("peak ")?.1.trim().parse::<u64>().ok());
    let peak = peak.unwrap_or_else(|| panic!("no peak in {said}"));
    assert!(peak <= LIMIT - RESERVED, "{} MiB at the most", peak / 1024 / 1024);
    assert!(registry.requests().len() >= 16);
}

/// What the test above runs in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn reconciles_side_by_side() {
    let Ok(host) = std::env::var(HOST) else { return };
    testbed::install_crypto_provider();
    let client = Arc::new(OciRegistry::new(Settings::default(), Arc::new(|_| {})).unwrap());
    for _ in 0..2 {
        let looks = (0..16).map(|number| {
            let (client, host) = (client.clone(), host.clone());
            tokio::spawn(async move {
                let image: ImageRef = format!("{host}/hostile{}/{number}:v1", number % 8).parse().unwrap();
                let subject = Subject { image: image.clone(), digest: Digest::sha256(SUBJECT) };
                let repository = image.repository();
                let access = Access::new(Keyring::default()).with_plain_http(true);
                let query = Query {
                    repository: &repository,
                    artifact_type: Some("custom/config"),
                    platform: None,
                    freshness: Freshness::Now,
                };
                // Whatever is made of it: it has to end.
                let _ = client.referrers(&access, &subject, query).await;
            })
        });
        futures::future::join_all(looks).await;
    }
    let status = procfs::process::Process::myself().unwrap().status().unwrap();
    println!("\npeak {}", status.vmhwm.unwrap() * 1024);
}
