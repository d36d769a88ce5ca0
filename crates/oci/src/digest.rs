//! Content digests (image-spec, descriptor.md, "Digests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256, Sha512};

/// Algorithms that can be verified here. `sha256` must be supported by every implementation, `sha512` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal characters.
    Sha256,
    /// SHA-512, 128 hexadecimal characters.
    Sha512,
}

impl Algorithm {
    /// Name as it stands before the colon.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A well-formed digest of a supported algorithm. Clones share their text: memory and caches name the same digest in
/// several places.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Arc<str>,
}

/// Why a string is not a usable digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `algorithm:hex` at all.
    #[error("'{0}' is not a digest; expected algorithm:hex, for example sha256:9f86d0…")]
    Form(String),
    /// An algorithm that cannot be verified here.
    #[error("digest algorithm '{0}' is not supported; sha256 and sha512 are")]
    Algorithm(String),
    /// Not the right number of lower-case hexadecimal characters.
    #[error("'{digest}' is not a digest; {algorithm} takes {expected} lower-case hexadecimal characters")]
    Hex {
        /// The string.
        digest: String,
        /// The algorithm it names.
        algorithm: &'static str,
        /// How many characters it needs.
        expected: usize,
    },
}

/// Bytes do not have the expected digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected digest {expected}, the content has {actual}")]
pub struct MismatchError {
    /// The expected digest.
    pub expected: Digest,
    /// The digest of the bytes.
    pub actual: Digest,
}

/// How many bytes of a foreign string an error message repeats.
const QUOTED: usize = 160;

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let hex = match algorithm {
            Algorithm::Sha256 => hex(&Sha256::digest(bytes)),
            Algorithm::Sha512 => hex(&Sha512::digest(bytes)),
        };
        Self { algorithm, hex: hex.into() }
    }

    /// SHA-256 of some bytes.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The part after the colon.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Algorithm and twelve characters: enough for a person to distinguish two digests.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}:{}", self.algorithm.as_str(), &self.hex[..12])
    }

    /// Checks that bytes have this digest.
    ///
    /// # Errors
    /// [`MismatchError`] with the actual digest of the bytes.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), MismatchError> {
        let actual = Self::of(self.algorithm, bytes);
        if actual == *self { Ok(()) } else { Err(MismatchError { expected: self.clone(), actual }) }
    }

    /// The tag under which pushers keep the referrers of this digest if a registry has no Referrers API: algorithm cut
    /// to 32 characters, `-`, encoded part cut to 64 (distribution-spec, "Referrers Tag Schema").
    #[must_use]
    pub fn referrers_tag(&self) -> String {
        format!("{}-{}", self.algorithm.as_str(), &self.hex[..64])
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let quoted = || text.chars().take(QUOTED).collect::<String>();
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| DigestError::Form(quoted()))?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(DigestError::Algorithm(other.chars().take(32).collect())),
        };
        let well_formed = hex.len() == algorithm.hex_length()
            && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !well_formed {
            return Err(DigestError::Hex {
                digest: quoted(),
                algorithm: algorithm.as_str(),
                expected: algorithm.hex_length(),
            });
        }
        Ok(Self { algorithm, hex: hex.into() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_bytes_and_verifies_them() {
        let digest = Digest::sha256(b"abc");
        assert_eq!(digest.to_string(), ABC);
        assert_eq!(digest.short(), "sha256:ba7816bf8f01");
        digest.verify(b"abc").unwrap();
        let error = digest.verify(b"abd").unwrap_err();
        assert_eq!(error.expected, digest);
        assert!(error.to_string().contains(ABC), "{error}");
    }

    /// The rows of the specification's table for the referrers tag schema that name a supported algorithm.
    #[test]
    fn referrers_tag_is_cut_to_the_length_of_a_tag() {
        assert_eq!(ABC.parse::<Digest>().unwrap().referrers_tag(), ABC.replace(':', "-"));
        let sha512 = Digest::of(Algorithm::Sha512, b"abc");
        assert_eq!(sha512.referrers_tag(), format!("sha512-{}", &sha512.hex()[..64]));
    }

    #[rstest::rstest]
    #[case::no_colon("sha256", "is not a digest")]
    #[case::short("sha256:abc", "takes 64")]
    #[case::upper_case(&ABC.to_uppercase().replace("SHA256", "sha256"), "lower-case")]
    #[case::unknown("md5:abc", "'md5' is not supported")]
    #[case::not_ascii("sha256:ä", "takes 64")]
    fn refuses_what_is_no_digest(#[case] text: &str, #[case] says: &str) {
        let error = text.parse::<Digest>().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
