//! Why no answer came, derived from the error of the HTTP client.

use std::error::Error;
use std::io;

use crate::error::Cause;

/// The usual causes of a missing answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The other side does not speak TLS.
    NoTls,
    /// The other side does not speak HTTP.
    NoHttp,
    /// The certificate is not accepted.
    Certificate,
    /// Nobody listens.
    Refused,
    /// The host does not exist.
    NoHost,
    /// No answer in time.
    Silence,
    /// Something else.
    Other,
}

impl Trouble {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        let mut found = if error.is_timeout() { Self::Silence } else { Self::Other };
        while let Some(error) = cause {
            if let Some(tls) = tls_error(error) {
                return match tls {
                    rustls::Error::InvalidMessage(_) => Self::NoTls,
                    rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                        Self::Certificate
                    }
                    _ => Self::Other,
                };
            }
            let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            if error.downcast_ref::<io::Error>().is_some_and(refused) {
                return Self::Refused;
            }
            let said = error.to_string();
            if said.starts_with("dns error") || said.starts_with("failed to lookup address") {
                found = Self::NoHost;
            } else if said.starts_with("invalid HTTP") {
                found = Self::NoHttp;
            }
            cause = error.source();
        }
        found
    }

    /// Says what happened, without any text that the other side sent.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::NoTls => "cannot be reached: what it answers is no TLS",
            Self::NoHttp => "cannot be reached: what it answers is no HTTP",
            Self::Certificate => "cannot be reached: its certificate is not accepted",
            Self::Refused => "cannot be reached: it refuses the connection",
            Self::NoHost => "cannot be reached: there is no such host",
            Self::Silence => "did not answer in time",
            Self::Other => "cannot be reached",
        }
    }

    /// The cause that it stands for if the registry itself was asked, by HTTP or HTTPS.
    pub(crate) const fn cause(self, plain_http: bool) -> Cause {
        match self {
            Self::NoTls => Cause::SpeaksHttp,
            Self::NoHttp if plain_http => Cause::SpeaksHttps,
            Self::Certificate => Cause::Certificate,
            Self::Refused | Self::NoHost => Cause::NoConnection,
            Self::NoHttp | Self::Silence | Self::Other => Cause::Other,
        }
    }
}

/// The error of the TLS library, which is wrapped in errors of input and output.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut error = error;
    while let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        error = inner;
    }
    error.downcast_ref()
}

/// The innermost cause, which is the useful one for a person: refused, unknown host, bad certificate.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = cause.to_string();
        source = cause.source();
    }
    message
}
