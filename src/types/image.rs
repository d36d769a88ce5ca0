//! References to images, as people write them.

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;

use super::Digest;

/// An image reference: registry, repository, and a tag, a digest or both (then the digest decides).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    reference: Reference,
    digest: Option<Digest>,
}

/// Why a string is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{image}' is not an image reference ({why}); expected registry/repository:tag or registry/repository@sha256:…"
)]
pub struct ImageError {
    image: String,
    why: String,
}

impl ImageRef {
    /// The repository that it lies in.
    #[must_use]
    pub fn repository(&self) -> RepositoryRef {
        RepositoryRef {
            registry: self.reference.registry().to_owned(),
            host: self.reference.resolve_registry().to_owned(),
            path: self.reference.repository().to_owned(),
        }
    }

    /// Tag, where one is given or defaulted.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.reference.tag()
    }

    /// Digest, where the reference is pinned.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

/// A repository of a registry. Shows as a person would write it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryRef {
    registry: String,
    host: String,
    path: String,
}

impl RepositoryRef {
    /// Host, and port where one is given, under which the registry's API answers.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
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
        let refuse = |why: &str| ImageError { image: text.chars().take(160).collect(), why: why.to_owned() };
        let last = text.rsplit('/').next().unwrap_or_default();
        if last.contains([':', '@']) {
            return Err(refuse("a repository has no tag and no digest"));
        }
        Ok(text.parse::<ImageRef>()?.repository())
    }
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let refuse = |why: String| ImageError { image: text.chars().take(160).collect(), why };
        if text.len() > 1024 {
            return Err(refuse("longer than 1024 bytes".to_owned()));
        }
        if text.contains("://") {
            return Err(refuse("a scheme such as https:// or oci:// does not belong here".to_owned()));
        }
        let reference = Reference::try_from(text).map_err(|error| {
            // The commonest slip deserves better than "invalid format".
            let lower_case_would_do = Reference::try_from(text.to_lowercase().as_str()).is_ok();
            refuse(if lower_case_would_do {
                "repositories are lower case".to_owned()
            } else {
                error.to_string()
            })
        })?;
        // Docker Hub's short names pass the grammar with upper case in what it takes for a host.
        if reference.repository().contains(|character: char| character.is_ascii_uppercase()) {
            return Err(refuse("repositories are lower case".to_owned()));
        }
        let digest = reference
            .digest()
            .map(str::parse::<Digest>)
            .transpose()
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Self { reference, digest })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference.whole())
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
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
}
