//! Authorizes requests: answers challenges, fetches tokens, and remembers both.
//!
//! Tokens are remembered per repository and credential. A cache keyed by registry alone would hand one tenant's
//! token to another.

use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use moka::sync::Cache;
use secrecy::SecretString;

use crate::credentials::access::{Repository, RepositoryKey};
use crate::credentials::credential::Credential;
use crate::error::{Error, Kind, Login};
use crate::http::answer::{Answer, Shown};
use crate::http::call::Call;
use crate::http::policy::Reach;
use crate::http::transport::Transport;
use crate::login::challenge::{self, Asked, Challenge, Namer};
use crate::login::header::{basic, sensitive};
use crate::login::token::{self, Question};

/// Repositories whose authorization is remembered. Beyond this number, the least used ones need a new one.
const REMEMBERED: u64 = 10_000;

/// How long a repository that nobody asks for is remembered.
const IDLE: Duration = Duration::from_hours(24);

/// The header that answered a challenge.
#[derive(Clone)]
struct Grant {
    authorization: SecretString,
    until: Option<Instant>,
}

/// The challenge of a registry, with the reach that was allowed when it came.
#[derive(Clone)]
enum Demand {
    Password,
    Token { realm: reqwest::Url, reach: Reach, service: Option<String>, scope: String },
}

/// The authorization that worked for a repository: the grant, and the demand that the next grant answers without a
/// refused request.
#[derive(Clone)]
struct Remembered {
    grant: Grant,
    demand: Demand,
    credential: Option<Credential>,
}

/// Answers challenges and remembers the authorizations that worked.
pub(crate) struct Authorizer {
    remembered: Cache<RepositoryKey, Remembered>,
}

impl Authorizer {
    pub(crate) fn new() -> Self {
        Self { remembered: Cache::builder().max_capacity(REMEMBERED).time_to_idle(IDLE).build() }
    }

    /// Sends a request: first with the authorization that worked before, then without one, then with each credential in
    /// turn.
    ///
    /// A 401 of the registry itself is never returned; it becomes an [`Error`]. A 403 is returned only if no credential
    /// is left to try.
    pub(crate) async fn send(
        &self,
        transport: &Transport,
        repository: &Repository,
        call: &Call,
    ) -> Result<Answer, Error> {
        let key = repository.key();
        let mut shown = Shown::Credentials;
        let mut refused_before = None;
        if let Some(remembered) = self.recall(transport, repository, &key).await {
            let answer = transport.send(repository, call, Some(&remembered)).await?;
            // An expired token is a 401, with ECR a 403 (kcl-lang/kpm#698).
            if answer.moved || !is_refusal(answer.status) {
                return Ok(answer);
            }
            self.remembered.invalidate(&key);
            shown = Shown::Accepted;
            refused_before = Some(Answer { shown, ..answer });
        }
        let answer = transport.send(repository, call, None).await?;
        // The challenge of another host than the registry's own is not answered: it could name any token endpoint, and
        // would be sent credentials that are not for it.
        if answer.status != StatusCode::UNAUTHORIZED || answer.moved {
            // If requests with and without credentials are refused, the error is about the credentials.
            let is_forbidden = answer.status == StatusCode::FORBIDDEN && !answer.moved;
            return Ok(refused_before.filter(|_| is_forbidden).unwrap_or(answer));
        }
        let challenges = match challenge::parse(&answer.headers) {
            Asked::Readable(challenges) => challenges,
            nothing => return Err(repository.explain(unreadable(repository, call, &answer, &nothing))),
        };
        let (demands, mut refusal) = demands(repository, call, &challenges, answer);
        let credentials = repository.credentials.iter().map(Some);
        let anonymous = repository.credentials.is_empty().then_some(None);
        for credential in credentials.chain(anonymous) {
            for demand in &demands {
                let grant = match answer_demand(transport, repository, demand, credential).await {
                    Ok(Some(grant)) => grant,
                    Ok(None) => continue,
                    Err(error) if error.kind().is_unauthorized() => {
                        refusal = Refusal::Known(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let mut answer =
                    transport.send(repository, call, sensitive(&grant.authorization).as_ref()).await?;
                answer.shown = if credential.is_some() { shown } else { Shown::Nothing };
                match answer.status {
                    StatusCode::UNAUTHORIZED => refusal = Refusal::Unauthorized(answer),
                    StatusCode::FORBIDDEN => refusal = Refusal::Forbidden(answer),
                    _ => {
                        let (demand, credential) = (demand.clone(), credential.cloned());
                        self.remembered.insert(key, Remembered { grant, demand, credential });
                        return Ok(answer);
                    }
                }
            }
        }
        if let Some((answer, remembered)) = without_credentials(transport, repository, call, &demands).await {
            self.remembered.insert(key, remembered);
            return Ok(answer);
        }
        match refusal {
            Refusal::Forbidden(answer) => Ok(answer),
            Refusal::Unauthorized(answer) => Err(repository.explain(answer.to_error(repository, call))),
            Refusal::Known(error) => Err(repository.explain(error)),
        }
    }

    /// The grant that worked before; if it has expired, a new one for the same challenge.
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
        let Remembered { demand, credential, .. } = remembered;
        // An error here is not reported: it happens again, and is reported, when the registry sends its challenge.
        let grant = answer_demand(transport, repository, &demand, credential.as_ref()).await.ok()??;
        let header = sensitive(&grant.authorization);
        self.remembered.insert(key.clone(), Remembered { grant, demand, credential });
        header
    }
}

const fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Why no request was authorized so far.
enum Refusal {
    Unauthorized(Answer),
    Forbidden(Answer),
    Known(Error),
}

/// The challenges that can be answered. If none can be, the error for it.
fn demands(
    repository: &Repository,
    call: &Call,
    challenges: &[Challenge],
    answer: Answer,
) -> (Vec<Demand>, Refusal) {
    let namer = Namer { url: &call.url, peer: answer.peer };
    let mut demands = Vec::new();
    let mut refused = None;
    for challenge in challenges {
        match challenge {
            Challenge::Basic => demands.push(Demand::Password),
            Challenge::Bearer { realm, service, scope } => match challenge::reach_of(realm, namer) {
                Ok(reach) => demands.push(Demand::Token {
                    realm: realm.clone(),
                    reach,
                    service: service.clone(),
                    scope: challenge::scope(scope.as_deref(), &repository.path),
                }),
                Err(why) => {
                    refused = Some(Error::new(
                        Kind::TokenEndpoint,
                        format!("{repository}: the registry names a token endpoint that is refused: {why}"),
                    ));
                }
            },
        }
    }
    (demands, refused.map_or(Refusal::Unauthorized(answer), Refusal::Known))
}

/// The registry wants a login and sends no readable challenge. No credential was tried, so none is the cause.
fn unreadable(repository: &Repository, call: &Call, answer: &Answer, asked: &Asked) -> Error {
    let what = match asked {
        Asked::Nothing => "without a challenge (the header WWW-Authenticate)",
        _ => {
            "with a challenge that cannot be read: the header WWW-Authenticate has neither Basic nor Bearer with the URL of a token endpoint"
        }
    };
    let status = answer.status;
    let message = format!("{repository}: the registry answered {status} to {} {what}", call.operation);
    let error = |login| Error::new(Kind::Unauthorized(login), message).answered(status.as_u16(), None);
    if repository.credentials.is_empty() {
        return error(Login::Missing);
    }
    error(Login::Unasked).and("the credentials that are given for it were not sent")
}

/// If every credential was refused, tries without credentials, because the content may be public. Only a successful
/// answer counts: a "not found" without credentials means nothing for a private repository.
async fn without_credentials(
    transport: &Transport,
    repository: &Repository,
    call: &Call,
    demands: &[Demand],
) -> Option<(Answer, Remembered)> {
    if repository.credentials.is_empty() {
        return None;
    }
    for demand in demands {
        let Ok(Some(grant)) = answer_demand(transport, repository, demand, None).await else { continue };
        let sent = transport.send(repository, call, sensitive(&grant.authorization).as_ref()).await;
        if let Ok(answer) = sent
            && answer.status.is_success()
        {
            let host = &repository.host;
            transport.once_a_day(repository, &format!("the registry {host} refuses the credentials that are given for {repository}, which is read without"));
            return Some((answer, Remembered { grant, demand: demand.clone(), credential: None }));
        }
    }
    None
}

/// The header that answers a demand; `None` if it cannot be answered with this credential.
async fn answer_demand(
    transport: &Transport,
    repository: &Repository,
    demand: &Demand,
    credential: Option<&Credential>,
) -> Result<Option<Grant>, Error> {
    match demand {
        Demand::Password => {
            Ok(credential.map(|credential| Grant { authorization: basic(credential), until: None }))
        }
        Demand::Token { realm, reach, service, scope } => {
            let question = Question { realm, reach: *reach, service: service.as_deref(), scope, credential };
            let token = token::fetch(transport, repository, question).await?;
            Ok(Some(Grant { authorization: token.authorization, until: Some(token.until) }))
        }
    }
}
