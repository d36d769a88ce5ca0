//! Directories that ORAS attached: a tar, usually gzipped, marked by an annotation.
//!
//! Nothing is written to a file system. Links and special files are still refused: half a directory is a wrong config,
//! and they were the way out of the directory in CVE-2026-50163.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use oci::{ConfigFile, Descriptor, Digest, UNPACKED_DIGEST, normalize_path, text};

use crate::error::{Bound, Defect, Error, Kind};
use crate::port::Pulled;
use crate::wanted::{Wanted, undecided};

/// Most bytes of packed directories that are fetched of an artifact. A caller with a smaller budget may want only a
/// part of them.
pub const MAX_ARCHIVE: u64 = 4 * 1024 * 1024;

/// Most bytes that the directories of an artifact are inflated to: sixteen times as large as most configs may be. A
/// decompression bomb ends here, and so do many small ones.
const MAX_INFLATED: u64 = 16 * 1024 * 1024;

/// Files of one artifact that are read, wanted or not: far more than any config has.
pub const MAX_FILES: usize = 4096;

/// Whether a layer is a packed directory.
pub(crate) fn is_directory(layer: &Descriptor) -> bool {
    layer.is_directory()
}

/// The remaining bytes and entries of one artifact. All its directories share them, in any order.
pub(crate) struct Room {
    bytes: AtomicU64,
    entries: AtomicU64,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: MAX_INFLATED.into(), entries: (MAX_FILES as u64).into() }
    }
}

impl Room {
    /// How many more bytes may be inflated now.
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn take_bytes(&self, bytes: u64) -> Result<(), Error> {
        // The message names no directory: which of several directories comes last is chance.
        take(&self.bytes, bytes).ok_or_else(|| {
            Error::new(
                Kind::TooLarge(Bound::Inflated),
                format!("its directories have more than {MAX_INFLATED} bytes when inflated"),
            )
        })
    }

    fn take_entry(&self) -> Result<(), Error> {
        take(&self.entries, 1).ok_or_else(|| {
            Error::new(
                Kind::TooLarge(Bound::Entries),
                format!("its directories have more than {MAX_FILES} entries"),
            )
        })
    }
}

fn take(from: &AtomicU64, much: u64) -> Option<()> {
    let rest = |left: u64| left.checked_sub(much);
    from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).ok().map(|_| ())
}

/// A packed directory whose bytes were verified.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    title: String,
    content_digest: Option<Digest>,
    bytes: Bytes,
}

impl Archive {
    pub(crate) fn of(layer: &Descriptor, bytes: Bytes) -> Result<Self, Error> {
        let title = layer.title().unwrap_or_default().to_owned();
        let content_digest =
            layer.annotations.get(UNPACKED_DIGEST).map(str::parse).transpose().map_err(|error| {
                Error::new(
                    Kind::Invalid(Defect::Other),
                    format!("directory '{}': annotation {UNPACKED_DIGEST}: {error}", text::brief(&title)),
                )
            })?;
        Ok(Self { title, content_digest, bytes })
    }
}

/// The regular files of a packed directory that are wanted. Entries that are not wanted cause no error, even with an
/// invalid name or as a link.
///
/// # Errors
/// [`Kind::Invalid`] if the bytes are not an archive or if a link or special file is wanted, [`Kind::DigestMismatch`]
/// if they do not match the digest; [`Kind::FileName`] for wanted names that leave the directory; [`Kind::TooLarge`]
/// beyond the bounds of this module.
pub(crate) fn unpack(archive: &Archive, wanted: &dyn Wanted, room: &Room) -> Result<Pulled, Error> {
    let title = text::brief(&archive.title);
    let broken =
        |defect, why: String| Error::new(Kind::Invalid(defect), format!("directory '{title}': {why}"));
    let invalid = |why: String| broken(Defect::Other, why);
    let misplaced = |why: String| Error::new(Kind::Misplaced, format!("directory '{title}': {why}"));
    let wants = |name: &str| wanted.wants(name).map_err(undecided);
    let tar = inflate(archive, room)?;
    if let Some(expected) = &archive.content_digest {
        expected.verify(&tar).map_err(|mismatch| {
            Error::new(Kind::DigestMismatch, format!("directory '{title}': unpacked, {mismatch}"))
        })?;
    }
    let prefix = directory_prefix(&archive.title)?;
    let (mut files, mut others) = (Vec::new(), Vec::new());
    let mut reader = tar::Archive::new(tar.as_slice());
    let entries = reader.entries().map_err(|error| invalid(format!("it is no tar archive: {error}")))?;
    for entry in entries {
        room.take_entry()?;
        let mut entry = entry.map_err(|error| invalid(format!("the archive is damaged: {error}")))?;
        let raw = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&raw);
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let path = match normalize_path(&name) {
            Ok(path) => path,
            Err(error) if wants(&name)? => {
                return Err(Error::new(Kind::FileName, format!("directory '{title}': {error}")));
            }
            Err(_) => {
                others.push(name.into_owned());
                continue;
            }
        };
        if !wants(&path)? {
            others.push(path);
            continue;
        }
        if !kind.is_file() {
            let why = format!("entry '{}' is a link or special file", text::brief(&name));
            return Err(broken(Defect::SpecialFile, why));
        }
        if matches!(name, std::borrow::Cow::Owned(_)) {
            return Err(invalid(format!("the name of entry '{}' is not UTF-8", text::brief(&name))));
        }
        if !path.starts_with(&prefix) {
            return Err(misplaced(format!("entry '{}' lies outside of it", text::brief(&path))));
        }
        // Everything is in memory already, within MAX_INFLATED.
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| invalid(format!("the archive is damaged: {error}")))?;
        files.push(ConfigFile { path, bytes: bytes.into() });
    }
    Ok(Pulled { files, others })
}

/// The prefix that every entry's path must have: ORAS packs `conf.d` as `conf.d/…`, and `.` as it is.
fn directory_prefix(title: &str) -> Result<String, Error> {
    if title.trim_end_matches('/') == "." {
        return Ok(String::new());
    }
    let directory = normalize_path(title).map_err(|error| Error::new(Kind::FileName, error.to_string()))?;
    Ok(format!("{directory}/"))
}

fn inflate(archive: &Archive, room: &Room) -> Result<Vec<u8>, Error> {
    let is_gzip = archive.bytes.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read + '_> = if is_gzip {
        Box::new(MultiGzDecoder::new(archive.bytes.as_ref()))
    } else {
        Box::new(archive.bytes.as_ref())
    };
    let mut tar = Vec::new();
    reader.take(room.bytes() + 1).read_to_end(&mut tar).map_err(|error: io::Error| {
        Error::new(
            Kind::Invalid(Defect::Other),
            format!("directory '{}' cannot be inflated: {error}", text::brief(&archive.title)),
        )
    })?;
    room.take_bytes(tar.len() as u64)?;
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wanted::Everything;
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

    const ALL: Everything = Everything { bytes: u64::MAX };

    /// Wants these names. A name that ends in `*` stands for all names with this prefix.
    struct Names(Vec<&'static str>);

    impl Wanted for Names {
        fn wants(&self, path: &str) -> Result<bool, String> {
            Ok(self.0.iter().any(|name| match name.strip_suffix('*') {
                Some(beginning) => path.strip_prefix(beginning).is_some_and(|rest| !rest.contains('/')),
                None => *name == path,
            }))
        }

        fn wants_below(&self, _: &str) -> Result<bool, String> {
            Ok(true)
        }

        fn budget(&self) -> u64 {
            u64::MAX
        }

        fn over_budget(&self, _: &[(&str, u64)]) -> String {
            String::new()
        }
    }

    fn unpacked(archive: &Archive) -> Result<Pulled, Error> {
        unpack(archive, &ALL, &Room::default())
    }

    fn failure(entries: &[(&str, EntryType, &[u8])]) -> Error {
        unpacked(&archive(gzip(&tar(entries)))).unwrap_err()
    }

    #[test]
    fn regular_files_come_out_and_only_the_wanted_ones() {
        let bytes = tar(&[
            ("conf.d/", EntryType::Directory, b""),
            ("conf.d/a.ini", EntryType::Regular, b"a=1"),
            ("conf.d/deep/b.ini", EntryType::Regular, b"b=2"),
        ]);
        for bytes in [gzip(&bytes), bytes.clone()] {
            let pulled = unpack(&archive(bytes), &Names(vec!["conf.d/*"]), &Room::default()).unwrap();
            assert_eq!(pulled.files, [ConfigFile { path: "conf.d/a.ini".into(), bytes: "a=1".into() }]);
            assert_eq!(pulled.others, ["conf.d/deep/b.ini"]);
        }
    }

    #[test]
    fn the_digest_of_the_unpacked_content_is_checked() {
        let bytes = tar(&[("conf.d/a", EntryType::Regular, b"a")]);
        let mut archive = archive(gzip(&bytes));
        archive.content_digest = Some(Digest::sha256(&bytes));
        unpacked(&archive).unwrap();
        archive.content_digest = Some(Digest::sha256(b"other"));
        assert_eq!(unpacked(&archive).unwrap_err().kind(), &Kind::DigestMismatch);
    }

    /// Checklist A13: an entry that leaves the directory or is not a regular file is refused, not skipped.
    #[rstest::rstest]
    #[case("conf.d/../../etc/passwd", EntryType::Regular, Kind::FileName)]
    #[case("/etc/passwd", EntryType::Regular, Kind::FileName)]
    #[case("other/a", EntryType::Regular, Kind::Misplaced)]
    #[case("conf.d-evil/a", EntryType::Regular, Kind::Misplaced)]
    #[case("conf.d/link", EntryType::Symlink, Kind::Invalid(Defect::SpecialFile))]
    #[case("conf.d/link", EntryType::Link, Kind::Invalid(Defect::SpecialFile))]
    #[case("conf.d/null", EntryType::Char, Kind::Invalid(Defect::SpecialFile))]
    #[case("conf.d/pipe", EntryType::Fifo, Kind::Invalid(Defect::SpecialFile))]
    fn hostile_entries_are_refused(#[case] name: &str, #[case] kind: EntryType, #[case] found: Kind) {
        assert_eq!(failure(&[("conf.d/a", EntryType::Regular, b"a"), (name, kind, b"")]).kind(), &found);
    }

    /// An entry that nobody wants causes no error. A rule that matches the entry wants it.
    #[rstest::rstest]
    #[case("conf.d/a\\b", EntryType::Regular, "conf.d/a\\b")]
    #[case("conf.d/../../etc/passwd", EntryType::Regular, "conf.d/../../etc/passwd")]
    #[case("other/a", EntryType::Regular, "other/*")]
    #[case("conf.d/link", EntryType::Symlink, "conf.d/l*")]
    #[case("conf.d/null", EntryType::Char, "conf.d/null")]
    fn what_is_not_wanted_spoils_nothing(
        #[case] name: &str,
        #[case] kind: EntryType,
        #[case] wanted: &'static str,
    ) {
        let bytes = archive(gzip(&tar(&[("conf.d/a", EntryType::Regular, b"a"), (name, kind, b"")])));
        let pulled = unpack(&bytes, &Names(vec!["conf.d/a"]), &Room::default()).unwrap();
        assert_eq!(pulled.files, [ConfigFile { path: "conf.d/a".into(), bytes: "a".into() }]);
        assert_eq!(pulled.others, [name]);
        unpack(&bytes, &Names(vec!["conf.d/a", wanted]), &Room::default()).unwrap_err();
    }

    /// An artifact may have thousands of directories, each of them within the bound for one.
    #[test]
    fn many_small_bombs_share_one_bound() {
        let room = Room::default();
        let bomb = archive(gzip(&tar(&[("conf.d/a", EntryType::Regular, &vec![0; 5 << 20])])));
        for _ in 0..3 {
            unpack(&bomb, &ALL, &room).unwrap();
        }
        assert_eq!(unpack(&bomb, &ALL, &room).unwrap_err().kind(), &Kind::TooLarge(Bound::Inflated));
        let names: Vec<String> = (0..1500).map(|index| format!("conf.d/{index}")).collect();
        let entries: Vec<_> =
            names.iter().map(|name| (name.as_str(), EntryType::Regular, b"".as_slice())).collect();
        let (room, many) = (Room::default(), archive(gzip(&tar(&entries))));
        for _ in 0..2 {
            unpack(&many, &ALL, &room).unwrap();
        }
        assert_eq!(unpack(&many, &ALL, &room).unwrap_err().kind(), &Kind::TooLarge(Bound::Entries));
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let bomb = gzip(&vec![0; usize::try_from(MAX_INFLATED).unwrap() + 1]);
        assert!((bomb.len() as u64) < MAX_ARCHIVE);
        assert_eq!(unpacked(&archive(bomb)).unwrap_err().kind(), &Kind::TooLarge(Bound::Inflated));
    }

    #[test]
    fn thousands_of_entries_end_at_the_bound() {
        let names: Vec<String> = (0..=MAX_FILES).map(|index| format!("conf.d/{index}")).collect();
        let entries: Vec<(&str, EntryType, &[u8])> =
            names.iter().map(|name| (name.as_str(), EntryType::Regular, b"".as_slice())).collect();
        assert_eq!(failure(&entries).kind(), &Kind::TooLarge(Bound::Entries));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for bytes in
            [gzip(b"plain text"), gzip(&tar(&[("conf.d/a", EntryType::Regular, &[b'x'; 2000])])[..1000])]
        {
            assert_eq!(unpacked(&archive(bytes)).unwrap_err().kind(), &Kind::Invalid(Defect::Other));
        }
        let mut cut = gzip(&tar(&[("conf.d/a", EntryType::Regular, b"a")]));
        cut.truncate(cut.len() / 2);
        assert_eq!(unpacked(&archive(cut)).unwrap_err().kind(), &Kind::Invalid(Defect::Other));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048), zipped in any::<bool>()) {
            let _ = unpacked(&archive(if zipped { gzip(&bytes) } else { bytes }));
        }
    }
}
