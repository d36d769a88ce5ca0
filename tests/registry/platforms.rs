//! Line 16, index ↔ platform: where what is attached hangs on the index, and where on one image in it.

use api::Reason;
use decide::Failure;
use oci::{ImageRef, media_type};
use serde_json::{Value, json};
use testbed::registry::Fault;

use crate::expect::tells;
use crate::push::{self, Pushed};
use crate::world::{CONFIG, Files, REPOSITORY, World};

/// An index of images, as it is tagged.
struct MultiArch {
    world: World,
    index: Pushed,
    amd64: Pushed,
    arm64: Pushed,
}

fn entry(image: &Pushed, os: &str, architecture: &str, variant: Option<&str>) -> Value {
    let mut entry = image.as_subject();
    entry["platform"] = json!({"os": os, "architecture": architecture});
    if let Some(variant) = variant {
        entry["platform"]["variant"] = json!(variant);
    }
    entry
}

impl MultiArch {
    async fn new(list_type: &str, image_type: &str) -> Self {
        let world = World::new().await;
        let image = |name: &str| {
            let mut image = push::image(name);
            image["mediaType"] = json!(image_type);
            image
        };
        let amd64 = world.pusher.manifest(&image("amd64")).await;
        let arm64 = world.pusher.manifest(&image("arm64")).await;
        let attestation = world.pusher.manifest(&image("attestation")).await;
        let mut nowhere = arm64.as_subject();
        nowhere["platform"] = json!({});
        let mut index = push::index(&[
            nowhere,
            entry(&attestation, "unknown", "unknown", None),
            entry(&amd64, "linux", "amd64", None),
            entry(&arm64, "linux", "arm64", Some("v8")),
        ]);
        index["mediaType"] = json!(list_type);
        let index = world.pusher.tag("multi", &index).await;
        world.registry.clear_requests();
        Self { world, index, amd64, arm64 }
    }

    async fn oci() -> Self {
        Self::new(media_type::OCI_INDEX, media_type::OCI_MANIFEST).await
    }

    async fn attach(&self, to: &Pushed, text: &str) {
        self.world.pusher.attach(CONFIG, &to.as_subject(), &[("config", text.as_bytes())]).await;
        self.world.registry.clear_requests();
    }

    fn image(&self) -> ImageRef {
        format!("{}/{REPOSITORY}:multi", self.world.registry.host()).parse().unwrap()
    }

    async fn ask(&self, platform: Option<&str>) -> Result<(Files, String), Failure> {
        let mut question = self.world.question();
        question.image = self.image();
        question.platform = platform.map(|platform| platform.parse().unwrap());
        let notes = question.list().await?.notes.join("; ");
        Ok((question.files().await?, notes))
    }

    async fn finds(&self, platform: Option<&str>) -> Vec<String> {
        self.ask(platform).await.unwrap().0.into_iter().map(|(_, text)| text).collect()
    }
}

#[tokio::test]
async fn a16_what_hangs_on_one_image_is_found_for_its_platform_alone() {
    let multi = MultiArch::oci().await;
    multi.attach(&multi.arm64, "arm64").await;
    assert!(multi.finds(None).await.is_empty(), "nobody said which image to look at");
    assert_eq!(multi.finds(Some("linux/arm64")).await, ["arm64"]);
    assert_eq!(multi.finds(Some("linux/arm64/v8")).await, ["arm64"]);
    assert!(multi.finds(Some("linux/arm64/v7")).await.is_empty());
    assert!(multi.finds(Some("linux/amd64")).await.is_empty());
    assert!(multi.finds(Some("windows/arm64")).await.is_empty());
}

#[tokio::test]
async fn a16_what_hangs_on_the_index_goes_for_every_platform() {
    let multi = MultiArch::oci().await;
    multi.attach(&multi.index, "index").await;
    multi.attach(&multi.arm64, "arm64").await;
    assert_eq!(multi.finds(None).await, ["index"]);
    assert_eq!(multi.finds(Some("linux/arm64")).await, ["index"]);
    let arm64 = multi.arm64.digest.to_string();
    assert_eq!(multi.world.asked("GET", &arm64), 0, "an image of the index is not even asked about");
}

#[tokio::test]
async fn a16_the_message_names_the_searched_manifests() {
    let multi = MultiArch::oci().await;
    multi.attach(&multi.amd64, "amd64").await;
    let (files, notes) = multi.ask(Some("linux/amd64")).await.unwrap();
    assert_eq!(files.len(), 1);
    assert!(notes.contains("linux/amd64") && notes.contains(&multi.amd64.digest.to_string()), "{notes}");
    let (files, notes) = multi.ask(Some("linux/s390x")).await.unwrap();
    assert!(files.is_empty() && notes.contains("no linux/s390x manifest"), "{notes}");
}

#[tokio::test]
async fn a16_the_referrers_tag_of_one_image() {
    let multi = MultiArch::oci().await;
    multi.attach(&multi.amd64, "amd64").await;
    let artifact =
        multi.world.pusher.attach(CONFIG, &multi.arm64.as_subject(), &[("config", b"arm64")]).await;
    let tag = multi.arm64.digest.referrers_tag();
    multi.world.pusher.tag(&tag, &push::index(&[artifact.descriptor()])).await;
    multi.world.registry.inject(multi.world.on_api().status(404));
    assert_eq!(multi.finds(Some("linux/arm64")).await, ["arm64"]);
    assert!(multi.finds(Some("linux/amd64")).await.is_empty(), "the tag is all there is");
}

#[tokio::test]
async fn a16_a_failed_request_is_never_nothing() {
    let multi = MultiArch::oci().await;
    multi.attach(&multi.arm64, "arm64").await;
    for subject in [&multi.index, &multi.arm64] {
        let list = format!("/referrers/{}", subject.digest);
        let fault = multi.world.registry.inject(Fault::on(&list).status(403));
        let failure = multi.ask(Some("linux/arm64")).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Forbidden);
        tells(&failure, &multi.world);
        multi.world.registry.remove_fault(fault);
    }
}

#[tokio::test]
async fn a16_an_index_that_cannot_be_read_is_never_nothing() {
    let multi = MultiArch::oci().await;
    multi.attach(&multi.arm64, "arm64").await;
    let on_index = Fault::on(&format!("/manifests/{}", multi.index.digest)).method("GET");
    for (fault, reason) in [
        (on_index.clone().respond(503, &[("retry-after", "0")], ""), Reason::RegistryUnavailable),
        (on_index.clone().status(403), Reason::Forbidden),
        (on_index.body(|_, _| "{}"), Reason::DigestMismatch),
    ] {
        let fault = multi.world.registry.inject(fault);
        let failure = multi.ask(Some("linux/arm64")).await.unwrap_err();
        assert_eq!(failure.reason, reason);
        tells(&failure, &multi.world);
        multi.world.registry.remove_fault(fault);
    }
}

/// Docker's own manifests are subjects like any others.
#[tokio::test]
async fn a16_docker_images_and_lists() {
    let multi = MultiArch::new(media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST).await;
    multi.attach(&multi.arm64, "arm64").await;
    assert_eq!(multi.finds(Some("linux/arm64")).await, ["arm64"]);
    multi.attach(&multi.index, "list").await;
    assert_eq!(multi.finds(Some("linux/arm64")).await, ["list"]);
    multi.world.registry.inject(multi.world.on_api().status(404));
    assert!(multi.finds(None).await.is_empty());
}

/// GitLab serves the image itself under its referrers tag. An index lists its images, which are not attached to it.
#[tokio::test]
async fn a08_an_index_under_its_own_tag() {
    let multi = MultiArch::oci().await;
    multi.world.registry.inject(multi.world.on_api().status(404));
    let tag = Fault::on(&multi.index.digest.referrers_tag());
    let headers = [("content-type", media_type::OCI_INDEX)];
    multi.world.registry.inject(tag.respond(200, &headers, multi.index.bytes.clone()));
    let mut question = multi.world.question();
    question.image = multi.image();
    question.artifact_type = None;
    assert_eq!(question.list().await.unwrap().artifacts, []);
    let images = [&multi.amd64, &multi.arm64];
    assert!(
        images.iter().all(|image| multi.world.asked("GET", &image.digest.to_string()) == 0),
        "no image passes for an artifact"
    );
}
