//! What a chart renders, read.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The objects of a YAML text.
pub fn objects(yaml: &str) -> Result<Vec<Value>> {
    let objects: Vec<Option<Value>> = serde_saphyr::from_multiple(yaml).context("this is not YAML")?;
    Ok(objects.into_iter().flatten().filter(Value::is_object).collect())
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The only object of a kind.
pub fn the<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    match of_kind(objects, kind)[..] {
        [object] => Ok(object),
        ref found => anyhow::bail!("there are {} objects of kind {kind}, not one", found.len()),
    }
}

/// The operator's container.
pub fn container(objects: &[Value]) -> Result<&Value> {
    Ok(&the(objects, "Deployment")?["spec"]["template"]["spec"]["containers"][0])
}

/// Its arguments, without the subcommand.
pub fn args(objects: &[Value]) -> Result<Vec<String>> {
    let args = container(objects)?["args"].as_array().context("no args")?;
    let args = args.iter().map(|arg| arg.as_str().map(str::to_owned).context("an argument is not text"));
    Ok(args.collect::<Result<Vec<_>>>()?.into_iter().skip(1).collect())
}
