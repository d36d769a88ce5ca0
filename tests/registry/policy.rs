//! Addresses that the operator never asks, no matter who names them.

use api::Reason::RegistryNotAllowed;
use artifactconfig::unanswered;
use oci::ImageRef;
use registry::{AddressPolicy, Artifact, Keyring, OciRegistry, Registry as _, Settings};
use testbed::registry::Fault;

use crate::expect::tells;
use crate::world::{Question, World, access, client};

fn allowing(patterns: &[&str]) -> OciRegistry {
    let policy = AddressPolicy {
        allow: patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
        link_local: false,
    };
    client(Settings { policy, ..Settings::default() })
}

async fn an_artifact(world: &World) -> Artifact {
    let mut artifacts = world.list().await.unwrap().artifacts;
    world.registry.clear_requests();
    artifacts.remove(0)
}

#[tokio::test]
async fn only_registries_that_are_allowed_are_asked() {
    let mut world = World::new().await;
    let artifact = an_artifact(&world).await;
    world.client = allowing(&["registry.example.com", "127.0.0.1:1"]);
    for image in [world.tagged(), world.pinned()] {
        let mut question = world.question();
        question.image = image;
        let failure = question.list().await.unwrap_err();
        assert_eq!(failure.reason, RegistryNotAllowed);
        tells(&failure, &world);
        assert!(failure.message.contains("registry.example.com"), "{}", failure.message);
    }
    assert_eq!(world.question().pull(&artifact).await.unwrap_err().reason, RegistryNotAllowed);
    assert!(world.registry.requests().is_empty());
}

#[tokio::test]
async fn a_part_of_a_registry_can_be_allowed() {
    let mut world = World::new().await;
    let host = world.registry.host();
    world.client = allowing(&[&format!("{host}/shop/")]);
    assert_eq!(world.files().await.unwrap().len(), 1);
    world.client = allowing(&[&format!("{host}/bank/")]);
    assert_eq!(world.files().await.unwrap_err().reason, RegistryNotAllowed);
}

/// A permission is not the prefix of a string.
#[tokio::test]
async fn a_neighbour_of_what_is_allowed_is_not() {
    let mut world = World::new().await;
    let host = world.registry.host();
    world.client =
        allowing(&[&format!("{host}/sh"), &format!("{host}/shop/we"), &format!("{host}/shop/web/v")]);
    assert_eq!(world.files().await.unwrap_err().reason, RegistryNotAllowed);
    assert!(world.registry.requests().is_empty());
    world.client = allowing(&[&format!("{host}/shop/web")]);
    assert_eq!(world.files().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_mirror_has_to_be_allowed_as_well() {
    let mut world = World::new().await;
    world.client = allowing(&[&world.registry.host()]);
    let mut question = world.question();
    question.referrers = Some(format!("{}/mirror", world.elsewhere.host()).parse().unwrap());
    let failure = question.list().await.unwrap_err();
    assert_eq!(failure.reason, RegistryNotAllowed);
    assert!(failure.message.contains(&world.elsewhere.host()), "{}", failure.message);
    assert!(world.elsewhere.requests().is_empty());
}

#[rstest::rstest]
#[case::metadata_service("169.254.169.254/web:v1")]
#[case::with_a_port("169.254.169.254:80/web:v1")]
#[case::alibaba("100.100.100.200/web:v1")]
#[case::azure("168.63.129.16:32526/web:v1")]
#[case::oracle("192.0.0.192/web:v1")]
#[case::eks("[fd00:ec2::23]/web:v1")]
#[case::aws("[fd00:ec2::254]/web:v1")]
#[case::google("[fd20:ce::254]/web:v1")]
#[case::nat64("[64:ff9b::a9fe:a9fe]/web:v1")]
#[tokio::test]
async fn link_local_addresses_are_not_asked(#[case] image: &str) {
    let client = client(Settings::default());
    let access = access(Keyring::default());
    let image: ImageRef = image.parse().unwrap();
    let resolved = client.resolve(&access, &image, registry::Freshness::Now).await;
    let failure = unanswered::failure(resolved.unwrap_err());
    assert_eq!(failure.reason, RegistryNotAllowed);
    assert!(failure.message.contains("link-local"), "{}", failure.message);
}

/// Neither by a registry that sends its clients there.
#[rstest::rstest]
#[case::image(World::on_image)]
#[case::artifact(World::on_config)]
#[case::blob(World::on_blob)]
#[case::api(World::on_api)]
#[tokio::test]
async fn a20_a_redirect_to_the_metadata_service_is_not_followed(#[case] place: fn(&World) -> Fault) {
    let world = World::new().await;
    world.registry.inject(place(&world).redirect(307, "http://169.254.169.254/latest/meta-data/"));
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, RegistryNotAllowed, "{failure:?}");
    tells(&failure, &world);
}

#[tokio::test]
async fn a_redirect_within_what_is_allowed_is_followed() {
    let world = World::new().await;
    let access = access(Keyring::default());
    let question = Question::new(&world.client, &access, world.tagged());
    world
        .registry
        .inject(world.on_image().redirect(307, &format!("/v2/shop/web/manifests/{}", world.image.digest)));
    assert_eq!(question.files().await.unwrap().len(), 1);
}
