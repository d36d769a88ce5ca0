//! Between find and apply: which content may be written.
//!
//! Every check that judges content is here, in its order. Rendering has checked the form of the content already.

use decide::goal::Goal;
use decide::preflight;
use decide::spec::Desired;

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

/// Judges content of every goal and every source. Who asks for an earlier config by `spec.rollbackTo` gets it, and so does a
/// target that is repaired: only a newer config can be put off.
pub(super) fn judge(desired: &Desired, goal: &Goal, wanted: Wanted) -> Result<Passed, Halt> {
    if *goal == Goal::Newest {
        preflight::check(desired, &wanted.content)?;
    }
    Ok(Passed(wanted))
}
