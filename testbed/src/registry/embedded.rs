//! A registry inside of this process, behind a layer that can make anything go wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::middleware::from_fn_with_state;
use ferro_blob_store::InMemoryBlobStore;
use ferro_oci_server::{AppState, InMemoryRegistryMeta, router};
use rustls::ServerConfig;
use tokio::sync::Mutex;

use super::auth::Auth;
use super::fault::Fault;
use super::faults::{FaultId, Faults};
use super::layer::{Front, pass};
use super::record::{RecordedRequest, Recorder};
use super::server::{Server, bind};
use crate::wait::eventually;

/// How long the port of a stopped registry may be taken by somebody else before starting again fails.
const REBIND: Duration = Duration::from_secs(5);

/// ferro-oci-server on a free port of the loopback address: referrers API, everything in memory.
///
/// It has no paging and no deletion of tags; a manifest pushed twice is listed twice as a referrer.
#[derive(Debug)]
pub struct EmbeddedRegistry {
    address: SocketAddr,
    front: Arc<Front>,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    server: Mutex<Option<Server>>,
}

impl EmbeddedRegistry {
    /// Starts an empty registry that speaks HTTP.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// Starts an empty registry that speaks HTTPS with these certificates, and asks for those of clients where the
    /// configuration does.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start_with_tls(tls: ServerConfig) -> Result<Self> {
        Self::start_with(Some(Arc::new(tls))).await
    }

    async fn start_with(tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        crate::install_crypto_provider();
        let listener =
            bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.context("no free port on 127.0.0.1")?;
        let address = listener.local_addr().context("the registry's port has no address")?;
        let front = Arc::new(Front {
            host: address.to_string(),
            scheme: if tls.is_some() { "https" } else { "http" },
            recorder: Recorder::default(),
            faults: Faults::default(),
            auth: Auth::new(),
        });
        let state = AppState::new(Arc::new(InMemoryBlobStore::new()), Arc::new(InMemoryRegistryMeta::new()));
        let router = router(state).layer(from_fn_with_state(Arc::clone(&front), pass));
        let server = Mutex::new(Some(Server::new(listener, router.clone(), tls.clone())));
        Ok(Self { address, front, router, tls, server })
    }

    /// `127.0.0.1:port`, also while it is stopped.
    #[must_use]
    pub fn host(&self) -> String {
        self.front.host.clone()
    }

    /// Closes all connections and refuses new ones. The content stays.
    pub async fn stop(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.stop().await;
        }
    }

    /// Comes back on the same port with the same content.
    ///
    /// # Errors
    /// When another process took the port in the meantime.
    pub async fn restart(&self) -> Result<()> {
        let mut server = self.server.lock().await;
        if server.is_none() {
            let what = format!("port {} of the registry", self.address.port());
            let listener = eventually(what, REBIND, || async {
                Ok(bind(self.address).await.map_err(|why| why.to_string()))
            })
            .await?;
            *server = Some(Server::new(listener, self.router.clone(), self.tls.clone()));
        }
        Ok(())
    }

    /// The requests so far, in order of arrival, those to the token server included.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.front.recorder.all()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.front.recorder.clear();
    }

    /// From now on this happens to requests. Several faults apply in order of injection; the first that
    /// answers ends it.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.front.faults.inject(fault)
    }

    /// How many requests have met the fault.
    #[must_use]
    pub fn hits(&self, fault: FaultId) -> u32 {
        self.front.faults.hits(fault)
    }

    /// Takes one fault back.
    pub fn remove_fault(&self, fault: FaultId) {
        self.front.faults.remove(fault);
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.front.faults.clear();
    }

    /// Repositories whose name starts with `prefix` want these credentials (Basic); `""` is every repository
    /// and `/v2/`. Where several prefixes match, the longest counts.
    pub fn require_basic(&self, prefix: &str, user: &str, password: &str) {
        self.front.auth.require_basic(prefix, user, password);
    }

    /// Repositories whose name starts with `prefix` want a token, which `/token` issues for these
    /// credentials.
    pub fn require_bearer(&self, prefix: &str, user: &str, password: &str) {
        self.front.auth.require_bearer(prefix, user, password);
    }

    /// The same for an identity token, which `/token` trades for such a token (`grant_type=refresh_token`).
    pub fn require_identity_token(&self, prefix: &str, token: &str) {
        self.front.auth.require_identity_token(prefix, token);
    }

    /// Tokens issued from now on live this long (5 minutes otherwise). Clients are told whole seconds.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.front.auth.set_token_lifetime(lifetime);
    }

    /// All tokens issued so far become invalid.
    pub fn revoke_tokens(&self) {
        self.front.auth.revoke_tokens();
    }

    /// Nothing wants credentials any more.
    pub fn clear_auth(&self) {
        self.front.auth.clear();
    }
}
