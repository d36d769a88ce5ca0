//! Between find and apply: which content may be written.
//!
//! Every check that judges content is here, in its order. Rendering has checked the form of the content already, so
//! today everything passes.

use super::find::Wanted;
use super::halt::Halt;

/// Content that may be written. Only [`judge`] makes one, and applying takes nothing else.
pub(super) struct Passed(Wanted);

impl Passed {
    /// The content.
    pub(super) fn into_inner(self) -> Wanted {
        self.0
    }
}

/// Judges content of every goal and every source: a rollback passes the same gate as a newer config.
#[expect(clippy::unnecessary_wraps, reason = "a judgement can be no")]
pub(super) fn judge(wanted: Wanted) -> Result<Passed, Halt> {
    Ok(Passed(wanted))
}
