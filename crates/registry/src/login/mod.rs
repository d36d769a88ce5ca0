//! The login to a registry: its challenge, the tokens that answer it, and the memory of them.

pub(crate) mod authorizer;
pub(crate) mod challenge;
mod header;
mod token;
