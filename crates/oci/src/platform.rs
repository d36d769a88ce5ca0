//! Platforms of images (image-spec, image-index.md, "platform").

use std::fmt;
use std::str::FromStr;

/// `os/architecture`, and an optional variant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Platform {
    /// Operating system, in Go's words: `linux`, `windows`.
    pub os: String,
    /// Architecture, in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// Variant of the architecture: `v8`.
    pub variant: Option<String>,
}

/// Why a string is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a platform; expected os/architecture or os/architecture/variant, for example linux/arm64"
)]
pub struct PlatformError(String);

impl Platform {
    /// Whether an entry of an index serves this platform. A variant that was not asked for does not matter.
    #[must_use]
    pub fn is_served_by(&self, entry: &Self) -> bool {
        self.os == entry.os
            && self.architecture == entry.architecture
            && (self.variant.is_none() || self.effective_variant() == entry.effective_variant())
    }

    /// The variant, or the default one if none is given: Go's tools write `arm64` for `arm64/v8` (containerd,
    /// `platforms/database.go`).
    fn effective_variant(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_deref().unwrap_or_default()) {
            ("arm64", "" | "8") => "v8",
            ("arm", "" | "7") => "v7",
            ("amd64", "") => "v1",
            (_, variant) => variant,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &str| {
            let fine = !part.is_empty()
                && part.len() <= 32
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            fine.then(|| part.to_owned())
        };
        let parts: Option<Vec<String>> = text.split('/').map(word).collect();
        match parts.as_deref() {
            Some([os, architecture]) => {
                Ok(Self { os: os.clone(), architecture: architecture.clone(), variant: None })
            }
            Some([os, architecture, variant]) => Ok(Self {
                os: os.clone(),
                architecture: architecture.clone(),
                variant: Some(variant.clone()),
            }),
            _ => Err(PlatformError(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_matches() {
        let wanted: Platform = "linux/arm64".parse().unwrap();
        let narrow: Platform = "linux/arm64/v8".parse().unwrap();
        assert!(wanted.is_served_by(&narrow) && narrow.is_served_by(&narrow));
        assert!(!wanted.is_served_by(&"linux/amd64".parse().unwrap()));
        assert_eq!(narrow.to_string(), "linux/arm64/v8");
    }

    /// An index that says `arm64` means `arm64/v8`.
    #[rstest::rstest]
    #[case("linux/arm64/v8", "linux/arm64", true)]
    #[case("linux/arm64/v9", "linux/arm64", false)]
    #[case("linux/arm/v7", "linux/arm", true)]
    #[case("linux/arm/v6", "linux/arm", false)]
    #[case("linux/amd64/v1", "linux/amd64", true)]
    #[case("linux/amd64/v2", "linux/amd64", false)]
    #[case("linux/riscv64/x", "linux/riscv64", false)]
    fn a_variant_that_goes_without_saying(#[case] wanted: &str, #[case] entry: &str, #[case] serves: bool) {
        let parse = |text: &str| text.parse::<Platform>().unwrap();
        assert_eq!(parse(wanted).is_served_by(&parse(entry)), serves);
    }

    #[rstest::rstest]
    #[case("")]
    #[case("linux")]
    #[case("linux/")]
    #[case("linux/arm64/v8/x")]
    #[case("linux/arm 64")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<Platform>().is_err());
    }
}
