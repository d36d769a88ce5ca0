//! JSON as Go reads it: pull secrets and the answers of token endpoints.
#![no_main]

use registry::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::json(bytes));
