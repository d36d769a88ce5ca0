//! Asking the operator and waiting for it: `sync`, `suspend`, `resume`.

use anyhow::Result;
use api::Reason;

use super::{Night, Person, TEXTS, applied};
use crate::support::{Bench, Ready as _, cases, checked, same};

cases! {
    Embedded [
        sync_waits_and_says_what_came_of_it,
        suspend_waits_until_nothing_is_written_any_more,
        of_two_holds_the_suspension_ends_first,
        a_suspended_resource_is_rolled_back_only_by_force,
        forward_keeps_the_hold_while_the_registry_is_down,
        forward_says_what_really_comes,
        what_is_suspended_is_asked_for_from_here,
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
    checked("what is left", ran.stderr.contains("spec.rollbackTo is still set"), &ran)?;
    ran.ok()?;
    let config = bench.get("web").await?;
    config.expect("True", Reason::RolledBack)?;
    same("rollbackTo", config.spec.rollback_to.as_deref(), Some(night.artifacts[1].as_str()))?;
    person.types(&["suspend", "web"]).await?.ok()?;
    person.types(&["resume", "web", "--all"]).await?.ok()?;
    bench.get("web").await?.expect_synced()?;
    same("forward", applied(&bench).await?.as_str(), TEXTS[2])
}

async fn a_suspended_resource_is_rolled_back_only_by_force(bench: Bench) -> Result<()> {
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

/// The hold is kept until it is known what comes: it would come by itself, when the registry does, and nobody has seen it.
async fn forward_keeps_the_hold_while_the_registry_is_down(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["rollback", "web"]).await?.ok()?;
    night.registry.stop().await;
    let said = person.types(&["resume", "web"]).await?.failed(1)?;
    checked("the hold is kept", said.contains("spec.rollbackTo stays set"), &said)?;
    checked("why", said.contains("what would come next is not known"), &said)?;
    checked("how to do it all the same", said.contains("resume web --force"), &said)?;
    let back = Some(night.artifacts[1].as_str());
    same("rollbackTo", bench.get("web").await?.spec.rollback_to.as_deref(), back)?;
    checked("sync says so", person.types(&["sync", "web"]).await?.code == Some(1), "")?;

    let said = person.types(&["resume", "web", "--force", "--timeout", "3s"]).await?.failed(1)?;
    checked("what it waited for", said.contains("not done within 3 s: RegistryUnavailable"), &said)?;
    checked("progress", said.contains("waiting: "), &said)?;
    checked(
        "how to hold it again",
        said.contains(&format!("rollback web --to-digest {}", night.artifacts[1])),
        &said,
    )?;
    same("rollbackTo", &bench.get("web").await?.spec.rollback_to, &None)?;
    same("what was applied stays", applied(&bench).await?.as_str(), TEXTS[1])?;
    night.registry.restart().await?;
    person.types(&["sync", "web"]).await?.ok()?;
    same("forward", applied(&bench).await?.as_str(), TEXTS[2])
}

/// The status is as old as the last look, an hour here, and two configs were attached since.
async fn forward_says_what_really_comes(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["rollback", "web"]).await?.ok()?;
    let stale = bench
        .wait("web", "to say what would come next", |config| {
            checked("latest", config.seen()?.latest.is_some(), ())
        })
        .await?;
    same("latest", stale.seen()?.latest.as_deref(), Some(night.artifacts[2].as_str()))?;
    night.attach(&bench, "{\"level\": 4}\n").await?;
    let fifth = night.attach(&bench, "{\"level\": 5}\n").await?;
    let ran = person.types(&["resume", "web"]).await?;
    let said = ran.ok()?;
    checked("it is named", said.contains(&format!("; config {} comes next", &fifth[..19])), &said)?;
    checked("and no other", !said.contains(&night.artifacts[2][..19]), &said)?;
    checked("with what it changes", said.contains("-{\"level\": 2}\n+{\"level\": 5}\n"), &said)?;
    same("it is what came", bench.get("web").await?.artifact()?, &fifth)
}

/// A suspended operator looks at nothing, so it is asked from here; without an answer the suspension stays.
async fn what_is_suspended_is_asked_for_from_here(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["suspend", "web"]).await?.ok()?;
    let fourth = night.attach(&bench, "{\"level\": 4}\n").await?;
    night.registry.stop().await;
    let said = person.types(&["resume", "web"]).await?.failed(1)?;
    checked("the hold is kept", said.contains("spec.suspend stays set"), &said)?;
    same("suspended", bench.get("web").await?.spec.suspend, true)?;
    night.registry.restart().await?;
    let said = person.types(&["resume", "web"]).await?.ok()?;
    checked("it is named", said.contains(&format!("; config {} comes next", &fourth[..19])), &said)?;
    checked("with what it changes", said.contains("+{\"level\": 4}\n"), &said)?;
    same("it is what came", bench.get("web").await?.artifact()?, &fourth)?;
    // Both holds at once: the first ends, the second stays until somebody has answered.
    person.types(&["rollback", "web"]).await?.ok()?;
    person.types(&["suspend", "web"]).await?.ok()?;
    night.registry.stop().await;
    person.types(&["resume", "web", "--all"]).await?.failed(1)?;
    let spec = bench.get("web").await?.spec;
    same("held", (spec.suspend, spec.rollback_to.is_some()), (false, true))
}
