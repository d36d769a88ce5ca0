//! Requests to registries: bounded, retried, redirected with care.
//!
//! Own code on the HTTP client that `oci-client` uses as well, because that crate (0.18) reads bodies without bound,
//! loses status and headers of failures (`Retry-After`), takes challenges from `/v2/` only, and swallows errors of
//! the token endpoint. See `docs/decisions/0002-own-registry-client.md`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{ACCEPT, AUTHORIZATION, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use moka::sync::Cache;
use reqwest::Url;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument as _, Span};

use crate::credentials::access::Repository;
use crate::credentials::tls::{Tls, TlsKey};
use crate::error::{Cause, Error, Kind};
use crate::http::answer::{Answer, Body, Shown, beginning, refused, retry_after, unreachable};
use crate::http::call::Call;
use crate::http::policy::{AddressPolicy, PolicyResolver, Proxies, Reach, Refusal};
use crate::http::redirect::redirect;
use crate::http::throttle::{Rate, Throttle};
use crate::http::trouble::innermost;
use crate::http::warnings::Warnings;
use crate::observe::{Meter, Observation, Observer, RequestRecord, WaitCause, authority};

/// Requests for one answer, including the first. Further tries are left to the caller, who waits longer.
const ATTEMPTS: u32 = 3;

/// Wait before the second request; doubles from there.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Longest `Retry-After` that is waited for while the turn is held. A longer one is an error, so that another caller
/// can use the turn.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Redirects that are followed for one request; registries use one, a blob store behind a gateway two.
const REDIRECTS: u32 = 5;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Idle connections kept per host, so that the questions of many callers do not open one each.
const IDLE_CONNECTIONS: usize = 8;

/// The operation of a request to a token endpoint.
const TOKEN: &str = "token";

/// Target of the spans, one for each request. It distinguishes them from log lines, and they are only made if somebody
/// wants them.
pub const SPANS: &str = "artifactconfig::trace";

/// Sends requests.
pub(crate) struct Transport {
    /// One pool of connections for each set of certificates and each reach. A connection that a client certificate
    /// opened gives rights, so others must not use it. Credentials go with each request and share the pool.
    pools: Cache<PoolKey, reqwest::Client>,
    throttle: Throttle,
    policy: Arc<AddressPolicy>,
    proxies: Proxies,
    observer: Observer,
    warnings: Warnings,
}

/// The key of a pool of connections. A connection to a registry on a private address must not carry a request to a
/// token endpoint that may not have a private address.
type PoolKey = (Option<TlsKey>, Reach);

/// Pools of connections that are kept.
const POOLS: u64 = 100;

/// A pool that nobody used for this long is closed.
const POOL_IDLE: Duration = Duration::from_mins(10);

impl Transport {
    pub(crate) fn new(policy: AddressPolicy, rate: Rate, observer: Observer) -> Result<Self, String> {
        let policy = Arc::new(policy);
        let pools = Cache::builder().max_capacity(POOLS).time_to_idle(POOL_IDLE).build();
        pools.insert((None, Reach::Anywhere), client(None, &policy, Reach::Anywhere)?);
        let (throttle, proxies) = (Throttle::new(rate), Proxies::of_environment());
        Ok(Self { pools, throttle, policy, proxies, observer, warnings: Warnings::new() })
    }

    /// The client for a URL that a request to `repository` leads to: with the client certificate at the registry's own
    /// origin, and only with its authorities everywhere else.
    ///
    /// A proxy also resolves the names of the URLs that it carries. So only addresses are judged here, and no names.
    pub(crate) fn client_for(
        &self,
        repository: &Repository,
        url: &Url,
        reach: Reach,
    ) -> Result<reqwest::Client, Error> {
        self.policy
            .check_url(url, reach)
            .map_err(|refusal| refusal.into_error().at(&repository.to_string()))?;
        let reach = if self.proxies.carry(url) { Reach::Anywhere } else { reach };
        let tls = repository
            .tls
            .as_deref()
            .map(|tls| if repository.owns(url) { tls.clone() } else { tls.without_identity() });
        let key = (tls.as_ref().map(Tls::key), reach);
        self.pools.try_get_with(key, || client(tls.as_ref(), &self.policy, reach)).map_err(|why| {
            Error::new(Kind::Credentials, format!("{repository}: the certificates cannot be used: {why}"))
        })
    }

    /// Sends a request until it is answered, at most [`ATTEMPTS`] times. Every answer with a status that does not mean
    /// "try again" is returned.
    pub(crate) async fn send(
        &self,
        repository: &Repository,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            let result = self.follow(repository, call, authorization).await;
            let mut last = None;
            let (error, told) = match result {
                Ok(answer) if answer.moved && call.take_foreign_answer => return Ok(answer),
                Ok(answer) if is_transient(answer.status) || answer.refuses_a_signed_url(repository) => {
                    let told = retry_after(&answer.headers, SystemTime::now());
                    let error = refused(repository, call, &answer, told);
                    last = call.take_last_answer.then_some(answer);
                    (error, told)
                }
                Ok(answer) => return Ok(answer),
                Err(error) if error.kind().is_unavailable() => (error, None),
                Err(error) => return Err(error),
            };
            let host = &repository.host;
            if told.is_some() || matches!(error.kind(), Kind::RateLimited(_)) {
                (self.observer)(Observation::Throttled { host });
            }
            let next = told.unwrap_or_else(|| jittered(wait));
            if attempt == ATTEMPTS || next > LONGEST_WAIT {
                return last.ok_or(error);
            }
            tokio::time::sleep(next).await;
            let cause = if told.is_some() { WaitCause::RetryAfter } else { WaitCause::Backoff };
            (self.observer)(Observation::Waited { host, cause, time: next });
            (self.observer)(Observation::Retried { host, operation: call.operation });
            attempt += 1;
            wait *= 2;
        }
    }

    /// One request with its redirects. `Authorization` goes to the origin it is for and to no other
    /// (distribution-spec, "Redirects"; oras-go GHSA-vh4v-2xq2-g5cg for the port).
    async fn follow(
        &self,
        repository: &Repository,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let mut url = call.url.clone();
        let mut moved = false;
        for _ in 0..=REDIRECTS {
            let http = self.client_for(repository, &url, Reach::Anywhere)?;
            let turn = self.turn(&url).await?;
            let mut request = http.request(call.method.clone(), url.clone());
            if let Some(accept) = &call.accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(authorization) = authorization.filter(|_| !moved) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = self
                .observe(call.operation, &url, moved, request)
                .await
                .map_err(|error| no_answer(repository, &url, &error))?;
            let Some(next) = redirect(&response).map_err(|(kind, why)| {
                let status = response.status();
                let message = format!("{repository}: {} answered {status} {why}", authority(&url));
                Error::new(kind, message).answered(status.as_u16(), None)
            })?
            else {
                let (status, headers) = (response.status(), response.headers().clone());
                if !moved {
                    self.warnings.report(repository, &headers);
                }
                let shown =
                    if authorization.is_some() && !moved { Shown::Credentials } else { Shown::Nothing };
                let peer = response.remote_addr().map(|address| address.ip());
                let peer = peer.filter(|_| !self.proxies.carry(&url));
                let mut meter = Meter::new(&self.observer, &url, call.operation);
                let body = if status.is_success() && call.method != Method::HEAD {
                    Body::Content { response, turn, meter }
                } else {
                    Body::Read(beginning(response, &mut meter).await)
                };
                return Ok(Answer { status, headers, url, moved, shown, peer, body });
            };
            moved |= next.origin() != url.origin();
            url = next;
        }
        Err(Error::new(
            Kind::Unavailable(Cause::Other),
            format!("{repository}: the registry redirects more than {REDIRECTS} times"),
        ))
    }

    /// Logs a remark about a registry, once a day.
    pub(crate) fn once_a_day(&self, repository: &Repository, text: &str) {
        self.warnings.once(&repository.host, text);
    }

    pub(crate) fn policy(&self) -> &AddressPolicy {
        &self.policy
    }

    /// A request to a token endpoint. The caller retries it. It carries credentials, so its redirects are never
    /// followed.
    pub(crate) async fn token(
        &self,
        realm: &Url,
        request: reqwest::RequestBuilder,
    ) -> Result<Result<(reqwest::Response, Meter), reqwest::Error>, Error> {
        let _turn = self.turn(realm).await?;
        let response = match self.observe(TOKEN, realm, false, request).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if response.status() == StatusCode::TOO_MANY_REQUESTS || response.headers().contains_key(RETRY_AFTER)
        {
            (self.observer)(Observation::Throttled { host: &authority(realm) });
        }
        Ok(Ok((response, Meter::new(&self.observer, realm, TOKEN))))
    }

    /// Waits for a turn at the server of a URL.
    async fn turn(&self, url: &Url) -> Result<OwnedSemaphorePermit, Error> {
        let started = Instant::now();
        let turn = self.throttle.turn(url).await;
        let (host, time) = (authority(url), started.elapsed());
        (self.observer)(Observation::Waited { host: &host, cause: WaitCause::Turn, time });
        turn
    }

    pub(crate) const fn observer(&self) -> &Observer {
        &self.observer
    }

    async fn observe(
        &self,
        operation: &'static str,
        url: &Url,
        moved: bool,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let started = Instant::now();
        let (client, request) = request.build_split();
        let request = request.map_err(reqwest::Error::without_url)?;
        let span = span(operation, moved, request.method(), url);
        // URLs can carry signatures (redirects to blob stores), so no error may repeat one.
        let sent = client.execute(request).instrument(span.clone()).await;
        let result = sent.map_err(reqwest::Error::without_url);
        let status = result.as_ref().ok().map(|response| response.status().as_u16());
        trace(&span, &result);
        let record = RequestRecord { host: authority(url), operation, status, took: started.elapsed() };
        (self.observer)(Observation::Requested(record));
        result
    }
}

/// A request in a trace, by OpenTelemetry's conventions for HTTP clients. Of the URL only the parts without a
/// signature: never the query, and after a redirect to another origin no path either.
fn span(operation: &'static str, moved: bool, method: &Method, url: &Url) -> Span {
    tracing::info_span!(
        target: SPANS,
        "request",
        "otel.name" = format!("{method} {operation}"),
        "otel.kind" = "client",
        "http.request.method" = method.as_str(),
        "server.address" = url.host_str(),
        "server.port" = url.port_or_known_default(),
        "url.scheme" = url.scheme(),
        "url.path" = (!moved).then(|| url.path()),
        "http.response.status_code" = tracing::field::Empty,
        "otel.status_code" = tracing::field::Empty,
        "otel.status_description" = tracing::field::Empty,
        "error.type" = tracing::field::Empty,
    )
}

/// Records how a request ended. For a client, each status from 400 on is an error.
fn trace(span: &Span, result: &Result<reqwest::Response, reqwest::Error>) {
    match result {
        Ok(response) => {
            let status = response.status();
            span.record("http.response.status_code", status.as_u16());
            if status.is_client_error() || status.is_server_error() {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", status.as_str());
            }
        }
        Err(error) => {
            let kind = if error.is_timeout() { "timeout" } else { "connection" };
            span.record("otel.status_code", "ERROR");
            span.record("error.type", kind);
            span.record("otel.status_description", innermost(error));
        }
    }
}

fn client(tls: Option<&Tls>, policy: &Arc<AddressPolicy>, reach: Reach) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        // Followed by `follow` instead: it keeps Authorization from other origins, and knows the last URL.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .dns_resolver(Arc::new(PolicyResolver { policy: policy.clone(), reach }))
        .user_agent(concat!("artifactconfig/", env!("CARGO_PKG_VERSION")));
    let builder = match tls {
        Some(tls) => tls.apply(builder)?,
        None => builder,
    };
    builder.build().map_err(|error| innermost(&error))
}

/// Why a request was not answered. Perhaps it was never sent.
fn no_answer(repository: &Repository, url: &Url, error: &reqwest::Error) -> Error {
    match Refusal::within(error) {
        Some(refusal) => refusal.into_error().at(&repository.to_string()),
        None => unreachable(repository, url, error),
    }
}

const fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Half to one and a half of a wait, so that requests that were refused together are not repeated together.
fn jittered(wait: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    // Each RandomState has a new seed. That is random enough here.
    let random = RandomState::new().hash_one(0_u8) % 1000;
    wait / 2 + wait.mul_f64(f64::from(u32::try_from(random).unwrap_or_default()) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every request on every connection, and counts both.
    async fn server() -> (String, Arc<std::sync::Mutex<Vec<usize>>>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<std::sync::Mutex<Vec<usize>>>::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let number = seen.lock().unwrap().len();
                seen.lock().unwrap().push(0);
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while connection.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        seen.lock().unwrap()[number] += 1;
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        connection.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        (format!("localhost:{port}"), requests)
    }

    /// A token endpoint that must be public is judged by the addresses of its name, even if a registry of the same name
    /// has already opened a connection to it.
    #[tokio::test]
    async fn a_name_for_a_private_address_is_out_of_reach_also_by_an_open_connection() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (host, requests) = server().await;
        let access = crate::Access::new(crate::Keyring::default()).with_plain_http(true);
        let repository = access.repository(&format!("{host}/web").parse().unwrap(), Vec::new()).unwrap();
        let transport = Transport::new(AddressPolicy::default(), Rate::default(), Arc::new(|_| {})).unwrap();
        let url: Url = format!("http://{host}/token").parse().unwrap();
        let ask = async |reach| {
            let http = transport.client_for(&repository, &url, reach).unwrap();
            transport.token(&url, http.get(url.clone())).await.unwrap()
        };
        for _ in 0..2 {
            let (response, _) = ask(Reach::Anywhere).await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), "");
        }
        assert_eq!(*requests.lock().unwrap(), [2], "the connection is kept open");
        for reach in [Reach::Public, Reach::Private] {
            let error = ask(reach).await.map(drop).unwrap_err();
            let refusal = Refusal::within(&error).unwrap().to_string();
            assert!(refusal.contains("'localhost' leads to"), "{refusal}");
        }
        assert_eq!(*requests.lock().unwrap(), [2], "nothing was sent");
    }

    #[test]
    fn jitter_stays_within_half() {
        for _ in 0..100 {
            let wait = jittered(Duration::from_millis(200)).as_millis();
            assert!((100..=300).contains(&wait), "{wait}");
        }
    }
}
