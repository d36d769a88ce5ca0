//! References to images, as people write them.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;
use super::reference::{self, Flaw};

/// Docker Hub in references.
const DOCKER_HUB: &str = "docker.io";
/// The older name of Docker Hub. Credentials are stored under it, and the API answers under it.
const DOCKER_HUB_HOST: &str = "index.docker.io";
/// Longest path in characters that registries take (distribution's `RepositoryNameTotalLengthMax`).
const MAX_PATH_LENGTH: usize = 255;

/// An image reference: registry, repository, and a tag, a digest or both (then the digest decides).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    repository: RepositoryRef,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{image}' is not an image reference ({why}); expected registry/repository:tag or registry/repository@sha256:…"
)]
pub struct ImageError {
    image: String,
    why: Flaw,
}

impl ImageError {
    fn new(text: &str, why: Flaw) -> Self {
        Self { image: text.chars().take(160).collect(), why }
    }
}

impl ImageRef {
    /// Its repository.
    #[must_use]
    pub fn repository(&self) -> RepositoryRef {
        self.repository.clone()
    }

    /// Tag, if one is given or defaulted.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The same image with this digest.
    #[must_use]
    pub fn at(self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self }
    }

    /// Digest, if the reference is pinned.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

/// A repository of a registry. `Display` writes it as a person would.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryRef {
    registry: String,
    path: String,
}

impl RepositoryRef {
    /// With the short names of Docker Hub written out, as Docker does it.
    fn new(registry: Option<&str>, path: &str) -> Result<Self, Flaw> {
        let registry = registry.filter(|&registry| registry != DOCKER_HUB_HOST).unwrap_or(DOCKER_HUB);
        let official = registry == DOCKER_HUB && !path.contains('/');
        let path = if official { format!("library/{path}") } else { path.to_owned() };
        if path.len() > MAX_PATH_LENGTH {
            return Err(Flaw::NameLength(MAX_PATH_LENGTH));
        }
        Ok(Self { registry: registry.to_owned(), path })
    }

    /// Host, and port if one is given, under which the registry's API answers.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.registry == DOCKER_HUB { DOCKER_HUB_HOST } else { &self.registry }
    }

    /// Path within the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for RepositoryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl FromStr for RepositoryRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let last = text.rsplit('/').next().unwrap_or_default();
        if last.contains([':', '@']) {
            return Err(ImageError::new(text, Flaw::NotARepository));
        }
        Ok(text.parse::<ImageRef>()?.repository)
    }
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let read = || {
            let written = reference::read(text)?;
            let default = if written.digest.is_none() { Some("latest") } else { None };
            Ok(Self {
                repository: RepositoryRef::new(written.registry, written.path)?,
                tag: written.tag.or(default).map(str::to_owned),
                digest: written.digest,
            })
        };
        read().map_err(|why| ImageError::new(text, why))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use oci_spec::distribution::Reference;
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[rstest::rstest]
    #[case("nginx", "index.docker.io", "library/nginx", Some("latest"))]
    #[case("shop/web:v1", "index.docker.io", "shop/web", Some("v1"))]
    #[case("localhost/web:v1", "localhost", "web", Some("v1"))]
    #[case("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000", "a/b/c", Some("v1"))]
    #[case("registry.example.com/shop/web", "registry.example.com", "shop/web", Some("latest"))]
    fn reads_tags(
        #[case] text: &str,
        #[case] registry: &str,
        #[case] repository: &str,
        #[case] tag: Option<&str>,
    ) {
        let image: ImageRef = text.parse().unwrap();
        let found = image.repository();
        assert_eq!((found.host(), found.path(), image.tag()), (registry, repository, tag));
        assert_eq!(image.digest(), None);
    }

    #[test]
    fn a_digest_pins_with_or_without_a_tag() {
        for text in [format!("r.example/web@sha256:{HEX}"), format!("r.example/web:v1@sha256:{HEX}")] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!(image.digest().unwrap().hex(), HEX);
            assert_eq!(image.to_string(), text);
        }
    }

    #[test]
    fn a_repository_is_a_reference_without_tag_and_digest() {
        let repository: RepositoryRef = "mirror.example.com:5000/shop/web".parse().unwrap();
        assert_eq!((repository.host(), repository.path()), ("mirror.example.com:5000", "shop/web"));
        assert_eq!("nginx".parse::<RepositoryRef>().unwrap().to_string(), "docker.io/library/nginx");
        for text in ["mirror.example.com/web:v1", &format!("mirror.example.com/web@sha256:{HEX}"), ""] {
            assert!(text.parse::<RepositoryRef>().is_err(), "{text}");
        }
    }

    #[rstest::rstest]
    #[case("", "name")]
    #[case("https://r.example/web:v1", "scheme")]
    #[case("r.example/Web:v1", "lower")]
    #[case("Shop/web:v1", "lower")]
    #[case("r.example/web@sha256:abc", "format")]
    #[case("r.example/web:v1 ", "format")]
    #[case(&format!("r.example/web@sha384:{HEX}{}", &HEX[..32]), "sha384")]
    fn says_why_it_refuses(#[case] text: &str, #[case] says: &str) {
        let error = text.parse::<ImageRef>().unwrap_err().to_string();
        assert!(error.contains("is not an image reference"), "{error}");
        assert!(error.to_lowercase().contains(says), "{error}");
    }

    #[test]
    fn a_path_is_as_long_as_registries_take() {
        for (path, fine) in [("a".repeat(247), true), ("a".repeat(248), false)] {
            assert_eq!(path.parse::<ImageRef>().is_ok(), fine, "with library/ before it");
            assert!(format!("r.example/{path}").parse::<ImageRef>().is_ok());
        }
        let error = format!("r.example/{}", "a".repeat(256)).parse::<ImageRef>().unwrap_err().to_string();
        assert!(error.contains("255 characters"), "{error}");
    }

    /// The parts of a reference: registry, host, path, tag, digest, and the whole reference in full.
    type Parts = (String, String, String, Option<String>, Option<String>, String);

    fn parts(text: &str) -> Option<Parts> {
        let image: ImageRef = text.parse().ok()?;
        let RepositoryRef { registry, path } = image.repository();
        let digest = image.digest().map(Digest::to_string);
        let host = image.repository().host().to_owned();
        Some((registry, host, path, image.tag().map(str::to_owned), digest, image.to_string()))
    }

    /// The same by oci-spec, without references for which this parser differs on purpose.
    fn parts_by_oci_spec(text: &str) -> Option<Parts> {
        // oci-spec does not know IPv6 addresses, which the grammar has. So it gets a name instead of the address.
        let (text, stand_in) = without_ipv6(text);
        let reference = Reference::try_from(text.as_str()).ok()?;
        // `\w` is any letter in Rust, and ASCII in Go and in the distribution-spec: registries take no such tag.
        reference.tag().is_none_or(str::is_ascii).then_some(())?;
        // `Shop/web` passes as a host and a path, and is then read as a path, which must be lower case. Newer versions
        // of distribution read it as a host. But its author means Docker Hub, and gets an error.
        (!reference.repository().contains(|character: char| character.is_ascii_uppercase())).then_some(())?;
        // Upper case in the hexadecimal part, which the image-spec forbids, and algorithms that we cannot verify.
        reference.digest().is_none_or(|digest| digest.parse::<Digest>().is_ok()).then_some(())?;
        let back = |text: &str| match &stand_in {
            Some((name, address)) => text.replacen(name, address, 1),
            None => text.to_owned(),
        };
        Some((
            back(reference.registry()),
            back(reference.resolve_registry()),
            reference.repository().to_owned(),
            reference.tag().map(str::to_owned),
            reference.digest().map(str::to_owned),
            back(&reference.whole()),
        ))
    }

    /// A reference with a name instead of the IPv6 address of its registry; also the name and the address.
    fn without_ipv6(text: &str) -> (String, Option<(&'static str, String)>) {
        const NAME: &str = "six.example";
        let registry = text.split_once('/').map_or("", |(registry, _)| registry);
        match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port))
                if (port.is_empty() || port.starts_with(':'))
                    && !address.contains('.')
                    && address.parse::<Ipv6Addr>().is_ok() =>
            {
                let host = format!("[{address}]");
                (text.replacen(&host, NAME, 1), Some((NAME, host)))
            }
            _ => (text.to_owned(), None),
        }
    }

    /// Strings of the pieces of references, in any order.
    fn jumbled() -> impl Strategy<Value = String> {
        const MARKS: &str =
            "/ / / : : . . - -- _ __ @ localhost docker.io index.docker.io :5000 [::1] [fd00::1] [0::A]";
        const ODD: [&str; 10] = ["[", "]", " ", "\n", "é", "ſ", "٣", "://", "%", "+"];
        let piece = prop_oneof![
            8 => "[a-c0-2]{1,3}",
            2 => "[A-C]",
            18 => prop::sample::select(MARKS.split(' ').collect::<Vec<_>>()).prop_map(str::to_owned),
            1 => prop::sample::select(ODD.as_slice()).prop_map(str::to_owned),
            1 => digest(),
        ];
        prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    /// References as they should be, or nearly so.
    fn orderly() -> impl Strategy<Value = String> {
        let registry = prop_oneof![
            3 => Just(String::new()),
            3 => "(localhost|docker\\.io|index\\.docker\\.io|\\[::1\\]|\\[fd00::a:1\\])(:[0-9]{0,6})?/",
            3 => "[a-cA-C0-2_.-]{1,8}(:[0-9]{1,6})?/",
        ];
        let path = prop_oneof![8 => "[a-c0-2]{1,3}([a-cC0-2/._-]{0,6}[a-c0-2])?", 1 => "[a-c]{4}/[a-c]{240,252}", 1 => "[a-c]{244,258}"];
        let tag = prop_oneof![3 => Just(String::new()), 5 => ":[a-zA-Z0-9_.-]{1,12}", 1 => ":\\w{1,3}", 1 => ":[a-c._-]{126,130}"];
        let digest =
            prop_oneof![2 => Just(String::new()), 1 => digest().prop_map(|digest| format!("@{digest}"))];
        (registry, path, tag, digest).prop_map(|parts| [parts.0, parts.1, parts.2, parts.3].concat())
    }

    fn digest() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})",
            1 => "(sha256|sha384|sha512|md5|a\\+b|):?([0-9a-f]{63,65}|[0-9A-F]{64}|[0-9a-f]{96})",
        ]
    }

    proptest! {
        /// This parser and oci-spec, which uses a regular expression, read the same.
        #[test]
        fn reads_as_oci_spec_does(text in prop_oneof![jumbled(), orderly()]) {
            prop_assert_eq!(parts(&text), parts_by_oci_spec(&text));
        }
    }
}
