//! From the report of a pass to the status, its conditions, an event, and the time of the next pass.

pub mod conditions;
pub mod event;
pub mod report;
pub mod schedule;
pub mod status;
pub mod wake;
