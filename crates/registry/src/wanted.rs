//! What a caller wants of an artifact.

use crate::error::{Bound, Error, Kind};

/// Which files of an artifact are wanted, and how many bytes of them. Made for one pull: what an answer costs may be
/// counted over the whole artifact, whose parts are asked about side by side.
pub trait Wanted: Send + Sync + 'static {
    /// Whether a file is wanted. One that is not is not even fetched, and cannot spoil the others.
    ///
    /// # Errors
    /// A sentence, where it takes too long to tell.
    fn wants(&self, path: &str) -> Result<bool, String>;

    /// Whether anything below a directory may be wanted.
    ///
    /// # Errors
    /// As above.
    fn wants_below(&self, directory: &str) -> Result<bool, String>;

    /// Most bytes that all wanted files may have together.
    fn budget(&self) -> u64;

    /// Says that these files, each with its size, have more than the budget.
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

/// Refuses what is more than the budget.
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

/// What a filter cannot tell.
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
