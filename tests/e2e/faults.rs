//! A registry that fails, sends wrong answers or is slow: the applied config stays, and the message is right.

use anyhow::Result;
use api::Reason;
use serde_json::json;
use testbed::registry::Fault;

use crate::support::{Bench, CONFIG_TYPE, Ready as _, cases, checked, same, text};

cases! {
    Embedded [
        other_bytes_for_a_blob_are_not_used,
        other_bytes_for_a_manifest_are_not_used,
        more_and_less_than_the_descriptor_says_is_not_used,
        a_failing_listing_is_never_nothing_attached,
        a_forbidden_repository_is_reported,
        a_rate_limit_is_reported_and_respected,
        a_registry_that_hangs_costs_the_timeout,
        a_config_of_another_image_is_not_taken,
        a_failure_in_the_middle_passes_unnoticed,
        a_lost_layer_is_reported,
    ]
}

const FIRST: [(&str, &str); 1] = [("config.json", "first")];
const SECOND: [(&str, &str); 1] = [("config.json", "second")];

/// A resource with its first config in place; the faults meet the second.
async fn synced(bench: &Bench) -> Result<String> {
    let (image, _, _) = bench.image_with("web:v1", &FIRST).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    Ok(image)
}

/// The fault leads to this reason and does not change the applied config. After the fault, the resource recovers: by
/// itself from transient failures, otherwise at the next sync.
async fn survives(
    bench: &Bench,
    part: &'static str,
    fault: impl FnOnce(Fault) -> Fault,
    reason: Reason,
) -> Result<String> {
    let image = synced(bench).await?;
    let before = bench.config_map("web").await?;
    bench.attach_at(&image, 2, &SECOND).await?;
    let fault = bench.inject(part, fault);
    let config = bench.sync_failed("web", reason).await?;
    same("the ConfigMap", bench.config_map("web").await?, before)?;
    checked("the fault was met", bench.world.embedded.hits(fault) > 0, bench.world.embedded.hits(fault))?;
    let message = config.message()?.to_owned();
    checked("the message says what stays", message.contains("keeps config"), &message)?;
    bench.world.embedded.remove_fault(fault);
    if reason.class() == api::Class::Transient {
        bench.ready("web").await?;
    } else {
        bench.sync_ready("web").await?;
    }
    same("data", bench.data("web").await?, text(&SECOND))?;
    Ok(message)
}

/// Wrong bytes of the right length.
async fn other_bytes_for_a_blob_are_not_used(bench: Bench) -> Result<()> {
    survives(&bench, "/blobs/", |fault| fault.body(|_, _| &b"SECOND"[..]), Reason::DigestMismatch)
        .await
        .map(drop)
}

/// A well-formed manifest with another digest.
async fn other_bytes_for_a_manifest_are_not_used(bench: Bench) -> Result<()> {
    let rewrite = |_: &mut http::response::Parts, body: bytes::Bytes| [&body[..], b" "].concat();
    survives(&bench, "/manifests/sha256:", |fault| fault.body(rewrite), Reason::DigestMismatch)
        .await
        .map(drop)
}

/// Sizes are checked before digests, and a body that does not end is not read to its end.
async fn more_and_less_than_the_descriptor_says_is_not_used(bench: Bench) -> Result<()> {
    let image = synced(&bench).await?;
    bench.attach_at(&image, 2, &SECOND).await?;
    let longer = bench.inject("/blobs/", |fault| fault.body(|_, _| &b"secondary"[..]));
    bench.sync_failed("web", Reason::DigestMismatch).await?;
    bench.world.embedded.remove_fault(longer);

    let shorter = bench.inject("/blobs/", |fault| fault.body(|_, _| &b"sec"[..]));
    bench.sync_failed("web", Reason::DigestMismatch).await?;
    bench.world.embedded.remove_fault(shorter);

    let endless = bench.inject("/blobs/", Fault::endless);
    bench.sync_failed("web", Reason::DigestMismatch).await?;
    bench.world.embedded.remove_fault(endless);

    let broken = bench.inject("/blobs/", |fault| fault.truncate(3));
    bench.sync_failed("web", Reason::RegistryUnavailable).await?;
    same("data", bench.data("web").await?, text(&FIRST))?;
    bench.world.embedded.remove_fault(broken);

    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&SECOND))
}

/// 500s, refused connections and cut lines while listing are "unknown", not "none".
async fn a_failing_listing_is_never_nothing_attached(bench: Bench) -> Result<()> {
    survives(&bench, "/referrers/", |fault| fault.status(503), Reason::RegistryUnavailable).await?;
    for does in [Fault::disconnect, |fault: Fault| fault.status(500), |fault: Fault| fault.truncate(10)] {
        let fault = bench.inject("/referrers/", does);
        bench.sync_failed("web", Reason::RegistryUnavailable).await?;
        bench.world.embedded.remove_fault(fault);
        bench.ready("web").await?;
    }
    let resolve = bench.inject("/manifests/v1", |fault| fault.status(502));
    bench.sync_failed("web", Reason::RegistryUnavailable).await?;
    bench.world.embedded.remove_fault(resolve);
    bench.ready("web").await?;
    Ok(())
}

/// 403 is no empty list either.
async fn a_forbidden_repository_is_reported(bench: Bench) -> Result<()> {
    survives(&bench, "/referrers/", |fault| fault.status(403), Reason::Forbidden).await.map(drop)
}

/// 429 is a separate reason, and no request is sent for the time that the registry states.
async fn a_rate_limit_is_reported_and_respected(bench: Bench) -> Result<()> {
    let image = synced(&bench).await?;
    bench.attach_at(&image, 2, &SECOND).await?;
    let fault =
        bench.inject("/referrers/", |fault| fault.respond(429, &[("retry-after", "3600")], "slow down"));
    let config = bench.sync_failed("web", Reason::RateLimited).await?;
    same("asked once, not thrice", bench.world.embedded.hits(fault), 1)?;
    checked("the message says so", config.message()?.contains("limits requests"), config.message()?)?;
    same("data", bench.data("web").await?, text(&FIRST))?;
    bench.world.embedded.remove_fault(fault);
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&SECOND))
}

/// `spec.timeout` bounds a sync with every behaviour of the registry.
async fn a_registry_that_hangs_costs_the_timeout(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &FIRST).await?;
    bench.apply("web", json!({"image": image, "timeout": "1s"})).await?;
    bench.ready("web").await?;
    let fault = bench.inject("/referrers/", Fault::hang);
    let config = bench.sync_failed("web", Reason::RegistryUnavailable).await?;
    checked("the message names the field", config.message()?.contains("spec.timeout"), config.message()?)?;
    bench.world.embedded.remove_fault(fault);
    bench.ready("web").await?;
    Ok(())
}

/// A listing that names an artifact of another image is not believed: the artifact says what it is attached to.
async fn a_config_of_another_image_is_not_taken(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let other = bench.image("web:other");
    let digest = bench.push(&other).await?;
    bench.attach_with(&other, CONFIG_TYPE, &[("config.json", "of another image")], &[]).await?;
    let listing = format!("/{}/web/referrers/{digest}", bench.namespace);
    let host = bench.world.embedded.host();
    let elsewhere = format!("http://{host}/v2{listing}");
    // Only the listing of the first image is replaced by that of the second.
    let first = bench.world.oras.resolve(&image).await?;
    let path = format!("/v2/{}/web/referrers/{first}", bench.namespace);
    let fault = bench
        .world
        .embedded
        .inject(Fault::when(move |request| request.uri.path() == path).redirect(307, &elsewhere));
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::ArtifactNotFound).await?;
    checked("the fault was met", bench.world.embedded.hits(fault) > 0, ())?;
    same("a ConfigMap exists", bench.has_config_map("web").await?, false)
}

/// One bad answer in between is retried on the spot and makes no noise.
async fn a_failure_in_the_middle_passes_unnoticed(bench: Bench) -> Result<()> {
    let image = synced(&bench).await?;
    bench.attach_at(&image, 2, &SECOND).await?;
    let faults = ["/manifests/v1", "/referrers/", "/manifests/sha256:", "/blobs/"]
        .map(|part| bench.inject(part, |fault| fault.status(503).times(1)));
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&SECOND))?;
    for fault in faults {
        same("times that the fault was met", bench.world.embedded.hits(fault), 1)?;
    }
    Ok(())
}

/// A layer that the registry lost is a broken artifact, not a missing one.
async fn a_lost_layer_is_reported(bench: Bench) -> Result<()> {
    let message = survives(&bench, "/blobs/", |fault| fault.status(404), Reason::InvalidContent).await?;
    checked("the message says what to do", message.contains("attach the config again"), message)
}
