//! JSON of text that others wrote, in which nothing is left that a reader might take for more than text.

use std::fmt::Write as _;

use oci::text;
use serde::Serialize;

/// JSON that YAML reads as the same: it is what the API server makes of an apply. There, control characters are refused
/// (DEL and C1, which JSON takes), and some line breaks turn into spaces. Beyond U+FFFF nothing is special to YAML, and
/// nothing is escaped: the pairs of escapes that JSON has for it are an error there.
///
/// # Errors
/// Where a value has no such form; none of ours is like that.
pub fn to_yaml_safe(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escaped(&serde_json::to_string(value)?, false))
}

/// JSON for people and programs, indented, in which everything is seen.
///
/// # Errors
/// Where a value has no such form; none of ours is like that.
pub fn to_printable(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escaped(&serde_json::to_string_pretty(value)?, true))
}

/// Escapes what is not printable, which stands in strings alone but for the line breaks between them.
#[must_use]
pub fn escaped(json: &str, astral: bool) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        let stays = text::is_printable(c) || c == '\n' || (!astral && c.len_utf16() == 2);
        if stays {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back_the_same(text: String, wild in "[\\x00-\\x20\"\\\\\u{7f}-\u{a0}\u{200b}-\u{206f}\u{feff}\u{ffff}\u{e0041}]{0,12}") {
            for text in [text, wild] {
                let (printable, safe) = (to_printable(&[&text]).unwrap(), to_yaml_safe(&[&text]).unwrap());
                prop_assert!(printable.chars().all(|c| text::is_printable(c) || c == '\n'), "{}", printable);
                let [read]: [String; 1] = serde_json::from_str(&printable).unwrap();
                prop_assert_eq!(&read, &text);
                let [read]: [String; 1] = serde_json::from_str(&safe).unwrap();
                prop_assert_eq!(&read, &text);
                let [read]: [String; 1] = serde_saphyr::from_str(&safe).unwrap();
                prop_assert_eq!(&read, &text);
            }
        }
    }
}
