//! The operator's requests to the API server, from the API server's own audit log. Only this log shows a write that
//! changes nothing, and a request that RBAC refused.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::Scratch;
use testbed::manifests::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};

const LOG: &str = "audit.log";

/// The audit log of a cluster.
pub struct Audit {
    scratch: Scratch,
}

/// A request of the operator.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// `get`, `list`, `create` …
    pub verb: String,
    /// Resource and subresource.
    pub resource: String,
    /// Namespace, empty across all.
    pub namespace: String,
    /// Name, empty for collections.
    pub name: String,
    /// RBAC said no.
    pub refused: bool,
    /// Status code of the answer.
    pub status: i64,
    /// The token of the request (`JTI=…`), which distinguishes several operators.
    pub token: String,
}

impl ApiRequest {
    /// Whether it asked for a change.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// Writes the policy; returns the flags.
pub fn api_server_args(scratch: &Scratch) -> Result<Vec<String>> {
    let policy = scratch.join("policy.yaml");
    let text = format!(
        "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {{level: Metadata, users: ['system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}']}}
- {{level: None}}
"
    );
    std::fs::write(&policy, text).with_context(|| format!("cannot write {}", policy.display()))?;
    Ok(vec![
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", scratch.join(LOG).display()),
    ])
}

impl Audit {
    pub(super) fn new(scratch: Scratch) -> Self {
        Self { scratch }
    }

    fn path(&self) -> PathBuf {
        self.scratch.join(LOG)
    }

    /// A place in the log: what comes after it is new.
    pub fn mark(&self) -> Result<usize> {
        Ok(usize::try_from(std::fs::metadata(self.path()).context("there is no audit log")?.len())?)
    }

    /// The operator's requests about a namespace since a mark.
    pub fn since(&self, mark: usize, namespace: &str) -> Result<Vec<ApiRequest>> {
        Ok(self.read(mark)?.into_iter().filter(|request| request.namespace == namespace).collect())
    }

    /// All requests of operators since a mark.
    pub fn all_since(&self, mark: usize) -> Result<Vec<ApiRequest>> {
        self.read(mark)
    }

    /// Requests that RBAC refused to the operator and never granted: an API server that has just started refuses
    /// everything until it knows its roles.
    pub fn refused(&self) -> Result<Vec<String>> {
        let (refused, granted): (Vec<_>, Vec<_>) =
            self.read(0)?.into_iter().partition(|request| request.refused);
        let kinds = |requests: Vec<ApiRequest>| -> BTreeSet<String> {
            requests.into_iter().map(|request| format!("{} {}", request.verb, request.resource)).collect()
        };
        Ok(kinds(refused).difference(&kinds(granted)).cloned().collect())
    }

    fn read(&self, mark: usize) -> Result<Vec<ApiRequest>> {
        let bytes = std::fs::read(self.path()).context("there is no audit log")?;
        let text = String::from_utf8_lossy(bytes.get(mark..).unwrap_or_default()).into_owned();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| Ok(request(&serde_json::from_str(line)?))).collect()
    }
}

fn request(event: &Value) -> ApiRequest {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match object["subresource"].as_str() {
        Some(subresource) => format!("{}/{subresource}", text(&object["resource"])),
        None => text(&object["resource"]),
    };
    ApiRequest {
        verb: text(&event["verb"]),
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        refused: event["annotations"]["authorization.k8s.io/decision"] == "forbid",
        status: event["responseStatus"]["code"].as_i64().unwrap_or_default(),
        token: text(&event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0]),
    }
}
