//! The messages of a refusal, each written once: with names in braces, which CEL and Rust fill in.

/// Longest part of a message that others write, in characters. The API server drops a message above 5 KiB, and a character
/// has up to 4 bytes.
pub(super) const LONGEST_WHY: usize = 256;
/// The same for a list of images or containers.
pub(super) const LONGEST_LIST: usize = 512;

/// Stands for a message that the API server cannot make.
pub(super) const OTHERWISE: &str = "the config of an image of this pod is not known yet";

pub(super) const MERGED: &str = "ArtifactConfig '{config}': spec.target.creationPolicy is Merge, so pods cannot be bound to its config; use an ArtifactConfig with Owner or Orphan, or remove the label artifactconfig.dev/bind from the pod template";
pub(super) const UNFOLLOWED: &str = "ArtifactConfig '{config}' has no spec.workloadRef, so its config cannot be bound; set it in place of spec.image, or remove the label artifactconfig.dev/bind from the pod template";
pub(super) const UNCHANGED: &str = "ArtifactConfig '{config}': ConfigMap '{revision}' has the config of an image of this pod, but MutatingAdmissionPolicy '{policy}' did not bind the pod; create the pod again, and check that the policy and its binding exist";
pub(super) const NO_CONTAINER: &str = "ArtifactConfig '{config}': its config belongs to the image of container '{container}', and this pod has no such container, only {containers}; correct spec.workloadRef.container, or the name of the container";
pub(super) const UNKNOWN: &str = "ArtifactConfig '{config}': no config is known yet for {images}: {why}";

/// The cause if the resource has no condition `Ready`.
pub(super) const UNSEEN: &str = "the operator has not reconciled this resource yet";
/// The cause if `Ready` is True: the config of another image is applied.
pub(super) const ANOTHER: &str =
    "{workload} does not name this image, or the operator has not reconciled the change yet";

pub(super) const IMAGE: &str = "image '{image}' of container '{container}'";
pub(super) const CONTAINER: &str = "'{container}'";

/// Splits a message into text and names.
fn parts(message: &'static str) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    message.split('}').map(|part| match part.split_once('{') {
        Some((text, name)) => (text, Some(name)),
        None => (part, None),
    })
}

/// CEL that makes the message. The values are expressions.
pub(super) fn in_cel(message: &'static str, value: impl Fn(&str) -> String) -> String {
    let quoted = |text: &str| (!text.is_empty()).then(|| format!(r#""{text}""#));
    let terms = parts(message).flat_map(|(text, name)| [quoted(text), name.map(&value)]);
    terms.flatten().collect::<Vec<_>>().join(" + ")
}

/// The message.
pub(super) fn filled(message: &'static str, value: impl Fn(&str) -> String) -> String {
    parts(message)
        .fold(String::new(), |filled, (text, name)| filled + text + &name.map(&value).unwrap_or_default())
}

/// CEL that cuts a text. The expression is a name, because it is evaluated three times.
pub(super) fn cut_in_cel(name: &str, longest: usize) -> String {
    format!(r#"({name}.size() > {longest} ? {name}.substring(0, {}) + "…" : {name})"#, longest - 1)
}

/// Cuts a text.
pub(super) fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_in_cel_and_in_rust() {
        let cel = in_cel(IMAGE, |name| format!("c.{name}"));
        assert_eq!(cel, r#""image '" + c.image + "' of container '" + c.container + "'""#);
        assert_eq!(filled(IMAGE, str::to_uppercase), "image 'IMAGE' of container 'CONTAINER'");
    }

    #[test]
    fn a_text_is_cut_by_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
