//! The closed set of outcomes: one enum for condition reason, event reason, metric label and log field.

use strum::{Display, IntoStaticStr, VariantArray};

/// Why the resource is in the state it is in.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
pub enum Reason {
    /// The selected config is in the target.
    Synced,
    /// The config that `spec.rollbackTo` names is in the target.
    RolledBack,
    /// `spec.suspend` is set.
    Suspended,
    /// A field of `spec` cannot be used.
    InvalidSpec,
    /// The registry says that the image does not exist.
    ImageNotFound,
    /// The registry says that nothing of this type is attached.
    ArtifactNotFound,
    /// `spec.rollbackTo` names a config that is neither a revision nor attached to the image.
    RevisionNotFound,
    /// Several artifacts match and the policy does not choose among them.
    AmbiguousArtifact,
    /// The operator is told not to ask that registry.
    RegistryNotAllowed,
    /// A referenced Secret or `ServiceAccount` is missing.
    CredentialsNotFound,
    /// A referenced Secret cannot be read as what it is referenced for.
    InvalidCredentials,
    /// The registry wants credentials, or does not accept the ones given.
    AuthenticationFailed,
    /// The registry knows the caller and says no.
    Forbidden,
    /// The registry asks to slow down.
    RateLimited,
    /// No usable answer from the registry.
    RegistryUnavailable,
    /// What the registry sent is not what it was asked for.
    DigestMismatch,
    /// What is attached contradicts itself or its specification.
    InvalidContent,
    /// What is attached is of a form that holds no files.
    UnsupportedArtifact,
    /// The files do not become keys: bad names, collisions, nothing that matches.
    InvalidFiles,
    /// More than a `ConfigMap` can hold.
    TooLarge,
    /// The target is to be merged into, and does not exist.
    TargetNotFound,
    /// The target exists and belongs to someone else.
    TargetConflict,
    /// The namespace is being deleted, and nothing new can be made in it.
    NamespaceTerminating,
    /// The API server did not take what was written.
    ApplyFailed,
    /// The operator itself failed; a bug.
    InternalError,
}

/// What kind of waiting a failure calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It works.
    Done,
    /// Somebody must act: on the resource, the artifact or the target. Looked at again at every interval, because
    /// acting on an artifact leaves no trace on the resource.
    Terminal,
    /// It may well come right by itself or by somebody's doing elsewhere; looked at again at every interval.
    Waiting,
    /// Tried again soon, and ever less often up to the interval.
    Transient,
}

impl Reason {
    /// The word that stands in conditions, events, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// How the operator goes on from here.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Synced | Self::RolledBack | Self::Suspended => Class::Done,
            Self::InvalidSpec
            | Self::RevisionNotFound
            | Self::AmbiguousArtifact
            | Self::RegistryNotAllowed
            | Self::InvalidCredentials
            | Self::InvalidContent
            | Self::UnsupportedArtifact
            | Self::InvalidFiles
            | Self::TooLarge
            | Self::TargetConflict => Class::Terminal,
            Self::ImageNotFound
            | Self::ArtifactNotFound
            | Self::CredentialsNotFound
            | Self::AuthenticationFailed
            | Self::Forbidden
            | Self::RateLimited
            | Self::TargetNotFound
            | Self::NamespaceTerminating => Class::Waiting,
            Self::RegistryUnavailable | Self::DigestMismatch | Self::ApplyFailed | Self::InternalError => {
                Class::Transient
            }
        }
    }
}
