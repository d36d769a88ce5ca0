//! Acts on workloads: deploy, roll out, undo, scale, drain.

use api::{Resolve, WorkloadRef};
use decide::workload::Bind;

use super::{Act, Name};
use crate::names;
use crate::worlds::State;

/// The values of the label that asks for binding.
pub const BINDS: [Option<Bind>; 3] = [Some(Bind::Require), Some(Bind::Prefer), None];

impl State {
    pub(super) fn change_workload(&mut self, act: Act) {
        match act {
            Act::Deploy(name, image, bind) => self.deploy(name, names::reference(image), BINDS[bind]),
            Act::SetImage(name, image) => {
                self.edit_template(name, |template| template.image = names::reference(image));
            }
            Act::Label(name, bind) => self.edit_template(name, |template| template.bind = BINDS[bind]),
            Act::Undo(name, nth) => self.undo(name, nth),
            Act::Scale(name, replicas) => self.scale(name, replicas),
            Act::Drain(name, nth) => self.drain(name, nth),
            Act::DropSets(name) => self.drop_sets(name),
            Act::Undeploy(name) => self.undeploy(name),
            Act::IndexLags(lags) => self.resources.index_lags = lags,
            _ => unreachable!("{act:?} does not act on a workload"),
        }
    }
}

/// `spec.workloadRef` of a resource that follows this workload.
pub(super) fn reference(workload: Name, resolve: Resolve) -> WorkloadRef {
    WorkloadRef {
        api_version: None,
        kind: "Deployment".to_owned(),
        name: workload.to_owned(),
        container: None,
        resolve,
        template_path: None,
    }
}
