//! Patterns of file names. Matching takes a bounded number of steps for every pattern and name: after a mismatch it
//! returns only to the last star, and each step is counted.

use std::str::Chars;

/// Longest pattern, as the definition has it.
pub(super) const MAX_PATTERN: usize = 1024;

/// A parsed pattern: `*`, `?` and `[a-z]` within a segment, `**` across segments. The syntax is that of the crate
/// `glob`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of segments, but at least one at the end of the pattern.
    Any,
    /// One segment.
    One(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`: any number of characters.
    Star,
    /// `?`: one character.
    Any,
    /// The character itself.
    Char(char),
    /// `[…]`: one of these characters, in sorted ranges that do not touch; `[!…]`: one of all others.
    Class { ranges: Vec<(char, char)>, negated: bool },
    /// The separator of two segments; used only by the parser.
    Separator,
}

/// The steps that are left. A step is one comparison, so the number bounds the time.
#[derive(Debug)]
pub(super) struct Steps(pub(super) u32);

/// The steps are used up, so the result is not known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Steps {
    fn take(&mut self) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }
}

/// The pattern that matches this name and no other.
pub(super) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '*' | '?' | '[' => escaped.extend(['[', c, ']']),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The only name that a pattern matches, if it has no wildcards except escaped ones.
pub(super) fn unescape(pattern: &str) -> Option<String> {
    let (mut name, mut rest) = (String::with_capacity(pattern.len()), pattern);
    while let Some(at) = rest.find(['*', '?', '[']) {
        let (before, special) = rest.split_at(at);
        name.push_str(before);
        let escaped =
            ["[*]", "[?]", "[[]", "[]]"].into_iter().find(|escaped| special.starts_with(escaped))?;
        name.push_str(&escaped[1..2]);
        rest = &special[escaped.len()..];
    }
    name.push_str(rest);
    Some(name)
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The reason why the text is not a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let chars: Vec<char> = text.chars().collect();
        let (mut segments, mut tokens, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(&c) = chars.get(at) {
            let rest = &chars[at..];
            let (token, length) = match c {
                '*' => match rest.iter().take_while(|c| **c == '*').count() {
                    1 => (Token::Star, 1),
                    2 => {
                        let alone = at == 0 || chars[at - 1] == '/';
                        if !alone || rest.get(2).is_some_and(|next| *next != '/') {
                            return Err("** stands for whole segments, as in a/**/b");
                        }
                        if segments.last() != Some(&Segment::Any) {
                            segments.push(Segment::Any);
                        }
                        // Including the separator.
                        at += 3;
                        continue;
                    }
                    _ => return Err("more than two * in a row are not allowed; use * or **"),
                },
                '[' => class(rest).ok_or("a [ has no ]; the character itself is written as [[]")?,
                '?' => (Token::Any, 1),
                '/' => (Token::Separator, 1),
                c => (Token::Char(c), 1),
            };
            at += length;
            if token == Token::Separator {
                segments.push(Segment::One(std::mem::take(&mut tokens)));
            } else {
                tokens.push(token);
            }
        }
        // After `**`, an empty last segment does not count.
        if !tokens.is_empty() || segments.last() != Some(&Segment::Any) {
            segments.push(Segment::One(tokens));
        }
        Ok(Self { segments })
    }

    /// Whether it matches a path.
    ///
    /// Takes at most about (characters of the pattern) × (characters of the path) steps, because each pair of segments
    /// is compared once.
    pub(super) fn matches(&self, path: &str, steps: &mut Steps) -> Result<bool, Exhausted> {
        let names: Vec<&str> = path.split('/').collect();
        let (mut at, mut name) = (0, 0);
        // Where to continue after a mismatch: after the last `**`, one name later.
        let mut again: Option<(usize, usize)> = None;
        loop {
            steps.take()?;
            match (self.segments.get(at), names.get(name)) {
                (Some(Segment::Any), found) if at + 1 == self.segments.len() => return Ok(found.is_some()),
                (Some(Segment::Any), _) => {
                    at += 1;
                    again = Some((at, name));
                }
                (None, None) => return Ok(true),
                // With fewer names left it cannot match either.
                (Some(_), None) => return Ok(false),
                (Some(Segment::One(tokens)), Some(found)) if matches_one(tokens, found, steps)? => {
                    (at, name) = (at + 1, name + 1);
                }
                (_, Some(_)) => {
                    let Some((after, from)) = &mut again else { return Ok(false) };
                    *from += 1;
                    (at, name) = (*after, *from);
                }
            }
        }
    }

    /// Whether it may match a path below a directory.
    pub(super) fn reaches_below(&self, directory: &str, steps: &mut Steps) -> Result<bool, Exhausted> {
        let mut segments = self.segments.iter();
        for name in directory.split('/') {
            match segments.next() {
                Some(Segment::Any) => return Ok(true),
                Some(Segment::One(tokens)) if matches_one(tokens, name, steps)? => {}
                _ => return Ok(false),
            }
        }
        Ok(segments.next().is_some())
    }
}

/// A class, and its length in characters; `None` if it has no end. A `]` at its beginning is a normal character.
fn class(chars: &[char]) -> Option<(Token, usize)> {
    let negated = chars.get(1) == Some(&'!');
    let from = if negated { 2 } else { 1 };
    let length = chars.get(from + 1..)?.iter().position(|c| *c == ']')? + 1;
    let (mut members, mut ranges) = (&chars[from..from + length], Vec::new());
    while let Some(first) = members.first() {
        let (last, taken) = match members {
            [_, '-', last, ..] => (last, 3),
            _ => (first, 1),
        };
        // A range in reverse order is empty.
        ranges.extend((first <= last).then_some((*first, *last)));
        members = &members[taken..];
    }
    ranges.sort_unstable();
    let mut apart: Vec<(char, char)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some((_, before)) if first <= *before => *before = last.max(*before),
            _ => apart.push((first, last)),
        }
    }
    Some((Token::Class { ranges: apart, negated }, from + length + 1))
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::Char(own) => *own == c,
            Self::Class { ranges, negated } => {
                let at = ranges.partition_point(|(_, last)| *last < c);
                ranges.get(at).is_some_and(|(first, _)| *first <= c) != *negated
            }
            Self::Star | Self::Separator => false,
        }
    }
}

/// Matches one segment. It returns only to the last star: characters that an earlier star would take, the last one can
/// take as well.
fn matches_one(tokens: &[Token], text: &str, steps: &mut Steps) -> Result<bool, Exhausted> {
    let (mut at, mut rest) = (0, text.chars());
    // Where to continue after a mismatch: after the last star, one character later.
    let mut again: Option<(usize, Chars<'_>)> = None;
    loop {
        steps.take()?;
        let mut ahead = rest.clone();
        match (tokens.get(at), ahead.next()) {
            (Some(Token::Star), _) => {
                at += 1;
                if at == tokens.len() {
                    return Ok(true);
                }
                again = Some((at, rest.clone()));
            }
            (None, None) => return Ok(true),
            // With fewer characters left it cannot match either.
            (Some(_), None) => return Ok(false),
            (Some(token), Some(c)) if token.takes(c) => (at, rest) = (at + 1, ahead),
            (_, Some(_)) => {
                let Some((after, from)) = &mut again else { return Ok(false) };
                from.next();
                (at, rest) = (*after, from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENOUGH: u32 = 10_000_000;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(path, &mut Steps(ENOUGH)).unwrap()
    }

    #[rstest::rstest]
    #[case("*.json", "a.json", true)]
    #[case("*.json", "conf.d/a.json", false)]
    #[case("**/*.json", "a.json", true)]
    #[case("**/*.json", "conf.d/deep/a.json", true)]
    #[case("conf.d/**", "conf.d/deep/a.json", true)]
    #[case("conf.d/**", "conf.d", false)]
    #[case("a/**/b/**/c", "a/b/x/b/c", true)]
    #[case("[!a-c]?", "dx", true)]
    #[case("[!a-c]?", "bx", false)]
    #[case("[]]", "]", true)]
    #[case("[a/b]", "/", false)]
    #[case(".*", ".hidden", true)]
    fn what_the_documentation_says(#[case] pattern: &str, #[case] path: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, path), expected);
    }

    /// Patterns for which a matcher with backtracking needs hours. Each ends within the product of both lengths.
    #[test]
    fn the_number_of_steps_is_bounded_by_the_product_of_the_lengths() {
        let a = |count: usize| "a".repeat(count);
        let stars = "*a".repeat(500);
        let cases = [
            (format!("{}b", "*a".repeat(9)), format!("{}/x", a(100))),
            (format!("{stars}b"), a(1024)),
            (format!("{stars}/b"), format!("{}/c", a(1000))),
            (format!("*{}b", a(500)), a(1024)),
            (format!("*{}b", "?".repeat(500)), a(1024)),
            (format!("*{}b", "[!b]".repeat(200)), a(1024)),
            (format!("{}b", "**/a/".repeat(200)), vec!["a"; 500].join("/")),
            (format!("{}b", "**/*a*/".repeat(140)), vec!["aaa"; 250].join("/")),
            (format!("**/{}b", "*/".repeat(250)), vec!["a"; 500].join("/")),
        ];
        for (pattern, path) in cases {
            let bound = u32::try_from((pattern.len() + 2) * (path.len() + 2)).unwrap();
            let mut steps = Steps(bound);
            let matched = Pattern::parse(&pattern).unwrap().matches(&path, &mut steps);
            assert_eq!(matched, Ok(false), "{pattern} against {path}");
        }
    }

    #[rstest::rstest]
    #[case("[")]
    #[case("a[b")]
    #[case("[]")]
    #[case("[!]")]
    #[case("a**")]
    #[case("**a")]
    #[case("a/***/b")]
    fn what_is_no_pattern(#[case] text: &str) {
        assert!(Pattern::parse(text).is_err());
    }

    #[rstest::rstest]
    #[case("conf.d/*.ini", "conf.d", true)]
    #[case("conf.d/*.ini", "other", false)]
    #[case("conf.d/*.ini", "conf.d/deep", false)]
    #[case("**/*.ini", "any/where", true)]
    #[case("*/deep/*", "conf.d", true)]
    #[case("*.json", "conf.d", false)]
    fn what_may_lie_below_a_directory(#[case] pattern: &str, #[case] directory: &str, #[case] reaches: bool) {
        let pattern = Pattern::parse(pattern).unwrap();
        assert_eq!(pattern.reaches_below(directory, &mut Steps(ENOUGH)), Ok(reaches));
    }

    /// The result of the crate `glob`, whose syntax this is.
    fn by_glob(pattern: &str, path: &str) -> Option<bool> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        glob::Pattern::new(pattern).ok().map(|pattern| pattern.matches_with(path, options))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn it_matches_as_the_crate_glob_does(
            pattern in "(\\*\\*/|[ab]|\\*|\\?|/|\\[a\\]|\\[!a\\]|\\[a-b\\]|\\[|\\]|\\.|-|!|ä){0,8}(/\\*\\*)?",
            path in "[ab./ä\\[]{0,8}",
        ) {
            let ours = Pattern::parse(&pattern).ok().map(|pattern| pattern.matches(&path, &mut Steps(ENOUGH)).unwrap());
            prop_assert_eq!(ours, by_glob(&pattern, &path), "{} against {}", pattern, path);
        }

        #[test]
        fn an_escaped_name_matches_itself_and_nothing_else(name in "[ab*?\\[\\]!/-]{1,8}", other in "[ab*?\\[\\]!/-]{1,8}") {
            let escaped = escape(&name);
            prop_assert_eq!(unescape(&escaped), Some(name.clone()));
            prop_assert!(matches(&escaped, &name));
            prop_assert_eq!(matches(&escaped, &other), name == other);
        }

        #[test]
        fn below_a_directory_lies_what_is_matched(
            pattern in "(\\*\\*/|[ab]|\\*|/){1,6}", path in "[ab]{1,2}(/[ab]{1,2}){1,3}", cut in 1usize..3,
        ) {
            let Ok(pattern) = Pattern::parse(&pattern) else { return Ok(()) };
            let names: Vec<&str> = path.split('/').collect();
            let directory = names[..cut.min(names.len() - 1)].join("/");
            if pattern.matches(&path, &mut Steps(ENOUGH)).unwrap() {
                prop_assert!(pattern.reaches_below(&directory, &mut Steps(ENOUGH)).unwrap());
            }
        }
    }
}
