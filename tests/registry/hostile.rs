//! Anything at all, from registries and from Secrets: no panic, and never more work than there are bytes. What single
//! headers and archives may hold has its properties beside the code (`crates/oci`, `crates/registry`).

use std::io::Write as _;

use api::FileMapping;
use decide::files::FileRules;
use oci::{
    Digest, ImageRef, Platform, RepositoryRef, normalize_path, parse_artifact, parse_index, parse_legacy_list,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use registry::{Keyring, Plugins, Tls};
use serde_json::{Map, Value, json};
use testbed::registry::Fault;

use crate::push;
use crate::world::{INDEX, World, prepare};

/// Any JSON, made of the words that manifests are made of, so that some of it is nearly right.
fn document() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        Just("mediaType"),
        Just("artifactType"),
        Just("config"),
        Just("layers"),
        Just("blobs"),
        Just("manifests"),
        Just("subject"),
        Just("annotations"),
        Just("digest"),
        Just("size"),
        Just("data"),
        Just("platform"),
        Just("os"),
        Just("urls"),
        Just("referrers"),
        Just("auths"),
        Just("auth"),
        Just("username"),
    ];
    let digest = "sha(256|512):[0-9a-f]{0,130}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        digest.prop_map(Value::from),
        Just(json!(Digest::sha256(b""))),
        Just(json!(INDEX)),
        Just(json!(oci::media_type::OCI_MANIFEST)),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        let members = btree_map(words.clone().prop_map(str::to_owned), inner.clone(), 0..8);
        let object = members.prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()));
        prop_oneof![vec(inner, 0..8).prop_map(Value::Array), object]
    })
}

/// The parsed values are never larger than the document.
fn reads(bytes: &[u8], content_type: Option<&str>) -> Result<(), TestCaseError> {
    if let Ok(artifact) = parse_artifact(Digest::sha256(bytes), bytes, content_type) {
        prop_assert!(artifact.layers.len() + artifact.children.len() <= bytes.len());
    }
    for wanted in [None, Some("custom/config")] {
        for index in
            [parse_index(bytes, content_type, wanted), parse_legacy_list(bytes, wanted)].into_iter().flatten()
        {
            prop_assert!(index.entries.len() + index.others.len() <= bytes.len());
        }
    }
    let mut keys = Keyring::default();
    let _ = keys.add_docker_config_json(bytes);
    let _ = keys.add_docker_cfg(bytes);
    let _ = keys.lookup("r.example/web");
    Ok(())
}

/// The same cases each time: a test that fails only on some days helps nobody. To try more cases, set
/// `PROPTEST_RNG_SEED` and `PROPTEST_CASES`.
fn same_each_time() -> ProptestConfig {
    let told = std::env::var_os("PROPTEST_RNG_SEED").is_some();
    let seed = if told { ProptestConfig::default().rng_seed } else { RngSeed::Fixed(1) };
    ProptestConfig { rng_seed: seed, failure_persistence: None, ..ProptestConfig::default() }
}

/// Found by one of the properties below.
#[rstest::rstest]
#[case("A/a:v1")]
#[case("Shop/web")]
#[case("r.example/Shop/web")]
fn an_image_without_a_host_is_lower_case_too(#[case] text: &str) {
    let error = text.parse::<ImageRef>().unwrap_err().to_string();
    assert!(error.contains("lower case"), "{error}");
}

/// Found by one of the properties below.
#[rstest::rstest]
#[case("./C:/config.json")]
#[case(".//c:")]
fn a_drive_letter_is_found_behind_dots_too(#[case] name: &str) {
    assert!(normalize_path(name).is_err());
}

proptest! {
    #![proptest_config(same_each_time())]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..512), content_type in proptest::option::of(".{0,60}")) {
        reads(&bytes, content_type.as_deref())?;
    }

    #[test]
    fn any_document_is_survived(document in document(), content_type in proptest::option::of("application/vnd[a-z.+0-9]{0,40}")) {
        reads(document.to_string().as_bytes(), content_type.as_deref())?;
    }

    /// A byte of a good manifest that is another one, or is missing.
    #[test]
    fn any_damage_to_a_manifest_is_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let good = push::artifact("custom/config", &push::descriptor(INDEX, b""), &[push::file("a", b"1")]).to_string();
        let mut bytes = good.into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        reads(&bytes, None)?;
    }

    /// An accepted reference is written unchanged, and parsed again as the same.
    #[test]
    fn any_reference_is_survived(text in prop_oneof![".{0,100}", "[a-zA-Z0-9./:@_-]{0,100}", "[a-z.]{1,9}(:[0-9]{1,6})?(/[a-z_.-]{1,9}){1,4}(:[a-z0-9._-]{1,9})?(@sha256:[0-9a-f]{62,66})?"]) {
        if let Ok(image) = text.parse::<ImageRef>() {
            prop_assert_eq!(&image.to_string().parse::<ImageRef>().unwrap(), &image);
            let repository = image.repository();
            prop_assert!(!repository.host().is_empty() && !repository.path().is_empty());
            prop_assert_eq!(repository.to_string().parse::<RepositoryRef>().unwrap(), repository);
        }
        if let Ok(repository) = text.parse::<RepositoryRef>() {
            prop_assert!(!repository.path().contains(['@', '?', '#', '%', '\\']), "nothing that means something in a URL");
            prop_assert!(!repository.path().split('/').any(|part| part.is_empty() || part == ".." || part == "."));
            prop_assert!(!repository.host().contains(['/', '@', '?', '#', '\\']));
        }
        let _ = (text.parse::<Digest>(), text.parse::<Platform>());
    }

    #[test]
    fn any_digest_that_is_taken_is_written_as_it_was(text in "(sha256|sha512|md5|)(:|)[0-9a-fA-F]{0,130}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
            prop_assert!(digest.referrers_tag().len() <= 128);
            prop_assert!(digest.short().len() <= 20);
        }
    }

    /// For any name of a file, the normalized path stays in its directory, and does not change if it is normalized
    /// again.
    #[test]
    fn any_name_of_a_file_is_survived(name in prop_oneof![".{0,60}", "[a/.\\\\:]{0,30}"]) {
        if let Ok(path) = normalize_path(&name) {
            prop_assert!(!path.starts_with('/') && !path.split('/').any(|part| part.is_empty() || part == ".." || part == "."));
            prop_assert_eq!(normalize_path(&path).unwrap(), path);
        }
    }

    #[test]
    fn any_pattern_of_files_is_survived(pattern in ".{0,60}", path in "[a-z/]{0,60}") {
        if let Ok(rules) = FileRules::parse(&[FileMapping { path: pattern, key: None }]) {
            let _ = rules.wants(&path, &decide::files::Effort::default());
        }
    }

    /// The entries of a config are patterns, and the name is what somebody writes into a resource.
    #[test]
    fn any_entry_of_a_config_is_survived(entry in ".{0,60}", auth in ".{0,60}", name in ".{0,60}") {
        let mut keys = Keyring::default();
        let document = json!({"auths": {entry: {"auth": auth, "username": "u", "identitytoken": name}}});
        if let Err(error) = keys.add_docker_config_json(document.to_string().as_bytes()) {
            prop_assert!(error.to_string().len() < 500);
        }
        prop_assert!(keys.lookup(&name).len() <= 1);
    }

    #[test]
    fn any_certificates_are_survived(ca in vec(any::<u8>(), 0..100), certificate in ".{0,100}", key in ".{0,100}") {
        prepare();
        let framed = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
        for ca in [&ca[..], framed.as_bytes()] {
            if let Err(why) = Tls::new(Some(ca), Some(certificate.as_bytes()), Some(key.as_bytes())) {
                prop_assert!(why.len() < 300);
            }
        }
    }

    #[test]
    fn any_configuration_of_plugins_is_survived(text in prop_oneof![".{0,200}", "(kind: CredentialProviderConfig\nproviders:\n)(- [a-zA-Z]{1,20}: .{0,40}\n){0,3}"]) {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yaml");
        std::fs::write(&config, text).unwrap();
        let _ = Plugins::load(&config, directory.path());
    }
}

/// Runs a property over answers of one registry: what a registry can say in a header goes through the whole client.
async fn property<T: std::fmt::Debug>(
    world: &World,
    cases: u32,
    strategy: impl Strategy<Value = T>,
    fault: impl Fn(&World, T) -> Fault,
) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..cases {
        let value = strategy.new_tree(&mut runner).unwrap().current();
        let described = format!("{value:?}");
        let fault = world.registry.inject(fault(world, value));
        let limit = std::time::Duration::from_secs(20);
        let result = tokio::time::timeout(limit, world.files()).await;
        let result = result.unwrap_or_else(|_| panic!("no answer within {limit:?} to {described}"));
        if let Err(failure) = result {
            assert!(
                !failure.message.contains('\n') && failure.message.len() < 2000,
                "{described}: {failure:?}"
            );
        }
        world.registry.remove_fault(fault);
    }
    assert_eq!(world.files().await.unwrap().len(), 1, "and afterwards all is well");
}

use proptest::strategy::ValueTree as _;

fn header(name: &'static str) -> impl Fn(String) -> (&'static str, String) {
    move |value| (name, value)
}

#[tokio::test]
async fn any_header_of_an_answer_is_survived() {
    let world = World::new().await;
    let text = || prop_oneof!["[ -~]{0,80}", "[\\x21-\\xff]{0,40}"];
    let headers = prop_oneof![
        text().prop_map(header("content-type")),
        text().prop_map(header("docker-content-digest")),
        text().prop_map(header("link")),
        "<[ -~]{0,40}>; ?rel=\"?next\"?".prop_map(header("link")),
        text().prop_map(header("warning")),
        "[0-9]{3} [!-~]{0,10} \"[ -~]{0,40}\"".prop_map(header("warning")),
        text().prop_map(header("oci-filters-applied")),
    ];
    property(&world, 200, headers, |world, (name, value)| {
        world.on_api().headers(move |headers| {
            if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                headers.insert(name, value);
            }
        })
    })
    .await;
}

#[tokio::test]
async fn any_challenge_is_survived() {
    let world = World::new().await;
    let realm = format!("Bearer realm=\"http://{}/token\"", world.elsewhere.host());
    let challenges = prop_oneof![
        "[ -~]{0,80}",
        "(Bearer|Basic|Digest|bearer)( (realm|service|scope|error)=\"?[ -~]{0,20}\"?,?){0,4}",
        "(, ?(service|scope|error)=\"[ -~]{0,20}\"){0,4}".prop_map(move |rest| format!("{realm}{rest}")),
    ];
    property(&world, 200, challenges, |world, challenge| {
        world.on_image().respond(401, &[("www-authenticate", &challenge)], "")
    })
    .await;
}

#[tokio::test]
async fn any_location_and_any_wait_is_survived() {
    let world = World::new().await;
    // Nowhere but here: without a slash it leads to another path, and with one to a closed port.
    let locations = prop_oneof![
        "[ -.0-\\[\\]-~]{0,60}",
        "(http|https|ftp|file)://127.0.0.1:1(/[ -~]{0,30})?",
        "/[!-.0-\\[\\]-~][!-~]{0,30}",
    ];
    let values = (locations, 0_u64..3);
    property(&world, 100, values, |world, (location, wait)| {
        // Without this, the test would mostly wait for `Retry-After`.
        let (status, wait) = u64::MAX.checked_div(wait).map_or((307, 0), |wait| (503, wait));
        let wait = wait.to_string();
        world.on_image().respond(status, &[("location", &location), ("retry-after", &wait)], "")
    })
    .await;
}

#[tokio::test]
async fn any_list_is_survived() {
    let world = World::new().await;
    property(&world, 100, document(), |world, document| {
        world.on_api().respond(200, &[("content-type", INDEX)], document.to_string())
    })
    .await;
}

/// Archives whose headers are right by their checksums and wrong by everything else.
#[tokio::test]
async fn any_archive_is_survived() {
    let entries = vec((vec(any::<u8>(), 0..100), any::<u8>(), any::<u64>(), vec(any::<u8>(), 0..600)), 0..5);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let world = World::new().await;
    for _ in 0..150 {
        let entries = entries.new_tree(&mut runner).unwrap().current();
        let bytes = archive(&entries);
        let mut layer = push::file("conf.d", &bytes);
        layer["annotations"]["io.deis.oras.content.unpack"] = json!("true");
        let blob = world.serves_blob(&layer["digest"], &bytes);
        for fault in world.only(&world.artifact(&[layer])).into_iter().chain([blob]) {
            world.registry.inject(fault);
        }
        if let Ok(files) = world.files().await {
            let size: usize = files.iter().map(|(_, text)| text.len()).sum();
            assert!(
                files.iter().all(|(path, _)| path.starts_with("conf.d/")) && size <= 16 * 1024 * 1024,
                "{entries:?}"
            );
        }
        world.registry.clear_faults();
    }
}

fn archive(entries: &[(Vec<u8>, u8, u64, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (index, (name, kind, size, bytes)) in entries.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        let name =
            if index % 2 == 0 { [b"conf.d/", &name[..name.len().min(90)]].concat() } else { name.clone() };
        header.as_old_mut().name[..name.len()].copy_from_slice(&name);
        header.as_old_mut().linkflag = [if index % 2 == 0 { b'0' } else { *kind }];
        header.set_size(if index % 3 == 0 { bytes.len() as u64 } else { *size % 2000 });
        header.set_cksum();
        tar.write_all(header.as_bytes()).unwrap();
        tar.write_all(bytes).unwrap();
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}
