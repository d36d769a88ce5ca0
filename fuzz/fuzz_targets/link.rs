//! The next page of a list, in `Link`, several header lines separated by line breaks.
#![no_main]

use registry::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::link(bytes));
