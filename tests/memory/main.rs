//! Memory: what is made of an answer is a small multiple of it, whatever it holds, and sixteen hostile registries at once
//! stay below what the chart gives the operator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod decoders;
mod sixteen;
