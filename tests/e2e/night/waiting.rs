//! Asking the operator and waiting for it: `sync`, `suspend`, `resume`.

use anyhow::Result;
use artifactconfig::api::Reason;

use super::{Night, Person, TEXTS, applied};
use crate::support::{Bench, Ready as _, cases, checked, same};

cases! {
    Embedded [
        sync_waits_and_says_what_came_of_it,
        suspend_waits_until_nothing_is_written_any_more,
        of_two_holds_the_suspension_ends_first,
        what_is_suspended_goes_nowhere_unless_told_to,
        forward_waits_for_a_registry_that_is_down,
    ]
}

async fn sync_waits_and_says_what_came_of_it(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let fourth = night.attach(&bench, "{\"level\": 4}\n").await?;
    let said = person.types(&["sync", "web"]).await?.ok()?;
    checked("the operator's words", said.contains(&fourth[..19]), &said)?;
    same("it is there", applied(&bench).await?.as_str(), "{\"level\": 4}\n")?;
    night.registry.stop().await;
    let said = person.types(&["sync", "web"]).await?.failed(1)?;
    checked("why not", said.contains("RegistryUnavailable"), &said)?;
    checked("whose config is in place", said.contains(&fourth[..19]), &said)
}

async fn suspend_waits_until_nothing_is_written_any_more(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let ran = person.types(&["suspend", "web"]).await?;
    checked("it says how to go on", ran.stderr.contains("resume web"), &ran)?;
    checked("the operator's words", ran.ok()?.contains("suspended"), "")?;
    bench.get("web").await?.expect("True", Reason::Suspended)?;
    night.attach(&bench, "{\"level\": 4}\n").await?;
    let said = person.types(&["sync", "web"]).await?.failed(1)?;
    checked("there is no sync", said.contains("is suspended") && said.contains("resume web"), said)?;
    same("nor anything else", applied(&bench).await?.as_str(), TEXTS[2])?;
    person.types(&["resume", "web"]).await?.ok()?;
    same("resumed", applied(&bench).await?.as_str(), "{\"level\": 4}\n")?;
    bench.get("web").await?.expect_synced()
}

/// Ending a suspension must not bring back what was rolled back.
async fn of_two_holds_the_suspension_ends_first(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["rollback", "web"]).await?.ok()?;
    person.types(&["suspend", "web"]).await?.ok()?;
    let ran = person.types(&["resume", "web"]).await?;
    checked("what is left", ran.stderr.contains("spec.rollbackTo still keeps it"), &ran)?;
    ran.ok()?;
    let config = bench.get("web").await?;
    config.expect("True", Reason::RolledBack)?;
    same("rollbackTo", config.spec.rollback_to.as_deref(), Some(night.artifacts[1].as_str()))?;
    person.types(&["suspend", "web"]).await?.ok()?;
    person.types(&["resume", "web", "--all"]).await?.ok()?;
    bench.get("web").await?.expect_synced()?;
    same("forward", applied(&bench).await?.as_str(), TEXTS[2])
}

async fn what_is_suspended_goes_nowhere_unless_told_to(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["suspend", "web"]).await?.ok()?;
    // Of a change the event comes after the status.
    bench.wait_event("web", Reason::Suspended).await?;
    let before = bench.snapshot().await?;
    let said = person.types(&["rollback", "web"]).await?.failed(1)?;
    checked("what to type instead", said.contains("rollback web --unsuspend"), said)?;
    same("nothing changed", bench.snapshot().await?, before)?;
    person.types(&["rollback", "web", "--unsuspend"]).await?.ok()?;
    same("back", applied(&bench).await?.as_str(), TEXTS[1])?;
    let config = bench.get("web").await?;
    same("one write for both", config.metadata.generation, Some(3))?;
    same("never forward in between", config.seen()?.history[0].revision, 4)?;
    same("rollbackTo", config.spec.rollback_to.as_deref(), Some(night.artifacts[1].as_str()))
}

/// Going forward needs the registry; whoever waits is told what for.
async fn forward_waits_for_a_registry_that_is_down(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["rollback", "web"]).await?.ok()?;
    night.registry.stop().await;
    let said = person.types(&["resume", "web", "--timeout", "3s"]).await?.failed(1)?;
    checked("what it waited for", said.contains("not done within 3 s: RegistryUnavailable"), &said)?;
    checked("progress", said.contains("waiting: "), &said)?;
    same("what was applied stays", applied(&bench).await?.as_str(), TEXTS[1])?;
    night.registry.restart().await?;
    person.types(&["sync", "web"]).await?.ok()?;
    same("forward", applied(&bench).await?.as_str(), TEXTS[2])
}
