//! What to do about a failure, said to who reads it: the one who wrote a resource, or the one at a command line.

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// No credentials were given.
    GiveCredentials,
    /// The credentials that were given are not accepted.
    CheckCredentials,
    /// The credentials are accepted, and may not do this.
    GrantPull,
    /// What was refused is one kind of request, while others with the same credentials are answered.
    AllowRequest,
    /// Requests are limited.
    AskLess,
    /// HTTPS was spoken to somebody who speaks HTTP.
    SpeakHttp,
    /// HTTP was spoken to somebody who speaks HTTPS.
    SpeakHttps,
    /// Its certificate is not trusted.
    TrustCertificate,
    /// Nobody listens there, or there is no such host.
    CheckHost,
    /// Nothing that the reader can do.
    Wait,
}

impl Advice {
    /// To the one who wrote a resource.
    #[must_use]
    pub const fn on_a_resource(self) -> &'static str {
        match self {
            Self::GiveCredentials => {
                "no credentials are given for it; name a Secret with them in spec.registry.pullSecrets"
            }
            Self::CheckCredentials => {
                "it does not accept the credentials of spec.registry.pullSecrets; check user name, password and expiry"
            }
            Self::GrantPull => "the credentials lack the right to pull; grant it in the registry",
            Self::AllowRequest => {
                "it has just answered other requests with the same credentials, so it refuses this kind alone; allow it in the registry, or in what stands in front of it"
            }
            Self::AskLess => {
                "the registry limits requests; raise spec.interval or use credentials with a higher limit"
            }
            Self::SpeakHttp => {
                "it speaks HTTP; set spec.registry.plainHttp to true, or give it a certificate"
            }
            Self::SpeakHttps => "it speaks HTTPS; remove spec.registry.plainHttp",
            Self::TrustCertificate => {
                "name a Secret with the certificate of its authority in spec.registry.certSecretRef, or correct the certificate"
            }
            Self::CheckHost => "check the host and port in spec.image, and that the registry runs",
            Self::Wait => "this is for the registry's operator to mend; it is tried again",
        }
    }

    /// To the one at a command line, who has flags and a Docker configuration.
    #[must_use]
    pub const fn at_the_command_line(self) -> &'static str {
        match self {
            Self::GiveCredentials => {
                "no credentials are given for it; log in with 'docker login' or 'oras login'"
            }
            Self::CheckCredentials => {
                "it does not accept your credentials; log in again with 'docker login' or 'oras login'"
            }
            Self::GrantPull => "your credentials lack the right to pull; ask for it in the registry",
            Self::AllowRequest => self.on_a_resource(),
            Self::AskLess => "the registry limits requests; wait, or use credentials with a higher limit",
            Self::SpeakHttp => "it speaks HTTP; add --plain-http",
            Self::SpeakHttps => "it speaks HTTPS; leave out --plain-http",
            Self::TrustCertificate => {
                "name the certificate of its authority in SSL_CERT_FILE, or correct the certificate"
            }
            Self::CheckHost => "check its host and port, and that the registry runs",
            Self::Wait => "this is for the registry's operator to mend; try again later",
        }
    }
}
