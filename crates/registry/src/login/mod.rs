//! How a registry lets somebody in: its challenge, the tokens that answer it, and what is remembered of them.

pub(crate) mod authorizer;
pub(crate) mod challenge;
mod header;
mod token;
