//! Who may do what: Basic credentials, and a token server of the kind that registries use.
//!
//! The challenge and the token request follow the distribution project's token specification
//! (<https://distribution.github.io/distribution/spec/auth/token/>), which every client implements.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::scope::{Scope, pairs, repository};
use super::simple_response;
use crate::cluster::credentials::random_token;

/// Path of the token server.
const TOKEN_PATH: &str = "/token";

/// What a challenge calls this registry.
const SERVICE: &str = "testbed";

/// The lifetime that the token specification falls back to is 60 s; the usual one in the field is 5 minutes.
const LIFETIME: Duration = Duration::from_mins(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Basic,
    Bearer,
}

#[derive(Debug, Clone)]
struct Rule {
    prefix: String,
    scheme: Scheme,
    credentials: Credentials,
}

/// What a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Credentials {
    Password { user: String, password: String },
    IdentityToken(String),
}

#[derive(Debug)]
struct Grant {
    scopes: Vec<Scope>,
    until: Instant,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    grants: HashMap<String, Grant>,
    lifetime: Duration,
}

/// Rules by repository, and the tokens handed out.
#[derive(Debug)]
pub(super) struct Auth(Mutex<State>);

impl Auth {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { rules: Vec::new(), grants: HashMap::new(), lifetime: LIFETIME }))
    }

    pub(super) fn require_basic(&self, prefix: &str, user: &str, password: &str) {
        self.require(prefix, Scheme::Basic, Credentials::password(user, password));
    }

    pub(super) fn require_bearer(&self, prefix: &str, user: &str, password: &str) {
        self.require(prefix, Scheme::Bearer, Credentials::password(user, password));
    }

    pub(super) fn require_identity_token(&self, prefix: &str, token: &str) {
        self.require(prefix, Scheme::Bearer, Credentials::IdentityToken(token.to_owned()));
    }

    fn require(&self, prefix: &str, scheme: Scheme, credentials: Credentials) {
        let mut state = self.lock();
        state.rules.retain(|rule| rule.prefix != prefix);
        state.rules.push(Rule { prefix: prefix.to_owned(), scheme, credentials });
    }

    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.rules.clear();
        state.grants.clear();
    }

    pub(super) fn revoke_tokens(&self) {
        self.lock().grants.clear();
    }

    pub(super) fn set_token_lifetime(&self, lifetime: Duration) {
        self.lock().lifetime = lifetime;
    }

    /// Whether the request is for the token server: only there while something requires a token.
    pub(super) fn is_token_request(&self, request: &Parts) -> bool {
        request.uri.path() == TOKEN_PATH && self.lock().rules.iter().any(|rule| rule.scheme == Scheme::Bearer)
    }

    /// Answers for the token server.
    pub(super) fn token(&self, request: &Parts, body: &[u8]) -> Response<Body> {
        let text = if request.method == Method::POST {
            String::from_utf8_lossy(body).into_owned()
        } else {
            request.uri.query().unwrap_or_default().to_owned()
        };
        let asked = pairs(&text);
        let field = |name: &str| asked.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        // GET carries the credentials in a header, POST (OAuth 2, password or refresh grant) in the form.
        let credentials = basic(request).or_else(|| {
            if field("grant_type").as_deref() == Some("refresh_token") {
                return field("refresh_token").map(Credentials::IdentityToken);
            }
            Some(Credentials::Password { user: field("username")?, password: field("password")? })
        });
        let mut state = self.lock();
        let known: Vec<Rule> = state
            .rules
            .iter()
            .filter(|rule| rule.scheme == Scheme::Bearer && rule.accepts(credentials.as_ref()))
            .cloned()
            .collect();
        if known.is_empty() {
            return challenge(
                &format!("Basic realm=\"{SERVICE}\""),
                "the token server does not know these credentials",
            );
        }
        let scopes = asked.iter().filter(|(key, _)| key == "scope").flat_map(|(_, value)| value.split(' '));
        // By the specification, actions without a right are left out, and are not an error.
        let scopes: Vec<_> = scopes
            .filter_map(Scope::parse)
            .filter(|scope| {
                rule_for(&state.rules, &scope.repository)
                    .is_some_and(|rule| rule.accepts(credentials.as_ref()))
            })
            .collect();
        let Ok(token) = random_token() else {
            return simple_response(
                StatusCode::INTERNAL_SERVER_ERROR,
                &[],
                Bytes::from_static(b"no randomness"),
            );
        };
        let lifetime = state.lifetime;
        state.grants.insert(token.clone(), Grant { scopes, until: Instant::now() + lifetime });
        let body =
            serde_json::json!({"token": token, "access_token": token, "expires_in": lifetime.as_secs()});
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json")];
        simple_response(StatusCode::OK, &headers, Bytes::from(body.to_string()))
    }

    /// `Err` is the challenge for a request that may not pass.
    // The large error is the answer itself, made once per refused request.
    #[allow(clippy::result_large_err)]
    pub(super) fn check(&self, request: &Parts, scheme: &str, host: &str) -> Result<(), Response<Body>> {
        let name = repository(request.uri.path()).unwrap_or_default();
        let state = self.lock();
        let Some(rule) = rule_for(&state.rules, name) else { return Ok(()) };
        if rule.scheme == Scheme::Basic {
            if rule.accepts(basic(request).as_ref()) {
                return Ok(());
            }
            return Err(challenge(&format!("Basic realm=\"{SERVICE}\""), "authentication required"));
        }
        let needed = Scope::needed(name, &request.method);
        let grant =
            bearer(request).map(|token| state.grants.get(token).filter(|grant| grant.until > Instant::now()));
        let error = match grant {
            Some(Some(grant))
                if name.is_empty() || grant.scopes.iter().any(|scope| scope.covers(&needed)) =>
            {
                return Ok(());
            }
            Some(Some(_)) => ",error=\"insufficient_scope\"",
            Some(None) => ",error=\"invalid_token\"",
            None => "",
        };
        let scope = if name.is_empty() { String::new() } else { format!(",scope=\"{needed}\"") };
        let bearer =
            format!("Bearer realm=\"{scheme}://{host}{TOKEN_PATH}\",service=\"{SERVICE}\"{scope}{error}");
        Err(challenge(&bearer, "authentication required"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    fn accepts(&self, credentials: Option<&Credentials>) -> bool {
        credentials == Some(&self.credentials)
    }
}

impl Credentials {
    fn password(user: &str, password: &str) -> Self {
        Self::Password { user: user.to_owned(), password: password.to_owned() }
    }
}

/// The most specific rule.
fn rule_for<'a>(rules: &'a [Rule], repository: &str) -> Option<&'a Rule> {
    rules.iter().filter(|rule| repository.starts_with(&rule.prefix)).max_by_key(|rule| rule.prefix.len())
}

fn authorization<'a>(request: &'a Parts, scheme: &str) -> Option<&'a str> {
    let (found, value) = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| value.trim())
}

fn basic(request: &Parts) -> Option<Credentials> {
    let decoded = STANDARD.decode(authorization(request, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(user, password)| Credentials::password(user, password))
}

fn bearer(request: &Parts) -> Option<&str> {
    authorization(request, "bearer")
}

fn challenge(value: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({"errors": [{"code": "UNAUTHORIZED", "message": message}]});
    let headers =
        [(header::WWW_AUTHENTICATE.as_str(), value), (header::CONTENT_TYPE.as_str(), "application/json")];
    simple_response(StatusCode::UNAUTHORIZED, &headers, Bytes::from(body.to_string()))
}
