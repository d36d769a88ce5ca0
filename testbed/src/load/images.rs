//! Images and configs in numbers, pushed through the registry's API: a process for each would take minutes.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The artifact type of the configs.
pub(super) const ARTIFACT_TYPE: &str = "custom/config";

/// Name of the one file of each config.
pub(super) const FILE: &str = "app.json";

/// Bytes of it: a small config, as most are.
const SIZE: usize = 1024;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// The content of a config, different for each number.
pub(super) fn content(number: usize) -> String {
    let mut text = format!("{{\"number\": {number}, \"filler\": \"");
    let filler = SIZE.saturating_sub(text.len() + 3);
    text.extend(std::iter::repeat_n('x', filler));
    text.push_str("\"}\n");
    text
}

/// Pushes `repository:v1`, and a config that is attached to it.
pub(super) async fn push(http: &Client, host: &str, repository: &str, number: usize) -> Result<()> {
    let registry = Repository { http, base: format!("http://{host}/v2/{repository}") };
    let empty = registry.blob(EMPTY.0, EMPTY.1, json!({})).await?;
    let mut image = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [empty],
        // Makes each image another one.
        "annotations": {"number": number.to_string()},
    });
    let subject = registry.manifest(Some("v1"), &image).await?;
    let title = json!({"org.opencontainers.image.title": FILE});
    let layer = registry.blob("application/json", content(number).as_bytes(), title).await?;
    image["artifactType"] = json!(ARTIFACT_TYPE);
    image["layers"] = json!([layer]);
    image["subject"] = subject;
    image["annotations"] = json!({"org.opencontainers.image.created": "2026-01-01T00:00:00Z"});
    registry.manifest(None, &image).await?;
    Ok(())
}

struct Repository<'a> {
    http: &'a Client,
    base: String,
}

impl Repository<'_> {
    /// Uploads in one request; returns the descriptor.
    async fn blob(&self, media_type: &str, bytes: &[u8], annotations: Value) -> Result<Value> {
        let digest = digest(bytes);
        let url = format!("{}/blobs/uploads/?digest={digest}", self.base);
        self.send(Method::POST, &url, "application/octet-stream", bytes).await?;
        Ok(json!({
            "mediaType": media_type, "digest": digest, "size": bytes.len(), "annotations": annotations,
        }))
    }

    /// Uploads under a tag or its digest; returns the descriptor.
    async fn manifest(&self, tag: Option<&str>, manifest: &Value) -> Result<Value> {
        let bytes = serde_json::to_vec(manifest)?;
        let digest = digest(&bytes);
        let url = format!("{}/manifests/{}", self.base, tag.unwrap_or(&digest));
        self.send(Method::PUT, &url, MANIFEST, &bytes).await?;
        Ok(json!({"mediaType": MANIFEST, "digest": digest, "size": bytes.len()}))
    }

    async fn send(&self, method: Method, url: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let request = self.http.request(method, url).header("content-type", media_type).body(bytes.to_vec());
        let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status();
        ensure!(
            status == StatusCode::CREATED,
            "{url} answers {status}: {}",
            answer.text().await.unwrap_or_default()
        );
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_is_another_and_all_are_of_one_size() {
        assert_ne!(content(1), content(2));
        assert_eq!((content(1).len(), content(99_999).len()), (SIZE, SIZE));
        assert!(serde_json::from_str::<Value>(&content(7)).is_ok());
    }
}
