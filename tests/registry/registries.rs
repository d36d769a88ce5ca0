//! The good cases: artifacts of the real `oras` are found in every kind of registry, over the Referrers API and under
//! the referrers tag, with a password, with tokens, and in copies.

use std::sync::{Arc, Mutex};

use api::Reason::{AuthenticationFailed, RegistryUnavailable};
use decide::Failure;
use oci::ImageRef;
use registry::{Access, Keyring, OciRegistry, Settings};
use testbed::Oras;
use testbed::registry::{EmbeddedRegistry, ProcessRegistry, Registry, RegistryKind, RegistryOptions};
use testbed::tools::{Tool, Tools};

use crate::push::{self, Pushed, Pusher};
use crate::world::{CONFIG, Files, Question, Seen, access, keyring, prepare};

/// A registry, and how it is set up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Embedded,
    Olareg,
    OlaregWithoutApi,
    OlaregBasic,
    OlaregToken,
    Distribution,
    DistributionBasic,
    Crane,
}
use Kind::{
    Crane, Distribution, DistributionBasic, Embedded, Olareg, OlaregBasic, OlaregToken, OlaregWithoutApi,
};

const USER: &str = "robot";
const PASSWORD: &str = "pass:word";

/// A registry, the real `oras`, and a client.
struct Bench {
    registry: Registry,
    oras: Oras,
    client: OciRegistry,
    access: Access,
    /// Operation and status of each request.
    seen: Seen,
}

impl Kind {
    async fn start(self) -> Bench {
        prepare();
        let credentials = Some((USER.to_owned(), PASSWORD.to_owned()));
        let mut options = match self {
            Embedded => None,
            Olareg | OlaregWithoutApi | OlaregBasic | OlaregToken => {
                Some(RegistryOptions::new(RegistryKind::Olareg))
            }
            Distribution | DistributionBasic => Some(RegistryOptions::new(RegistryKind::Distribution)),
            Crane => Some(RegistryOptions::new(RegistryKind::Crane)),
        };
        if let Some(options) = &mut options {
            options.referrers_api &= self != OlaregWithoutApi;
            options.basic_auth =
                credentials.clone().filter(|_| matches!(self, OlaregBasic | DistributionBasic));
            options.token_auth = credentials.filter(|_| self == OlaregToken);
        }
        Bench::of(options).await
    }
}

impl Bench {
    async fn of(options: Option<RegistryOptions>) -> Self {
        prepare();
        let guarded = options
            .as_ref()
            .is_some_and(|options| options.basic_auth.is_some() || options.token_auth.is_some());
        let registry: Registry = match options {
            None => EmbeddedRegistry::start().await.unwrap().into(),
            Some(options) => ProcessRegistry::start(options).await.unwrap().into(),
        };
        let oras = Oras::locate().await.unwrap();
        let mut keys = Keyring::default();
        if guarded {
            oras.login(&registry.host(), USER, PASSWORD).await.unwrap();
            keys = keyring(&registry.host(), USER, PASSWORD);
        }
        let seen = Seen::default();
        let sink = Arc::clone(&seen);
        let observer = move |seen: registry::Observation<'_>| {
            if let registry::Observation::Requested(record) = seen {
                sink.lock().unwrap().push((record.operation, record.status));
            }
        };
        let client = OciRegistry::new(Settings::default(), Arc::new(observer)).unwrap();
        Self { registry, oras, client, access: access(keys), seen }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    fn question(&self, image: &str) -> Question<'_> {
        Question::new(&self.client, &self.access, image.parse::<ImageRef>().unwrap())
    }

    async fn files(&self, image: &str) -> Result<Files, Failure> {
        self.question(image).files().await
    }

    /// The same, in the order of their names.
    async fn sorted(&self, image: &str) -> Vec<(String, String)> {
        let mut files = self.files(image).await.unwrap();
        files.sort();
        files
    }

    /// `image` with these files attached, and these flags.
    async fn attached(&self, image: &str, files: &[(&str, &[u8])], paths: &[&str], flags: &[&str]) -> String {
        let image = self.name(image);
        self.oras.push_image(&image).await.unwrap();
        self.oras.attach_with(&image, CONFIG, files, paths, flags).await.unwrap();
        image
    }

    async fn crane_copy(&self, from: &str, to: &str) {
        let tools = Tools::locate().unwrap().ensure(&[Tool::Crane]).await.unwrap();
        let mut command = tools.command(Tool::Crane, ["copy", "--insecure", from, to]).unwrap();
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn oras(&self, args: &[&str]) {
        self.oras.run(args, std::path::Path::new("/")).await.unwrap();
    }
}

fn files(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

/// 3 and 5, as the real ones do it.
#[rstest::rstest]
#[case::embedded(Embedded, 200)]
#[case::olareg(Olareg, 200)]
#[case::olareg_without_api(OlaregWithoutApi, 405)]
#[case::distribution(Distribution, 404)]
#[case::crane(Crane, 404)]
#[tokio::test]
async fn a05_which_registries_have_the_api(#[case] kind: Kind, #[case] status: u16) {
    let bench = kind.start().await;
    let image = bench.attached("api:v1", &[("a", b"1")], &["a"], &[]).await;
    assert_eq!(bench.sorted(&image).await, files(&[("a", "1")]));
    let seen = bench.seen.lock().unwrap().clone();
    assert_eq!(
        seen.iter().find(|(operation, _)| *operation == "referrers").unwrap().1,
        Some(status),
        "{seen:?}"
    );
}

#[rstest::rstest]
#[tokio::test]
async fn a13_what_oras_attaches(
    #[values(
        Embedded,
        Olareg,
        OlaregWithoutApi,
        OlaregBasic,
        OlaregToken,
        Distribution,
        DistributionBasic,
        Crane
    )]
    kind: Kind,
) {
    let bench = kind.start().await;
    let one = bench.attached("one:v1", &[("config.json", b"{}")], &["config.json"], &[]).await;
    assert_eq!(bench.sorted(&one).await, files(&[("config.json", "{}")]));

    let several: [(&str, &[u8]); 3] = [("a.ini", b"a=1"), ("conf/b.ini", b"b=2"), ("same", b"a=1")];
    let image = bench.attached("several:v1", &several, &["a.ini", "conf/b.ini", "same"], &[]).await;
    assert_eq!(
        bench.sorted(&image).await,
        files(&[("a.ini", "a=1"), ("conf/b.ini", "b=2"), ("same", "a=1")])
    );

    let directory: [(&str, &[u8]); 2] = [("conf.d/a.ini", b"a=1"), ("conf.d/deep/b.ini", b"b=2")];
    let image = bench.attached("directory:v1", &directory, &["conf.d"], &[]).await;
    assert_eq!(bench.sorted(&image).await, files(&[("conf.d/a.ini", "a=1"), ("conf.d/deep/b.ini", "b=2")]));

    let flags = ["--annotation", "team=shop", "--annotation", "org.opencontainers.image.version=1.2.3"];
    let image = bench.attached("annotations:v1", &[("a", b"1")], &["a"], &flags).await;
    let listing = bench.question(&image).list().await.unwrap();
    let annotation = |key: &str| listing.artifacts[0].annotations.get(key);
    assert_eq!(
        (annotation("team"), annotation("org.opencontainers.image.version")),
        (Some("shop"), Some("1.2.3"))
    );
    assert!(listing.artifacts[0].created().is_some(), "oras dates what it attaches");

    let image = bench.attached("bare:v1", &[], &[], &["--annotation", "team=shop"]).await;
    assert_eq!(bench.question(&image).list().await.unwrap().artifacts.len(), 1);
    assert_eq!(bench.sorted(&image).await, files(&[]), "annotations alone are no files");

    let image = bench.name("several:v1");
    bench.oras.attach(&image, "other/type", &[("other", b"x")], &[]).await.unwrap();
    assert_eq!(bench.question(&image).list().await.unwrap().artifacts.len(), 1, "other types do not count");
}

#[rstest::rstest]
#[tokio::test]
async fn a16_what_oras_attaches_to_a_platform(
    #[values(Embedded, Olareg, OlaregWithoutApi, Distribution, Crane)] kind: Kind,
) {
    let bench = kind.start().await;
    for architecture in ["amd64", "arm64"] {
        let image = bench.name(&format!("multi:{architecture}"));
        bench.oras.push_image_for(&image, "multi", architecture).await.unwrap();
    }
    let image = bench.name("multi:v1");
    bench.oras(&["manifest", "index", "create", "--plain-http", &image, "amd64", "arm64"]).await;
    let attach = async |text: &str, flags: &[&str]| {
        bench
            .oras
            .attach_with(&image, CONFIG, &[("config", text.as_bytes())], &["config"], flags)
            .await
            .unwrap();
    };
    attach("arm64", &["--platform", "linux/arm64"]).await;
    let mut question = bench.question(&image);
    assert_eq!(question.files().await.unwrap(), []);
    question.platform = Some("linux/arm64".parse().unwrap());
    assert_eq!(question.files().await.unwrap(), files(&[("config", "arm64")]));
    question.platform = Some("linux/amd64".parse().unwrap());
    assert_eq!(question.files().await.unwrap(), []);
    attach("index", &[]).await;
    assert_eq!(question.files().await.unwrap(), files(&[("config", "index")]));
}

#[rstest::rstest]
#[tokio::test]
async fn c10_copies_with_and_without_what_is_attached(
    #[values(Embedded, Olareg, OlaregWithoutApi, Distribution, Crane)] kind: Kind,
) {
    let bench = kind.start().await;
    let image = bench.attached("origin/web:v1", &[("a", b"1")], &["a"], &[]).await;
    let whole = bench.name("whole/web:v1");
    let mut args = vec!["cp", "-r", "--from-plain-http", "--to-plain-http", &image, &whole];
    if kind == OlaregWithoutApi {
        // oras itself takes 405 for a failure, unless it is told to look under the tag.
        args.extend([
            "--from-distribution-spec",
            "v1.1-referrers-tag",
            "--to-distribution-spec",
            "v1.1-referrers-tag",
        ]);
    }
    bench.oras(&args).await;
    assert_eq!(bench.sorted(&whole).await, files(&[("a", "1")]));

    let by_oras = bench.name("oras/web:v1");
    bench.oras(&["cp", "--from-plain-http", "--to-plain-http", &image, &by_oras]).await;
    let by_crane = bench.name("crane/web:v1");
    bench.crane_copy(&image, &by_crane).await;
    for copy in [by_oras, by_crane] {
        let mut question = bench.question(&copy);
        assert_eq!(
            question.files().await.unwrap(),
            [],
            "{copy}: nothing is attached to the copy, and that is no error"
        );
        question.referrers = Some(bench.name("origin/web").parse().unwrap());
        assert_eq!(question.files().await.unwrap(), files(&[("a", "1")]), "{copy}");
    }
}

/// A mirror in a registry of another kind; only the mirror has the artifacts.
#[tokio::test]
async fn c10_a_mirror_in_another_registry() {
    let (public, mirror) = (Embedded.start().await, Distribution.start().await);
    let image = public.name("web:v1");
    public.oras.push_image(&image).await.unwrap();
    let copy = mirror.name("mirror/web:v1");
    public.crane_copy(&image, &copy).await;
    mirror.oras.attach(&copy, CONFIG, &[("a", b"1")], &[]).await.unwrap();
    let mut question = public.question(&image);
    assert_eq!(question.files().await.unwrap(), []);
    question.referrers = Some(mirror.name("mirror/web").parse().unwrap());
    assert_eq!(question.files().await.unwrap(), files(&[("a", "1")]));
}

#[rstest::rstest]
#[tokio::test]
async fn a17_credentials_of_real_registries(
    #[values(OlaregBasic, OlaregToken, DistributionBasic)] kind: Kind,
) {
    let bench = kind.start().await;
    let image = bench.attached("web:v1", &[("a", b"1")], &["a"], &[]).await;
    assert_eq!(bench.sorted(&image).await, files(&[("a", "1")]));
    for keys in [
        Keyring::default(),
        keyring(&bench.registry.host(), USER, "wrong"),
        keyring("r.example", USER, PASSWORD),
    ] {
        let access = access(keys);
        let question = Question { access: &access, ..bench.question(&image) };
        let failure = question.files().await.unwrap_err();
        assert_eq!(failure.reason, AuthenticationFailed, "{failure:?}");
        assert!(failure.message.contains(&bench.registry.host()), "{failure:?}");
    }
}

/// Deleting an artifact by digest leaves its entry under the referrers tag.
#[rstest::rstest]
#[case::olareg(Olareg, "")]
#[case::olareg_without_api(OlaregWithoutApi, "gone from the registry")]
#[case::distribution(Distribution, "gone from the registry")]
#[tokio::test]
async fn a10_what_was_deleted_is_not_attached_any_more(#[case] kind: Kind, #[case] note: &str) {
    let bench = kind.start().await;
    let image = bench.attached("web:v1", &[("a", b"1")], &["a"], &[]).await;
    let digest = bench.question(&image).list().await.unwrap().artifacts[0].digest.clone();
    let url = format!("http://{}/v2/web/manifests/{digest}", bench.registry.host());
    let deleted = reqwest::Client::builder().no_proxy().build().unwrap().delete(url).send().await.unwrap();
    assert_eq!(deleted.status(), 202);
    // The first client keeps the manifest in memory by its digest; another client sees the present state.
    let other = crate::world::client(Settings::default());
    let listing = Question { client: &other, ..bench.question(&image) }.list().await.unwrap();
    assert_eq!(listing.artifacts, []);
    assert!(listing.notes.join(" ").contains(note), "{:?}", listing.notes);
}

/// olareg keeps manifests by other digests than sha256, and others do not.
#[rstest::rstest]
#[tokio::test]
async fn a07_an_image_by_its_sha512_in_a_real_registry(#[values(Olareg, OlaregWithoutApi)] kind: Kind) {
    let bench = kind.start().await;
    let pusher = Pusher::new(&format!("http://{}", bench.registry.host()), "web");
    pusher.blob(push::EMPTY).await;
    let image = Pushed::sha512(&push::image("sha512"));
    pusher.put(&image.digest.to_string(), &image).await;
    let reference = bench.name(&format!("web@{}", image.digest));
    assert_eq!(bench.files(&reference).await.unwrap(), []);
    pusher.blob(b"1").await;
    let artifact = push::artifact(CONFIG, &image.as_subject(), &[push::file("a", b"1")]);
    let artifact = pusher.manifest(&artifact).await;
    if kind == OlaregWithoutApi {
        pusher.tag(&image.digest.referrers_tag(), &push::index(&[artifact.descriptor()])).await;
    }
    assert_eq!(bench.files(&reference).await.unwrap(), files(&[("a", "1")]));
}

/// olareg answers 429 beyond its rate; a client with a lower limit never sees one.
#[tokio::test]
async fn a21_a_rate_limit_is_kept_to() {
    let mut options = RegistryOptions::new(RegistryKind::Olareg);
    options.rate_limit = Some(20);
    let bench = Bench::of(Some(options)).await;
    let image = bench.attached("web:v1", &[("a", b"1")], &["a"], &[]).await;
    let rate = registry::Rate { concurrency: 16, per_second: Some(15) };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let observer = move |seen: registry::Observation<'_>| {
        if let registry::Observation::Requested(record) = seen {
            sink.lock().unwrap().push(record.status);
        }
    };
    let client = OciRegistry::new(Settings { rate, ..Settings::default() }, Arc::new(observer)).unwrap();
    for _ in 0..10 {
        let question = Question { client: &client, ..bench.question(&image) };
        assert_eq!(question.files().await.unwrap(), files(&[("a", "1")]));
    }
    let limited = seen.lock().unwrap().iter().filter(|status| **status == Some(429)).count();
    assert!(limited <= 1, "only what oras used up before may be missing: {limited}");
}

#[rstest::rstest]
#[tokio::test]
async fn a06_a_registry_that_is_down(#[values(Embedded, Olareg, Distribution)] kind: Kind) {
    let bench = kind.start().await;
    let image = bench.attached("web:v1", &[("a", b"1")], &["a"], &[]).await;
    bench.registry.stop().await.unwrap();
    let failure = bench.files(&image).await.unwrap_err();
    assert_eq!(failure.reason, RegistryUnavailable);
    assert!(failure.message.contains(&bench.registry.host()), "{failure:?}");
    bench.registry.restart().await.unwrap();
    assert_eq!(bench.sorted(&image).await, files(&[("a", "1")]));
}

/// olareg ends a page at 4 MiB, which is also the most that is read of one.
#[tokio::test]
async fn a04_a_list_of_several_pages() {
    let bench = Olareg.start().await;
    let image = bench.name("web:v1");
    bench.oras.push_image(&image).await.unwrap();
    let bulk = format!("bulk={}", "x".repeat(100_000));
    let mut expected = 0;
    for number in 0..45 {
        let text = format!("{number}");
        let flags = ["--annotation", bulk.as_str()];
        bench.oras.attach_with(&image, CONFIG, &[("a", text.as_bytes())], &["a"], &flags).await.unwrap();
        expected += 1;
    }
    let listing = bench.question(&image).list().await.unwrap();
    assert_eq!(listing.artifacts.len(), expected);
    let pages = bench.seen.lock().unwrap().iter().filter(|(operation, _)| *operation == "referrers").count();
    assert!(pages > 1, "the list fits on one page: this tests nothing");
}
