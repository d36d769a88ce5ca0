//! An API server that has just started knows no resource yet.

use anyhow::{Result, ensure};

use crate::place::{POLICIES, Place, bound, config, is_whole, mounted, pod};
use crate::stage::{Tools, cluster, eventually};

crate::stage::cases! {
    Alone [a_started_api_server_never_admits_a_required_pod_unbound]
}

const IMAGE: &str = "r.example/web:v1";
const PINNED: &str = "r.example/web:v1@sha256:1";

/// For up to 30 seconds it does not know the kind (kubernetes/kubernetes#124237), and afterwards it gives the list of the
/// resources one second (kubernetes/kubernetes#141367). Until then `require` is refused and `prefer` starts with the target.
async fn a_started_api_server_never_admits_a_required_pod_unbound(tools: Tools) -> Result<()> {
    let cluster = cluster(vec![tools.manifests.crd()]).await?;
    cluster.apply_file(&tools.manifests.path(POLICIES)).await?;
    let place = Place::of(&cluster).await?;
    for number in 0..100 {
        place.write(&config(&format!("other{number}"), "web", &[(IMAGE, "sha256:1", "other-1")])).await?;
    }
    place.write(&config("web", "web", &[(IMAGE, "sha256:1", "web-1")])).await?;
    place.are_policies_seen().await?;
    cluster.stop_api_server().await?;
    cluster.start_api_server().await?;
    is_bound(&place).await?;
    cluster.stop().await
}

/// Sends pods until one that requires its config is bound.
async fn is_bound(place: &Place) -> Result<()> {
    eventually("a pod to be bound", || async {
        if let Ok(preferred) = place.try_pod(&pod("prefer", IMAGE, "web")).await? {
            let is_target = mounted(&preferred) == "web" && bound(&preferred, "web").is_none();
            ensure!(
                is_target || is_whole(&preferred, "web", PINNED, "web-1").is_ok(),
                "half bound: {preferred}"
            );
        }
        Ok(match place.try_pod(&pod("require", IMAGE, "web")).await? {
            Ok(admitted) => Ok(is_whole(&admitted, "web", PINNED, "web-1")?),
            Err(message) => Err(message),
        })
    })
    .await
}
