//! The closed set of outcomes: one enum for condition reason, event reason, metric label and log field.

use strum::{Display, IntoStaticStr, VariantArray};

/// Why a resource is in its present state.
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
    /// The workload that `spec.workloadRef` names does not exist, or its kind does not.
    WorkloadNotFound,
    /// The workload cannot be read.
    WorkloadUnavailable,
    /// The pods of the workload do not tell which image they run, or run several.
    ImageUnknown,
    /// The registry says that the image does not exist.
    ImageNotFound,
    /// The registry says that nothing of this type is attached.
    ArtifactNotFound,
    /// `spec.rollbackTo` names a config that is neither a revision nor attached to the image.
    RevisionNotFound,
    /// Several artifacts match and the policy does not choose among them.
    AmbiguousArtifact,
    /// The flags of the operator do not permit this registry.
    RegistryNotAllowed,
    /// A referenced Secret or `ServiceAccount` does not exist.
    CredentialsNotFound,
    /// A referenced Secret does not have the form that its use requires.
    InvalidCredentials,
    /// The registry wants credentials, or rejects those that it received.
    AuthenticationFailed,
    /// The registry knows the caller and refuses.
    Forbidden,
    /// The registry limits the rate of requests.
    RateLimited,
    /// No usable answer from the registry.
    RegistryUnavailable,
    /// The bytes from the registry do not have the expected digest or size.
    DigestMismatch,
    /// The artifact, or the list of referrers, contradicts itself or its specification.
    InvalidContent,
    /// The artifact has a form that holds no files.
    UnsupportedArtifact,
    /// The files cannot become keys: bad names, collisions, an entry that matches nothing.
    InvalidFiles,
    /// The config is larger than a `ConfigMap` can hold, or than the operator reads.
    TooLarge,
    /// The config lacks a key that the pods of the workload cannot start without.
    KeyMissing,
    /// With `Merge`: the target does not exist.
    TargetNotFound,
    /// The target exists and belongs to someone else.
    TargetConflict,
    /// The namespace is being deleted, and the API server accepts no new objects in it.
    NamespaceTerminating,
    /// The API server refused a write, or did not answer.
    ApplyFailed,
    /// The operator itself failed: a bug.
    InternalError,
}

/// How the operator continues after a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No failure.
    Done,
    /// Somebody must act: on the resource, the artifact or the target. The operator reconciles again at every interval,
    /// because a change of an artifact in the registry does not change the resource.
    Terminal,
    /// The cause may disappear by itself, or someone may remove it outside of the resource. The operator reconciles again
    /// at every interval.
    Waiting,
    /// The operator tries again soon, and then after longer and longer waits up to the interval.
    Transient,
}

impl Reason {
    /// The word that stands in conditions, events, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// How the operator continues after this reason.
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
            Self::WorkloadNotFound
            | Self::KeyMissing
            | Self::ImageUnknown
            | Self::ImageNotFound
            | Self::ArtifactNotFound
            | Self::CredentialsNotFound
            | Self::AuthenticationFailed
            | Self::Forbidden
            | Self::RateLimited
            | Self::TargetNotFound
            | Self::NamespaceTerminating => Class::Waiting,
            Self::WorkloadUnavailable
            | Self::RegistryUnavailable
            | Self::DigestMismatch
            | Self::ApplyFailed
            | Self::InternalError => Class::Transient,
        }
    }
}
