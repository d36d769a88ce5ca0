//! Tokens: the requests to a token endpoint, and its answers (distribution project, "Token Authentication
//! Specification" and "`OAuth2` Token Authentication").

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::credentials::access::Repository;
use crate::credentials::credential::Credential;
use crate::credentials::go_json::{self, Member, is_named};
use crate::error::{Cause, Error, Kind, Login, Party};
use crate::http::answer::retry_after;
use crate::http::pace::Pace;
use crate::http::policy::{Reach, Refusal};
use crate::http::transport::Transport;
use crate::http::trouble::innermost;
use crate::login::header::{basic, sensitive};
use crate::observe::{Meter, authority};

/// Life of a token whose answer does not state one (token specification: 60 seconds).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// Longest life that is accepted.
const LONGEST_LIFE: Duration = Duration::from_hours(1);

/// Subtracted from the life of a token, because clocks differ and requests take time.
const SKEW: Duration = Duration::from_secs(10);

/// A token answer is a few kilobytes; Azure's tokens are the longest known.
const MAX_TOKEN_BODY: usize = 256 * 1024;

/// A token as a header, with its end.
pub(crate) struct Token {
    pub authorization: SecretString,
    pub until: Instant,
}

/// A request to a token endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub realm: &'a Url,
    /// The addresses that the realm may have.
    pub reach: Reach,
    pub service: Option<&'a str>,
    pub scope: &'a str,
    pub credential: Option<&'a Credential>,
}

/// Asks a token endpoint.
pub(crate) async fn fetch(
    transport: &Transport,
    repository: &Repository,
    question: Question<'_>,
) -> Result<Token, Error> {
    let Question { realm, reach, credential, .. } = question;
    let endpoint = Endpoint { repository, authority: authority(realm), reach };
    transport.policy().check_url(realm, reach).map_err(|refusal| endpoint.refused(refusal))?;
    let http = transport.client_for(repository, realm, reach)?;
    let sent = transport.token(realm, request(&http, question)).await?;
    let (response, meter) = sent.map_err(|error| match Refusal::within(&error) {
        Some(refusal) => endpoint.refused(refusal),
        None => endpoint.unavailable(&format!("cannot be reached: {}", innermost(&error))),
    })?;
    endpoint.check_status(&response, credential)?;
    let body = bounded(response, meter).await.map_err(|why| endpoint.unavailable(&why))?;
    let answer =
        read(&body).ok_or_else(|| endpoint.unavailable("answered with something that is no token"))?;
    let token = [&answer.token, &answer.access_token]
        .map(SecretString::expose_secret)
        .into_iter()
        .find(|token| !token.is_empty() && HeaderValue::from_str(token).is_ok())
        .ok_or_else(|| endpoint.unavailable("answered without a usable token"))?;
    let authorization = format!("Bearer {token}").into();
    Ok(Token { authorization, until: Instant::now() + answer.life().saturating_sub(SKEW) })
}

/// The endpoint that a question goes to, as errors name it.
struct Endpoint<'a> {
    repository: &'a Repository,
    authority: String,
    reach: Reach,
}

impl Endpoint<'_> {
    /// The policy does not let a request go to the endpoint.
    fn refused(&self, refusal: Refusal) -> Error {
        let repository = self.repository;
        if self.reach == Reach::Anywhere {
            return refusal.into_error().at(&repository.to_string());
        }
        Error::new(
            Kind::TokenEndpoint,
            format!(
                "{repository}: the registry names a token endpoint that is refused: {refusal}, which it has no business to name"
            ),
        )
    }

    fn unavailable(&self, why: &str) -> Error {
        let Self { repository, authority, .. } = self;
        Error::new(
            Kind::Unavailable(Cause::Other),
            format!("{repository}: the token endpoint {authority} {why}"),
        )
    }

    /// Returns an error for every status but 200.
    fn check_status(
        &self,
        response: &reqwest::Response,
        credential: Option<&Credential>,
    ) -> Result<(), Error> {
        let Self { repository, authority, .. } = self;
        match response.status() {
            StatusCode::OK => Ok(()),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) => {
                let login = if credential.is_some() { Login::Refused } else { Login::Missing };
                let message = format!("{repository}: the token endpoint {authority} answered {status}");
                Err(Error::new(Kind::Unauthorized(login), message).answered(status.as_u16(), None))
            }
            status if status.is_redirection() => Err(self.unavailable(&format!(
                "answered {status}, and credentials go where the registry said and no further"
            ))),
            status => {
                let kind = match status {
                    StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited(Party::TokenEndpoint),
                    _ => Kind::Unavailable(Cause::Status(Party::TokenEndpoint)),
                };
                let after = retry_after(response.headers(), SystemTime::now());
                let error = self.unavailable(&format!("answered {status}")).of_kind(kind);
                Err(error.answered(status.as_u16(), after))
            }
        }
    }
}

/// `GET` with user name and password, or `POST` with an identity token.
fn request(http: &reqwest::Client, question: Question<'_>) -> reqwest::RequestBuilder {
    let Question { realm, service, scope, credential, .. } = question;
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
    let mut pace = Pace::begin();
    while let Some(chunk) = pace.next(&mut response).await? {
        meter.add(chunk.len());
        body.extend_from_slice(&chunk);
        if body.len() > MAX_TOKEN_BODY {
            return Err(format!("answered with more than {MAX_TOKEN_BODY} bytes"));
        }
    }
    Ok(body)
}

/// The needed members of the answer: the token under one of its two names, and its life.
#[derive(Default)]
struct Answer {
    token: SecretString,
    access_token: SecretString,
    seconds: Option<f64>,
}

impl Answer {
    /// A stated life that is not positive counts as not stated.
    fn life(&self) -> Duration {
        let said = self.seconds.filter(|&seconds| seconds > 0.0);
        said.map_or(DEFAULT_LIFE, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFE))
            .min(LONGEST_LIFE)
    }
}

/// Parses an answer. If the life is a number that the parser does not accept, it parses again without the life.
fn read(body: &[u8]) -> Option<Answer> {
    let text = go_json::text(body);
    let timed = serde_json::from_str::<Read<true>>(&text).map(|Read(answer)| answer);
    timed.or_else(|_| serde_json::from_str::<Read<false>>(&text).map(|Read(answer)| answer)).ok()
}

struct Read<const TIMED: bool>(Answer);

impl<'de, const TIMED: bool> Deserialize<'de> for Read<TIMED> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor::<TIMED>)
    }
}

struct AnswerVisitor<const TIMED: bool>;

impl<'de, const TIMED: bool> Visitor<'de> for AnswerVisitor<TIMED> {
    type Value = Read<TIMED>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut answer = Answer::default();
        while let Some(key) = members.next_key::<Cow<'_, str>>()? {
            let place = if is_named(&key, "token") {
                &mut answer.token
            } else if is_named(&key, "access_token") {
                &mut answer.access_token
            } else {
                if TIMED && is_named(&key, "expires_in") {
                    answer.seconds = match members.next_value::<Member>()? {
                        Member::Number(seconds) => Some(seconds),
                        Member::Text(text) => text.expose_secret().trim().parse().ok(),
                        Member::Null | Member::Other => None,
                    };
                } else {
                    members.next_value::<IgnoredAny>()?;
                }
                continue;
            };
            if let Member::Text(text) = members.next_value::<Member>()? {
                *place = text;
            }
        }
        Ok(Read(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens are used with any other members. If the life is invalid, the default applies.
    #[rstest::rstest]
    #[case::usual(r#"{"token":"t","expires_in":300}"#, 300)]
    #[case::no_life(r#"{"token":"t"}"#, 60)]
    #[case::other_name(r#"{"access_token":"t","expires_in":300,"token_type":"Bearer"}"#, 300)]
    #[case::null_access_token(r#"{"token":"t","access_token":null}"#, 60)]
    #[case::null_token(r#"{"token":null,"access_token":"t"}"#, 60)]
    #[case::empty_token(r#"{"token":"","access_token":"t"}"#, 60)]
    #[case::token_of_another_kind(r#"{"token":{"a":[1]},"access_token":"t"}"#, 60)]
    #[case::null_life(r#"{"token":"t","expires_in":null}"#, 60)]
    #[case::life_in_quotes(r#"{"token":"t","expires_in":"300"}"#, 300)]
    #[case::life_in_words(r#"{"token":"t","expires_in":"soon"}"#, 60)]
    #[case::negative_life(r#"{"token":"t","expires_in":-1}"#, 60)]
    #[case::no_time(r#"{"token":"t","expires_in":0}"#, 60)]
    #[case::part_of_a_second(r#"{"token":"t","expires_in":299.5}"#, 299)]
    #[case::long_life(r#"{"token":"t","expires_in":99999999999999999999999}"#, 3600)]
    #[case::endless_life(r#"{"token":"t","expires_in":1e999}"#, 60)]
    #[case::life_of_another_kind(r#"{"token":"t","expires_in":{"seconds":300}}"#, 60)]
    #[case::more(r#"{"issued_at":null,"scope":["a",{"b":null}],"token":"t","x":1e999}"#, 60)]
    #[case::twice(r#"{"token":"old","token":"t"}"#, 60)]
    #[case::upper_case(r#"{"Token":"t","Expires_In":300}"#, 300)]
    #[case::surrogate(r#"{"token":"t","note":"\ud800"}"#, 60)]
    #[case::byte_order_mark("\u{feff}{\"token\":\"t\"}", 60)]
    fn takes_what_go_takes(#[case] body: &str, #[case] seconds: u64) {
        let answer = read(body.as_bytes()).unwrap();
        assert!([&answer.token, &answer.access_token].iter().any(|token| token.expose_secret() == "t"));
        assert_eq!(answer.life().as_secs(), seconds);
    }

    #[rstest::rstest]
    #[case("null")]
    #[case("[]")]
    #[case("\"t\"")]
    #[case("<html>")]
    #[case(r#"{"token":"t""#)]
    fn what_is_no_answer_is_none(#[case] body: &str) {
        assert!(read(body.as_bytes()).is_none());
    }
}
