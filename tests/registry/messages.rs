//! Messages for people: they depend on the server that answered and on the request, and contain no text of others.

use api::Reason;
use artifactconfig::unanswered;
use decide::select::{Question, select};
use decide::spec::Selector;
use registry::Access;
use testbed::registry::Fault;

use crate::world::{CONFIG, INDEX, World, access, keyring};

/// An HTTP registry that is asked over HTTPS.
#[tokio::test]
async fn https_to_a_registry_that_speaks_http() {
    let mut world = World::new().await;
    world.access = Access::default();
    let failure = world.list().await.unwrap_err();
    assert_eq!(failure.reason, Reason::RegistryUnavailable);
    assert!(failure.message.contains("spec.registry.plainHttp to true"), "{}", failure.message);
    let said = failure.at_the_command_line("r.example");
    assert!(said.contains("--plain-http") && !said.contains("spec."), "{said}");
}

/// What Go's server says to HTTP on its port for HTTPS, and what nginx says.
#[rstest::rstest]
#[case::go("Client sent an HTTP request to an HTTPS server.\n")]
#[case::nginx("<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>")]
#[tokio::test]
async fn http_to_a_registry_that_speaks_https(#[case] body: &'static str) {
    let world = World::new().await;
    world.registry.inject(Fault::always().respond(400, &[], body));
    let failure = world.list().await.unwrap_err();
    assert!(failure.message.contains("remove spec.registry.plainHttp"), "{}", failure.message);
    assert!(failure.at_the_command_line("r.example").contains("leave out --plain-http"));
}

/// Nobody listens at this port, or has this name.
#[rstest::rstest]
#[case::port("127.0.0.1:1/web:v1")]
#[case::name("registry.invalid/web:v1")]
#[tokio::test]
async fn a_host_that_is_not_there(#[case] image: &str) {
    let world = World::new().await;
    let mut question = world.question();
    question.image = image.parse().unwrap();
    let failure = question.list().await.unwrap_err();
    assert_eq!(failure.reason, Reason::RegistryUnavailable);
    assert!(failure.message.contains("spec.image"), "{}", failure.message);
}

/// Credentials that have just read the manifest are not the cause.
#[rstest::rstest]
#[case::unauthorized(401, Reason::AuthenticationFailed)]
#[case::forbidden(403, Reason::Forbidden)]
#[tokio::test]
async fn one_kind_of_request_is_refused(#[case] status: u16, #[case] reason: Reason) {
    let mut world = World::new().await;
    world.registry.require_basic("", "robot", "secret");
    world.access = access(keyring(&world.registry.host(), "robot", "secret"));
    let challenge = [("www-authenticate", "Basic realm=\"r\"")];
    world.registry.inject(world.on_api().respond(status, &challenge, ""));
    let failure = world.list().await.unwrap_err();
    assert_eq!(failure.reason, reason);
    assert!(failure.message.contains("refuses this kind alone"), "{}", failure.message);
    assert!(
        failure.message.contains("referrers") && !failure.message.contains("expiry"),
        "{}",
        failure.message
    );
    world.access = access(keyring(&world.registry.host(), "robot", "wrong"));
    let failure = world.list().await.unwrap_err();
    assert!(failure.message.contains("check user name, password and expiry"), "{}", failure.message);
}

/// If no credentials were sent, they cannot lack a right.
#[tokio::test]
async fn nobody_is_forbidden_without_credentials() {
    let world = World::new().await;
    world.registry.inject(world.on_image().status(403));
    let failure = world.list().await.unwrap_err();
    assert_eq!(failure.reason, Reason::Forbidden);
    assert!(failure.message.contains("no credentials are given"), "{}", failure.message);
    assert!(failure.at_the_command_line("r.example").contains("docker login"));
}

/// A typing error in the type: the message names the attached types, and the similar one.
#[rstest::rstest]
#[case::slip("custom/conifg", "did you mean 'custom/config'?", "oras attach")]
#[case::something_else("none/such", "'custom/config', 'other/type'", "did you mean")]
#[tokio::test]
async fn what_is_attached_instead(#[case] wanted: &str, #[case] says: &str, #[case] not: &str) {
    for by_tag in [false, true] {
        let world = World::new().await;
        if by_tag {
            world.registry.inject(world.on_api().status(404));
        }
        let mut question = world.question();
        question.artifact_type = Some(wanted);
        for _ in 0..2 {
            let listing = question.list().await.unwrap();
            let image = world.tagged();
            let (subject, attached) = (&world.image.digest, &listing.types[..]);
            let asked = Question { image: &image, subject, artifact_type: wanted, attached };
            let failure =
                select(asked, &listing.artifacts, &Selector::default(), unanswered::failure).unwrap_err();
            assert_eq!(failure.reason, Reason::ArtifactNotFound);
            assert!(failure.message.contains(says) && !failure.message.contains(not), "{}", failure.message);
        }
    }
}

/// A registry may redirect anywhere, and people who may read a condition must not see the content there.
#[rstest::rstest]
#[case::config(r#"{"config": "db_password=TOPSECRET", "layers": []}"#)]
#[case::text(r#""db_password=TOPSECRET""#)]
#[case::media_type(r#"{"mediaType": "TOPSECRET"}"#)]
#[case::annotations(r#"{"layers": [], "annotations": "TOPSECRET"}"#)]
#[case::entry(r#"{"schemaVersion": 2, "manifests": ["TOPSECRET", {"digest": "TOPSECRET"}]}"#)]
#[case::type_of_an_entry(r#"{"schemaVersion": 2, "manifests": [{"artifactType": "TOPSECRET"}]}"#)]
#[case::envelope(r#"{"errors": [{"code": "TOPSECRET"}]}"#)]
#[case::no_json("TOPSECRET")]
#[tokio::test]
async fn nothing_of_another_host_is_repeated(#[case] body: &'static str) {
    for (status, content_type) in [
        (200, INDEX),
        (200, "application/json"),
        (200, "application/vnd.TOPSECRET"),
        (403, "application/json"),
        (500, "a/b"),
    ] {
        let world = World::new().await;
        world.elsewhere.inject(Fault::always().respond(
            status,
            &[("content-type", content_type), ("retry-after", "0")],
            body,
        ));
        let host = world.elsewhere.host();
        let no_api = || Some(world.on_api().status(404));
        for (place, before) in [
            (world.on_image(), None),
            (world.on_api(), None),
            (world.on_tag(), no_api()),
            (world.on_config(), None),
            (world.on_blob(), None),
        ] {
            world.registry.clear_faults();
            for fault in before.into_iter().chain([place.redirect_to_host(307, &host)]) {
                world.registry.inject(fault);
            }
            for wanted in [Some(CONFIG), Some("custom/conifg"), None] {
                let mut question = world.question();
                question.artifact_type = wanted;
                let said = match question.list().await {
                    Ok(listing) => {
                        let mut said = format!("{:?} {:?}", listing.notes, listing.types);
                        for artifact in &listing.artifacts {
                            if let Err(failure) = question.pull(artifact).await {
                                said.push_str(&failure.message);
                            }
                        }
                        said
                    }
                    Err(failure) => failure.message,
                };
                assert!(!said.contains("TOPSECRET"), "{status} {content_type}: {said}");
            }
        }
    }
}

/// A type from a registry is quoted, and its text cannot start a new line.
#[tokio::test]
async fn types_are_quoted() {
    let world = World::new().await;
    let mut entry = world.other.descriptor();
    entry["artifactType"] = serde_json::json!("evil\u{1b}[31m\nReady: True");
    world.registry.inject(world.api_lists(&[entry]));
    let listing = world.list().await.unwrap();
    let image = world.tagged();
    let asked = Question {
        image: &image,
        subject: &world.image.digest,
        artifact_type: CONFIG,
        attached: &listing.types,
    };
    let message =
        select(asked, &listing.artifacts, &Selector::default(), unanswered::failure).unwrap_err().message;
    assert!(message.contains("evil") && !message.contains(['\n', '\u{1b}']), "{message:?}");
}
