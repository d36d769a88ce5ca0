//! Durations as Go writes and reads them (`time.ParseDuration`): `1h30m`, `1.5s`, `0`.

use std::time::Duration;

/// Why a text is not a duration. The words are those of Go, without the text itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    #[error("it is not a sequence of numbers with units, such as 1h30m")]
    Form,
    #[error("unit missing in duration")]
    NoUnit,
    #[error("unknown unit in duration")]
    Unit,
    #[error("it is negative")]
    Negative,
    #[error("it is longer than 292 years")]
    TooLong,
}

/// Nanoseconds of each unit, in the order in which they are tried.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    // U+00B5, the micro sign, and U+03BC, the letter.
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Form);
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (part, after) = component(rest)?;
        total = total.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = after;
    }
    // Go counts in an int64.
    match total {
        0 => Ok(Duration::ZERO),
        _ if is_negative => Err(DurationError::Negative),
        total if i64::try_from(total).is_ok() => Ok(Duration::from_nanos(total)),
        _ => Err(DurationError::TooLong),
    }
}

/// The nanoseconds of one number with its unit, and the rest of the text.
fn component(text: &str) -> Result<(u64, &str), DurationError> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Form);
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    if unit.is_empty() {
        return Err(DurationError::NoUnit);
    }
    let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Unit)?.1;
    let number = if whole.is_empty() { Some(0) } else { whole.parse::<u64>().ok() };
    let nanos = number.and_then(|number| number.checked_mul(scale)).ok_or(DurationError::TooLong)?;
    let nanos = nanos.checked_add(part_of(fraction, scale)).ok_or(DurationError::TooLong)?;
    Ok((nanos, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// A fraction of a unit, in nanoseconds. Digits that make no whole nanosecond do not count.
fn part_of(fraction: &str, scale: u64) -> u64 {
    let (mut digits, mut divisor) = (0_u128, 1_u128);
    // Fifteen digits of an hour are less than a nanosecond.
    for digit in fraction.bytes().take(15) {
        divisor *= 10;
        digits = digits * 10 + u128::from(digit - b'0');
    }
    u64::try_from(digits * u128::from(scale) / divisor).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[rstest::rstest]
    #[case("0", Ok(0))]
    #[case("-0", Ok(0))]
    #[case("-0s", Ok(0))]
    #[case("12h", Ok(43_200_000_000_000))]
    #[case("+5s", Ok(5_000_000_000))]
    #[case("1h30m", Ok(5_400_000_000_000))]
    #[case("1.5s", Ok(1_500_000_000))]
    #[case(".5s", Ok(500_000_000))]
    #[case("5.s", Ok(5_000_000_000))]
    #[case("1us2µs3μs4ns", Ok(6_004))]
    #[case("0.3333333333333333333h", Ok(1_199_999_999_999))]
    #[case("", Err(DurationError::Form))]
    #[case("+", Err(DurationError::Form))]
    #[case("soon", Err(DurationError::Form))]
    #[case(".s", Err(DurationError::Form))]
    #[case("3", Err(DurationError::NoUnit))]
    #[case("3d", Err(DurationError::Unit))]
    #[case("1 h", Err(DurationError::Unit))]
    #[case("-1s", Err(DurationError::Negative))]
    #[case("3000000h", Err(DurationError::TooLong))]
    #[case("99999999999999999999s", Err(DurationError::TooLong))]
    fn durations_are_read_as_go_reads_them(#[case] text: &str, #[case] nanos: Result<u64, DurationError>) {
        assert_eq!(parse(text), nanos.map(Duration::from_nanos));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text: String, numbers in "[0-9.]{0,30}[a-zµμ]{0,3}") {
            let _ = (parse(&text), parse(&numbers));
        }

        #[test]
        fn whole_units_add_up(hours in 0_u64..1000, minutes in 0_u64..1000, seconds in 0_u64..1000) {
            let expected = Duration::from_secs(hours * 3600 + minutes * 60 + seconds);
            prop_assert_eq!(parse(&format!("{hours}h{minutes}m{seconds}s")), Ok(expected));
        }
    }
}
