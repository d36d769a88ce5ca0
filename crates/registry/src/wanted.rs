//! The files of an artifact that a caller wants.

use crate::error::{Bound, Error, Kind};

/// Which files of an artifact are wanted, and how many bytes of them. Made for one pull: an implementation may count
/// the cost of its answers over the whole artifact. Several parts of the artifact are asked about side by side.
pub trait Wanted: Send + Sync + 'static {
    /// Whether a file is wanted. Other files are not fetched, and cause no errors.
    ///
    /// # Errors
    /// A sentence, if the decision takes too long.
    fn wants(&self, path: &str) -> Result<bool, String>;

    /// Whether any file below a directory may be wanted.
    ///
    /// # Errors
    /// As above.
    fn wants_below(&self, directory: &str) -> Result<bool, String>;

    /// Most bytes that all wanted files may have together.
    fn budget(&self) -> u64;

    /// A message that these files, each with its size, exceed the budget.
    fn over_budget(&self, files: &[(&str, u64)]) -> String;
}

/// Every file, up to so many bytes of them.
#[derive(Clone, Copy, Debug)]
pub struct Everything {
    /// The budget.
    pub bytes: u64,
}

impl Wanted for Everything {
    fn wants(&self, _: &str) -> Result<bool, String> {
        Ok(true)
    }

    fn wants_below(&self, _: &str) -> Result<bool, String> {
        Ok(true)
    }

    fn budget(&self) -> u64 {
        self.bytes
    }

    fn over_budget(&self, files: &[(&str, u64)]) -> String {
        let total = files.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
        format!("the files have {total} bytes; at most {} are wanted", self.bytes)
    }
}

/// Refuses files that exceed the budget together.
pub(crate) fn check_budget<'a>(
    wanted: &dyn Wanted,
    files: impl Iterator<Item = (&'a str, u64)>,
) -> Result<(), Error> {
    let files: Vec<(&str, u64)> = files.collect();
    let total = files.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
    if total <= wanted.budget() {
        return Ok(());
    }
    Err(Error::new(Kind::TooLarge(Bound::Budget), wanted.over_budget(&files)))
}

/// The error for a filter that cannot decide.
pub(crate) fn undecided(why: String) -> Error {
    Error::new(Kind::Filter, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_for_all_files_together() {
        let wanted = Everything { bytes: 3 };
        check_budget(&wanted, [("a", 1), ("b", 2)].into_iter()).unwrap();
        let error = check_budget(&wanted, [("a", 1), ("b", u64::MAX)].into_iter()).unwrap_err();
        assert_eq!(error.kind(), &Kind::TooLarge(Bound::Budget));
        assert!(error.message().ends_with("at most 3 are wanted"), "{error}");
    }
}
