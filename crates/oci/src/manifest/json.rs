//! JSON that others wrote, read member by member.
//!
//! No tree is built: unneeded members are skipped, and needed members stay slices of the text until they are used. So
//! the cost depends on the needed members alone, and an unreadable member does not affect the others.
//!
//! Most documents in registries were written by Go programs, or for them. So this parser accepts the same as Go's
//! `encoding/json`: `null` is the zero value of any type, names are compared without case, and bytes that are not UTF-8
//! are replaced. One decision is left to callers: Go uses the last of several members of one name, and other parsers do
//! not (GHSA-mc8v-mgrf-8f4m). So a member that comes twice is reported as such.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::ManifestError;

/// A value, as written in the document.
pub(super) type Raw<'a> = &'a RawValue;

/// The replacement for a byte that is not UTF-8, like U+FFFD in Go. It is one byte, so that a document does not grow,
/// and no type, digest or name contains it.
const NO_TEXT: char = '\u{7f}';

/// The text of a document.
pub(super) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| NO_TEXT));
    }
    text.into()
}

/// The position of a syntax error. The parser's own message is left out, because it quotes the document, which may be
/// the text of anybody.
pub(super) fn position(error: &serde_json::Error) -> ManifestError {
    ManifestError::Json { line: error.line(), column: error.column() }
}

/// A member of an object: missing, there, or there more than once.
#[derive(Clone, Copy, Default)]
pub(super) enum Member<'a> {
    #[default]
    Missing,
    There(Raw<'a>),
    Twice,
}

impl<'a> Member<'a> {
    fn add(&mut self, value: Raw<'a>) {
        *self = match self {
            Self::Missing => Self::There(value),
            Self::There(_) | Self::Twice => Self::Twice,
        };
    }

    /// Whether it has a value: `null` does not count.
    pub(super) fn is_present(self) -> bool {
        match self {
            Self::Missing => false,
            Self::There(value) => !is_null(value),
            Self::Twice => true,
        }
    }
}

/// The members of an object that have one of these names. Others are skipped.
///
/// If the text ends too early or is invalid, the members before that place are returned beside the error.
pub(super) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> ([Member<'a>; N], Result<(), serde_json::Error>) {
    let mut found = [Member::Missing; N];
    let each = |name: Option<usize>, value| {
        if let Some(member) = name.and_then(|index| found.get_mut(index)) {
            member.add(value);
        }
    };
    let known = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_any(Object { known, each, wanted: Option::is_some });
    let read = read.and_then(|()| deserializer.end());
    (found, read)
}

/// Calls `each` for every member of an object with its name, until `each` breaks. Returns `false` if the text is not an
/// object.
pub(super) fn each_member<'a>(
    value: Raw<'a>,
    mut each: impl FnMut(String, Raw<'a>) -> ControlFlow<()>,
) -> bool {
    let mut over = false;
    let each = |name: String, value| over = over || each(name, value).is_break();
    let object = Object { known: str::to_owned, each, wanted: |_: &String| true };
    is_null(value) || serde_json::Deserializer::from_str(value.get()).deserialize_any(object).is_ok()
}

/// Calls `each` for every element of a list. Returns `false` if the value is not a list.
pub(super) fn each_element<'a>(value: Raw<'a>, each: impl FnMut(Raw<'a>) -> ControlFlow<()>) -> bool {
    is_null(value) || serde_json::Deserializer::from_str(value.get()).deserialize_any(List(each)).is_ok()
}

pub(super) fn is_null(value: Raw<'_>) -> bool {
    value.get() == "null"
}

/// A text, `None` for `null`. `Err` for another type.
pub(super) fn text(value: Raw<'_>) -> Result<Option<Box<str>>, ()> {
    if is_null(value) {
        return Ok(None);
    }
    // Parsed as bytes, because the parser refuses half a surrogate pair in a text, and Go reads it as U+FFFD.
    serde_json::Deserializer::from_str(value.get()).deserialize_bytes(Text).map(Some).map_err(|_| ())
}

/// A size, 0 for `null`. `Err` for another type.
pub(super) fn size(value: Raw<'_>) -> Result<u64, ()> {
    if is_null(value) { Ok(0) } else { value.get().parse().map_err(|_| ()) }
}

struct Object<K, E, W> {
    known: K,
    each: E,
    wanted: W,
}

impl<'de, N, K, E, W> Visitor<'de> for Object<K, E, W>
where
    K: Fn(&str) -> N,
    E: FnMut(N, Raw<'de>),
    W: Fn(&N) -> bool,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name(&self.known))? {
            if (self.wanted)(&name) {
                (self.each)(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Name<'k, K>(&'k K);

impl<'de, N, K: Fn(&str) -> N> DeserializeSeed<'de> for Name<'_, K> {
    type Value = N;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<N, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<N, K: Fn(&str) -> N> Visitor<'_> for Name<'_, K> {
    type Value = N;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<N, E> {
        Ok((self.0)(name))
    }
}

struct List<E>(E);

impl<'de, E: FnMut(Raw<'de>) -> ControlFlow<()>> Visitor<'de> for List<E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            if (self.0)(element).is_break() {
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Box<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Box<str>, E> {
        Ok(String::from_utf8_lossy(bytes).into())
    }
}
