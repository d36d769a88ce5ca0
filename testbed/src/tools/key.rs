//! The key that a build is cached under: everything that decides what comes out.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::go::Go;
use super::module::Module;

/// Short enough for a directory name, long enough that two builds never meet (64 bits).
const KEY_BYTES: usize = 8;

/// The cache directory's name for this module built by this Go, for example `etcd-v3.6.16-0c5f…`.
pub(crate) fn directory_name(module: &Module, go: &Go) -> String {
    let flags = module.build_flags().join("\n");
    let mut parts = vec![module.go_mod, module.go_sum, &flags, &go.version, &go.os, &go.arch];
    parts.extend(module.sources.iter().flat_map(|(path, text)| [*path, *text]));
    format!("{}-{}-{}", module.name, module.version, hash(&parts))
}

/// Hashes the parts with their lengths, so that moving text from one part to the next changes the key.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(KEY_BYTES).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Tool;

    fn go(version: &str, arch: &str) -> Go {
        Go { version: version.into(), os: "linux".into(), arch: arch.into(), toolchain: "local".into() }
    }

    #[test]
    fn anything_that_decides_the_result_changes_the_key() {
        let etcd = Tool::Etcd.module();
        let key = directory_name(etcd, &go("go1.26.0", "amd64"));
        assert!(key.starts_with("etcd-v3.6.16-"));
        assert_eq!(key, directory_name(etcd, &go("go1.26.0", "amd64")));
        assert_ne!(key, directory_name(etcd, &go("go1.26.1", "amd64")));
        assert_ne!(key, directory_name(etcd, &go("go1.26.0", "arm64")));
        assert_ne!(key, directory_name(Tool::Oras.module(), &go("go1.26.0", "amd64")));
        let ours = Tool::KubeletKeyring.module();
        let changed = Module { sources: &[("kubelet-keyring/main.go", "package main")], ..*ours };
        let go = go("go1.26.0", "amd64");
        assert_ne!(directory_name(ours, &go), directory_name(&changed, &go), "a source of ours");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["ab"]), hash(&["ab", ""]));
        assert_eq!(hash(&["ab"]).len(), KEY_BYTES * 2);
    }
}
