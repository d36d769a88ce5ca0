//! Number and time of an application.

use jiff::Timestamp;

/// Numbers below this one count. Every JSON parser reads them exactly (RFC 8259, 6), and no operator reaches it by
/// counting: a number beyond it was written by hand, or follows from such a number.
pub(crate) const LIMIT: i64 = 1 << 53;

/// Number and time of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts up by one; never used again.
    pub number: i64,
    /// Whole seconds.
    pub applied_at: Timestamp,
}

/// Whether a number counts.
pub(crate) fn is_plausible(number: i64) -> bool {
    (1..LIMIT).contains(&number)
}
