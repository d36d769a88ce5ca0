//! What is rendered from the chart and committed: `deploy/install.yaml`, and the values in the chart's README.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::helm::Helm;
use crate::manifests::{Manifests, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};

/// Lines of the README around the values.
const BEGIN: &str = "<!-- values: written by `make manifests` from values.yaml -->";
const END: &str = "<!-- /values -->";

/// Lines that Helm wants and nobody else does.
const HELM_ONLY: [&str; 3] = ["helm.sh/chart:", "app.kubernetes.io/managed-by: Helm", "# Source:"];

/// A committed file, and what it should be.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Path below the repository's root.
    pub path: &'static str,
    /// The whole file.
    pub text: String,
}

impl Manifests {
    /// Every rendered file as it should be.
    ///
    /// # Errors
    /// When Helm refuses the chart, a value is not documented, or the README has no place for the values.
    pub async fn rendered(&self, helm: &Helm) -> Result<Vec<Rendered>> {
        Ok(vec![
            Rendered { path: "deploy/install.yaml", text: self.install_yaml(helm).await? },
            Rendered { path: "charts/artifactconfig/README.md", text: self.readme()? },
        ])
    }

    async fn install_yaml(&self, helm: &Helm) -> Result<String> {
        let chart = self.chart();
        let chart = chart.to_str().context("the path of the chart is not UTF-8")?;
        let namespace = format!("--namespace={OPERATOR_NAMESPACE}");
        // kubectl does not know Helm's policies; its user decides whether to delete the definition.
        let args = ["template", OPERATOR_SERVICE_ACCOUNT, chart, &namespace, "--set=crds.keep=false"];
        let text = helm.run(&args).await?.ok("helm template")?.stdout;
        Ok(format!(
            "# Rendered from charts/artifactconfig with its default values. Do not edit: run `make manifests`.
apiVersion: v1
kind: Namespace
metadata:
  name: {OPERATOR_NAMESPACE}
  labels:
    app.kubernetes.io/name: artifactconfig
    pod-security.kubernetes.io/enforce: restricted
{}",
            without_helm(&text)
        ))
    }

    fn readme(&self) -> Result<String> {
        let read = |name: &str| {
            let path = self.chart().join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (readme, values) = (read("README.md")?, read("values.yaml")?);
        let place = || format!("README.md of the chart needs the lines {BEGIN} and {END}");
        let (before, rest) = readme.split_once(BEGIN).with_context(place)?;
        let (_, after) = rest.split_once(END).with_context(place)?;
        Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(&values)?))
    }
}

fn without_helm(text: &str) -> String {
    text.lines()
        .filter(|line| !HELM_ONLY.iter().any(|mark| line.trim_start().starts_with(mark)))
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .fold(String::new(), |text, line| text + line + "\n")
}

/// A value as its comment describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// Its path, as `--set` takes it.
    pub path: String,
    /// Words of the comment.
    pub words: String,
}

/// The described values, in their order.
///
/// A comment describes the key below it when it starts with `# --`; the keys below that one are part of its value.
///
/// # Errors
/// When a value is neither described nor part of one that is.
pub fn described(values: &str) -> Result<Vec<Described>> {
    let mut found: Vec<Described> = Vec::new();
    // Keys that lead to the current line, each with its indentation.
    let mut way: Vec<(usize, String)> = Vec::new();
    let mut words: Option<String> = None;
    let mut inside: Option<usize> = None;
    for line in values.lines() {
        let (depth, text) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(comment) = text.strip_prefix('#') {
            match (comment.strip_prefix(" -- "), &mut words) {
                (Some(first), _) => words = Some(first.trim().to_owned()),
                (None, Some(words)) => words.extend([" ", comment.trim()]),
                (None, None) => {}
            }
            continue;
        }
        if inside.is_some_and(|parent| depth > parent) {
            continue;
        }
        inside = None;
        let Some((key, value)) = text.split_once(':').filter(|(key, _)| is_key(key)) else {
            ensure!(text.is_empty(), "values.yaml: `{text}` is part of no described value");
            words = None;
            continue;
        };
        way.retain(|(indent, _)| *indent < depth);
        way.push((depth, key.to_owned()));
        let path = way.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
        match words.take() {
            Some(words) => {
                found.push(Described { path, words });
                inside = Some(depth);
            }
            None if value.trim().is_empty() => {}
            None => bail!("values.yaml: {path} needs a comment above it that starts with `# --`"),
        }
    }
    Ok(found)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn table(values: &str) -> Result<String> {
    let parsed: Value = serde_saphyr::from_str(values).context("values.yaml is not YAML")?;
    let rows = described(values)?.into_iter().map(|Described { path, words }| {
        let default = path.split('.').fold(&parsed, |value, key| &value[key]);
        format!("| `{path}` | `{default}` | {} |\n", words.replace('|', "\\|"))
    });
    Ok(rows
        .fold(String::from("| Value | Default | Meaning |\n| --- | --- | --- |\n"), |text, row| text + &row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "# A comment of the file.
image:
  # -- Where it is,
  # over two lines.
  repository: a/b

# -- A list. | With a bar.
list:
  - key: value
    # not a description
    more: [1]

deep:
  down:
    # -- Deep.
    here: null
";

    #[test]
    fn a_comment_describes_the_key_below_it() {
        assert_eq!(
            table(VALUES).unwrap().lines().skip(2).collect::<Vec<_>>(),
            [
                "| `image.repository` | `\"a/b\"` | Where it is, over two lines. |",
                "| `list` | `[{\"key\":\"value\",\"more\":[1]}]` | A list. \\| With a bar. |",
                "| `deep.down.here` | `null` | Deep. |",
            ]
        );
    }

    #[test]
    fn a_value_without_a_description_is_named() {
        let why = described("image:\n  tag: v1\n").unwrap_err().to_string();
        assert!(why.contains("image.tag"), "{why}");
    }

    #[test]
    fn what_only_helm_wants_is_left_out() {
        let text = "---\n# Source: a\nmetadata:\n  labels:\n    a: b\n    helm.sh/chart: x-1\n    app.kubernetes.io/managed-by: Helm  \n\n";
        assert_eq!(without_helm(text), "---\nmetadata:\n  labels:\n    a: b\n");
    }
}
