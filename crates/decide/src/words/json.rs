//! JSON that contains text of others, without characters that are more than text for its readers.

use std::fmt::Write as _;

use oci::text;
use serde::Serialize;

/// JSON that has the same meaning as YAML, because the API server parses the body of an apply as YAML. YAML refuses
/// control characters that JSON accepts (DEL and C1), and turns some line breaks into spaces. Characters beyond U+FFFF
/// are not special in YAML and are not escaped: the pairs of escapes that JSON uses for them are an error there.
///
/// # Errors
/// Where a value has no such form; none of ours is like that.
pub fn to_yaml_safe(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escaped(&serde_json::to_string(value)?, false))
}

/// JSON for people and programs, indented, in which every character is visible.
///
/// # Errors
/// Where a value has no such form; none of ours is like that.
pub fn to_printable(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escaped(&serde_json::to_string_pretty(value)?, true))
}

/// Escapes characters that are not printable. They only occur in strings, except for the line breaks between members.
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
