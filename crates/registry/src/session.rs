//! [`Session`]: one repository, reached with one set of rights.

use http::header::HeaderName;
use http::{Method, StatusCode};
use oci::{Digest, RepositoryRef};
use reqwest::Url;

use crate::client::OciRegistry;
use crate::credentials::access::{Access, Repository};
use crate::error::{Error, Kind, Login};
use crate::http::answer::{Answer, Read, Sent};
use crate::http::call::{Call, RESOLVE};

/// Blobs or manifests of one artifact that are fetched side by side: a config has few files, and a registry counts
/// connections.
pub(crate) const FETCHES: usize = 4;

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl OciRegistry {
    /// A repository, as this caller may reach it.
    pub(crate) async fn session(
        &self,
        access: &Access,
        repository: &RepositoryRef,
    ) -> Result<Session<'_>, Error> {
        self.policy.check(repository)?;
        let more = self.plugins.credentials(repository).await;
        Ok(Session { client: self, repository: access.repository(repository, more)? })
    }
}

/// One repository, reached with one set of rights.
pub(crate) struct Session<'a> {
    pub(crate) client: &'a OciRegistry,
    pub(crate) repository: Repository,
}

impl Session<'_> {
    pub(crate) fn call(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        accept: Option<String>,
    ) -> Result<Call, Error> {
        let repository = &self.repository;
        let url = format!("{}://{}/v2/{}/{path}", repository.scheme(), repository.host, repository.path);
        let url: Url = url.parse().map_err(|error| {
            Error::new(Kind::Host, format!("'{}' is not a registry host: {error}", repository.host))
        })?;
        Ok(Call { operation, method, url, accept, take_foreign_answer: false, take_last_answer: false })
    }

    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, Error> {
        let client = self.client;
        let answer = client.authorizer.send(&client.transport, &self.repository, call).await;
        match answer {
            Ok(answer) => {
                if answer.status.is_success() && !answer.moved {
                    client.admitted.insert(self.repository.key(), ());
                }
                Ok(answer)
            }
            Err(error) => Err(self.explained(error, call)),
        }
    }

    /// The error that the status of an answer stands for.
    pub(crate) fn refusal(&self, answer: &Answer, call: &Call) -> Error {
        let error = answer.to_error(&self.repository, call);
        if answer.moved { error } else { self.explained(error, call) }
    }

    /// Credentials that were accepted just before are not the cause.
    fn explained(&self, error: Error, call: &Call) -> Error {
        let admitted = match error.kind() {
            Kind::Unauthorized(Login::Refused) => Kind::Unauthorized(Login::Admitted),
            Kind::Forbidden(Login::Refused) => Kind::Forbidden(Login::Admitted),
            _ => return error,
        };
        let is_admitted =
            call.operation != RESOLVE && self.client.admitted.contains_key(&self.repository.key());
        if is_admitted { error.of_kind(admitted) } else { error }
    }

    /// The digest from `HEAD`; `None` if `GET` has to decide.
    ///
    /// # Errors
    /// If no answer comes, or if the answer asks for fewer requests.
    pub(crate) async fn head(
        &self,
        operation: &'static str,
        path: &str,
        accept: String,
    ) -> Result<Option<Digest>, Error> {
        let mut call = self.call(operation, Method::HEAD, path, Some(accept))?;
        call.take_last_answer = true;
        match self.send(&call).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(digest_header(&answer)),
            Ok(answer) if answer.wants_less() => Err(self.refusal(&answer, &call)),
            Ok(_) => Ok(None),
            Err(error) if error.kind().is_unauthorized() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A body; `None` for 404.
    pub(crate) async fn get(
        &self,
        operation: &'static str,
        path: &str,
        accept: Option<String>,
        most: u64,
    ) -> Result<Option<Sent>, Error> {
        match self.read(operation, path, accept, most).await? {
            Some(Read::Whole(content)) => Ok(Some(content)),
            Some(Read::TooLong { error, .. }) => Err(error),
            None => Ok(None),
        }
    }

    /// The same for a caller that can use the beginning of a body that is too long.
    pub(crate) async fn read(
        &self,
        operation: &'static str,
        path: &str,
        accept: Option<String>,
        most: u64,
    ) -> Result<Option<Read>, Error> {
        let call = self.call(operation, http::Method::GET, path, accept)?;
        let answer = self.send(&call).await?;
        match answer.status {
            StatusCode::OK => answer.read(&self.repository, path, most, &self.client.room).await.map(Some),
            // Only a 404 of the registry itself counts, not one of another host that it redirects to.
            StatusCode::NOT_FOUND if !answer.moved => Ok(None),
            _ => Err(self.refusal(&answer, &call)),
        }
    }
}

/// The digest in the header of an answer, if it can be read.
fn digest_header(answer: &Answer) -> Option<Digest> {
    answer.headers.get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?.trim().parse().ok()
}
