//! Requests and answers: bounded in time, bytes and number, retried and redirected with care, and sent to no address that
//! is out of reach.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod call;
pub(crate) mod pace;
pub(crate) mod policy;
mod redirect;
pub(crate) mod room;
pub(crate) mod throttle;
pub(crate) mod transport;
pub(crate) mod trouble;
mod warnings;
