//! `testbed demo`: the operator's story on a real cluster and a real registry, each step checked.

mod attach;
mod look;
mod narrator;
mod night;
mod steps;
mod undo;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use testbed::{Manifests, OperatorProcess};

use crate::world::{World, check_operator};
use look::NAMESPACE;
use narrator::Narrator;

/// What the steps work on.
struct Stage {
    narrator: Narrator,
    world: World,
    operator: OperatorProcess,
    /// The operator's program, which is also the command line.
    program: PathBuf,
}

/// Tells the story. With `keep` it ends only by a signal.
pub(crate) async fn run(program: PathBuf, keep: bool, root: Option<&Path>) -> Result<()> {
    let manifests = Manifests::find(root)?;
    check_operator(&program)?;
    let mut narrator = Narrator::new(steps::COUNT);
    let world = steps::cluster_and_registry(&mut narrator, &manifests).await?;
    let operator = steps::operator(&mut narrator, &world, &program, &manifests).await?;
    let mut stage = Stage { narrator, world, operator, program };
    if let Err(why) = steps::story(&mut stage).await {
        stage.narrator.failed(&format!("{why:#}"));
        print_log(&stage);
        if keep {
            look_around(&stage)?;
            std::future::pending::<()>().await;
        }
        bail!("the demo did not do what it says");
    }
    stage.narrator.end("Every step did what it said.");
    if keep {
        look_around(&stage)?;
        return stage.operator.exited().await;
    }
    println!("To look around yourself: the same command with --keep, or `testbed up --operator PATH`.");
    Ok(())
}

fn look_around(stage: &Stage) -> Result<()> {
    println!("To look around, in another terminal:");
    stage.narrator.output(&stage.world.exports()?);
    stage.narrator.output(&format!("kubectl -n {NAMESPACE} get artifactconfigs,configmaps,events"));
    stage.narrator.output(&format!("kubectl -n {NAMESPACE} describe artifactconfig web"));
    stage.narrator.output(&format!("{} -n {NAMESPACE} tree web", stage.program.display()));
    stage.narrator.output("oras discover --plain-http $REGISTRY/testimage:v1");
    stage.narrator.output(&format!("curl http://{}/metrics", stage.operator.health_address()));
    stage.narrator.output(&format!("less {}", stage.operator.log_path().display()));
    println!("Ctrl-C stops everything.");
    Ok(())
}

/// The end of the operator's log, which usually says why.
fn print_log(stage: &Stage) {
    let log = stage.operator.log();
    let lines: Vec<_> = log.lines().collect();
    println!("  the end of the operator's log:");
    stage.narrator.output(&lines[lines.len().saturating_sub(20)..].join("\n"));
}
