//! Names that the policies and the pods carry.

/// Name of the `MutatingAdmissionPolicy` and of its binding.
pub const MUTATING: &str = "bind.artifactconfig.dev";

/// Name of the `ValidatingAdmissionPolicy` and of its binding.
pub const VALIDATING: &str = "require.bind.artifactconfig.dev";

/// Label of the four objects. Its value is [`super::version`] of the program that printed them.
pub const VERSION: &str = "artifactconfig.dev/policy";

/// The annotation that the kubelet sets on the pods that it creates itself.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// The rest of the key after the name of the `ArtifactConfig`. The name is in the prefix, because the part behind the slash
/// may have 63 characters only.
pub(super) const REVISION: &str = ".artifactconfig.dev/revision";
pub(super) const BOUND: &str = ".artifactconfig.dev/bound";

/// Key of the annotation by which a pod asks for one of the revisions of its image.
#[must_use]
pub fn revision_key(config: &str) -> String {
    format!("{config}{REVISION}")
}

/// Key of the annotation that names the revision of a bound pod.
#[must_use]
pub fn bound_key(config: &str) -> String {
    format!("{config}{BOUND}")
}
