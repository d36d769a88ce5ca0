//! `artifactconfig get`.

use api::ArtifactConfig;
use decide::history;
use jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::page::next_page;

use super::applied;
use super::kubectl_flags::{ClusterArgs, Connection};
use super::output::{Format, print, say};
use super::resource::{self, explained};
use super::table::{Table, age, short};
use super::verdict;

/// Show which config is applied, for which image, since when.
#[derive(clap::Args)]
pub struct Args {
    /// Name of an `ArtifactConfig` [default: all].
    name: Option<String>,

    /// Show the resources of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,

    /// Form of the output [default: a table].
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Forms other than the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// The table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names only.
    Name,
}

impl Output {
    /// The document form; `None` for a table or names.
    #[must_use]
    pub const fn format(self) -> Option<Format> {
        match self {
            Self::Json => Some(Format::Json),
            Self::Yaml => Some(Format::Yaml),
            Self::Wide | Self::Name => None,
        }
    }
}

/// Objects per page.
const PAGE: u32 = 500;

/// Prints the resources.
///
/// # Errors
/// If the named resource does not exist, or the API server does not answer.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let objects = read(&args, &connection).await?;
    if let Some(format) = args.output.and_then(Output::format) {
        let values: Vec<Value> = objects.iter().map(plain).collect();
        let document = match (args.name.is_some(), values) {
            (true, mut one) => one.pop().unwrap_or_default(),
            (false, items) => json!({"apiVersion": "v1", "kind": "List", "items": items}),
        };
        return print(&format.text(&document)?);
    }
    if args.output == Some(Output::Name) {
        let names = objects.iter().map(|object| resource::qualified(&object.name_any()) + "\n");
        return print(&names.collect::<String>());
    }
    if objects.is_empty() {
        let place = if args.all_namespaces { "" } else { &format!(" in namespace {}", connection.namespace) };
        say!("No ArtifactConfigs found{place}.");
        return Ok(());
    }
    let wide = args.output == Some(Output::Wide);
    print(&table(&objects, args.all_namespaces, wide, Timestamp::now()).to_string())
}

async fn read(args: &Args, connection: &Connection) -> anyhow::Result<Vec<DynamicObject>> {
    let resource = ApiResource::erase::<ArtifactConfig>(&());
    let client = connection.client.clone();
    let api: Api<DynamicObject> = if args.all_namespaces {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &connection.namespace, &resource)
    };
    if let Some(name) = &args.name {
        return match api.get_opt(name).await.map_err(explained)? {
            Some(object) => Ok(vec![object]),
            None => Err(resource::missing(connection, name).await),
        };
    }
    let mut objects = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await.map_err(explained)?;
        objects.extend(list.items);
        match next_page(&page, &list.metadata) {
            Some(next) => page = next,
            None => return Ok(objects),
        }
    }
}

/// The object as kubectl prints it: without `managedFields`.
fn plain(object: &DynamicObject) -> Value {
    let mut object = object.clone();
    let resource = ApiResource::erase::<ArtifactConfig>(&());
    object.metadata.managed_fields = None;
    object.types.get_or_insert_with(|| kube::core::TypeMeta {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
    });
    serde_json::to_value(object).unwrap_or_default()
}

fn table(objects: &[DynamicObject], namespaces: bool, wide: bool, now: Timestamp) -> Table {
    let mut header = vec!["NAMESPACE", "NAME", "IMAGE", "CONFIG", "REVISION", "SINCE", "READY", "REASON"];
    if wide {
        header.extend(["WORKLOAD", "TARGET", "IMAGE DIGEST", "NEXT", "MESSAGE"]);
    }
    let skipped = usize::from(!namespaces);
    let mut table = Table::new(&header[skipped..]);
    for object in objects {
        let read: Result<ArtifactConfig, _> = object.clone().try_parse();
        let mut cells = vec![object.namespace().unwrap_or_default(), object.name_any()];
        match read {
            Ok(config) => cells.extend(row(&config, wide, now)),
            // One that this version cannot read must not hide the others.
            Err(error) => {
                cells.extend(
                    ["-", "-", "-", "-", "Unknown", "Unreadable", "-", "-", "-", "-"].map(str::to_owned),
                );
                cells.truncate(header.len() - usize::from(wide));
                cells.extend(wide.then(|| error.to_string()));
            }
        }
        table.row(cells.into_iter().skip(skipped));
    }
    table
}

fn row(config: &ArtifactConfig, wide: bool, now: Timestamp) -> Vec<String> {
    let status = config.status.clone().unwrap_or_default();
    let current = history::current(&status.history);
    let ready = verdict::ready(config);
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut cells = vec![
        applied::image(config),
        or_none(status.artifact.map(|artifact| short(&artifact.digest))),
        or_none(current.map(|entry| entry.revision.to_string())),
        or_none(current.map(|entry| age(&entry.applied_at, now))),
        ready.map_or("Unknown", |ready| &ready.status).to_owned(),
        or_none(ready.map(|ready| ready.reason.clone())),
    ];
    if wide {
        let workload = config.spec.workload_ref.as_ref();
        cells.extend([
            or_none(workload.map(|workload| format!("{}/{}", workload.kind, workload.name))),
            or_none(status.target.map(|target| target.name)),
            or_none(status.image.map(|image| image.digest)),
            or_none(status.latest.map(|latest| short(&latest))),
            or_none(ready.map(|ready| ready.message.clone())),
        ]);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, rest: &Value) -> DynamicObject {
        let mut object = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"image": "r.example/web:v1", "artifactType": "custom/config"},
        });
        for (key, value) in rest.as_object().unwrap() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn one_row_for_each_in_any_state() {
        let status = json!({
            "observedGeneration": 1,
            "image": {"reference": "r.example/web:v1", "digest": "sha256:1111111111111111"},
            "artifact": {"digest": "sha256:aaaaaaaaaaaaaaaa", "size": 2},
            "target": {"name": "web-config", "hash": "sha256:0"},
            "latest": "sha256:bbbbbbbbbbbbbbbb",
            "history": [{
                "revision": 4, "artifact": "sha256:aaaaaaaaaaaaaaaa", "image": "sha256:1111111111111111",
                "appliedAt": "2026-01-01T00:00:00Z", "outcome": "Applied"
            }],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "RolledBack", "message": "it is there",
                "lastTransitionTime": "2026-01-01T00:00:00Z"
            }]
        });
        let objects = [
            object("web", &json!({"status": status})),
            object("new", &json!({"status": {"observedGeneration": -1}})),
            object(
                "follows",
                &json!({"spec": {
                    "workloadRef": {"kind": "Deployment", "name": "web"}, "artifactType": "custom/config"
                }}),
            ),
            object("unreadable", &json!({"spec": {"image": 5}})),
        ];
        let now = "2026-01-01T00:05:30Z".parse().unwrap();
        insta::assert_snapshot!(table(&objects[..3], false, false, now));
        insta::assert_snapshot!(table(&objects, true, true, now));
    }
}
