//! Advice about a failure, in the words of its reader: the author of a resource, or the user of a command.

/// Advice about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// No credentials were given.
    GiveCredentials,
    /// The credentials that were given are not accepted.
    CheckCredentials,
    /// The credentials are accepted, but lack the right.
    GrantPull,
    /// One kind of request is refused, and others with the same credentials are answered.
    AllowRequest,
    /// Requests are limited.
    AskLess,
    /// The operator used HTTPS, and the server speaks HTTP.
    SpeakHttp,
    /// The operator used HTTP, and the server speaks HTTPS.
    SpeakHttps,
    /// Its certificate is not trusted.
    TrustCertificate,
    /// The image does not exist.
    PushImage,
    /// Nobody listens there, or the host does not exist.
    CheckHost,
    /// The reader can do nothing.
    Wait,
    /// The same, at another host that the registry redirects to.
    WaitElsewhere,
    /// Another host that the registry redirects to limits requests.
    Limited,
    /// It is tried again.
    Retry,
    /// A store of blobs refuses a URL that the registry has signed for it.
    CompareClocks,
    /// A file has an invalid name.
    RenameFile,
    /// A manifest breaks a rule.
    ReplaceManifest,
    /// A manifest is too long.
    ReduceManifest,
    /// A part of the artifact is gone.
    AttachAgain,
    /// A link or special file is where a file should be.
    AttachRegularFile,
    /// Its directories are too large.
    AttachLess,
    /// Its directories have too many entries.
    AttachFewer,
    /// Its files have no names.
    AttachByOras,
    /// Too many artifacts are attached to the image.
    DeleteOld,
}

impl Advice {
    /// The advice for the author of a resource.
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
            Self::PushImage => "push it, or correct spec.image",
            Self::CheckHost => "check the host and port in spec.image, and that the registry runs",
            Self::Wait => "this is for the registry's operator to mend; it is tried again",
            Self::WaitElsewhere => "this is for whoever runs that host to mend; it is tried again",
            Self::Limited => "it limits requests",
            Self::Retry => "it is tried again",
            Self::CompareClocks => {
                "it was sent no credentials, only the URL that the registry gave: that has expired (compare the clocks of registry and store), or the store's policy or a proxy on the way refuses it; it is tried again with a new URL"
            }
            Self::RenameFile => "attach the file again under a plain relative name",
            Self::ReplaceManifest => "delete it from the registry, or attach it again",
            Self::ReduceManifest => "delete it from the registry, or attach less",
            Self::AttachAgain => "attach the config again",
            Self::AttachRegularFile => "only regular files become config, so attach the file it stands for",
            Self::AttachLess => "attach less",
            Self::AttachFewer => "attach fewer files",
            Self::AttachByOras => "attach the files with 'oras attach'",
            Self::DeleteOld => "delete old artifacts from the registry",
        }
    }

    /// The advice for the user of a command, who has flags and a Docker configuration. `host` is that of the registry.
    #[must_use]
    pub fn at_the_command_line(self, host: &str) -> String {
        match self {
            Self::GiveCredentials => {
                format!("no credentials are given for it; log in with '{}'", login(host))
            }
            Self::CheckCredentials => {
                format!("it does not accept your credentials; log in again with '{}'", login(host))
            }
            Self::GrantPull => {
                "your credentials lack the right to pull; ask for it in the registry".to_owned()
            }
            Self::AskLess => {
                "the registry limits requests; wait, or use credentials with a higher limit".to_owned()
            }
            Self::SpeakHttp => "it speaks HTTP; add --plain-http".to_owned(),
            Self::SpeakHttps => "it speaks HTTPS; leave out --plain-http".to_owned(),
            Self::TrustCertificate => {
                "name the certificate of its authority in SSL_CERT_FILE, or correct the certificate"
                    .to_owned()
            }
            Self::PushImage => "push it, or correct its name".to_owned(),
            Self::CheckHost => "check its host and port, and that the registry runs".to_owned(),
            Self::Wait => "this is for the registry's operator to mend; try again later".to_owned(),
            // Advice about the registry or the artifact is the same for all readers.
            Self::AllowRequest
            | Self::WaitElsewhere
            | Self::Limited
            | Self::Retry
            | Self::CompareClocks
            | Self::RenameFile
            | Self::ReplaceManifest
            | Self::ReduceManifest
            | Self::AttachAgain
            | Self::AttachRegularFile
            | Self::AttachLess
            | Self::AttachFewer
            | Self::AttachByOras
            | Self::DeleteOld => self.on_a_resource().to_owned(),
        }
    }
}

/// Without a host, `docker login` means Docker Hub.
fn login(host: &str) -> String {
    if host == "index.docker.io" { "docker login".to_owned() } else { format!("docker login {host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Advice; 24] = [
        Advice::GiveCredentials,
        Advice::CheckCredentials,
        Advice::GrantPull,
        Advice::AllowRequest,
        Advice::AskLess,
        Advice::SpeakHttp,
        Advice::SpeakHttps,
        Advice::TrustCertificate,
        Advice::PushImage,
        Advice::CheckHost,
        Advice::Wait,
        Advice::WaitElsewhere,
        Advice::Limited,
        Advice::Retry,
        Advice::CompareClocks,
        Advice::RenameFile,
        Advice::ReplaceManifest,
        Advice::ReduceManifest,
        Advice::AttachAgain,
        Advice::AttachRegularFile,
        Advice::AttachLess,
        Advice::AttachFewer,
        Advice::AttachByOras,
        Advice::DeleteOld,
    ];

    #[test]
    fn without_a_resource_no_field_is_named() {
        for advice in ALL {
            let said = advice.at_the_command_line("r.example:5000");
            assert!(!said.contains("spec."), "{said}");
            assert!(!advice.on_a_resource().contains("--"), "{advice:?}");
        }
        assert!(
            Advice::GiveCredentials
                .at_the_command_line("r.example:5000")
                .contains("docker login r.example:5000")
        );
        assert!(Advice::GiveCredentials.at_the_command_line("index.docker.io").ends_with("'docker login'"));
    }
}
