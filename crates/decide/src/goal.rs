//! Which config must be in the target, as a value: every goal takes the same way through find, gate and apply.

use oci::Digest;

use crate::view::View;

/// The purpose of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Restore the applied state of the target, because somebody changed it and nothing else is due. Asks no registry.
    Repair,
    /// Apply the config that `spec.rollbackTo` names, and stay on it.
    RollBack(Digest),
    /// Apply the config that the policy selects.
    Newest,
    /// Keep the config that was applied last, because the next config is not available.
    KeepLast,
}

impl Goal {
    /// The goal that the resource states.
    #[must_use]
    pub fn of(rollback_to: Option<&Digest>) -> Self {
        rollback_to.map_or(Self::Newest, |digest| Self::RollBack(digest.clone()))
    }

    /// Whether `spec.rollbackTo` states it.
    #[must_use]
    pub const fn is_rollback(&self) -> bool {
        matches!(self, Self::RollBack(_))
    }
}

/// Why a pass runs, and so how old an answer of a registry may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Somebody asks for a sync by annotation.
    Requested,
    /// `spec` is new.
    SpecChanged,
    /// The workload names another image.
    ImageChanged,
    /// The target holds the config of another operator, which may know of a newer one.
    Overtaken,
    /// The interval is over, or something that the resource depends on has changed.
    Due,
}

impl Trigger {
    /// Why this pass runs, according to the resource, and to the image that its workload names.
    #[must_use]
    pub fn of(view: &View<'_>, is_image_new: bool) -> Self {
        let is_requested = view.header.requested_at.is_some() && view.is_request_open();
        if is_requested {
            Self::Requested
        } else if view.is_spec_new() {
            Self::SpecChanged
        } else if is_image_new {
            Self::ImageChanged
        } else {
            Self::Due
        }
    }

    /// Whether only an answer to a request after the start of this pass counts: somebody who asks for a sync, or has
    /// just written the resource, has usually just attached a config.
    #[must_use]
    pub const fn needs_new_answer(self) -> bool {
        match self {
            Self::Requested | Self::SpecChanged | Self::ImageChanged | Self::Overtaken => true,
            Self::Due => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_states_where_to_go() {
        let digest = Digest::sha256(b"a");
        assert_eq!(Goal::of(None), Goal::Newest);
        assert_eq!(Goal::of(Some(&digest)), Goal::RollBack(digest));
    }
}
