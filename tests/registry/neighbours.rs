//! Damaged artifacts beside a config: the selection stays the same, unless the damaged artifact may be the one that
//! would be selected.
#![allow(clippy::needless_pass_by_value, reason = "every damage is a function of one kind")]

use api::{Reason, SelectionPolicy};
use artifactconfig::unanswered;
use decide::Failure;
use decide::select::{Question, select};
use decide::spec::Selector;
use oci::{CREATED, Digest, media_type};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Value, json};
use testbed::registry::Fault;

use crate::expect::tells;
use crate::push::{self, Pushed};
use crate::world::{CONFIG, FILE, INDEX, World};

/// That of the config of the scene, and a newer and an older one.
const ITS_OWN: &str = "2026-01-02T03:04:05Z";
const NEWER: &str = "2026-02-01T00:00:00Z";
const OLDER: &str = "2026-01-01T00:00:00Z";

/// The selected artifact, and the notes of the list.
async fn chosen(world: &World, policy: SelectionPolicy) -> Result<(Digest, String), Failure> {
    let listing = world.list().await?;
    let image = world.tagged();
    let question = Question {
        image: &image,
        subject: &world.image.digest,
        artifact_type: CONFIG,
        attached: &listing.types,
    };
    let selector = Selector { policy, ..Selector::default() };
    let selected = select(question, &listing.artifacts, &selector, unanswered::failure)?;
    world.question().pull(selected.artifact).await?;
    Ok((selected.artifact.digest.clone(), listing.notes.join("; ")))
}

fn neighbour(w: &World, artifact_type: &str, created: &str) -> Value {
    let mut manifest = push::artifact(artifact_type, &w.image.as_subject(), &[push::file("n", b"neighbour")]);
    manifest["annotations"] = json!({CREATED: created});
    manifest
}

/// How an entry of a list names a manifest: with its time, and with or without its type.
fn listed(manifest: &Pushed, created: &str, with_type: bool) -> Value {
    let mut entry = manifest.descriptor();
    entry["annotations"] = json!({CREATED: created});
    if !with_type {
        entry.as_object_mut().unwrap().remove("artifactType");
    }
    entry
}

/// Serves a neighbour that is damaged in this way.
type Damage = fn(&World, Value) -> (Pushed, Fault);

fn served(w: &World, manifest: Pushed) -> (Pushed, Fault) {
    let fault = w.serves(&manifest);
    (manifest, fault)
}

fn with(w: &World, mut manifest: Value, member: &str, value: Value) -> (Pushed, Fault) {
    manifest[member] = value;
    served(w, Pushed::new(&manifest))
}

fn answers(manifest: &Value, fault: impl FnOnce(Fault) -> Fault) -> (Pushed, Fault) {
    let pushed = Pushed::new(manifest);
    let place = Fault::exactly(&format!("/v2/{}/manifests/{}", crate::world::REPOSITORY, pushed.digest));
    (pushed, fault(place))
}

fn bad_layer(w: &World, manifest: Value) -> (Pushed, Fault) {
    let layer = json!([{"mediaType": "a/b", "digest": w.image.digest, "size": -1}]);
    with(w, manifest, "layers", layer)
}

fn too_large(w: &World, manifest: Value) -> (Pushed, Fault) {
    // Behind everything else, as a member that comes later in the alphabet.
    with(w, manifest, "zzz", json!("x".repeat(4 * 1024 * 1024)))
}

fn broken(w: &World, manifest: Value) -> (Pushed, Fault) {
    let mut pushed = Pushed::new(&manifest);
    // Cut in the subject, which is the last of its members.
    pushed.bytes.truncate(pushed.bytes.len() - 3);
    pushed.digest = Digest::sha256(pushed.bytes.as_bytes());
    served(w, pushed)
}

fn other_bytes(_: &World, manifest: Value) -> (Pushed, Fault) {
    answers(&manifest, |place| place.respond(200, &[("content-type", media_type::OCI_MANIFEST)], "{}"))
}

fn fails(_: &World, manifest: Value) -> (Pushed, Fault) {
    answers(&manifest, |place| place.respond(503, &[("retry-after", "0")], ""))
}

fn forbidden(_: &World, manifest: Value) -> (Pushed, Fault) {
    answers(&manifest, |place| place.status(403))
}

fn bad_annotation(w: &World, mut manifest: Value) -> (Pushed, Fault) {
    manifest["annotations"]["number"] = json!(3);
    served(w, Pushed::new(&manifest))
}

async fn scene(damage: Damage, artifact_type: &str, created: &str, with_type: bool) -> (World, Digest) {
    let world = World::new().await;
    let (bad, fault) = damage(&world, neighbour(&world, artifact_type, created));
    world.registry.inject(fault);
    world.registry.inject(
        world.api_lists(&[listed(&bad, created, with_type), listed(&world.config, ITS_OWN, with_type)]),
    );
    (world, bad.digest)
}

/// Whose type can be read, in the list or in what there is of the manifest.
#[rstest::rstest]
#[case::bad_layer(bad_layer)]
#[case::too_large(too_large)]
#[case::broken(broken)]
#[case::bad_annotation(bad_annotation)]
#[tokio::test]
async fn c04_a_damaged_one_of_another_type_blocks_nothing(#[case] damage: Damage) {
    let (world, bad) = scene(damage, "vnd.example/signature", NEWER, false).await;
    for policy in [SelectionPolicy::Newest, SelectionPolicy::Only] {
        let (digest, notes) = chosen(&world, policy).await.unwrap();
        assert_eq!(digest, world.config.digest);
        assert!(notes.contains(&bad.to_string()) && notes.contains("delete"), "{notes}");
    }
}

#[rstest::rstest]
#[case::bad_layer(bad_layer)]
#[case::too_large(too_large)]
#[case::broken(broken)]
#[case::bad_annotation(bad_annotation)]
#[case::other_bytes(other_bytes)]
#[case::fails(fails)]
#[case::forbidden(forbidden)]
#[tokio::test]
async fn c04_a_damaged_one_that_is_older_blocks_nothing(#[case] damage: Damage) {
    for with_type in [true, false] {
        let (world, bad) = scene(damage, CONFIG, OLDER, with_type).await;
        let (digest, notes) = chosen(&world, SelectionPolicy::Newest).await.unwrap();
        assert_eq!(digest, world.config.digest);
        assert!(notes.contains(&bad.to_string()), "{notes}");
    }
}

/// It would be selected: the older config instead would be wrong, and nobody would notice.
#[rstest::rstest]
#[case::bad_layer(bad_layer, Reason::InvalidContent)]
#[case::too_large(too_large, Reason::TooLarge)]
#[case::broken(broken, Reason::InvalidContent)]
#[case::bad_annotation(bad_annotation, Reason::InvalidContent)]
#[case::other_bytes(other_bytes, Reason::DigestMismatch)]
#[case::fails(fails, Reason::RegistryUnavailable)]
#[case::forbidden(forbidden, Reason::Forbidden)]
#[tokio::test]
async fn c04_a_damaged_one_that_is_newer_is_a_failure(#[case] damage: Damage, #[case] reason: Reason) {
    for with_type in [true, false] {
        let (world, bad) = scene(damage, CONFIG, NEWER, with_type).await;
        let failure = chosen(&world, SelectionPolicy::Newest).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(failure.message.contains(&bad.to_string()), "{failure:?}");
        tells(&failure, &world);
    }
}

/// Neither the manifest nor the list says how old it is.
#[tokio::test]
async fn c04_a_damaged_one_of_unknown_age_is_a_failure() {
    let world = World::new().await;
    let (bad, fault) = other_bytes(&world, neighbour(&world, CONFIG, OLDER));
    world.registry.inject(fault);
    world.registry.inject(world.api_lists(&[bad.descriptor(), world.config.descriptor()]));
    let failure = chosen(&world, SelectionPolicy::Newest).await.unwrap_err();
    assert_eq!(failure.reason, Reason::DigestMismatch);
}

/// A registry that answers for no manifest is down, however old they are.
#[tokio::test]
async fn c04_a_registry_that_answers_for_nothing_is_not_asked_for_everything() {
    let world = World::new().await;
    let mut entries = vec![listed(&world.config, ITS_OWN, true)];
    for number in 0..40 {
        let mut manifest = neighbour(&world, CONFIG, OLDER);
        manifest["annotations"]["number"] = json!(number.to_string());
        let (bad, fault) = fails(&world, manifest);
        entries.push(listed(&bad, OLDER, true));
        world.registry.inject(fault);
    }
    world.registry.inject(world.api_lists(&entries));
    assert_eq!(world.list().await.unwrap_err().reason, Reason::RegistryUnavailable);
    assert!(
        world.asked("GET", "/manifests/sha256:") <= 3 * 8,
        "{}",
        world.asked("GET", "/manifests/sha256:")
    );
}

/// A rollback to an unusable artifact.
#[tokio::test]
async fn c09_a_damaged_artifact_is_not_had_by_its_digest_either() {
    use registry::Registry as _;
    let (world, bad) = scene(bad_layer, CONFIG, OLDER, true).await;
    let failure = world.client.artifact(&world.access, &world.repository(), &bad).await;
    let failure = unanswered::failure(failure.unwrap_err());
    assert_eq!(failure.reason, Reason::InvalidContent);
    assert!(failure.message.contains(&bad.to_string()), "{}", failure.message);
}

/// An index of images of which one entry cannot be read: that one may be the image for the platform.
#[tokio::test]
async fn a16_an_entry_that_cannot_be_read_may_be_the_platform() {
    let world = World::new().await;
    let mut amd64 = world.image.as_subject();
    amd64["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let damaged = json!({"mediaType": media_type::OCI_MANIFEST, "digest": "sha256:0", "size": 1});
    let index = Pushed::new(&push::index(&[amd64, damaged]));
    world.registry.inject(world.serves(&index));
    let mut question = world.question();
    question.image =
        format!("{}/{}@{}", world.registry.host(), crate::world::REPOSITORY, index.digest).parse().unwrap();
    question.platform = Some("linux/amd64".parse().unwrap());
    assert_eq!(question.files().await.unwrap().len(), 1);
    question.platform = Some("linux/arm64".parse().unwrap());
    assert_eq!(question.files().await.unwrap_err().reason, Reason::InvalidContent);
}

/// A value of another kind, or a missing one.
fn odd_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        any::<bool>().prop_map(|value| Some(json!(value))),
        any::<i64>().prop_map(|value| Some(json!(value))),
        ".{0,20}".prop_map(|value| Some(json!(value))),
        Just(Some(json!([]))),
        Just(Some(json!({}))),
        Just(Some(json!({"a": 1, "digest": "sha256:00", "mediaType": []}))),
    ]
}

fn put(entry: &mut Value, member: &str, value: Option<Value>) {
    let members = entry.as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(member.to_owned(), value)),
        None => drop(members.remove(member)),
    }
}

/// A list with one damaged entry or header gives the complete list or a failure, never a shorter list.
#[tokio::test]
async fn a_damaged_list_is_complete_or_a_failure() {
    let world = World::new().await;
    let mut again =
        push::artifact(CONFIG, &world.image.as_subject(), &[push::file(FILE.0, FILE.1.as_bytes())]);
    again["annotations"] = json!({CREATED: NEWER});
    let again = world.pusher.manifest(&again).await;
    let members = prop::sample::select(vec![
        "mediaType",
        "digest",
        "size",
        "artifactType",
        "annotations",
        "platform",
        "urls",
        "data",
    ]);
    let headers = prop_oneof![
        Just(("content-type", INDEX.to_owned())),
        "[ -~]{0,40}".prop_map(|value| ("content-type", value)),
        "application/[a-z.+]{0,20}json".prop_map(|value| ("content-type", value)),
        "(<[!-~]{0,20}>?)?(; ?rel=[\"']?[a-z ]{0,8}[\"']?)?".prop_map(|value| ("link", value)),
        "[ -~]{0,20}".prop_map(|value| ("oci-filters-applied", value)),
        "[ -~]{0,20}".prop_map(|value| ("warning", value)),
    ];
    let cases = (members, odd_value(), 0usize..2, headers, any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut complete = 0;
    for _ in 0..300 {
        let (member, value, which, (header, text), in_entry) = cases.new_tree(&mut runner).unwrap().current();
        let mut entries = [world.config.descriptor(), again.descriptor()];
        let mut sent = vec![("content-type", INDEX.to_owned())];
        // A valid type that is another one is damage that nobody can notice.
        let unseen = member == "artifactType" && value.as_ref().is_some_and(Value::is_string);
        if in_entry && !unseen {
            put(&mut entries[which], member, value.clone());
        } else {
            sent.retain(|(name, _)| *name != header);
            sent.push((header, text.clone()));
        }
        let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let fault = world.on_lists().respond(200, &sent, push::index(&entries).to_string());
        let fault = world.registry.inject(fault);
        if let Ok(listing) = world.list().await {
            let case = format!("{member} of entry {which} is {value:?}, or {header}: {text}; {in_entry}");
            assert_eq!(listing.artifacts.len(), 2, "{case}; {:?}", listing.notes);
            complete += 1;
        }
        world.registry.remove_fault(fault);
    }
    assert!(complete > 100, "most damage does not matter: {complete}");
}

/// With any value of one member of an older neighbour's manifest, or of its entry, the selection stays the same.
#[tokio::test]
async fn any_damage_to_a_neighbour_leaves_the_choice_as_it_was() {
    let world = World::new().await;
    let members = prop::sample::select(vec![
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "blobs",
        "manifests",
        "annotations",
    ]);
    let cases = (members, odd_value(), prop::sample::select(vec![CONFIG, "vnd.example/signature"]));
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..200 {
        let (member, value, kind) = cases.new_tree(&mut runner).unwrap().current();
        let mut manifest = neighbour(&world, kind, OLDER);
        let entry_annotations = manifest["annotations"].clone();
        put(&mut manifest, member, value.clone());
        let mut pushed = Pushed::new(&manifest);
        pushed.media_type = media_type::OCI_MANIFEST.to_owned();
        let mut entry = push::descriptor(media_type::OCI_MANIFEST, pushed.bytes.as_bytes());
        entry["annotations"] = entry_annotations;
        let faults = [world.serves(&pushed), world.api_lists(&[entry, listed(&world.config, ITS_OWN, true)])];
        let faults = faults.map(|fault| world.registry.inject(fault));
        let case = format!("{member} of a {kind} is {value:?}");
        let (digest, _) =
            chosen(&world, SelectionPolicy::Newest).await.unwrap_or_else(|why| panic!("{case}: {why:?}"));
        assert_eq!(digest, world.config.digest, "{case}");
        for fault in faults {
            world.registry.remove_fault(fault);
        }
    }
}
