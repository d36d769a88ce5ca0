//! Certificates for registries: the trusted authorities and the client certificate.

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};

/// Certificates of a Secret, checked once.
#[derive(Clone, Debug)]
pub struct Tls {
    ca: Vec<u8>,
    /// Certificate chain and key, PEM.
    identity: Option<SecretSlice<u8>>,
}

/// Distinguishes certificates without holding a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TlsKey([u8; 32]);

impl Tls {
    /// Reads `ca.crt`, `tls.crt` and `tls.key`, each PEM.
    ///
    /// # Errors
    /// Names the one that cannot be used. A bad CA is an error: without it, the client would trust the system's
    /// authorities instead.
    pub fn new(ca: Option<&[u8]>, certificate: Option<&[u8]>, key: Option<&[u8]>) -> Result<Self, String> {
        // cert-manager leaves an empty 'ca.crt' beside certificates of a public issuer.
        let ca = ca.filter(|ca| !ca.is_empty());
        if ca.is_none() && certificate.is_none() && key.is_none() {
            return Err("it has none of the keys 'ca.crt', 'tls.crt' and 'tls.key'".to_owned());
        }
        let ca = ca.unwrap_or_default().to_vec();
        if !ca.is_empty() {
            check_ca(&ca)?;
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some([certificate, b"\n", key].concat().into()),
            (None, None) => None,
            (Some(_), None) => return Err("it has 'tls.crt' but no 'tls.key'".to_owned()),
            (None, Some(_)) => return Err("it has 'tls.key' but no 'tls.crt'".to_owned()),
        };
        let tls = Self { ca, identity };
        if let Some(pem) = &tls.identity {
            Identity::from_pem(pem.expose_secret()).map_err(|_| {
                "keys 'tls.crt' and 'tls.key' are no certificate and key in PEM form".to_owned()
            })?;
        }
        Ok(tls)
    }

    /// The same trust without the client certificate, for every host but the registry's own.
    pub(crate) fn without_identity(&self) -> Self {
        Self { ca: self.ca.clone(), identity: None }
    }

    pub(crate) fn key(&self) -> TlsKey {
        let mut hasher = Sha256::new();
        for part in [self.ca.as_slice(), self.identity.as_ref().map_or(&[], |pem| pem.expose_secret())] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        TlsKey(hasher.finalize().into())
    }

    pub(crate) fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        if !self.ca.is_empty() {
            builder = builder.tls_certs_merge(certificates(&self.ca)?);
        }
        if let Some(pem) = &self.identity {
            let identity = Identity::from_pem(pem.expose_secret()).map_err(|error| error.to_string())?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

impl TlsKey {
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Parses every certificate as rustls does when a registry shows its own. Otherwise a damaged certificate would be
/// noticed only then, and the error would blame the registry.
fn check_ca(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| NO_CA.to_owned())?;
        roots
            .add(certificate)
            .map_err(|_| "key 'ca.crt' holds a certificate that cannot be read".to_owned())?;
    }
    if roots.is_empty() { Err(NO_CA.to_owned()) } else { Ok(()) }
}

const NO_CA: &str = "key 'ca.crt' holds no certificate in PEM form";

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    Certificate::from_pem_bundle(pem).map_err(|_| NO_CA.to_owned())
}
