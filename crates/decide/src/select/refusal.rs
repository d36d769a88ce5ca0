//! Messages for the case that nothing was selected. Types and annotations are text of others, so they are quoted.

use api::Reason;
use oci::{Artifact, VERSION, text, truncate};

use crate::Failure;
use crate::near;
use crate::spec::Selector;

use super::Question;

/// How many digests a message lists: enough to recognise the case, few enough for an event's 1 kB.
const LISTED: usize = 5;

/// How many types a message lists.
const TYPES: usize = 5;

/// How much of a type a message shows.
const QUOTED: usize = 80;

/// Nothing of the type is attached: suggests a similar type if one is attached, otherwise advises to attach the config.
pub(super) fn nothing_of_the_type(question: Question<'_>) -> Failure {
    let Question { artifact_type, image, .. } = question;
    let known: Vec<&str> = question.attached.iter().map(String::as_str).collect();
    let near = near::closest(artifact_type, &known);
    let attach = format!("attach it with 'oras attach --artifact-type {artifact_type} {image} FILE'");
    let advice = match (near.as_slice(), known.as_slice()) {
        ([], []) => attach,
        ([], known) => {
            format!(
                "the attached artifacts are of type {}; correct spec.artifactType, or {attach}",
                types(known)
            )
        }
        (near, known) => {
            let meant: Vec<String> = near.iter().map(|name| quoted(name)).collect();
            let rest: Vec<&str> = known.iter().copied().filter(|name| !near.contains(name)).collect();
            let rest =
                if rest.is_empty() { String::new() } else { format!(" There is also {}.", types(&rest)) };
            format!("did you mean {}?{rest} Correct spec.artifactType", meant.join(" or "))
        }
    };
    let what = format!("nothing of type {} is attached to {question}", quoted(artifact_type));
    Failure::new(Reason::ArtifactNotFound, format!("{what}; {advice}"))
}

fn types(known: &[&str]) -> String {
    text::list(known.iter().map(|name| quoted(name)), TYPES)
}

fn quoted(text: &str) -> String {
    format!("'{}'", truncate(&text.escape_debug().to_string(), QUOTED))
}

pub(super) fn nothing_matches(question: Question<'_>, count: usize, selector: &Selector) -> Failure {
    let wanted: Vec<String> =
        selector.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Failure::new(
        Reason::ArtifactNotFound,
        format!(
            "{count} of type '{}' attached to {question}, but none has the annotations of spec.selection.matchAnnotations ({})",
            question.artifact_type,
            wanted.join(", ")
        ),
    )
}

pub(super) fn no_version(question: Question<'_>, count: usize) -> Failure {
    Failure::new(
        Reason::AmbiguousArtifact,
        format!(
            "none of the {count} matching artifacts of {question} has a semantic version in the annotation {VERSION}, which the policy HighestVersion requires"
        ),
    )
}

pub(super) fn several<E>(question: Question<'_>, several: &[&Artifact<E>]) -> Failure {
    let mut digests: Vec<String> = several.iter().map(|artifact| artifact.digest.to_string()).collect();
    digests.sort();
    let count = digests.len();
    digests.truncate(LISTED);
    Failure::new(
        Reason::AmbiguousArtifact,
        format!(
            "{count} artifacts match on {question}, and the policy Only does not choose: {}{}; remove all but one, narrow spec.selection.matchAnnotations, or set another policy",
            digests.join(", "),
            if count > LISTED { ", …" } else { "" }
        ),
    )
}

/// For an empty list, which the caller excludes before.
pub(super) fn no_candidate() -> Failure {
    Failure::new(Reason::InternalError, "there was nothing to choose from")
}
