//! Memory: a parsed answer takes a small multiple of its size for any content, and sixteen hostile registries at once
//! stay below the limit of the chart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod decoders;
mod sixteen;
