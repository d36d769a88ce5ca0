//! Going back, and forward again.

use std::time::{Duration, Instant};

use anyhow::Result;
use api::Reason;
use serde_json::json;

use super::{Night, Person, TEXTS, applied, outcomes, settled};
use crate::support::{Bench, Ready as _, cases, checked, same};

cases! {
    Embedded [
        back_with_the_registry_stopped_and_forward_with_it_back,
        two_rollbacks_go_back_two_configs,
        back_by_number_and_by_digest,
        a_dry_run_says_it_and_changes_nothing,
        a_rollback_that_is_impossible_changes_nothing,
        a_config_that_failed_is_passed_over,
        what_nobody_keeps_fails_and_says_how_to_undo_it,
    ]
}

/// Longest that going back may take. It takes some hundred milliseconds; the rest is for machines that also compile.
const FAST: Duration = Duration::from_secs(20);

async fn back_with_the_registry_stopped_and_forward_with_it_back(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    night.registry.stop().await;
    let started = Instant::now();
    let ran = person.types(&["rollback", "web"]).await?;
    same("status", ran.code, Some(0))?;
    checked("it is fast", started.elapsed() < FAST, started.elapsed())?;
    same("the config before", applied(&bench).await?.as_str(), TEXTS[1])?;
    // From where to where, both with their images.
    let plan: Vec<&str> = ran.stdout.lines().collect();
    checked("from", plan[1].starts_with("from config") && plan[1].contains(&night.artifacts[2]), &plan)?;
    checked("to", plan[3].starts_with("to   config") && plan[3].contains(&night.artifacts[1]), &plan)?;
    for line in [plan[2], plan[4]] {
        checked("the image", line.contains(&night.image) && line.contains(&night.image_digest), line)?;
    }
    checked("what to type next", ran.stderr.contains("resume web"), &ran.stderr)?;
    let config = bench.get("web").await?;
    config.expect("True", Reason::RolledBack)?;
    same("rollbackTo", config.spec.rollback_to.as_deref(), Some(night.artifacts[1].as_str()))?;
    let expected = [(4, "Applied"), (3, "RolledBack"), (2, "Superseded"), (1, "Superseded")];
    same(
        "history",
        outcomes(&config)?,
        expected.map(|(number, outcome)| (number, outcome.to_owned())).to_vec(),
    )?;
    // Again, it is there already.
    let again = person.types(&["rollback", "web", "--to-revision", "4"]).await?;
    checked("it stays", again.code == Some(0) && again.stderr.contains("applied now"), again)?;

    night.registry.restart().await?;
    let fixed = night.attach(&bench, "{\"level\": 4}\n").await?;
    let forward = person.types(&["resume", "web"]).await?.ok()?;
    checked("it says what it takes away", forward.contains("spec.rollbackTo"), &forward)?;
    same("the fixed one", applied(&bench).await?.as_str(), "{\"level\": 4}\n")?;
    let config = bench.get("web").await?;
    config.expect_synced()?;
    same("artifact", config.artifact()?, &fixed)?;
    same("rollbackTo", &config.spec.rollback_to, &None)?;
    let nothing = person.types(&["resume", "web"]).await?.ok()?;
    checked("nothing is left to take away", nothing.contains("nothing to resume for 'web'"), nothing)
}

async fn two_rollbacks_go_back_two_configs(bench: Bench) -> Result<()> {
    let (_night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["rollback", "web"]).await?.ok()?;
    person.types(&["rollback", "web"]).await?.ok()?;
    same("the first", applied(&bench).await?.as_str(), TEXTS[0])?;
    let before = settled(&bench).await?;
    let end = person.types(&["rollback", "web"]).await?.failed(1)?;
    checked("no further", end.contains("all others were rolled back before (revision 4, 3)"), end)?;
    same("nothing changed", bench.snapshot().await?, before)
}

async fn back_by_number_and_by_digest(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["rollback", "web", "--to-revision", "1"]).await?.ok()?;
    same("by number", applied(&bench).await?.as_str(), TEXTS[0])?;
    person.types(&["rollback", "web", "--to-digest", &night.artifacts[1][..19]]).await?.ok()?;
    same("by the beginning of a digest", applied(&bench).await?.as_str(), TEXTS[1])?;
    // One that was never applied comes from the registry.
    let fourth = night.attach(&bench, "{\"level\": 4}\n").await?;
    let ran = person.types(&["rollback", "web", "--to-digest", &fourth]).await?;
    checked("it says where it comes from", ran.stderr.contains("comes from the registry"), &ran)?;
    ran.ok()?;
    same("by a digest that is attached", applied(&bench).await?.as_str(), "{\"level\": 4}\n")
}

async fn a_dry_run_says_it_and_changes_nothing(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let before = settled(&bench).await?;
    let said = person.types(&["rollback", "web", "--dry-run"]).await?.ok()?;
    checked("to where", said.contains(&night.artifacts[1]) && said.contains("nothing was changed"), said)?;
    same("nothing changed", bench.snapshot().await?, before)?;
    person.types(&["rollback", "web"]).await?.ok()?;
    let before = settled(&bench).await?;
    let said = person.types(&["resume", "web", "--dry-run"]).await?.ok()?;
    checked("what comes next", said.contains(&night.artifacts[2][..19]), said)?;
    same("nothing changed", bench.snapshot().await?, before)
}

async fn a_rollback_that_is_impossible_changes_nothing(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let person = Person::at(&bench)?;
    let before = settled(&bench).await?;
    for (args, says) in [
        (&["rollback", "web"][..], "the history holds no other config"),
        (&["rollback", "web", "--to-revision", "2"], "there is only 1"),
        (&["rollback", "web", "--to-digest", "sha256:123456"], "no known config"),
        (&["rollback", "web", "--to-digest", "sha256:12"], "no known config"),
    ] {
        let said = person.types(args).await?.failed(1)?;
        checked(&args.join(" "), said.contains(says), said)?;
    }
    let both =
        person.types(&["rollback", "web", "--to-revision", "1", "--to-digest", "x"]).await?.failed(2)?;
    checked("one or the other", both.contains("cannot be used with"), both)?;
    same("nothing changed", bench.snapshot().await?, before)
}

/// What failed never ran: the night may well begin with somebody who thinks that it does.
async fn a_config_that_failed_is_passed_over(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    bench.apply("web", json!({"image": night.image, "files": [{"path": "config.json"}]})).await?;
    bench.ready("web").await?;
    night.artifacts.push(bench.attach_at(&night.image, 9, &[("other.json", "{}")]).await?);
    let said = person.types(&["sync", "web"]).await?.failed(1)?;
    checked("the sync says that it failed", said.contains("InvalidFiles"), said)?;
    let history = person.types(&["history", "web"]).await?.ok()?;
    let rows: Vec<&str> = history.lines().collect();
    checked("it is in the history", rows[1].contains("Failed") && rows[2].starts_with("3 *"), &rows)?;
    let ran = person.types(&["rollback", "web"]).await?;
    checked("it says what did not run", ran.stderr.contains("was never applied"), &ran)?;
    ran.ok()?;
    same("the one before the one that ran", applied(&bench).await?.as_str(), TEXTS[1])?;
    let said = person.types(&["rollback", "web", "--to-revision", "4"]).await?.failed(1)?;
    checked("nor can it be gone back to", said.contains("never applied"), said)
}

async fn what_nobody_keeps_fails_and_says_how_to_undo_it(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let unknown = format!("sha256:{}", "0".repeat(64));
    let said = person.types(&["rollback", "web", "--to-digest", &unknown]).await?.failed(1)?;
    checked(
        "the operator's words",
        said.contains("RevisionNotFound") && said.contains(&night.artifacts[2]),
        &said,
    )?;
    checked("how to undo it", said.contains("resume web"), &said)?;
    same("what was applied stays", applied(&bench).await?.as_str(), TEXTS[2])?;
    person.types(&["resume", "web"]).await?.ok()?;
    bench.ready("web").await?;
    Ok(())
}
