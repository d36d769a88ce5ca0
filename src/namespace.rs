//! Names of namespaces, and the selection of those that the operator watches.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Most characters of a label (RFC 1123), which the name of a namespace is.
const MAX_LENGTH: usize = 63;

/// Name of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

/// Why a string is not the name of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not the name of a namespace; expected at most {MAX_LENGTH} lower-case letters, digits and '-', beginning and \
     ending with a letter or digit (RFC 1123 label), for example team-a"
)]
pub struct NamespaceError(String);

impl Namespace {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fine = (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(is_inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fine { Ok(Self(text.to_owned())) } else { Err(NamespaceError(text.to_owned())) }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The namespaces whose resources are reconciled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// All namespaces, including those created later.
    #[default]
    All,
    /// These, and no rights are needed in any other.
    Only(BTreeSet<Namespace>),
}

impl Namespaces {
    /// These namespaces; all if the list is empty.
    #[must_use]
    pub fn of(named: impl IntoIterator<Item = Namespace>) -> Self {
        let named: BTreeSet<_> = named.into_iter().collect();
        if named.is_empty() { Self::All } else { Self::Only(named) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a")]
    #[case("team-a")]
    #[case("0-9")]
    #[case(&"a".repeat(63))]
    fn a_label_is_a_name(#[case] text: &str) {
        assert_eq!(text.parse::<Namespace>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case("")]
    #[case("Team")]
    #[case("a b")]
    #[case("a.b")]
    #[case("-a")]
    #[case("a-")]
    #[case("*")]
    #[case(&"a".repeat(64))]
    fn anything_else_is_refused_and_repeated(#[case] text: &str) {
        let why = text.parse::<Namespace>().unwrap_err().to_string();
        assert!(why.starts_with(&format!("'{text}' ")), "{why}");
    }

    #[test]
    fn none_named_means_all() {
        assert_eq!(Namespaces::of([]), Namespaces::All);
        let a: Namespace = "a".parse().unwrap();
        assert_eq!(Namespaces::of([a.clone(), a.clone()]), Namespaces::Only([a].into()));
    }
}
