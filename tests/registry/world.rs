//! The scene that most tests play in: an image in the embedded registry with a config attached, and a client.

use std::sync::{Arc, Mutex};

use artifactconfig::unanswered;
use artifactconfig::wanted::by_rules;
use decide::Failure;
use decide::files::FileRules;
use oci::{Digest, ImageRef, Platform, RepositoryRef, media_type};
use registry::{Access, Artifact, Freshness, Keyring, Listing, OciRegistry, Query, Registry as _, Settings};
use serde_json::{Value, json};
use testbed::registry::{EmbeddedRegistry, Fault, RecordedRequest};

use crate::logs;
use crate::push::{self, Pushed, Pusher};

/// Repository of the image.
pub const REPOSITORY: &str = "shop/web";

/// The artifact type that is asked for.
pub const CONFIG: &str = "custom/config";

/// Name and content of the attached file.
pub const FILE: (&str, &str) = ("config.json", r#"{"greeting":"hello"}"#);

/// A text for `Accept` and `Content-Type`.
pub const INDEX: &str = media_type::OCI_INDEX;

/// `shop/web:v1` with two artifacts, one of them of the type [`CONFIG`], listed by the API and under the referrers tag.
pub struct World {
    pub registry: EmbeddedRegistry,
    /// Another host, empty. What is redirected there gets 404.
    pub elsewhere: EmbeddedRegistry,
    pub client: OciRegistry,
    pub access: Access,
    pub pusher: Pusher,
    pub image: Pushed,
    pub config: Pushed,
    pub other: Pushed,
}

/// Operation and status of each request.
pub type Seen = Arc<Mutex<Vec<(&'static str, Option<u16>)>>>;

/// Files with their content as text.
pub type Files = Vec<(String, String)>;

/// A client with these settings.
pub fn client(settings: Settings) -> OciRegistry {
    prepare();
    OciRegistry::new(settings, Arc::new(|_| {})).unwrap()
}

/// What every test needs before its first connection.
pub fn prepare() {
    testbed::install_crypto_provider();
    logs::keep();
}

/// Access over plain HTTP.
pub fn access(keyring: Keyring) -> Access {
    Access::new(keyring).with_plain_http(true)
}

/// A keyring with one password.
pub fn keyring(registry: &str, username: &str, password: &str) -> Keyring {
    let mut keyring = Keyring::default();
    let document = json!({"auths": {registry: {"username": username, "password": password}}});
    keyring.add_docker_config_json(document.to_string().as_bytes()).unwrap();
    keyring
}

#[allow(clippy::unused_self, reason = "a place is one of the scene, whatever is needed of it to name it")]
impl World {
    pub async fn new() -> Self {
        prepare();
        let registry = EmbeddedRegistry::start().await.unwrap();
        let pusher = Pusher::new(&format!("http://{}", registry.host()), REPOSITORY);
        Self::of(registry, pusher, access(Keyring::default())).await
    }

    /// The same in a registry of another kind.
    pub async fn of(registry: EmbeddedRegistry, pusher: Pusher, access: Access) -> Self {
        pusher.blob(push::EMPTY).await;
        let image = pusher.tag("v1", &push::image("world")).await;
        let subject = image.as_subject();
        let config = pusher.attach(CONFIG, &subject, &[(FILE.0, FILE.1.as_bytes())]).await;
        let other = pusher.attach("other/type", &subject, &[("other.txt", b"other")]).await;
        let listed = push::index(&[config.descriptor(), other.descriptor()]);
        pusher.tag(&image.digest.referrers_tag(), &listed).await;
        registry.clear_requests();
        let elsewhere = EmbeddedRegistry::start().await.unwrap();
        let client = client(Settings::default());
        Self { registry, elsewhere, client, access, pusher, image, config, other }
    }

    /// The image by its tag.
    pub fn tagged(&self) -> ImageRef {
        format!("{}/{REPOSITORY}:v1", self.registry.host()).parse().unwrap()
    }

    /// The image by its digest.
    pub fn pinned(&self) -> ImageRef {
        format!("{}/{REPOSITORY}@{}", self.registry.host(), self.image.digest).parse().unwrap()
    }

    pub fn repository(&self) -> RepositoryRef {
        self.tagged().repository()
    }

    /// The question of an operator about the image.
    pub fn question(&self) -> Question<'_> {
        Question::new(&self.client, &self.access, self.tagged())
    }

    pub async fn list(&self) -> Result<Listing, Failure> {
        self.question().list().await
    }

    pub async fn files(&self) -> Result<Files, Failure> {
        self.question().files().await
    }

    /// How often a request with this method and a path that contains this was made.
    pub fn asked(&self, method: &str, part: &str) -> usize {
        self.requests(method, part).len()
    }

    pub fn requests(&self, method: &str, part: &str) -> Vec<RecordedRequest> {
        let matches = |request: &RecordedRequest| request.method == method && request.path.contains(part);
        self.registry.requests().into_iter().filter(matches).collect()
    }

    /// Digest of the attached file.
    pub fn blob(&self) -> Digest {
        Digest::sha256(FILE.1.as_bytes())
    }

    // Where faults are put.

    pub fn on_image(&self) -> Fault {
        Fault::on("/manifests/v1")
    }

    pub fn on_api(&self) -> Fault {
        Fault::on("/referrers/")
    }

    pub fn on_tag(&self) -> Fault {
        Fault::on(&format!("/manifests/{}", self.image.digest.referrers_tag()))
    }

    /// Both.
    pub fn on_lists(&self) -> Fault {
        let tag = self.image.digest.referrers_tag();
        Fault::when(move |request| {
            let path = request.uri.path();
            path.contains("/referrers/") || path.ends_with(&tag)
        })
    }

    pub fn on_config(&self) -> Fault {
        Fault::on(&format!("/manifests/{}", self.config.digest))
    }

    pub fn on_blob(&self) -> Fault {
        Fault::on(&format!("/blobs/{}", self.blob()))
    }

    /// The API answers with this list, and the tag, which is asked on the way to "nothing", knows no more.
    pub fn api_lists(&self, manifests: &[Value]) -> Fault {
        self.on_lists().respond(200, &[("content-type", INDEX)], push::index(manifests).to_string())
    }

    /// The registry has no API, and the tag holds this list.
    pub fn tag_lists(&self, manifests: &[Value]) -> Vec<Fault> {
        let listed = push::index(manifests).to_string();
        vec![self.on_api().status(404), self.on_tag().respond(200, &[("content-type", INDEX)], listed)]
    }

    /// A manifest that the registry would not take.
    pub fn serves(&self, manifest: &Pushed) -> Fault {
        let path = format!("/v2/{REPOSITORY}/manifests/{}", manifest.digest);
        let headers = [("content-type", manifest.media_type.as_str())];
        Fault::exactly(&path).respond(200, &headers, manifest.bytes.clone())
    }

    /// Blobs that the registry has under no digest that it would take.
    pub fn serves_blob(&self, digest: &Value, bytes: &[u8]) -> Fault {
        let path = format!("/v2/{REPOSITORY}/blobs/{}", digest.as_str().unwrap());
        Fault::exactly(&path).respond(200, &[], bytes.to_vec())
    }

    /// This artifact is attached to the image, and nothing else is.
    pub fn only(&self, manifest: &Value) -> Vec<Fault> {
        let pushed = Pushed::new(manifest);
        vec![self.api_lists(&[pushed.descriptor()]), self.serves(&pushed)]
    }

    /// An artifact like the one that is attached, with other layers.
    pub fn artifact(&self, layers: &[Value]) -> Value {
        push::artifact(CONFIG, &self.image.as_subject(), layers)
    }
}

/// The requests of an operator about an image, which can be repeated.
#[derive(Clone)]
pub struct Question<'a> {
    pub client: &'a OciRegistry,
    pub access: &'a Access,
    pub image: ImageRef,
    /// The repository of the attached artifacts, if it is another one.
    pub referrers: Option<RepositoryRef>,
    pub artifact_type: Option<&'a str>,
    pub platform: Option<Platform>,
    pub freshness: Freshness,
}

impl<'a> Question<'a> {
    pub fn new(client: &'a OciRegistry, access: &'a Access, image: ImageRef) -> Self {
        let (referrers, platform) = (None, None);
        Self {
            client,
            access,
            image,
            referrers,
            artifact_type: Some(CONFIG),
            platform,
            freshness: Freshness::Now,
        }
    }

    fn repository(&self) -> RepositoryRef {
        self.referrers.clone().unwrap_or_else(|| self.image.repository())
    }

    /// What is attached.
    pub async fn list(&self) -> Result<Listing, Failure> {
        let subject = self
            .client
            .resolve(self.access, &self.image, self.freshness)
            .await
            .map_err(unanswered::failure)?;
        let query = Query {
            repository: &self.repository(),
            artifact_type: self.artifact_type,
            platform: self.platform.as_ref(),
            freshness: self.freshness,
        };
        self.client.referrers(self.access, &subject, query).await.map_err(unanswered::failure)
    }

    /// The files of one artifact.
    pub async fn pull(&self, artifact: &Artifact) -> Result<Files, Failure> {
        let pulled = self
            .client
            .pull(self.access, &self.repository(), artifact, by_rules(&FileRules::default()))
            .await
            .map_err(unanswered::failure)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(pulled.files.iter().map(|file| (file.path.clone(), text(&file.bytes))).collect())
    }

    /// The files of everything that is attached.
    pub async fn files(&self) -> Result<Files, Failure> {
        let mut files = Files::new();
        for artifact in &self.list().await?.artifacts {
            files.extend(self.pull(artifact).await?);
        }
        Ok(files)
    }
}
