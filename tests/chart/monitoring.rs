//! Every object of every set of values, as the real API server and the definitions of the Prometheus Operator take it:
//! an unknown or misspelled field is an error.

use anyhow::{Result, ensure};
use testbed::Definitions;

use crate::release::objects;
use crate::stage::{Shared, same};

crate::stage::cases! {
    Shared [every_object_is_valid]
}

async fn every_object_is_valid(shared: Shared) -> Result<()> {
    shared.cluster.define(&[Definitions::PrometheusOperator]).await?;
    // Not restricted: of the Pods, other tests speak.
    let namespace = shared.cluster.create_namespace("valid").await?;
    for set in ["full", "minimal", "namespaced"] {
        let values = shared.tools.values(set);
        let args = ["--values", &values, "--namespace", &namespace];
        let rendered = shared.tools.template(&args).await?;
        let apply = ["apply", "--dry-run=server", "--validate=strict", "--filename=-"];
        let output = shared
            .cluster
            .kubectl_with_stdin(&apply, &rendered)
            .await?
            .ok(&format!("kubectl apply ({set})"))?;
        let count = objects(&rendered)?.len();
        same(&format!("objects of {set}"), output.stdout.lines().count(), count)?;
        // Definitions that were applied by somebody else, and nothing else.
        let warnings: Vec<_> =
            output.stderr.lines().filter(|line| !line.contains("last-applied-configuration")).collect();
        ensure!(warnings.is_empty(), "warnings about {set}: {warnings:?}");
    }
    Ok(())
}
