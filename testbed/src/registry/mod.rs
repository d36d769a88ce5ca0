//! Registries: one in this process that can misbehave on demand, and real ones as processes.

mod auth;
mod embedded;
mod fault;
mod faults;
mod layer;
mod marks;
mod process;
mod record;
mod scope;
mod server;

use anyhow::Result;

pub use embedded::EmbeddedRegistry;
pub use fault::{Action, Fault, PathMatch};
pub use faults::FaultId;
use layer::simple_response;
pub use process::{ProcessRegistry, RegistryKind, RegistryOptions};
pub use record::RecordedRequest;

/// Any of them, for tests that run against each.
#[derive(Debug)]
pub enum Registry {
    /// In this process.
    Embedded(EmbeddedRegistry),
    /// A program of its own.
    Process(Box<ProcessRegistry>),
}

impl Registry {
    /// Which registry it is, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Process(registry) => registry.name(),
        }
    }

    /// `127.0.0.1:port`; it stays the same for the registry's life.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Embedded(registry) => registry.host(),
            Self::Process(registry) => registry.host(),
        }
    }

    /// Connections are refused from now on.
    ///
    /// # Errors
    /// When nobody knows whether a process has ended.
    pub async fn stop(&self) -> Result<()> {
        match self {
            Self::Embedded(registry) => {
                registry.stop().await;
                Ok(())
            }
            Self::Process(registry) => registry.stop().await,
        }
    }

    /// Comes back on the same port with the same content.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> Result<()> {
        match self {
            Self::Embedded(registry) => registry.restart().await,
            Self::Process(registry) => registry.restart().await,
        }
    }
}

impl From<EmbeddedRegistry> for Registry {
    fn from(registry: EmbeddedRegistry) -> Self {
        Self::Embedded(registry)
    }
}

impl From<ProcessRegistry> for Registry {
    fn from(registry: ProcessRegistry) -> Self {
        Self::Process(Box::new(registry))
    }
}
