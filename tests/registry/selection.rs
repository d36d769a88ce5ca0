//! Line 14, several artifacts: the list is complete and in one order, so that the choice is always the same
//! (`crates/decide/src/select/` has the table of choices).

use api::SelectionPolicy;
use artifactconfig::unanswered;
use decide::select::{Question, select};
use decide::spec::Selector;
use oci::CREATED;
use serde_json::{Value, json};

use crate::push::{self, Pushed};
use crate::world::{CONFIG, World};

async fn attach(world: &World, file: &str, created: &str) -> Pushed {
    let mut manifest = push::artifact(CONFIG, &world.image.as_subject(), &[push::file(file, b"")]);
    manifest["annotations"] = json!({CREATED: created});
    world.pusher.blob(b"").await;
    world.pusher.manifest(&manifest).await
}

/// The digest that is chosen among what is attached.
async fn chosen(world: &World) -> (String, Vec<String>) {
    let listing = world.list().await.unwrap();
    let image = world.tagged();
    let question =
        Question { image: &image, subject: &world.image.digest, artifact_type: CONFIG, attached: &[] };
    let selector = Selector { policy: SelectionPolicy::Newest, ..Selector::default() };
    let selected = select(question, &listing.artifacts, &selector, unanswered::failure).unwrap();
    (selected.artifact.digest.to_string(), selected.notes)
}

#[tokio::test]
async fn a14_two_attaches_within_one_second_are_chosen_among_in_one_way() {
    let world = World::new().await;
    let one = attach(&world, "one", "2026-11-01T00:00:00Z").await;
    let two = attach(&world, "two", "2026-11-01T00:00:00Z").await;
    let greatest = one.digest.to_string().max(two.digest.to_string());
    let (first, notes) = chosen(&world).await;
    assert_eq!(first, greatest);
    assert!(notes.join(" ").contains("same second"), "{notes:?}");
    let backwards: Vec<Value> = [&two, &one, &world.config].map(Pushed::descriptor).into();
    world.registry.inject(world.api_lists(&backwards));
    assert_eq!(chosen(&world).await.0, greatest, "whatever the order of the list");
}

#[tokio::test]
async fn a14_the_date_is_that_of_the_manifest_and_not_of_the_list() {
    let world = World::new().await;
    let new = attach(&world, "new", "2026-11-01T00:00:00Z").await;
    let old = attach(&world, "old", "2020-01-01T00:00:00Z").await;
    let mut forged = old.descriptor();
    forged["annotations"] = json!({CREATED: "2099-01-01T00:00:00Z"});
    world.registry.inject(world.api_lists(&[forged, new.descriptor()]));
    assert_eq!(chosen(&world).await.0, new.digest.to_string());
}

#[tokio::test]
async fn a14_a_garbled_date_is_older_than_any() {
    let world = World::new().await;
    attach(&world, "garbled", "tomorrow").await;
    assert_eq!(chosen(&world).await.0, world.config.digest.to_string());
}
