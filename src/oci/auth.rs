//! Earning the right to a request: the challenge of the actual answer, tokens, and what is remembered of them.
//!
//! Tokens are remembered per repository and credential. A cache keyed by registry alone would hand one tenant's
//! token to another.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use moka::sync::Cache;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::api::Reason;
use crate::types::{Advice, Failure};

use super::access::{Repository, RepositoryKey};
use super::answer::{Answer, retry_after};
use super::challenge::{self, Challenge};
use super::keyring::Credential;
use super::observe::Meter;
use super::transport::{Call, Transport};

/// Repositories whose authorization is remembered; beyond it the least used are asked for again.
const REMEMBERED: u64 = 10_000;

/// How long a repository that nobody asks for is remembered.
const IDLE: Duration = Duration::from_hours(24);

/// Life of a token that does not say (token specification: 60 seconds).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// Longest life that is believed.
const LONGEST_LIFE: Duration = Duration::from_hours(1);

/// Taken off a token's life for clocks that differ and requests that take time.
const SKEW: Duration = Duration::from_secs(10);

/// A token answer is a few kilobytes; Azure's tokens are the longest known.
const MAX_TOKEN_BODY: usize = 256 * 1024;

/// What answered a challenge.
#[derive(Clone)]
struct Grant {
    authorization: SecretString,
    until: Option<Instant>,
}

/// A header that no `Debug` shows, or nothing where the text cannot be one.
fn sensitive(authorization: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(authorization.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What worked for a repository: the grant, and how to earn the next one without being refused first.
#[derive(Clone)]
struct Remembered {
    grant: Grant,
    challenge: Challenge,
    credential: Option<Credential>,
}

/// Answers challenges and remembers what worked.
pub(super) struct Authorizer {
    remembered: Cache<RepositoryKey, Remembered>,
}

impl Authorizer {
    pub(super) fn new() -> Self {
        Self { remembered: Cache::builder().max_capacity(REMEMBERED).time_to_idle(IDLE).build() }
    }

    /// Sends a request with whatever it takes: what worked before, else nothing, else each credential in turn.
    ///
    /// A 401 of the registry itself never comes back from here; it is an `AuthenticationFailed`. 403 is returned only
    /// where no credential is left to try.
    pub(super) async fn send(
        &self,
        transport: &Transport,
        repository: &Repository,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let key = repository.key();
        if let Some(remembered) = self.recall(transport, repository, &key).await {
            let answer = transport.send(repository, call, Some(&remembered)).await?;
            // An expired token is a 401, with ECR a 403 (kcl-lang/kpm#698).
            if answer.moved || !matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Ok(answer);
            }
            self.remembered.invalidate(&key);
        }
        let answer = transport.send(repository, call, None).await?;
        // The challenge of another host than the registry's own is not answered: it could name any token endpoint, and
        // would be sent credentials that are not for it.
        if answer.status != StatusCode::UNAUTHORIZED || answer.moved {
            return Ok(answer);
        }
        let challenges = challenge::parse(&answer.headers);
        let mut refusal = Refusal::Unauthorized(answer);
        let credentials = repository.credentials.iter().map(Some);
        let anonymous = repository.credentials.is_empty().then_some(None);
        for credential in credentials.chain(anonymous) {
            for challenge in &challenges {
                let grant = match answer_challenge(transport, repository, challenge, credential).await {
                    Ok(Some(grant)) => grant,
                    Ok(None) => continue,
                    Err(failure) if failure.reason == Reason::AuthenticationFailed => {
                        refusal = Refusal::Token(failure);
                        continue;
                    }
                    Err(failure) => return Err(failure),
                };
                let answer =
                    transport.send(repository, call, sensitive(&grant.authorization).as_ref()).await?;
                match answer.status {
                    StatusCode::UNAUTHORIZED => refusal = Refusal::Unauthorized(answer),
                    StatusCode::FORBIDDEN => refusal = Refusal::Forbidden(answer),
                    _ => {
                        let (challenge, credential) = (challenge.clone(), credential.cloned());
                        self.remembered.insert(key, Remembered { grant, challenge, credential });
                        return Ok(answer);
                    }
                }
            }
        }
        match refusal {
            Refusal::Forbidden(answer) => Ok(answer),
            Refusal::Unauthorized(answer) => Err(answer.to_failure(repository, call)),
            Refusal::Token(failure) => Err(failure),
        }
    }

    /// The grant that worked before; where it has run out, a new one from the same challenge.
    async fn recall(
        &self,
        transport: &Transport,
        repository: &Repository,
        key: &RepositoryKey,
    ) -> Option<HeaderValue> {
        let remembered = self.remembered.get(key)?;
        if remembered.grant.until.is_none_or(|until| until > Instant::now()) {
            return sensitive(&remembered.grant.authorization);
        }
        let Remembered { challenge, credential, .. } = remembered;
        // Whatever goes wrong here goes wrong again, and is reported, when the registry is asked for its challenge.
        let grant = answer_challenge(transport, repository, &challenge, credential.as_ref()).await.ok()??;
        let header = sensitive(&grant.authorization);
        self.remembered.insert(key.clone(), Remembered { grant, challenge, credential });
        header
    }
}

enum Refusal {
    Unauthorized(Answer),
    Forbidden(Answer),
    Token(Failure),
}

/// The header that answers a challenge, or nothing where it cannot be answered with this credential.
async fn answer_challenge(
    transport: &Transport,
    repository: &Repository,
    challenge: &Challenge,
    credential: Option<&Credential>,
) -> Result<Option<Grant>, Failure> {
    match challenge {
        Challenge::Basic => {
            Ok(credential.map(|credential| Grant { authorization: basic(credential), until: None }))
        }
        Challenge::Bearer { realm, service, scope } => {
            let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:pull", repository.path));
            fetch_token(transport, repository, realm, service.as_deref(), &scope, credential).await.map(Some)
        }
    }
}

fn basic(credential: &Credential) -> SecretString {
    let pair = Zeroizing::new(format!("{}:{}", credential.username, credential.password.expose_secret()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    format!("Basic {}", *encoded).into()
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: SecretString,
    #[serde(default)]
    access_token: SecretString,
    #[serde(default)]
    expires_in: Option<u64>,
}

async fn fetch_token(
    transport: &Transport,
    repository: &Repository,
    realm: &Url,
    service: Option<&str>,
    scope: &str,
    credential: Option<&Credential>,
) -> Result<Grant, Failure> {
    let endpoint = realm.host_str().unwrap_or_default().to_owned();
    let registry: Url = format!("{}://{}/", repository.scheme(), repository.host)
        .parse()
        .map_err(|_| Failure::new(Reason::InvalidSpec, format!("'{}' is not a host", repository.host)))?;
    challenge::check_realm(realm, &registry).map_err(|why| {
        Failure::new(
            Reason::AuthenticationFailed,
            format!("{repository}: the registry names a token endpoint that is refused: {why}"),
        )
    })?;
    let http = transport.client_for(repository, realm)?;
    let request = token_request(&http, realm, service, scope, credential);
    let unavailable = |why: String| {
        Failure::new(
            Reason::RegistryUnavailable,
            format!("{repository}: the token endpoint {endpoint} {why}"),
        )
    };
    let (response, meter) = transport.token(realm, request).await?;
    match response.status() {
        StatusCode::OK => {}
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) => {
            let advice =
                if credential.is_some() { Advice::CheckCredentials } else { Advice::GiveCredentials };
            let message = format!("{repository}: the token endpoint {endpoint} answered {status}");
            return Err(Failure::new(Reason::AuthenticationFailed, message).advised(advice));
        }
        status => {
            let mut failure = unavailable(format!("answered {status}; it is tried again"));
            failure.retry_after = retry_after(response.headers(), SystemTime::now());
            if status == StatusCode::TOO_MANY_REQUESTS {
                failure.reason = Reason::RateLimited;
            }
            return Err(failure);
        }
    }
    let body = bounded(response, meter).await.map_err(unavailable)?;
    let answer: TokenAnswer = serde_json::from_slice(&body)
        .map_err(|_| unavailable("answered with something that is no token".to_owned()))?;
    let token = [&answer.token, &answer.access_token]
        .map(ExposeSecret::expose_secret)
        .into_iter()
        .find(|token| !token.is_empty() && HeaderValue::from_str(token).is_ok())
        .ok_or_else(|| unavailable("answered without a usable token".to_owned()))?;
    let authorization = format!("Bearer {token}").into();
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE);
    Ok(Grant { authorization, until: Some(Instant::now() + life.saturating_sub(SKEW)) })
}

/// `GET` with user name and password, or `POST` with an identity token (distribution project, "`OAuth2` Token
/// Authentication").
fn token_request(
    http: &reqwest::Client,
    realm: &Url,
    service: Option<&str>,
    scope: &str,
    credential: Option<&Credential>,
) -> reqwest::RequestBuilder {
    let mut parameters = vec![("scope", scope)];
    parameters.extend(service.map(|service| ("service", service)));
    if let Some(token) = credential.and_then(|credential| credential.identity_token.as_ref()) {
        parameters.extend([
            ("grant_type", "refresh_token"),
            ("client_id", "artifactconfig"),
            ("refresh_token", token.expose_secret()),
        ]);
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        return http
            .post(realm.clone())
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
    }
    let mut url = realm.clone();
    url.query_pairs_mut().extend_pairs(parameters);
    let request = http.get(url);
    match credential.and_then(|credential| sensitive(&basic(credential))) {
        Some(header) => request.header(AUTHORIZATION, header),
        None => request,
    }
}

async fn bounded(mut response: reqwest::Response, mut meter: Meter) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        meter.add(chunk.len());
        body.extend_from_slice(&chunk);
        if body.len() > MAX_TOKEN_BODY {
            return Err(format!("answered with more than {MAX_TOKEN_BODY} bytes"));
        }
    }
    Ok(body)
}
