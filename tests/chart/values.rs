//! Values: refused where they are wrong, and in step with their schema.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::rendered::described;

use crate::stage::{Tools, same};

crate::stage::cases! {
    Alone [wrong_values_are_refused, values_and_schema_are_in_step]
}

/// Wrong values, and what the message must name.
const WRONG: [(&str, &str); 26] = [
    ("replcas=2", "replcas"),
    ("replicas=two", "/replicas"),
    ("replicas=-1", "/replicas"),
    ("global.imageRegistry=oci://registry.example.com", "/global/imageRegistry"),
    ("global.imagePullSecrets={}", "/global/imagePullSecrets/0"),
    ("image.tagg=v1", "/image"),
    ("image.tag=a:b", "/image/tag"),
    ("image.digest=v1", "/image/digest"),
    ("image.repository=oci://registry.example.com/artifactconfig", "/image/repository"),
    ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ("namespaces=a", "/namespaces"),
    ("namespaces={a,a}", "/namespaces"),
    ("namespaces={Team A}", "/namespaces/0"),
    ("controller.concurrency=0", "/controller/concurrency"),
    ("controller.concurrency=1025", "/controller/concurrency"),
    ("controller.logFormat=xml", "/controller/logFormat"),
    ("controller.healthAddress=8080", "/controller/healthAddress"),
    ("controller.allowRegistries={a\\,b}", "/controller/allowRegistries/0"),
    ("leaderElection.leaseDuration=15", "/leaderElection/leaseDuration"),
    ("tracing.sampleRatio=2", "/tracing/sampleRatio"),
    ("tracing.endpoint=collector:4317", "/tracing/endpoint"),
    ("networkPolicy.egress.registryPorts={https}", "/networkPolicy/egress/registryPorts/0"),
    ("resources.request.cpu=1", "/resources"),
    ("livenessProbe.httpGet.path=/other", "/livenessProbe"),
    ("podDisruptionBudget.maxUnavailable=half", "/podDisruptionBudget/maxUnavailable"),
    ("imagePullSecrets={regcred}", "/imagePullSecrets/0"),
];

/// Values that do not go together, and what the message must say.
const CONTRADICTIONS: [(&[&str], &str); 7] = [
    (&["leaderElection.enabled=false"], "leaderElection.enabled"),
    (&["credentialProviders.config.kind=CredentialProviderConfig"], "credentialProviders.volume"),
    (&["credentialProviders.volume.emptyDir.medium=Memory"], "credentialProviders.config"),
    (&["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"], "metrics.service.enabled"),
    (&["caBundle.configMap=a", "caBundle.secret=b"], "caBundle"),
    (&["serviceAccount.create=false"], "serviceAccount.name"),
    (
        &["metrics.prometheusRule.enabled=true", "metrics.prometheusRule.disabled={NoSuchAlert}"],
        "NoSuchAlert",
    ),
];

async fn wrong_values_are_refused(tools: Tools) -> Result<()> {
    let wrong = WRONG.iter().map(|(value, names)| (vec![*value], *names));
    let contradictions = CONTRADICTIONS.iter().map(|(values, names)| (values.to_vec(), *names));
    let chart = tools.chart();
    for (values, names) in wrong.chain(contradictions) {
        let set: Vec<_> = values.iter().map(|value| format!("--set={value}")).collect();
        let args: Vec<_> = ["template", "artifactconfig", &chart]
            .into_iter()
            .chain(set.iter().map(String::as_str))
            .collect();
        let output = tools.helm.run(&args).await?;
        ensure!(!output.success(), "{values:?} is not refused");
        ensure!(
            output.stderr.contains(names),
            "{values:?}: the message does not name {names}: {}",
            output.stderr
        );
    }
    Ok(())
}

/// Every object of the schema is closed, every value is in it and is described, and every property of it is a value.
async fn values_and_schema_are_in_step(tools: Tools) -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(tools.manifests.chart().join(name));
    let (text, schema) = (read("values.yaml")?, serde_json::from_str::<Value>(&read("values.schema.json")?)?);
    let values: Value = serde_saphyr::from_str(&text)?;
    let mut places = BTreeSet::new();
    walk("", &schema, &values, &mut places)?;
    let described: BTreeSet<_> = described(&text)?.into_iter().map(|value| value.path).collect();
    let missing: Vec<_> = described.difference(&places).collect();
    same("described values that no schema knows", missing, Vec::<&String>::new())
}

/// Properties that a parent chart sets.
const OF_PARENTS: [&str; 2] = ["global", "enabled"];

/// Notes each property; an object with properties must be closed, and have the same keys as the values.
fn walk(place: &str, schema: &Value, values: &Value, places: &mut BTreeSet<String>) -> Result<()> {
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    // An object that Kubernetes defines: the API server knows more of it than a schema here ever would. Or one that a
    // parent chart shares with charts of others.
    if schema["additionalProperties"] != false {
        places.extend(properties.keys().map(|key| format!("{place}.{key}")));
        return if place.is_empty() { Err(anyhow::anyhow!("the schema is open")) } else { Ok(()) };
    }
    let keys: BTreeSet<_> = values.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    for (key, schema) in properties {
        let path = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        let of_parent = place.is_empty() && OF_PARENTS.contains(&key.as_str());
        // A value of Kubernetes' own names may leave most of them out.
        let is_free = ["resources", "livenessProbe", "readinessProbe", "strategy"].contains(&place);
        ensure!(of_parent || is_free || keys.contains(key.as_str()), "{path} is in the schema and no value");
        places.insert(path.clone());
        walk(&path, schema, &values[key], places)?;
    }
    let unknown: Vec<_> = keys.iter().filter(|key| !properties.contains_key(**key)).collect();
    ensure!(unknown.is_empty(), "values below `{place}` that the schema does not know: {unknown:?}");
    Ok(())
}
