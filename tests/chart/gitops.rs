//! The examples for Flux and Argo CD: against the definitions of both, and the health check by Argo CD's interpreter.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::Definitions;
use testbed::tools::Tool;

use crate::release::{objects, the};
use crate::stage::{Shared, Tools, same};

crate::stage::cases! {
    Shared [the_examples_are_valid]
    Alone [the_values_in_the_examples_are_values, argo_cd_sees_the_health]
}

const FILES: [&str; 5] = [
    "flux/operator.yaml",
    "flux/apps.yaml",
    "argocd/operator.yaml",
    "argocd/apps.yaml",
    "argocd/health.yaml",
];

fn read(tools: &Tools, name: &str) -> Result<String> {
    let path = tools.manifests.path("deploy/examples").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

async fn the_examples_are_valid(shared: Shared) -> Result<()> {
    shared
        .cluster
        .define(&[
            Definitions::FluxSource,
            Definitions::FluxKustomize,
            Definitions::FluxHelm,
            Definitions::FluxNotification,
            Definitions::ArgoCd,
        ])
        .await?;
    // Namespaces of the examples, which a dry run does not make.
    for namespace in ["artifactconfig-system", "flux-system", "argocd"] {
        shared.cluster.kubectl(&["create", "namespace", namespace]).await?;
    }
    for file in FILES {
        let text = read(&shared.tools, file)?;
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"];
        shared.cluster.kubectl_with_stdin(&apply, &text).await?.ok(&format!("kubectl apply -f {file}"))?;
    }
    Ok(())
}

/// The definitions take any values; the chart's schema does not.
async fn the_values_in_the_examples_are_values(tools: Tools) -> Result<()> {
    let flux = objects(&read(&tools, "flux/operator.yaml")?)?;
    let argo = objects(&read(&tools, "argocd/operator.yaml")?)?;
    let values = [
        the(&flux, "HelmRelease")?["spec"]["values"].clone(),
        the(&argo, "Application")?["spec"]["source"]["helm"]["valuesObject"].clone(),
    ];
    for values in values {
        ensure!(values.is_object(), "the example has no values");
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), values.to_string())?;
        tools.template(&["--values", &file.path().display().to_string()]).await?;
    }
    Ok(())
}

fn conditions(reason: &str, entries: &[(&str, &str)]) -> Value {
    let conditions: Vec<_> = entries
        .iter()
        .map(|(r#type, status)| json!({"type": r#type, "status": status, "reason": reason, "message": "as it is"}))
        .collect();
    json!({"observedGeneration": 2, "conditions": conditions})
}

async fn argo_cd_sees_the_health(tools: Tools) -> Result<()> {
    let glua = testbed::tools::Tools::locate()?.ensure(&[Tool::Glua]).await?;
    let script = objects(&read(&tools, "argocd/health.yaml")?)?;
    let key = "resource.customizations.health.artifactconfig.dev_ArtifactConfig";
    let script = the(&script, "ConfigMap")?["data"][key].as_str().context("no script")?.to_owned();
    let stale = json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Synced"}]});
    let cases = [
        ("nobody has seen it", Value::Null, "Progressing"),
        ("it was just made", json!({"observedGeneration": -1}), "Progressing"),
        ("only an older version was seen", stale, "Progressing"),
        ("synced", conditions("Synced", &[("Ready", "True")]), "Healthy"),
        ("rolled back", conditions("RolledBack", &[("Ready", "True"), ("RolledBack", "True")]), "Healthy"),
        (
            "waiting",
            conditions("ArtifactNotFound", &[("Ready", "False"), ("Reconciling", "True")]),
            "Progressing",
        ),
        ("stalled", conditions("InvalidSpec", &[("Ready", "False"), ("Stalled", "True")]), "Degraded"),
        ("suspended", conditions("Suspended", &[("Ready", "True")]), "Suspended"),
        ("suspended before anything", conditions("Suspended", &[("Ready", "Unknown")]), "Suspended"),
    ];
    for (what, status, wanted) in cases {
        let object = json!({"metadata": {"generation": 2}, "spec": {}, "status": status});
        let program = format!(
            "local obj = {}\nlocal function check()\n{script}\nend\nlocal health = check()\nprint(health.status)\nprint(health.message)\n",
            lua(&object)
        );
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), program)?;
        let output = Command::new(glua.path(Tool::Glua)?).arg(file.path()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{what}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let mut lines = said.lines();
        same(what, lines.next(), Some(wanted))?;
        ensure!(
            lines.next().is_some_and(|message| !message.is_empty() && message != "nil"),
            "{what}: no message"
        );
    }
    Ok(())
}

/// A value as Lua writes it; null means absent.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            fields.iter().fold("{".to_owned(), |mut text, (key, value)| {
                let _ = write!(text, "[{key:?}] = {}, ", lua(value));
                text
            }) + "}"
        }
        plain => plain.to_string(),
    }
}
