//! A second API server on the same etcd: its caches may lag behind those of the first.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;

use super::component::Component;
use super::readyz;

/// Its name in messages, and of its log.
pub(super) const NAME: &str = "kube-apiserver-2";

/// See [`ClusterOptions::second_api_server`](super::ClusterOptions::second_api_server).
pub struct SecondApiServer {
    component: Component,
    server: String,
    kubeconfig: PathBuf,
    admin: Client,
    start_timeout: Duration,
}

impl SecondApiServer {
    /// With a kubeconfig that exists already.
    pub(super) async fn start_first(
        component: Component,
        server: String,
        kubeconfig: PathBuf,
        start_timeout: Duration,
    ) -> Result<Self> {
        let admin = super::client(&kubeconfig).await?;
        let this = Self { component, server, kubeconfig, admin, start_timeout };
        this.start().await.context("the second API server")?;
        Ok(this)
    }

    /// The address, `https://127.0.0.1:…`. Tokens and certificate are those of the first.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The administrator's kubeconfig for this API server.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of this API server with all rights.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// Stops it: connections are refused after that.
    ///
    /// # Errors
    /// When nobody knows whether it has ended.
    pub async fn stop(&self) -> Result<()> {
        self.component.stop().await
    }

    /// Starts it again on the same port, with empty caches.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(&self) -> Result<()> {
        self.component.start().await?;
        self.component.ready(self.start_timeout, || readyz(&self.admin)).await
    }

    /// Stops it and starts it again.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Stops it in its tracks (`true`): it keeps its connections and answers nothing. `false` lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause(&self, paused: bool) -> Result<()> {
        self.component.pause(paused).await
    }

    pub(super) fn log(&self) -> String {
        self.component.log()
    }
}

impl fmt::Debug for SecondApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondApiServer").field("server", &self.server).finish_non_exhaustive()
    }
}
