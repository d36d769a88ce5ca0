//! YAML that every YAML parser reads back unchanged, with every text in it.
//!
//! It uses few forms, which all parsers read the same: harmless texts are plain, harmless lines are a literal block,
//! and everything else is in double quotes with unprintable characters escaped, which is nearly JSON.

use std::fmt::{self, Write as _};

use oci::text;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A document.
///
/// # Errors
/// If a value cannot be expressed in YAML. The types of this program always can.
pub fn to_string(value: &impl Serialize) -> anyhow::Result<String> {
    // Through JSON: this keeps serde's order of members, and distinguishes texts from numbers.
    let node: Node = serde_json::from_str(&serde_json::to_string(value)?)?;
    let mut out = String::new();
    node.write(&mut out, 0, Place::Document)?;
    Ok(out)
}

/// A value, with its members in their order.
#[derive(Debug)]
enum Node {
    /// A number, `true`, `false` or `null`.
    Plain(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// The text before a value in its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing.
    Document,
    /// A key and a colon.
    Member,
    /// A dash and a space.
    Item,
}

/// Longest simple key that readers accept (YAML 1.2, 7.4.3: 1024 characters).
const SIMPLE_KEY: usize = 1000;

impl Node {
    fn write(&self, out: &mut String, indent: usize, place: Place) -> fmt::Result {
        match self {
            Self::Map(members) if !members.is_empty() => {
                if place == Place::Member {
                    out.push('\n');
                }
                for (index, (key, value)) in members.iter().enumerate() {
                    // The first member of an item stands behind its dash.
                    if index > 0 || place != Place::Item {
                        write!(out, "{:indent$}", "")?;
                    }
                    let key = if is_plain(key) { key.clone() } else { quoted(key) };
                    if key.len() > SIMPLE_KEY {
                        write!(out, "? {key}\n{:indent$}", "")?;
                    } else {
                        out.push_str(&key);
                    }
                    out.push(':');
                    value.write(out, indent + 2, Place::Member)?;
                }
                Ok(())
            }
            Self::List(items) if !items.is_empty() => {
                // Like kubectl: a list in a map has the same indent as its key.
                let indent = if place == Place::Member { indent - 2 } else { indent };
                if place == Place::Member {
                    out.push('\n');
                }
                for (index, item) in items.iter().enumerate() {
                    if index > 0 || place != Place::Item {
                        write!(out, "{:indent$}", "")?;
                    }
                    out.push('-');
                    if !matches!(item, Self::Plain(_) | Self::Text(_)) && !item.is_empty() {
                        out.push(' ');
                    }
                    item.write(out, indent + 2, Place::Item)?;
                }
                Ok(())
            }
            scalar => {
                if place != Place::Document {
                    out.push(' ');
                }
                match scalar {
                    Self::Text(text) if is_plain(text) => out.push_str(text),
                    Self::Text(text) if is_block(text) => return block(out, text, indent),
                    Self::Text(text) => out.push_str(&quoted(text)),
                    Self::Plain(plain) => out.push_str(plain),
                    Self::List(_) => out.push_str("[]"),
                    Self::Map(_) => out.push_str("{}"),
                }
                out.push('\n');
                Ok(())
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::List(items) if items.is_empty())
            || matches!(self, Self::Map(members) if members.is_empty())
    }
}

/// Whether every reader of YAML 1.1 and 1.2 reads this text without quotes as the same text.
fn is_plain(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || " -_./:@+=".contains(c);
    let word = text.to_ascii_lowercase();
    // Numbers, times and `.inf` do not begin with a letter.
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(harmless)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !matches!(
            word.as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null" | "nan" | "inf" | "infinity"
        )
}

/// Whether a text can be a literal block: printable, its first line not indented, no line of white space only, at most
/// one break at the end.
fn is_block(text: &str) -> bool {
    let Some((_, rest)) = text.split_once('\n') else { return false };
    !text.starts_with([' ', '\t', '\n'])
        && !rest.ends_with("\n\n")
        && rest != "\n"
        && text.chars().all(|c| text::is_printable(c) || matches!(c, '\n' | '\t'))
        && text.lines().all(|line| line.is_empty() || !line.trim_start_matches([' ', '\t']).is_empty())
}

fn block(out: &mut String, text: &str, indent: usize) -> fmt::Result {
    out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
    for line in text.lines() {
        if line.is_empty() { out.push('\n') } else { writeln!(out, "{:indent$}{line}", "")? }
    }
    Ok(())
}

/// In double quotes, in one line.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            c if text::is_printable(c) && c != '\\' => out.push(c),
            c => text::push_escaped(&mut out, c),
        }
    }
    out.push('"');
    out
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        // With a point: without one it would be read back as an integer.
        Ok(Node::Plain(format!("{value:?}")))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Plain("null".to_owned()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = entries.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn it_has_the_form_of_kubectl() {
        let value = json!({
            "apiVersion": "v1", "data": {"a.ini": "[a]\n\tb = 1\n", "config.json": "{\n  \"a\": 1\n}", "one": "x"},
            "empty": {}, "flag": true, "list": ["a", 1, null, {"a": "b", "c": [{"d": []}, ["e"]]}], "text": "yes",
        });
        insta::assert_snapshot!(to_string(&value).unwrap());
    }

    /// Texts that common YAML parsers read as another type, or refuse.
    #[rstest::rstest]
    #[case::tab_first("\tall:\n")]
    #[case::tab_later("all:\n\tcc\n")]
    #[case::tab_alone("a\n\t\nb\n")]
    #[case::space_first("  a\nb")]
    #[case::space_last("a \nb ")]
    #[case::breaks_first("\n\na")]
    #[case::breaks_last("a\n\n\n")]
    #[case::break_alone("\n")]
    #[case::carriage_return("a\r\nb\r")]
    #[case::next_line("a\u{85}b")]
    #[case::line_separator("a\u{2028}b\n")]
    #[case::byte_order_mark("\u{feff}a")]
    #[case::control("\u{1}\u{1b}[31m\u{7f}\u{9b}")]
    #[case::no_character("\u{fffe}\u{ffff}\u{e0001}")]
    #[case::word("yes")]
    #[case::hexadecimal("0x1")]
    #[case::float("1e3")]
    #[case::sexagesimal("12:30:45")]
    #[case::date("2026-01-01")]
    #[case::null("~")]
    #[case::empty("")]
    #[case::comment("a #b")]
    #[case::comment_in_a_block("#a\n# b\n")]
    #[case::key_in_text("a: b")]
    #[case::colon_last("a:")]
    #[case::document("---\na\n...\n")]
    #[case::merge("<<")]
    #[case::anchor("&a *b !c %d @e `f")]
    #[case::quotes("'\"\\")]
    fn any_text_survives(#[case] text: &str) {
        survives(text);
    }

    fn survives(text: &str) {
        let value = json!({"value": text, "list": [text, [text]], "map": {text: {"deep": text}}});
        let written = to_string(&value).unwrap();
        assert!(written.chars().all(|c| text::is_printable(c) || matches!(c, '\n' | '\t')), "{written}");
        let read: Value = serde_saphyr::from_str(&written).unwrap_or_else(|why| panic!("{why}: {written}"));
        assert_eq!(read, value, "{written}");
    }

    #[test]
    fn long_texts_survive_as_values_and_as_keys() {
        survives(&"very long ".repeat(10_000));
        survives(&format!("\"{}", "k".repeat(5000)));
    }

    proptest! {
        #[test]
        fn any_text_survives_as_value_and_as_key(text: String, wild in "[ \\t\\r\\n:#\\-'\"\\\\a1~{}|>\u{7f}-\u{a0}\u{2028}\u{feff}]{0,12}") {
            survives(&text);
            survives(&wild);
        }
    }
}
