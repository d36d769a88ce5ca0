//! What every write to the API server needs, beside the right to it. Reads need nothing.

use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::BoxError;
use tower::filter::FilterLayer;

use super::leadership::Leadership;

/// Whether this process may write now. Clones share the answer.
///
/// A further condition is a field here, a variant of [`Missing`], and a line in [`Permit::check`] and [`Permit::wait`].
/// The callers stay as they are.
#[derive(Clone, Debug)]
pub struct Permit {
    leadership: Leadership,
}

/// Why a write was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Another process leads, or none.
    #[error("this process is not the leader, and only the leader writes")]
    Leadership,
}

impl Missing {
    /// The refusal in an error of the client, if a missing permit caused it.
    pub(super) fn of(error: &kube::Error) -> Option<Self> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(missing) = error.downcast_ref::<Self>() {
                return Some(*missing);
            }
            cause = error.source();
        }
        None
    }
}

impl Permit {
    /// Writes while this process leads.
    #[must_use]
    pub const fn new(leadership: Leadership) -> Self {
        Self { leadership }
    }

    /// Passes while nothing is missing.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn check(&self) -> Result<(), Missing> {
        if self.leadership.holds() { Ok(()) } else { Err(Missing::Leadership) }
    }

    /// Waits until nothing is missing.
    pub async fn wait(&self) {
        while let Err(missing) = self.check() {
            match missing {
                Missing::Leadership => self.leadership.wait().await,
            }
        }
    }
}

/// A client that sends requests other than reads only with the permit. The check is below all code that writes, so no
/// code can forget it.
///
/// # Errors
/// If no client can be built from the configuration.
pub fn gated(config: Config, permit: &Permit) -> kube::Result<Client> {
    let permit = permit.clone();
    let gate = move |request: Request<Body>| {
        if !is_read(request.method()) {
            permit.check()?;
        }
        Ok::<_, BoxError>(request)
    };
    Ok(ClientBuilder::try_from(config)?.with_layer(&FilterLayer::new(gate)).build())
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;

    fn permit(until: Option<Instant>) -> (watch::Sender<Option<Instant>>, Permit) {
        let (sender, receiver) = watch::channel(until);
        (sender, Permit::new(Leadership::until(receiver)))
    }

    #[test]
    fn what_could_change_something_is_no_read() {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(!is_read(&method), "{method}");
        }
        assert!(is_read(&Method::GET));
    }

    #[tokio::test]
    async fn it_is_waited_for() {
        let (sender, permit) = permit(None);
        assert_eq!(permit.check(), Err(Missing::Leadership));
        let waiting = tokio::spawn({
            let permit = permit.clone();
            async move { permit.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sender.send_replace(Some(Instant::now() + Duration::from_mins(1)));
        waiting.await.unwrap();
        assert_eq!(permit.check(), Ok(()));
    }

    /// Nobody listens at the address: a read finds that out, a write is not even sent.
    #[tokio::test]
    async fn a_write_without_a_permit_is_not_sent_and_says_what_is_missing() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (_sender, permit) = permit(None);
        let address: http::Uri = "http://127.0.0.1:1".parse().unwrap();
        let api: Api<ConfigMap> = Api::namespaced(gated(Config::new(address), &permit).unwrap(), "shop");
        let written = api.create(&PostParams::default(), &ConfigMap::default()).await.unwrap_err();
        assert_eq!(Missing::of(&written), Some(Missing::Leadership));
        let read = api.get("web").await.unwrap_err();
        assert_eq!(Missing::of(&read), None, "{read}");
    }
}
