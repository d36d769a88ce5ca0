//! Whether the image of a container is the one of a binding, as CEL and in Rust.

use api::Binding;
use serde_json::Value;

/// The repository of an image, without tag and digest. A colon before the last slash belongs to the port of the registry.
const REPOSITORY: &str = r#""^([^@]*/)?[^/:@]*""#;

/// CEL: whether the image of the container `c` is the one of the binding `b`.
///
/// A pod whose image has a digest may have another tag than the binding. An equal digest in another repository does not count,
/// because nobody asked that repository for a config.
pub(super) fn is_bound() -> String {
    let image = image();
    format!(
        r#"c.name == b.container && ({image} in [b.image, b.pinned] ||
    {image}.endsWith("@" + b.digest) && {image}.find({REPOSITORY}) == b.pinned.find({REPOSITORY}))"#
    )
}

/// CEL: whether the container `c` names no digest.
pub(super) fn is_without_digest() -> String {
    format!(r#"!{}.contains("@")"#, image())
}

/// CEL: the image of the container `c`. It is missing in a pod that the API server refuses later.
pub(super) fn image() -> &'static str {
    r#"c.?image.orValue("")"#
}

/// Whether the image of the container is the one of the binding.
pub(super) fn is_of(container: &Value, binding: &Binding) -> bool {
    let Binding { image, digest, pinned, container: name, .. } = binding;
    let named = named(container);
    container["name"].as_str() == Some(name)
        && (named == image
            || named == pinned
            || named.strip_suffix(digest.as_str()).is_some_and(|rest| rest.ends_with('@'))
                && repository(named) == repository(pinned))
}

/// The image that a container names.
pub(super) fn named(container: &Value) -> &str {
    container["image"].as_str().unwrap_or_default()
}

fn repository(image: &str) -> &str {
    let named = image.split('@').next().unwrap_or_default();
    let path = named.rfind('/').map_or(0, |slash| slash + 1);
    named[path..].find(':').map_or(named, |colon| &named[..path + colon])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("web", "web")]
    #[case("web:v1", "web")]
    #[case("web@sha256:1", "web")]
    #[case("r.example:5000/shop/web", "r.example:5000/shop/web")]
    #[case("r.example:5000/shop/web:v1@sha256:1", "r.example:5000/shop/web")]
    #[case("[::1]:5000/web:v1", "[::1]:5000/web")]
    #[case("", "")]
    fn a_port_is_not_a_tag(#[case] image: &str, #[case] expected: &str) {
        assert_eq!(repository(image), expected);
    }
}
