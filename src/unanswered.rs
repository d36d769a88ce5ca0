//! What an error of the registry client means to the reader: its reason, and what to do about it.

use api::Reason;
use decide::{Advice, Failure};
use registry::{Bound, Cause, Defect, Error, Form, Kind, Login, Party};

/// The failure that this error is to the reader of a status, with its advice.
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "this is the form that `map_err` takes")]
pub fn failure(error: Error) -> Failure {
    let (reason, advice) = meaning(error.kind());
    let failure = match (error.kind(), error.repository()) {
        (Kind::NotPermitted(permitted), Some(repository)) => Failure::new(
            reason,
            format!(
                "{repository}: this operator may not ask that registry; its flag --allow-registry permits {}",
                permitted.join(", ")
            ),
        ),
        (Kind::Address { link_local: true, .. }, _) => {
            Failure::new(reason, format!("{} (see the flag --allow-link-local)", error.message()))
        }
        _ => Failure::new(reason, error.message()),
    };
    let failure = match advice {
        Some(advice) => failure.advised(advice),
        None => failure,
    };
    Failure { retry_after: error.retry_after(), ..failure.with_notes(error.notes()) }
}

/// The table: what each kind of error is called, and what to do about it.
const fn meaning(kind: &Kind) -> (Reason, Option<Advice>) {
    match kind {
        Kind::Host => (Reason::InvalidSpec, None),
        Kind::NotPermitted(_) | Kind::Address { by_name: false, .. } => (Reason::RegistryNotAllowed, None),
        // A name may lead somewhere else tomorrow.
        Kind::Address { by_name: true, .. } => (Reason::RegistryUnavailable, None),
        Kind::Credentials => (Reason::InvalidCredentials, None),
        Kind::Unauthorized(login) => (Reason::AuthenticationFailed, unauthorized(*login)),
        Kind::Forbidden(login) => (Reason::Forbidden, forbidden(*login)),
        Kind::TokenEndpoint => (Reason::AuthenticationFailed, None),
        Kind::RateLimited(party) => (Reason::RateLimited, Some(limited(*party))),
        Kind::Unavailable(cause) => (Reason::RegistryUnavailable, unavailable(*cause)),
        Kind::ImageNotFound => (Reason::ImageNotFound, Some(Advice::PushImage)),
        Kind::DigestMismatch => (Reason::DigestMismatch, None),
        Kind::Invalid(defect) => (Reason::InvalidContent, invalid(*defect)),
        Kind::TooLarge(bound) => (Reason::TooLarge, too_large(*bound)),
        Kind::Unsupported(form) => (Reason::UnsupportedArtifact, unsupported(*form)),
        Kind::FileName => (Reason::InvalidFiles, Some(Advice::RenameFile)),
        Kind::Misplaced | Kind::Filter => (Reason::InvalidFiles, None),
        Kind::Internal => (Reason::InternalError, None),
    }
}

const fn unauthorized(login: Login) -> Option<Advice> {
    match login {
        Login::Missing => Some(Advice::GiveCredentials),
        Login::Unsent => None,
        Login::Unasked => Some(Advice::Wait),
        Login::Refused => Some(Advice::CheckCredentials),
        Login::Admitted => Some(Advice::AllowRequest),
    }
}

const fn forbidden(login: Login) -> Option<Advice> {
    match login {
        Login::Missing => Some(Advice::GiveCredentials),
        Login::Unsent | Login::Unasked => None,
        Login::Refused => Some(Advice::GrantPull),
        Login::Admitted => Some(Advice::AllowRequest),
    }
}

const fn limited(party: Party) -> Advice {
    match party {
        Party::Registry => Advice::AskLess,
        Party::TokenEndpoint => Advice::Retry,
        Party::Elsewhere => Advice::Limited,
    }
}

const fn unavailable(cause: Cause) -> Option<Advice> {
    match cause {
        Cause::Status(Party::Registry) => Some(Advice::Wait),
        Cause::Status(Party::TokenEndpoint) => Some(Advice::Retry),
        Cause::Status(Party::Elsewhere) => Some(Advice::WaitElsewhere),
        Cause::SignedUrl => Some(Advice::CompareClocks),
        Cause::SpeaksHttp => Some(Advice::SpeakHttp),
        Cause::SpeaksHttps => Some(Advice::SpeakHttps),
        Cause::Certificate => Some(Advice::TrustCertificate),
        Cause::NoConnection => Some(Advice::CheckHost),
        Cause::Other => None,
    }
}

const fn invalid(defect: Defect) -> Option<Advice> {
    match defect {
        Defect::Manifest => Some(Advice::ReplaceManifest),
        Defect::Lost => Some(Advice::AttachAgain),
        Defect::SpecialFile => Some(Advice::AttachRegularFile),
        Defect::Other => None,
    }
}

const fn too_large(bound: Bound) -> Option<Advice> {
    match bound {
        Bound::Annotations => Some(Advice::ReplaceManifest),
        Bound::Manifest => Some(Advice::ReduceManifest),
        Bound::Listing => Some(Advice::DeleteOld),
        Bound::Inflated => Some(Advice::AttachLess),
        Bound::Entries => Some(Advice::AttachFewer),
        Bound::Budget | Bound::Bytes => None,
    }
}

const fn unsupported(form: Form) -> Option<Advice> {
    match form {
        Form::Manifest => Some(Advice::ReplaceManifest),
        Form::Untitled => Some(Advice::AttachByOras),
        Form::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind.
    fn kinds() -> Vec<Kind> {
        let address = |by_name| Kind::Address { by_name, link_local: true };
        let logins = [Login::Missing, Login::Unsent, Login::Unasked, Login::Refused, Login::Admitted];
        let parties = [Party::Registry, Party::TokenEndpoint, Party::Elsewhere];
        let causes = [
            Cause::SignedUrl,
            Cause::SpeaksHttp,
            Cause::SpeaksHttps,
            Cause::Certificate,
            Cause::NoConnection,
        ];
        let defects = [Defect::Manifest, Defect::Lost, Defect::SpecialFile, Defect::Other];
        let bounds = [Bound::Annotations, Bound::Manifest, Bound::Listing, Bound::Inflated];
        let bounds = bounds.into_iter().chain([Bound::Entries, Bound::Budget, Bound::Bytes]);
        let mut all = vec![
            Kind::NotPermitted(["r.example".to_owned()].into()),
            address(true),
            address(false),
            Kind::Credentials,
            Kind::TokenEndpoint,
            Kind::Unavailable(Cause::Other),
            Kind::ImageNotFound,
            Kind::DigestMismatch,
            Kind::FileName,
            Kind::Misplaced,
            Kind::Filter,
            Kind::Internal,
        ];
        all.extend(logins.into_iter().flat_map(|login| [Kind::Unauthorized(login), Kind::Forbidden(login)]));
        all.extend(
            parties
                .into_iter()
                .flat_map(|party| [Kind::RateLimited(party), Kind::Unavailable(Cause::Status(party))]),
        );
        all.extend(causes.map(Kind::Unavailable));
        all.extend(defects.map(Kind::Invalid));
        all.extend(bounds.map(Kind::TooLarge));
        all.extend([Form::Manifest, Form::Untitled, Form::Other].map(Kind::Unsupported));
        all
    }

    /// The client's own lists name what they leave out by its word.
    #[test]
    fn the_word_of_a_kind_is_that_of_its_reason() {
        for kind in kinds() {
            assert_eq!(kind.word(), meaning(&kind).0.as_str(), "{kind:?}");
        }
        assert_eq!(meaning(&Kind::Host).0, Reason::InvalidSpec, "the name of the host is a field");
    }

    #[test]
    fn a_message_says_what_happened_then_what_to_do_then_the_remarks() {
        let error = Error::new(Kind::Unauthorized(Login::Missing), "r.example/web: 401");
        let error = error.with_notes(&["seen".to_owned()]).at("shop");
        let advice = Advice::GiveCredentials.on_a_resource();
        let failure = failure(error);
        assert_eq!(failure.message, format!("shop: r.example/web: 401; {advice}; note: seen"));
        let said = failure.at_the_command_line("r.example");
        assert!(said.contains("'docker login r.example'") && said.ends_with("note: seen"), "{said}");
    }

    #[test]
    fn the_flags_of_the_operator_are_named_where_they_would_permit_it() {
        let address = |link_local| Kind::Address { by_name: false, link_local };
        let told = |kind| failure(Error::new(kind, "1.2.3.4 is there; it is not asked")).message;
        assert_eq!(
            told(address(true)),
            "1.2.3.4 is there; it is not asked (see the flag --allow-link-local)"
        );
        assert_eq!(told(address(false)), "1.2.3.4 is there; it is not asked");
    }
}
