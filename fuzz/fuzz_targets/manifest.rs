//! Manifests and lists of them, by the type that they say they are of.
#![no_main]

use oci::{Digest, MAX_ENTRIES, parse_artifact, parse_index, parse_legacy_list};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let artifact = parse_artifact(Digest::sha256(bytes), bytes, None);
    if let Ok(artifact) = &artifact {
        assert!(artifact.fault.is_none(), "what is read without an error has no fault");
    }
    for wanted in [None, Some("custom/config")] {
        for list in [parse_index(bytes, None, wanted), parse_legacy_list(bytes, wanted)].into_iter().flatten()
        {
            assert!(list.entries.len() <= MAX_ENTRIES, "{} entries", list.entries.len());
        }
    }
});
