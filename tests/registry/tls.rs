//! Line 22, certificates: a CA that is given is trusted, one that cannot be read is an error, and plain HTTP is spoken only
//! where asked for.

use std::sync::Arc;

use api::Reason::{AuthenticationFailed, InvalidCredentials, RegistryUnavailable};
use decide::Failure;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use registry::{Access, Keyring, Tls};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use testbed::registry::{EmbeddedRegistry, Fault};

use crate::expect::tells;
use crate::push::Pusher;
use crate::world::{FILE, REPOSITORY, World, access, keyring, prepare};

/// An authority, and what it has signed.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
struct Leaf {
    certificate: Certificate,
    key: KeyPair,
}

impl Leaf {
    fn pem(&self) -> String {
        format!("{}\n{}", self.certificate.pem(), self.key.serialize_pem())
    }
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn signs(&self, name: &str) -> Leaf {
        self.signs_with(name, |_| ())
    }

    fn signs_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// Trust in this authority, and in those of the system.
    fn trusted(&self) -> Tls {
        Tls::new(Some(self.pem().as_bytes()), None, None).unwrap()
    }

    /// The same, with a client certificate.
    fn trusted_with(&self, leaf: &Leaf) -> Tls {
        let (certificate, key) = (leaf.certificate.pem(), leaf.key.serialize_pem());
        Tls::new(Some(self.pem().as_bytes()), Some(certificate.as_bytes()), Some(key.as_bytes())).unwrap()
    }
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, PartialEq)]
enum Clients {
    NeedNone,
    MayShow,
    MustShow,
}

fn server(leaf: &Leaf, authority: &Authority, clients: Clients) -> ServerConfig {
    prepare();
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
    let builder = ServerConfig::builder();
    let builder = match clients {
        Clients::NeedNone => builder.with_no_client_auth(),
        Clients::MayShow => {
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
        Clients::MustShow => builder.with_client_cert_verifier(verifier.build().unwrap()),
    };
    let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    builder.with_single_cert(vec![leaf.certificate.der().clone()], key).unwrap()
}

async fn registry(leaf: &Leaf, authority: &Authority, clients: Clients) -> EmbeddedRegistry {
    EmbeddedRegistry::start_with_tls(server(leaf, authority, clients)).await.unwrap()
}

fn https(tls: Option<Tls>) -> Access {
    Access::new(Keyring::default()).with_tls(tls)
}

/// The scene over HTTPS, with this certificate.
async fn world(leaf: &Leaf, authority: &Authority, access: Access) -> World {
    let registry = registry(leaf, authority, Clients::NeedNone).await;
    let pusher = Pusher::new(&format!("https://{}", registry.host()), REPOSITORY);
    World::of(registry, pusher, access).await
}

/// The registry was not even asked.
async fn no_connection(world: &World) -> Failure {
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, RegistryUnavailable, "{failure:?}");
    tells(&failure, world);
    assert!(world.registry.requests().is_empty());
    failure
}

const LOOPBACK: &str = "127.0.0.1";

#[tokio::test]
async fn a22_a_ca_that_is_given_is_trusted() {
    let authority = Authority::new();
    let world = world(&authority.signs(LOOPBACK), &authority, https(Some(authority.trusted()))).await;
    assert_eq!(world.files().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a22_a_certificate_of_its_own_is_trusted_where_it_is_given() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![LOOPBACK.to_owned()]).unwrap().self_signed(&key).unwrap();
    let tls = Tls::new(Some(certificate.pem().as_bytes()), None, None).unwrap();
    let leaf = Leaf { certificate, key };
    let mut world = world(&leaf, &authority, https(Some(tls))).await;
    assert_eq!(world.files().await.unwrap().len(), 1);
    world.registry.clear_requests();
    world.access = https(None);
    no_connection(&world).await;
}

#[rstest::rstest]
#[case::no_ca(|_: &Authority| None)]
#[case::another_ca(|_: &Authority| Some(Authority::new().trusted()))]
#[case::a_certificate_of_the_client_alone(|authority: &Authority| {
    let leaf = authority.signs("client");
    let (certificate, key) = (leaf.certificate.pem(), leaf.key.serialize_pem());
    Some(Tls::new(None, Some(certificate.as_bytes()), Some(key.as_bytes())).unwrap())
})]
#[tokio::test]
async fn a22_an_unknown_authority_is_not_trusted(#[case] tls: fn(&Authority) -> Option<Tls>) {
    let authority = Authority::new();
    let world = world(&authority.signs(LOOPBACK), &authority, https(tls(&authority))).await;
    let failure = no_connection(&world).await;
    assert!(failure.message.contains("certificate"), "{}", failure.message);
}

#[tokio::test]
async fn a22_trust_is_not_lent_to_others() {
    let authority = Authority::new();
    let mut world = world(&authority.signs(LOOPBACK), &authority, https(Some(authority.trusted()))).await;
    assert_eq!(world.files().await.unwrap().len(), 1);
    world.registry.clear_requests();
    world.access = https(None);
    no_connection(&world).await;
}

#[tokio::test]
async fn a22_a_certificate_for_another_name() {
    let authority = Authority::new();
    let world =
        world(&authority.signs("registry.example.com"), &authority, https(Some(authority.trusted()))).await;
    let failure = no_connection(&world).await;
    assert!(failure.message.contains("not valid for"), "{}", failure.message);
}

#[tokio::test]
async fn a22_a_certificate_that_ran_out() {
    let authority = Authority::new();
    let leaf = authority.signs_with(LOOPBACK, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let world = world(&leaf, &authority, https(Some(authority.trusted()))).await;
    let failure = no_connection(&world).await;
    assert!(failure.message.contains("expired"), "{}", failure.message);
}

#[rstest::rstest]
#[case::no_pem(b"not a certificate")]
#[case::nothing(b"")]
#[case::damaged(b"-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n")]
#[case::no_base64(b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n")]
#[case::cut(b"-----BEGIN CERTIFICATE-----\nbm90IGEgY2Vyd")]
#[tokio::test]
async fn a22_a_ca_that_cannot_be_read_is_an_error(#[case] ca: &[u8]) {
    let why = match Tls::new(Some(ca), None, None) {
        Err(why) => why,
        // An invalid certificate may also be noticed when it is needed.
        Ok(tls) => {
            let mut world = World::new().await;
            world.access = https(Some(tls));
            let failure = world.files().await.unwrap_err();
            assert_eq!(failure.reason, InvalidCredentials, "{failure:?}");
            tells(&failure, &world);
            failure.message
        }
    };
    assert!(why.contains("ca.crt"), "{why}");
}

#[tokio::test]
async fn a22_a_key_that_does_not_belong_to_the_certificate() {
    let authority = Authority::new();
    let (one, other) = (authority.signs("client"), authority.signs("client"));
    let (certificate, key) = (one.certificate.pem(), other.key.serialize_pem());
    let why = match Tls::new(None, Some(certificate.as_bytes()), Some(key.as_bytes())) {
        Err(why) => why,
        Ok(tls) => {
            let mut world = World::new().await;
            world.access = https(Some(tls));
            let failure = world.files().await.unwrap_err();
            assert_eq!(failure.reason, InvalidCredentials, "{failure:?}");
            failure.message
        }
    };
    assert!(!why.contains("BEGIN"), "{why}");
}

#[tokio::test]
async fn a22_a_client_certificate_where_one_is_needed() {
    let authority = Authority::new();
    let client = authority.signs("client");
    let registry = registry(&authority.signs(LOOPBACK), &authority, Clients::MustShow).await;
    let url = format!("https://{}", registry.host());
    let pusher = Pusher::with_identity(&url, REPOSITORY, &client.pem());
    let mut world = World::of(registry, pusher, https(Some(authority.trusted_with(&client)))).await;
    assert_eq!(world.files().await.unwrap().len(), 1);
    assert!(world.registry.requests().iter().all(|request| request.client_certificate));
    world.registry.clear_requests();
    world.access = https(Some(authority.trusted()));
    no_connection(&world).await;
    let stranger = Authority::new().signs("client");
    world.access = https(Some(authority.trusted_with(&stranger)));
    no_connection(&world).await;
}

#[tokio::test]
async fn a22_a_client_certificate_is_not_shown_to_other_hosts() {
    let authority = Authority::new();
    let client = authority.signs("client");
    let registry = registry(&authority.signs(LOOPBACK), &authority, Clients::MustShow).await;
    let url = format!("https://{}", registry.host());
    let pusher = Pusher::with_identity(&url, REPOSITORY, &client.pem());
    let world = World::of(registry, pusher, https(Some(authority.trusted_with(&client)))).await;
    let elsewhere = self::registry(&authority.signs(LOOPBACK), &authority, Clients::MayShow).await;
    let url = format!("https://{}", elsewhere.host());
    Pusher::new(&url, REPOSITORY).blob(FILE.1.as_bytes()).await;
    elsewhere.clear_requests();
    world
        .registry
        .inject(world.on_blob().redirect(307, &format!("{url}/v2/{REPOSITORY}/blobs/{}", world.blob())));
    assert_eq!(world.files().await.unwrap().len(), 1);
    let asked = elsewhere.requests();
    assert!(asked.len() == 1 && !asked[0].client_certificate, "{asked:?}");
}

#[tokio::test]
async fn a22_plain_http_is_spoken_only_where_asked_for() {
    let mut world = World::new().await;
    world.access = https(None);
    no_connection(&world).await;
    let authority = Authority::new();
    let world = self::world(&authority.signs(LOOPBACK), &authority, access(Keyring::default())).await;
    no_connection(&world).await;
}

#[tokio::test]
async fn a20_from_https_to_http_no_redirect_is_followed() {
    let authority = Authority::new();
    let world = world(&authority.signs(LOOPBACK), &authority, https(Some(authority.trusted()))).await;
    world.registry.inject(world.on_blob().redirect_to_host(307, &world.elsewhere.host()));
    let failure = world.files().await.unwrap_err();
    tells(&failure, &world);
    assert!(world.elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a20_from_http_to_https_a_password_stays_behind() {
    let authority = Authority::new();
    let mut world = World::new().await;
    world.registry.require_basic("", "robot", "secret");
    world.access =
        access(keyring(&world.registry.host(), "robot", "secret")).with_tls(Some(authority.trusted()));
    let elsewhere = registry(&authority.signs(LOOPBACK), &authority, Clients::NeedNone).await;
    let url = format!("https://{}", elsewhere.host());
    Pusher::new(&url, REPOSITORY).blob(FILE.1.as_bytes()).await;
    elsewhere.clear_requests();
    world
        .registry
        .inject(world.on_blob().redirect(307, &format!("{url}/v2/{REPOSITORY}/blobs/{}", world.blob())));
    assert_eq!(world.files().await.unwrap().len(), 1);
    let asked = elsewhere.requests();
    assert!(asked.len() == 1 && asked[0].authorization.is_none(), "{asked:?}");
}

#[tokio::test]
async fn a17_a_token_server_behind_the_same_ca() {
    let authority = Authority::new();
    let mut world = world(&authority.signs(LOOPBACK), &authority, https(None)).await;
    world.registry.require_bearer("", "robot", "secret");
    let keys = keyring(&world.registry.host(), "robot", "secret");
    world.access = Access::new(keys).with_tls(Some(authority.trusted()));
    assert_eq!(world.files().await.unwrap().len(), 1);
}

/// A password for an https registry does not go over plain HTTP, even if the registry redirects there.
#[tokio::test]
async fn a17_a_realm_over_http_for_a_registry_over_https() {
    let authority = Authority::new();
    let mut world = world(&authority.signs(LOOPBACK), &authority, https(None)).await;
    let keys = keyring(&world.registry.host(), "robot", "secret");
    world.access = Access::new(keys).with_tls(Some(authority.trusted()));
    let challenge = format!("Bearer realm=\"http://{}/token\"", world.elsewhere.host());
    world.registry.inject(Fault::always().respond(401, &[("www-authenticate", &challenge)], ""));
    let failure = world.files().await.unwrap_err();
    assert_eq!(failure.reason, AuthenticationFailed, "{failure:?}");
    tells(&failure, &world);
    assert!(world.elsewhere.requests().is_empty());
}
