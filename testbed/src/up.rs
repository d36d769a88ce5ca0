//! `testbed up`: something to try things on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testbed::Manifests;

use crate::world::{World, check_operator, sample};

/// Runs until a signal ends the program; returns only on an error.
pub(crate) async fn run(operator: Option<PathBuf>, root: Option<&Path>) -> Result<()> {
    let installed = match operator {
        Some(binary) => {
            check_operator(&binary)?;
            Some((binary, Manifests::find(root)?))
        }
        None => None,
    };
    eprintln!("starting cluster and registry …");
    let world = World::start(installed.iter().map(|(_, manifests)| manifests.crd()).collect(), 0).await?;
    let operator = match &installed {
        Some((binary, manifests)) => Some(world.start_operator(binary, manifests, &[]).await?),
        None => None,
    };
    let file = world.cluster.directory().join("web.yaml");
    std::fs::write(&file, sample(&world.registry.host(), "default"))
        .with_context(|| format!("cannot write {}", file.display()))?;

    println!(
        "# For another terminal: the cluster's administrator, kubectl and oras, the registry (plain HTTP, in memory)"
    );
    print!("{}", world.exports()?);
    println!();
    println!("# An image, and a config attached to it");
    println!("echo layer > layer.txt; echo '{{\"greeting\": \"hello\"}}' > config.json");
    println!("oras push --plain-http $REGISTRY/testimage:v1 layer.txt");
    println!("oras attach --plain-http --artifact-type custom/config $REGISTRY/testimage:v1 config.json");
    if let Some(operator) = &operator {
        println!("kubectl apply -f {}", file.display());
        println!("kubectl get artifactconfigs,configmaps");
        println!();
        println!(
            "# The operator: http://{}/metrics, log in {}",
            operator.health_address(),
            operator.log_path().display()
        );
    }
    println!();
    println!("# Data and logs are in {}; Ctrl-C stops everything", world.cluster.directory().display());
    match &operator {
        Some(operator) => operator.exited().await,
        None => std::future::pending().await,
    }
}
