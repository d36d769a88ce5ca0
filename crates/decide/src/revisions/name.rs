//! Names of revisions.

use oci::Digest;
use sha2::{Digest as _, Sha256};

/// Hexadecimal characters of the hash at the end of the name: as many as `ReplicaSets` have, and enough that two
/// revisions of one target never share them.
const NAME_HASH: usize = 10;

/// Name of the revision of an artifact with some content. Two artifacts with equal bytes are two revisions.
#[must_use]
pub fn name(target: &str, artifact: &Digest, hash: &str) -> String {
    let digest = Sha256::digest(format!("{artifact}\n{hash}"));
    let hex: String =
        digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(hex_digit).take(NAME_HASH).collect();
    format!("{target}-{hex}")
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

/// Whether an object has the name of a revision.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let hash = name.rsplit_once('-').map(|(_, hash)| hash);
    hash.is_some_and(|hash| {
        hash.len() == NAME_HASH && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}
