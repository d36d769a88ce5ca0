//! Line 18: credentials are their owner's. Line 19: they are found by the kubelet's rules.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use api::Reason::AuthenticationFailed;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use oci::ImageRef;
use registry::{Access, Freshness, Keyring, Plugins, Settings, Tls};
use serde_json::json;
use testbed::registry::EmbeddedRegistry;

use crate::expect::tells;
use crate::push::{self, Pusher};
use crate::world::{CONFIG, Question, World, access, client, keyring};

fn asking<'a>(world: &'a World, access: &'a Access) -> Question<'a> {
    Question::new(&world.client, access, world.tagged())
}

/// Everything is in memory for one caller; the other one has to authenticate as well.
#[rstest::rstest]
#[case::wrong_password(|world: &World| keyring(&world.registry.host(), "robot", "guessed"))]
#[case::password_of_another_registry(|_: &World| keyring("registry.example.com", "robot", "secret"))]
#[case::none(|_: &World| Keyring::default())]
#[tokio::test]
async fn a18_what_one_has_earned_is_not_given_to_another(
    #[case] other: fn(&World) -> Keyring,
    #[values(true, false)] basic: bool,
) {
    let world = World::new().await;
    if basic {
        world.registry.require_basic("", "robot", "secret");
    } else {
        world.registry.require_bearer("", "robot", "secret");
    }
    let allowed = access(keyring(&world.registry.host(), "robot", "secret"));
    let mine = asking(&world, &allowed);
    let listing = mine.list().await.unwrap();
    mine.pull(&listing.artifacts[0]).await.unwrap();

    let other = access(other(&world));
    for freshness in [Freshness::Recent, Freshness::Now] {
        let mut others = asking(&world, &other);
        others.freshness = freshness;
        let failure = others.list().await.unwrap_err();
        assert_eq!(failure.reason, AuthenticationFailed, "{failure:?}");
        tells(&failure, &world);
        others.image = world.pinned();
        assert_eq!(others.list().await.unwrap_err().reason, AuthenticationFailed, "a digest is no key");
        assert_eq!(others.pull(&listing.artifacts[0]).await.unwrap_err().reason, AuthenticationFailed);
    }
    mine.files().await.unwrap();
}

#[tokio::test]
async fn a18_a_rotated_password_counts_from_the_next_question() {
    for basic in [true, false] {
        let world = World::new().await;
        let require = |password| {
            world.registry.revoke_tokens();
            if basic {
                world.registry.require_basic("", "robot", password);
            } else {
                world.registry.require_bearer("", "robot", password);
            }
        };
        require("first");
        let first = access(keyring(&world.registry.host(), "robot", "first"));
        asking(&world, &first).files().await.unwrap();
        require("second");
        let second = access(keyring(&world.registry.host(), "robot", "second"));
        asking(&world, &second).files().await.unwrap();
        let failure = asking(&world, &first).list().await.unwrap_err();
        assert_eq!(failure.reason, AuthenticationFailed, "the old one is worth nothing any more");
    }
}

/// A token is for a repository; that of one is never shown for another.
#[tokio::test]
async fn a18_each_repository_has_its_own_token() {
    let world = World::new().await;
    let other = Pusher::new(&format!("http://{}", world.registry.host()), "bank/vault");
    other.blob(push::EMPTY).await;
    other.tag("v1", &push::image("vault")).await;
    world.registry.require_bearer("shop/", "shop", "shop-password");
    world.registry.require_bearer("bank/", "bank", "bank-password");
    let host = world.registry.host();
    let mut keys = keyring(&format!("{host}/shop"), "shop", "shop-password");
    let document =
        json!({"auths": {format!("{host}/bank"): {"username": "bank", "password": "bank-password"}}});
    keys.add_docker_config_json(document.to_string().as_bytes()).unwrap();
    let access = access(keys);
    asking(&world, &access).files().await.unwrap();
    let vault: ImageRef = format!("{host}/bank/vault:v1").parse().unwrap();
    Question::new(&world.client, &access, vault).files().await.unwrap();
    let shown = |part: &str| {
        let requests = world.registry.requests().into_iter().filter(|request| request.path.contains(part));
        requests.filter_map(|request| request.authorization).collect::<BTreeSet<_>>()
    };
    assert_eq!((shown("/shop/").len(), shown("/bank/").len()), (1, 1));
    assert!(shown("/shop/").is_disjoint(&shown("/bank/")));
    let scopes: Vec<_> =
        world.requests("GET", "/token").into_iter().filter_map(|request| request.query).collect();
    assert_eq!(scopes.len(), 2);
    assert!(
        scopes[0].contains("shop%2Fweb%3Apull") && scopes[1].contains("bank%2Fvault%3Apull"),
        "{scopes:?}"
    );
}

/// The artifacts are in a mirror, which has separate credentials.
#[tokio::test]
async fn a18_a_mirror_has_its_own_credentials() {
    let world = World::new().await;
    let mirror = Pusher::new(&format!("http://{}", world.elsewhere.host()), "mirror/web");
    mirror.blob(push::EMPTY).await;
    mirror.attach(CONFIG, &world.image.as_subject(), &[("mirrored", b"1")]).await;
    world.registry.require_basic("", "robot", "one");
    world.elsewhere.require_basic("", "robot", "two");
    let (origin, other) = (world.registry.host(), world.elsewhere.host());
    let mut keys = keyring(&origin, "robot", "one");
    let alone = access(keys.clone());
    let document = json!({"auths": {&other: {"username": "robot", "password": "two"}}});
    keys.add_docker_config_json(document.to_string().as_bytes()).unwrap();
    let both = access(keys);
    let referrers = Some(format!("{other}/mirror/web").parse().unwrap());
    let question = Question { referrers, ..asking(&world, &both) };
    assert_eq!(question.files().await.unwrap(), [("mirrored".to_owned(), "1".to_owned())]);
    let failure = Question { access: &alone, ..question }.files().await.unwrap_err();
    assert_eq!(failure.reason, AuthenticationFailed, "the image alone is readable, which is not enough");
    assert!(failure.message.contains(&other), "{}", failure.message);
    let shown = |registry: &EmbeddedRegistry| {
        registry.requests().into_iter().filter_map(|request| request.authorization).collect::<BTreeSet<_>>()
    };
    assert!(shown(&world.registry).is_disjoint(&shown(&world.elsewhere)));
}

/// Credentials of a plugin are tried after those of the resource, and only go to the registry.
#[tokio::test]
async fn a17_credentials_of_a_plugin() {
    let mut world = World::new().await;
    world.registry.require_basic("", "AWS", "twelve-hours");
    let directory = tempfile::tempdir().unwrap();
    let host = world.registry.host();
    let response = json!({
        "kind": "CredentialProviderResponse",
        "cacheKeyType": "Registry",
        "auth": {&host: {"username": "AWS", "password": "twelve-hours"}},
    });
    let program = directory.path().join("provider");
    std::fs::write(&program, format!("#!/bin/sh\ncat > /dev/null\nprintf '%s' '{response}'\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1",
        "kind": "CredentialProviderConfig",
        "providers": [{
            "name": "provider",
            "matchImages": [&host],
            "defaultCacheDuration": "1h",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        }],
    });
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let plugins = Plugins::load(&file, directory.path()).unwrap();
    world.client = client(Settings { plugins, ..Settings::default() });
    for keys in [Keyring::default(), keyring(&host, "robot", "outdated")] {
        assert_eq!(asking(&world, &access(keys)).files().await.unwrap().len(), 1);
    }
}

/// Certificates give rights, too: other certificates, other answers.
#[tokio::test]
async fn a18_certificates_tell_one_from_another() {
    let world = World::new().await;
    world.files().await.unwrap();
    let certificate = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap().cert.pem();
    let tls = Tls::new(Some(certificate.as_bytes()), None, None).unwrap();
    let other = access(Keyring::default()).with_tls(Some(tls));
    world.registry.clear_requests();
    asking(&world, &other).files().await.unwrap();
    assert_eq!(world.asked("GET", "/blobs/"), 1, "nothing is taken from the answers to others");
}

/// Which of the entries, if any, the registry gets to see for `127.0.0.1:PORT/shop/web`. The whole table stands beside
/// the code (`crates/registry/src/credentials/keyring.rs`).
#[rstest::rstest]
#[case::host_and_port(&["HOST"], Some("HOST"))]
#[case::scheme_and_version(&["https://HOST/v1/"], Some("https://HOST/v1/"))]
#[case::other_version(&["http://HOST/v2/"], Some("http://HOST/v2/"))]
#[case::no_port(&["127.0.0.1"], None)]
#[case::other_port(&["127.0.0.1:1"], None)]
#[case::glob(&["127.*.0.1:PORT"], Some("127.*.0.1:PORT"))]
#[case::glob_for_less_than_it_must(&["*.0.1:PORT"], None)]
#[case::path(&["HOST/shop"], Some("HOST/shop"))]
#[case::part_of_a_path(&["HOST/sh"], Some("HOST/sh"))]
#[case::other_path(&["HOST/bank"], None)]
#[case::longest_first(&["HOST", "HOST/shop/web", "HOST/shop"], Some("HOST/shop/web"))]
#[case::docker_hub(&["https://index.docker.io/v1/"], None)]
#[tokio::test]
async fn a19_the_entry_that_the_kubelet_would_take(#[case] entries: &[&str], #[case] expected: Option<&str>) {
    let world = World::new().await;
    let host = world.registry.host();
    let (_, port) = host.split_once(':').unwrap();
    let fill = |entry: &str| entry.replace("HOST", &host).replace("PORT", port);
    let mut keys = Keyring::default();
    for entry in entries {
        // The user name shows which entry was used; a colon would end it.
        let pair = format!("{}:password", entry.replace(':', "!"));
        let document = json!({"auths": {fill(entry): {"auth": STANDARD_NO_PAD.encode(pair)}}});
        keys.add_docker_config_json(document.to_string().as_bytes()).unwrap();
    }
    let access = access(keys);
    world.registry.require_basic("", "nobody", "knows");
    assert_eq!(asking(&world, &access).list().await.unwrap_err().reason, AuthenticationFailed);
    let first = world.registry.requests().into_iter().find_map(|request| request.authorization);
    let pair = expected.map(|entry| format!("{}:password", entry.replace(':', "!")));
    assert_eq!(first, pair.map(|pair| format!("Basic {}", STANDARD.encode(pair))));
}

#[tokio::test]
async fn a19_the_legacy_form_and_auth_before_user_name() {
    let world = World::new().await;
    world.registry.require_basic("", "robot", "pass:word");
    let auth = STANDARD.encode("robot:pass:word");
    let document = json!({world.registry.host(): {"username": "x", "password": "y", "auth": auth}});
    let mut keys = Keyring::default();
    keys.add_docker_cfg(document.to_string().as_bytes()).unwrap();
    asking(&world, &access(keys)).files().await.unwrap();
}
