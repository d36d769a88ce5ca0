//! JSON as Go reads it. The documents in Secrets and the answers of token endpoints are written by Go programs or for
//! them: `null` stands for nothing, names of members have no case, the last of several members counts, and text that is
//! not UTF-8 is repaired.

use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// A document in which bytes that are not UTF-8, and halves of surrogate pairs, are replaced as Go replaces them. The
/// byte order mark that some editors write is removed.
pub(crate) fn text(bytes: &[u8]) -> Zeroizing<String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = Zeroizing::new(String::with_capacity(bytes.len()));
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| text.push(char::REPLACEMENT_CHARACTER));
    }
    mend_surrogates(&mut text);
    text
}

fn mend_surrogates(text: &mut String) {
    let unit = |bytes: &[u8]| {
        let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut lone = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|&byte| byte == b'\\') {
        at += found;
        match (unit(&bytes[at..]), bytes.get(at + 6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                lone.push(at);
                at += 6;
            }
            (Some(_), _) => at += 6,
            (None, _) => at = (at + 2).min(bytes.len()),
        }
    }
    for at in lone {
        text.replace_range(at..at + 6, "\\ufffd");
    }
}

/// Whether a member has this name. Go compares by Unicode's simple folding, in which two letters outside of ASCII fold
/// to ASCII letters.
pub(crate) fn is_named(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|letter| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(name.chars())
}

/// The value of a member that must be a text.
pub(crate) enum Member {
    /// `null`, which changes nothing.
    Null,
    Text(SecretString),
    Number(f64),
    /// A value of another type.
    Other,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.into()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Member, E> {
        Ok(Member::Text(text.into()))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }

    #[allow(clippy::cast_precision_loss, reason = "a number of seconds, of which nobody needs the 53rd bit")]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Member, E> {
        Ok(Member::Number(number as f64))
    }

    #[allow(clippy::cast_precision_loss, reason = "a number of seconds, of which nobody needs the 53rd bit")]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Member, E> {
        Ok(Member::Number(number as f64))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Member, E> {
        Ok(Member::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Member, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Member, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::nothing_to_mend(br#"{"a":"b"}"#, r#"{"a":"b"}"#)]
    #[case::byte_order_mark(b"\xef\xbb\xbf{}", "{}")]
    #[case::latin(b"\"\xfc\"", "\"\u{fffd}\"")]
    #[case::pair(br#""\ud83d\ude00""#, r#""\ud83d\ude00""#)]
    #[case::first_half(br#""\ud83dx""#, r#""\ufffdx""#)]
    #[case::second_half(br#""\ude00""#, r#""\ufffd""#)]
    #[case::two_first_halves(br#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#)]
    #[case::escaped(br#""\\ud83d""#, r#""\\ud83d""#)]
    #[case::cut(br#""\ud83"#, r#""\ud83"#)]
    #[case::cut_in_an_escape(br#""\"#, r#""\"#)]
    fn text_is_mended_as_go_does(#[case] bytes: &[u8], #[case] expected: &str) {
        assert_eq!(text(bytes).as_str(), expected);
    }

    #[test]
    fn names_have_no_case() {
        assert!(is_named("PassWord", "password") && is_named("paſſword", "password"));
        assert!(!is_named("pass_word", "password") && !is_named("passwor", "password"));
    }
}
