//! Whether the API server binds pods: the admission policies of this version are installed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use decide::bind::{self, Offer};
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::Mutex;

use super::problem::{Problem, limited};

/// How long an answer counts: all resources of the cluster ask the same question.
const VALID: Duration = Duration::from_mins(5);

/// The answer of the API server, with its time.
#[derive(Clone, Default)]
pub(super) struct Policies(Arc<Mutex<Option<(Instant, Offer)>>>);

impl Policies {
    /// The answer of the last minutes, or a new one.
    pub(super) async fn offer(&self, client: &Client) -> Offer {
        // Held while it is asked, so that equal questions are asked once.
        let mut known = self.0.lock().await;
        if let Some((at, offer)) = &*known
            && at.elapsed() < VALID
        {
            return offer.clone();
        }
        let offer = ask(client).await;
        *known = Some((Instant::now(), offer.clone()));
        offer
    }
}

async fn ask(client: &Client) -> Offer {
    let version = bind::version();
    for policy in bind::policies() {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, name) = (text(&policy["kind"]), text(&policy["metadata"]["name"]));
        let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", &kind);
        let plural = plural(&kind);
        let api: Api<DynamicObject> =
            Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, &plural));
        match limited(api.get_metadata_opt(&name)).await {
            Ok(Some(object)) if object.labels().get(bind::VERSION) == Some(&version) => {}
            Ok(Some(_)) => return Offer::OtherVersion(format!("{kind} '{name}'")),
            Ok(None) => return missing(client, &kind, &name).await,
            // Without the right to read them it can still be told whether there could be any.
            Err(_) => {
                return match missing(client, &kind, &name).await {
                    Offer::NotServed => Offer::NotServed,
                    _ => Offer::Unknown,
                };
            }
        }
    }
    Offer::Yes
}

fn plural(kind: &str) -> String {
    let name = kind.to_lowercase();
    name.strip_suffix('y').map_or_else(|| format!("{name}s"), |stem| format!("{stem}ies"))
}

/// A kind that is not served and an object that is not there have the same answer.
async fn missing(client: &Client, kind: &str, name: &str) -> Offer {
    match limited(client.list_api_group_resources("admissionregistration.k8s.io/v1")).await {
        Ok(list) if list.resources.iter().any(|resource| resource.kind == kind) => {
            Offer::Missing(format!("{kind} '{name}'"))
        }
        Ok(_) | Err(Problem::NotFound) => Offer::NotServed,
        Err(_) => Offer::Unknown,
    }
}
