//! A read-only client for OCI registries that never takes silence for absence.
//!
//! It answers the four questions of the port [`Registry`]: which digest a tag stands for, which artifacts are attached
//! to an image, what an artifact contains, and which files it holds. Every answer is one of three: found, none, or an
//! [`Error`], which means that the answer is unknown and decides nothing. A list that breaks off, a page of a gateway,
//! a refused login or a redirect to a web site never counts as "nothing is attached". Only an answer of the registry
//! itself does.
//!
//! - What it returns is verified: size, then digest, then subject and type.
//! - Everything that it reads, keeps, repeats or does side by side has a bound.
//! - A credential only goes to the registry that it is for, and an answer to one caller's credentials is never shown to
//!   another caller.
//! - An [`Error`] is a closed [`Kind`] with facts. The caller decides what to do about it.
//!
//! [`OciRegistry`] answers the port from real registries; a test may answer it from memory.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use registry::{Access, Everything, Freshness, Keyring, OciRegistry, Query, Registry, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = OciRegistry::new(Settings::default(), Arc::new(|_| {}))?;
//! let mut keyring = Keyring::default();
//! keyring.add_docker_config_json(&std::fs::read("config.json")?)?;
//! let access = Access::new(keyring);
//!
//! let image = "registry.example.com/shop/web:v1".parse()?;
//! let subject = client.resolve(&access, &image, Freshness::Now).await?;
//! let query = Query {
//!     repository: &image.repository(),
//!     artifact_type: Some("custom/config"),
//!     platform: None,
//!     freshness: Freshness::Now,
//! };
//! let listing = client.referrers(&access, &subject, query).await?;
//! for artifact in &listing.artifacts {
//!     let wanted = Arc::new(Everything { bytes: 1024 * 1024 });
//!     let pulled = client.pull(&access, &image.repository(), artifact, wanted).await?;
//!     for file in &pulled.files {
//!         println!("{}: {} bytes", file.path, file.bytes.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The process chooses the provider of cryptography for rustls before it makes a client.
//!
//! From the outside in: `implementation` answers the port with a `session`, one repository reached with one set of rights.
//! It resolves a tag (`resolve`), lists what is attached (`referrers`) and fetches and unpacks it (`content`). `login` earns
//! the right to ask with `credentials`, and `http` asks.

mod client;
mod content;
mod credentials;
mod error;
mod fresh;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod http;
mod implementation;
mod login;
mod observe;
mod port;
mod referrers;
mod resolve;
mod session;
mod wanted;

pub use crate::http::policy::AddressPolicy;
pub use crate::http::throttle::Rate;
pub use crate::http::transport::SPANS;
pub use client::{OciRegistry, Settings};
pub use content::archive::{MAX_ARCHIVE, MAX_FILES};
pub use credentials::access::Access;
pub use credentials::credential::{Credential, KeyringError};
pub use credentials::keyring::Keyring;
pub use credentials::plugins::Plugins;
pub use credentials::tls::Tls;
pub use error::{Bound, Cause, Defect, Error, Form, Kind, Login, Party};
pub use observe::{CacheKind, Observation, Observer, RequestRecord, WaitCause};
pub use port::{Artifact, Freshness, Listing, Pulled, Query, Registry, Subject};
pub use wanted::{Everything, Wanted};
