//! Text for people, of bounded length.

/// Cuts on a character boundary and says that it did.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = truncate(&"ä".repeat(1000), 100);
        assert!(cut.len() <= 100 && cut.ends_with('…'), "{}", cut.len());
        assert_eq!(truncate("short", 100), "short");
    }
}
