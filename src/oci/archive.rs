//! Directories that ORAS attached: a tar, usually gzipped, marked by an annotation.
//!
//! Nothing is written to a file system. Links and special files are refused all the same: half a directory is a
//! wrong config, and they were the way out of the directory in CVE-2026-50163.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::api::Reason;
use crate::decide::render::check_size;
use crate::types::{ConfigFile, Descriptor, Digest, Failure, normalize_path};

use super::Pulled;

/// Digest of the tar before compression.
const CONTENT_DIGEST: &str = "io.deis.oras.content.digest";

/// Largest packed directory that is fetched. Above a `ConfigMap`'s 1 MiB, because `files` may want only part of it.
pub(super) const MAX_ARCHIVE: u64 = 4 * 1024 * 1024;

/// Most bytes that are inflated: sixteen full `ConfigMaps`. A bomb ends here.
const MAX_INFLATED: u64 = 16 * 1024 * 1024;

/// Most entries, directories included.
const MAX_ENTRIES: usize = 4096;

/// Whether a layer is a packed directory.
pub(super) fn is_directory(layer: &Descriptor) -> bool {
    layer.is_directory()
}

/// A packed directory whose bytes were verified.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    title: String,
    content_digest: Option<Digest>,
    bytes: Bytes,
}

impl Archive {
    pub(super) fn of(layer: &Descriptor, bytes: Bytes) -> Result<Self, Failure> {
        let title = layer.title().unwrap_or_default().to_owned();
        let content_digest =
            layer.annotations.get(CONTENT_DIGEST).map(str::parse).transpose().map_err(|error| {
                Failure::new(
                    Reason::InvalidContent,
                    format!("directory '{title}': annotation {CONTENT_DIGEST}: {error}"),
                )
            })?;
        Ok(Self { title, content_digest, bytes })
    }
}

/// The regular files of a packed directory.
///
/// # Errors
/// `InvalidContent` for what is no archive, does not match its digest, or holds links and special files;
/// `InvalidFiles` for names that leave the directory; `TooLarge` beyond the bounds of this module.
pub(super) fn unpack(archive: &Archive, wants: impl Fn(&str) -> bool) -> Result<Pulled, Failure> {
    let invalid =
        |why: String| Failure::new(Reason::InvalidContent, format!("directory '{}': {why}", archive.title));
    let tar = inflate(archive)?;
    if let Some(expected) = &archive.content_digest {
        expected.verify(&tar).map_err(|mismatch| {
            Failure::new(
                Reason::DigestMismatch,
                format!("directory '{}': unpacked, {mismatch}", archive.title),
            )
        })?;
    }
    let prefix = directory_prefix(&archive.title)?;
    let (mut files, mut others) = (Vec::new(), Vec::new());
    let mut reader = tar::Archive::new(tar.as_slice());
    let entries = reader.entries().map_err(|error| invalid(format!("it is no tar archive: {error}")))?;
    for (index, entry) in entries.enumerate() {
        if index >= MAX_ENTRIES {
            return Err(Failure::new(
                Reason::TooLarge,
                format!("directory '{}' has more than {MAX_ENTRIES} entries", archive.title),
            ));
        }
        let mut entry = entry.map_err(|error| invalid(format!("the archive is damaged: {error}")))?;
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| invalid("it holds a name that is not UTF-8".to_owned()))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return Err(invalid(format!(
                "entry '{}' is a link or special file; only regular files become config, so attach the file it stands for",
                name.escape_debug()
            )));
        }
        let path = normalize_path(&name).map_err(|error| {
            Failure::new(Reason::InvalidFiles, format!("directory '{}': {error}", archive.title))
        })?;
        if !path.starts_with(&prefix) {
            return Err(Failure::new(
                Reason::InvalidFiles,
                format!("directory '{}': entry '{path}' lies outside of it", archive.title),
            ));
        }
        if wants(&path) {
            // Everything is in memory already, within MAX_INFLATED.
            let mut bytes = Vec::new();
            entry
                .read_to_end(&mut bytes)
                .map_err(|error| invalid(format!("the archive is damaged: {error}")))?;
            files.push(ConfigFile { path, bytes: bytes.into() });
        } else {
            others.push(path);
        }
    }
    check_size(files.iter().map(|file| (file.path.as_str(), file.bytes.len() as u64)))?;
    Ok(Pulled { files, others })
}

/// What every entry's path must begin with: ORAS packs `conf.d` as `conf.d/…`, and `.` as it is.
fn directory_prefix(title: &str) -> Result<String, Failure> {
    if title.trim_end_matches('/') == "." {
        return Ok(String::new());
    }
    let directory =
        normalize_path(title).map_err(|error| Failure::new(Reason::InvalidFiles, error.to_string()))?;
    Ok(format!("{directory}/"))
}

fn inflate(archive: &Archive) -> Result<Vec<u8>, Failure> {
    let is_gzip = archive.bytes.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read + '_> = if is_gzip {
        Box::new(MultiGzDecoder::new(archive.bytes.as_ref()))
    } else {
        Box::new(archive.bytes.as_ref())
    };
    let mut tar = Vec::new();
    reader.take(MAX_INFLATED + 1).read_to_end(&mut tar).map_err(|error: io::Error| {
        Failure::new(
            Reason::InvalidContent,
            format!("directory '{}' cannot be inflated: {error}", archive.title),
        )
    })?;
    if tar.len() as u64 > MAX_INFLATED {
        return Err(Failure::new(
            Reason::TooLarge,
            format!("directory '{}' inflates to more than {MAX_INFLATED} bytes", archive.title),
        ));
    }
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write as _;
    use tar::{Builder, EntryType, Header};

    /// A tar of raw entries: names are written as they are, which `Builder` itself would refuse to do.
    fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, bytes) in entries {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn archive(bytes: Vec<u8>) -> Archive {
        Archive { title: "conf.d".to_owned(), content_digest: None, bytes: bytes.into() }
    }

    fn failure(entries: &[(&str, EntryType, &[u8])]) -> Failure {
        unpack(&archive(gzip(&tar(entries))), |_| true).unwrap_err()
    }

    #[test]
    fn regular_files_come_out_and_only_the_wanted_ones() {
        let bytes = tar(&[
            ("conf.d/", EntryType::Directory, b""),
            ("conf.d/a.ini", EntryType::Regular, b"a=1"),
            ("conf.d/deep/b.ini", EntryType::Regular, b"b=2"),
        ]);
        for bytes in [gzip(&bytes), bytes.clone()] {
            let pulled = unpack(&archive(bytes), |path| path != "conf.d/deep/b.ini").unwrap();
            assert_eq!(pulled.files, [ConfigFile { path: "conf.d/a.ini".into(), bytes: "a=1".into() }]);
            assert_eq!(pulled.others, ["conf.d/deep/b.ini"]);
        }
    }

    #[test]
    fn the_digest_of_the_unpacked_content_is_checked() {
        let bytes = tar(&[("conf.d/a", EntryType::Regular, b"a")]);
        let mut archive = archive(gzip(&bytes));
        archive.content_digest = Some(Digest::sha256(&bytes));
        unpack(&archive, |_| true).unwrap();
        archive.content_digest = Some(Digest::sha256(b"other"));
        assert_eq!(unpack(&archive, |_| true).unwrap_err().reason, Reason::DigestMismatch);
    }

    /// Checklist A13: whatever leaves the directory or is no regular file is refused, not skipped.
    #[rstest::rstest]
    #[case("conf.d/../../etc/passwd", EntryType::Regular, Reason::InvalidFiles)]
    #[case("/etc/passwd", EntryType::Regular, Reason::InvalidFiles)]
    #[case("other/a", EntryType::Regular, Reason::InvalidFiles)]
    #[case("conf.d-evil/a", EntryType::Regular, Reason::InvalidFiles)]
    #[case("conf.d/link", EntryType::Symlink, Reason::InvalidContent)]
    #[case("conf.d/link", EntryType::Link, Reason::InvalidContent)]
    #[case("conf.d/null", EntryType::Char, Reason::InvalidContent)]
    #[case("conf.d/pipe", EntryType::Fifo, Reason::InvalidContent)]
    fn hostile_entries_are_refused(#[case] name: &str, #[case] kind: EntryType, #[case] reason: Reason) {
        assert_eq!(failure(&[("conf.d/a", EntryType::Regular, b"a"), (name, kind, b"")]).reason, reason);
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let bomb = gzip(&vec![0; usize::try_from(MAX_INFLATED).unwrap() + 1]);
        assert!((bomb.len() as u64) < MAX_ARCHIVE);
        assert_eq!(unpack(&archive(bomb), |_| true).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn thousands_of_entries_end_at_the_bound() {
        let names: Vec<String> = (0..=MAX_ENTRIES).map(|index| format!("conf.d/{index}")).collect();
        let entries: Vec<(&str, EntryType, &[u8])> =
            names.iter().map(|name| (name.as_str(), EntryType::Regular, b"".as_slice())).collect();
        assert_eq!(failure(&entries).reason, Reason::TooLarge);
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for bytes in
            [gzip(b"plain text"), gzip(&tar(&[("conf.d/a", EntryType::Regular, &[b'x'; 2000])])[..1000])]
        {
            assert_eq!(unpack(&archive(bytes), |_| true).unwrap_err().reason, Reason::InvalidContent);
        }
        let mut cut = gzip(&tar(&[("conf.d/a", EntryType::Regular, b"a")]));
        cut.truncate(cut.len() / 2);
        assert_eq!(unpack(&archive(cut), |_| true).unwrap_err().reason, Reason::InvalidContent);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048), zipped in any::<bool>()) {
            let _ = unpack(&archive(if zipped { gzip(&bytes) } else { bytes }), |_| true);
        }
    }
}
