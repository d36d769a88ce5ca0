//! The policies are switched on and off, in a cluster apart.

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use testbed::Cluster;

use crate::place::{POLICIES, Place, config, image, is_whole, mounted, pod};
use crate::stage::{Tools, cluster, eventually, same};

crate::stage::cases! {
    Alone [policies_come_and_go]
}

const IMAGE: &str = "r.example/web:v1";

async fn policies_come_and_go(tools: Tools) -> Result<()> {
    let cluster = cluster(vec![tools.manifests.crd()]).await?;
    let place = Place::of(&cluster).await?;
    place.write(&config("web", "web", &[(IMAGE, "sha256:1", "web-1")])).await?;
    starts_with_the_target(&place).await?;
    let policies = tools.manifests.path(POLICIES).display().to_string();
    cluster.kubectl(&["apply", "-f", &policies]).await?.ok("kubectl apply")?;
    let diff = cluster.kubectl(&["diff", "-f", &policies]).await?;
    ensure!(diff.success() && diff.stdout.is_empty(), "a second apply would change something: {diff:?}");
    place.are_policies_seen().await?;
    let admitted = place.try_pod(&pod("require", IMAGE, "web")).await?.map_err(anyhow::Error::msg)?;
    is_whole(&admitted, "web", "r.example/web:v1@sha256:1", "web-1")?;
    only_labelled_pods_are_evaluated(&place).await?;
    without_one_of_both(&cluster, &place).await?;
    cluster.kubectl(&["delete", "-f", &policies, "--ignore-not-found"]).await?.ok("kubectl delete")?;
    eventually("the policies to go", || async {
        let answer = place.try_pod(&pod("require", "r.example/web:v9", "unknown")).await?;
        Ok(answer.map(drop))
    })
    .await?;
    starts_with_the_target(&place).await?;
    cluster.stop().await
}

/// A cluster without the policies, or one of an older version: the label alone does nothing.
async fn starts_with_the_target(place: &Place) -> Result<()> {
    for bind in ["require", "prefer"] {
        let admitted = place.try_pod(&pod(bind, IMAGE, "web")).await?.map_err(anyhow::Error::msg)?;
        same(bind, (mounted(&admitted).as_str(), image(&admitted).as_str()), (Some("web"), Some(IMAGE)))?;
    }
    Ok(())
}

/// By the counters of the API server.
async fn only_labelled_pods_are_evaluated(place: &Place) -> Result<()> {
    let before = evaluations(&place.client).await?;
    for _ in 0..50 {
        place.try_pod(&pod("none", IMAGE, "web")).await?.map_err(anyhow::Error::msg)?;
    }
    same("evaluations after pods that do not ask", evaluations(&place.client).await?, before)?;
    place.try_pod(&pod("prefer", IMAGE, "web")).await?.map_err(anyhow::Error::msg)?;
    let after = evaluations(&place.client).await?;
    ensure!(after > before, "the counters do not move at all: {before}, {after}");
    Ok(())
}

/// The sum of all counters of the API server that name one of the policies.
async fn evaluations(client: &Client) -> Result<u64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let metrics = client.request_text(request).await?;
    let is_count = |line: &&str| {
        let is_of_policy = line.contains("\"bind.artifactconfig.dev\"")
            || line.contains("\"require.bind.artifactconfig.dev\"");
        is_of_policy
            && line.split('{').next().is_some_and(|name| name.ends_with("_count") || name.ends_with("_total"))
    };
    let counts =
        metrics.lines().filter(is_count).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    let (number, sum) = counts.fold((0, 0), |(number, sum), count| (number + 1, sum + count));
    ensure!(number > 0, "the API server counts nothing of the policies");
    Ok(sum)
}

/// Somebody deletes the binding of the policy that changes pods: `require` is refused, and the message says so.
async fn without_one_of_both(cluster: &Cluster, place: &Place) -> Result<()> {
    let delete = ["delete", "mutatingadmissionpolicybinding", "bind.artifactconfig.dev"];
    cluster.kubectl(&delete).await?.ok("kubectl delete")?;
    let message = eventually("the pod to be refused", || async {
        let answer = place.try_pod(&pod("require", IMAGE, "web")).await?;
        Ok(answer.err().ok_or_else(|| "it is still bound".to_owned()))
    })
    .await?;
    let said = message.split_once("denied request: ").map(|(_, said)| said).context(message.clone())?;
    let config = serde_json::from_value(config("web", "web", &[(IMAGE, "sha256:1", "web-1")]))?;
    same("message", Some(said), decide::bind::refusal(&pod("require", IMAGE, "web"), &config).as_deref())?;
    let preferred = place.try_pod(&pod("prefer", IMAGE, "web")).await?.map_err(anyhow::Error::msg)?;
    same("prefer", mounted(&preferred), "web")
}
