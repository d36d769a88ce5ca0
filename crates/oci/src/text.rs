//! Text of others, made safe to show to people: of bounded length, and without characters that move a cursor, begin a
//! new line, are invisible, or change the direction of the text around them.
//!
//! Messages pass through [`line()`], and text for a terminal through [`screen`]. A single value (a file name, an
//! annotation) is written by [`escape`], which [`unescape`] reverses.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Longest message, in bytes: longer than the limit of a condition, and still fit for a log.
pub const MAX_MESSAGE: usize = 4096;

/// One line of printable text of at most [`MAX_MESSAGE`] bytes, from any text.
#[must_use]
pub fn message(text: &str) -> String {
    truncate(&line(text), MAX_MESSAGE)
}

/// A list for a sentence: the first ones, and how many more there are.
#[must_use]
pub fn list<S: Into<String>>(items: impl IntoIterator<Item = S>, most: usize) -> String {
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(most).map(Into::into).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Cuts on a character boundary and marks the cut.
#[must_use]
pub fn truncate(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Whether a character is visible, takes one place, and has no other effect. `false` for control characters (C0, DEL,
/// C1), characters that change the direction of text, line separators, spaces of other widths, and invisible
/// characters.
#[must_use]
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The table of the standard library stands behind `escape_debug`. Asked as the second of two characters: the first
    // is also escaped where it only combines with what is before it, as vowels do in many scripts.
    let mut buffer = [b'a'; 5];
    let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let plain = std::str::from_utf8(&buffer[..end]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c));
    plain && !is_invisible(c)
}

/// Characters that count as printable and are invisible (`Default_Ignorable_Code_Point` beyond the category Cf).
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Escapes every character that is not printable, and every backslash. The result is one line, and [`unescape`] returns
/// the original. The escapes are those of a string in double quotes in YAML.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_printable(c) && c != '\\')
}

/// A line of text that may hold escaped text already: as [`escape`], but a backslash stays as it is.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    replaced(text, is_printable)
}

/// Text for a terminal: as [`line()`], but line breaks and tabs lay it out.
#[must_use]
pub fn screen(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_printable(c) || matches!(c, '\n' | '\t'))
}

/// [`escape`], cut to the length of a column or a list item.
#[must_use]
pub fn brief(text: &str) -> String {
    // Cut before it is escaped, so that no escape is cut in two.
    escape(&truncate(text, BRIEF)).into_owned()
}

/// Longest text in a column or a list, in bytes.
const BRIEF: usize = 160;

fn replaced(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let Some(first) = text.find(|c| !stays(c)) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if stays(c) { out.push(c) } else { push_escaped(&mut out, c) }
    }
    Cow::Owned(out)
}

/// Writes a character as strings in double quotes have it in YAML; most of it is JSON as well.
pub fn push_escaped(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = match (c, u32::from(c)) {
        ('\\', _) => out.write_str("\\\\"),
        ('\n', _) => out.write_str("\\n"),
        ('\r', _) => out.write_str("\\r"),
        ('\t', _) => out.write_str("\\t"),
        (_, code @ ..=0xffff) => write!(out, "\\u{code:04x}"),
        (_, code) => write!(out, "\\U{code:08x}"),
    };
}

/// Reverses [`escape`].
#[must_use]
pub fn unescape(text: &str) -> Option<String> {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            '\\' => '\\',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            kind @ ('u' | 'U') => {
                let digits: String = chars.by_ref().take(if kind == 'u' { 4 } else { 8 }).collect();
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
            }
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_says_how_many_more_there_are() {
        assert_eq!(list(["a", "b"], 2), "a, b");
        assert_eq!(list(["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(list::<&str>([], 2), "");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = truncate(&"ä".repeat(1000), 100);
        assert!(cut.len() <= 100 && cut.ends_with('…'), "{}", cut.len());
        assert_eq!(truncate("short", 100), "short");
        assert!(brief(&"\u{1b}".repeat(10_000)).len() <= BRIEF * 6 + 3);
    }

    #[rstest::rstest]
    #[case::escape('\u{1b}')]
    #[case::delete('\u{7f}')]
    #[case::csi('\u{9b}')]
    #[case::next_line('\u{85}')]
    #[case::line_separator('\u{2028}')]
    #[case::paragraph_separator('\u{2029}')]
    #[case::right_to_left_override('\u{202e}')]
    #[case::isolate('\u{2066}')]
    #[case::right_to_left_mark('\u{200f}')]
    #[case::arabic_letter_mark('\u{61c}')]
    #[case::zero_width_space('\u{200b}')]
    #[case::zero_width_joiner('\u{200d}')]
    #[case::byte_order_mark('\u{feff}')]
    #[case::soft_hyphen('\u{ad}')]
    #[case::no_break_space('\u{a0}')]
    #[case::hangul_filler('\u{3164}')]
    #[case::variation_selector('\u{fe0f}')]
    #[case::tag('\u{e0041}')]
    #[case::private('\u{e000}')]
    #[case::no_character('\u{ffff}')]
    fn what_is_not_seen_is_escaped(#[case] c: char) {
        assert!(!is_printable(c));
        assert!(escape(&c.to_string()).is_ascii());
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        let text = "Größe: 5 µm, цена, 設定, हिन्दी, עברית, 🙂 — '\"{}";
        assert_eq!(escape(text), text);
        assert_eq!(screen("a\n\tb"), "a\n\tb");
        assert_eq!(line("a\n\tb"), "a\\n\\tb");
        assert_eq!(line("a\\u001b"), "a\\u001b", "what was escaped is not escaped again");
    }

    fn harmless(text: &str) -> bool {
        text.chars().all(is_printable)
    }

    proptest! {
        #[test]
        fn any_text_is_escaped_and_comes_back_the_same(text: String, wild in "[\\x00-\\x20\\\\\u{7f}-\u{a0}\u{200b}-\u{206f}]{0,12}") {
            for text in [text, wild] {
                let escaped = escape(&text).into_owned();
                prop_assert!(harmless(&escaped), "{}", escaped);
                prop_assert_eq!(unescape(&escaped), Some(text.clone()));
                prop_assert_eq!(&line(&escaped), &escaped, "further on nothing is escaped twice");
                prop_assert_eq!(&screen(&escaped), &escaped);
                prop_assert!(harmless(&line(&text)));
                prop_assert!(harmless(&screen(&text).replace(['\n', '\t'], "")));
            }
        }
    }
}
