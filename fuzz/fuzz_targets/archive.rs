//! Packed directories: a tar, gzipped or not.
#![no_main]

use registry::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::archive(bytes));
