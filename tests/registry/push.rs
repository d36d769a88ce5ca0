//! Images and artifacts, pushed by hand: exact bytes, nothing that a tool would add or refuse.

use oci::{Algorithm, Digest, media_type};
use serde_json::{Value, json};

/// Content type of a config that is an image's.
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The media type of plain files with `oras attach`, although they are not a tar.
pub const FILE: &str = "application/vnd.oci.image.layer.v1.tar";

/// The empty JSON object.
pub const EMPTY: &[u8] = b"{}";

/// A manifest, as the registry has it.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub bytes: String,
}

impl Pushed {
    /// A manifest that nobody has pushed yet.
    pub fn new(manifest: &Value) -> Self {
        let text = |member: &str| manifest[member].as_str().map(str::to_owned);
        let bytes = manifest.to_string();
        Self {
            digest: Digest::sha256(bytes.as_bytes()),
            media_type: text("mediaType").unwrap_or_default(),
            artifact_type: text("artifactType"),
            bytes,
        }
    }

    /// The same by its SHA-512.
    pub fn sha512(manifest: &Value) -> Self {
        let pushed = Self::new(manifest);
        Self { digest: Digest::of(Algorithm::Sha512, pushed.bytes.as_bytes()), ..pushed }
    }

    /// How a list names it.
    pub fn descriptor(&self) -> Value {
        let Self { digest, media_type, artifact_type, bytes } = self;
        let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        if let Some(artifact_type) = artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        descriptor
    }

    /// How it names what it is attached to.
    pub fn as_subject(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// Describes bytes.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(bytes), "size": bytes.len()})
}

/// The same by SHA-512.
pub fn descriptor_sha512(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(Algorithm::Sha512, bytes), "size": bytes.len()})
}

/// A file as `oras attach` describes it.
pub fn file(title: &str, bytes: &[u8]) -> Value {
    let mut layer = descriptor(FILE, bytes);
    layer["annotations"] = json!({oci::TITLE: title});
    layer
}

/// What `oras attach` writes.
pub fn artifact(artifact_type: &str, subject: &Value, layers: &[Value]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor(media_type::EMPTY, EMPTY),
        "layers": layers,
        "subject": subject,
        "annotations": {oci::CREATED: "2026-01-02T03:04:05Z"},
    })
}

/// An image that differs from others by its seed.
pub fn image(seed: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(IMAGE_CONFIG, EMPTY),
        "layers": [],
        "annotations": {"seed": seed},
    })
}

/// A list of manifests.
pub fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests})
}

/// Pushes to one repository.
#[derive(Clone)]
pub struct Pusher {
    http: reqwest::Client,
    repository: String,
}

impl Pusher {
    /// `url` is that of the registry.
    pub fn new(url: &str, repository: &str) -> Self {
        Self::with(Self::client(), url, repository)
    }

    /// The same with a client certificate, PEM with its key.
    pub fn with_identity(url: &str, repository: &str, pem: &str) -> Self {
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        Self::with(Self::client().identity(identity), url, repository)
    }

    fn with(client: reqwest::ClientBuilder, url: &str, repository: &str) -> Self {
        Self { http: client.build().unwrap(), repository: format!("{url}/v2/{repository}") }
    }

    fn client() -> reqwest::ClientBuilder {
        // Whom to trust is what others test.
        reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true)
    }

    /// Pushes a blob; returns its digest.
    pub async fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let url = format!("{}/blobs/uploads/?digest={digest}", self.repository);
        let answer = self.http.post(url).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), 201, "the registry refuses a blob");
        digest
    }

    /// Pushes a manifest under its digest.
    pub async fn manifest(&self, manifest: &Value) -> Pushed {
        let pushed = Pushed::new(manifest);
        self.put(&pushed.digest.to_string(), &pushed).await;
        pushed
    }

    /// Pushes a manifest under a tag.
    pub async fn tag(&self, tag: &str, manifest: &Value) -> Pushed {
        let pushed = Pushed::new(manifest);
        self.put(tag, &pushed).await;
        pushed
    }

    /// Pushes a manifest under a tag or a digest.
    pub async fn put(&self, reference: &str, pushed: &Pushed) {
        let url = format!("{}/manifests/{reference}", self.repository);
        let request =
            self.http.put(url).header("content-type", &pushed.media_type).body(pushed.bytes.clone());
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert_eq!(status, 201, "{}", answer.text().await.unwrap());
    }

    /// Files attached to a manifest.
    pub async fn attach(&self, artifact_type: &str, subject: &Value, files: &[(&str, &[u8])]) -> Pushed {
        let mut layers = Vec::new();
        for (title, bytes) in files {
            self.blob(bytes).await;
            layers.push(file(title, bytes));
        }
        self.manifest(&artifact(artifact_type, subject, &layers)).await
    }
}
