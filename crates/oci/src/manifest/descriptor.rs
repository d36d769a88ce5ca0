//! Descriptors, which point to content (image-spec, descriptor.md).

use std::ops::ControlFlow;

use super::error::ManifestError;
use super::json::{Member, Raw, each_element, each_member, is_null, members, size, text};
use super::media_type;
use crate::annotations::{Annotations, TITLE, UNPACK, UNPACKED_DIGEST};
use crate::digest::{Digest, DigestError};
use crate::platform::Platform;

/// Most layers of one artifact that are read: far more than any config has.
pub(super) const MAX_LAYERS: usize = 4096;

/// Most manifests of one index that are read: far more than the number of existing platforms.
const MAX_CHILDREN: usize = 1024;

/// Points to the content of a layer. `urls` are not read: content comes from the registry or not at all. Only those
/// annotations are kept that describe the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: Box<str>,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Annotations that describe the file.
    pub annotations: Annotations,
    /// The content itself, base64; to be verified like any other.
    pub data: Option<Box<str>>,
}

impl Descriptor {
    /// File name that the pusher gave, if any.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.annotations.get(TITLE)
    }

    /// Whether it is a packed directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.annotations.get(UNPACK) == Some("true")
    }
}

/// A manifest of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Platform, in an index of images.
    pub platform: Option<Box<Platform>>,
}

/// The layers of a manifest, without empty ones.
pub(super) fn layers(list: &'static str, value: Raw<'_>) -> Result<Box<[Descriptor]>, ManifestError> {
    let mut layers = Vec::new();
    let mut wrong = None;
    let mut number = 0;
    let is_list = each_element(value, |entry| {
        number += 1;
        if number > MAX_LAYERS {
            wrong = Some(ManifestError::TooMany(list, MAX_LAYERS));
            return ControlFlow::Break(());
        }
        match layer(entry) {
            Ok(layer) if *layer.media_type == *media_type::EMPTY => {}
            Ok(layer) => layers.push(layer),
            Err(expected) => {
                wrong = Some(ManifestError::Entry { list, number, expected });
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    match wrong {
        Some(wrong) => Err(wrong),
        None if is_list => Ok(layers.into()),
        None => Err(ManifestError::Member(list, "a list")),
    }
}

fn layer(entry: Raw<'_>) -> Result<Descriptor, &'static str> {
    let names = ["mediaType", "digest", "size", "annotations", "data"];
    let ([media_type, digest, length, annotations, data], read) = members(entry.get(), names);
    read.map_err(|_| "a descriptor")?;
    let media_type = optional(media_type, text).map_err(|()| "a media type that is a text, once")?;
    let digest = read_digest(digest).map_err(|_| "a digest of sha256 or sha512, once")?;
    let size =
        optional(length, |value| size(value).map(Some)).map_err(|()| "a size that is a number, once")?;
    let data = optional(data, text).map_err(|()| "inline data that is a text, once")?;
    let annotations = match annotations {
        Member::Missing => Annotations::default(),
        Member::There(value) => file_annotations(value).ok_or("annotations of texts")?,
        Member::Twice => return Err("annotations, once"),
    };
    let media_type = media_type.unwrap_or_default();
    Ok(Descriptor { media_type, digest, size: size.unwrap_or_default(), annotations, data })
}

/// The annotations that describe the file of a layer. Other annotations are not read, so they may be invalid.
fn file_annotations(value: Raw<'_>) -> Option<Annotations> {
    let mut pairs = Vec::new();
    let mut wrong = false;
    let is_object = each_member(value, |name, value| {
        if !is_null(value) && [TITLE, UNPACK, UNPACKED_DIGEST].contains(&name.as_str()) {
            match text(value) {
                Ok(value) => pairs.extend(value.map(|value| (name, value))),
                Err(()) => wrong = true,
            }
        }
        ControlFlow::Continue(())
    });
    (is_object && !wrong).then(|| pairs.into_iter().collect())
}

/// The manifests of an index, and how many of its entries could not be read. Entries that describe an image and are not
/// one (`unknown/unknown`) are left out.
pub(super) fn children(value: Raw<'_>) -> Result<(Box<[Child]>, usize), ManifestError> {
    let mut children = Vec::new();
    let (mut unreadable, mut count) = (0, 0);
    let is_list = each_element(value, |entry| {
        count += 1;
        match child(entry) {
            _ if count > MAX_CHILDREN => return ControlFlow::Break(()),
            Some(Child { platform: Some(platform), .. }) if platform.os == "unknown" => {}
            Some(child) => children.push(child),
            None => unreadable += 1,
        }
        ControlFlow::Continue(())
    });
    if !is_list {
        return Err(ManifestError::Member("manifests", "a list"));
    }
    if count > MAX_CHILDREN {
        return Err(ManifestError::TooMany("manifests", MAX_CHILDREN));
    }
    Ok((children.into(), unreadable))
}

fn child(entry: Raw<'_>) -> Option<Child> {
    let ([digest, platform], read) = members(entry.get(), ["digest", "platform"]);
    read.ok()?;
    let platform = match platform {
        Member::Missing => None,
        Member::There(value) if is_null(value) => None,
        Member::There(value) => Some(Box::new(read_platform(value)?)),
        Member::Twice => return None,
    };
    Some(Child { digest: read_digest(digest).ok()?, platform })
}

fn read_platform(value: Raw<'_>) -> Option<Platform> {
    let ([os, architecture, variant], read) = members(value.get(), ["os", "architecture", "variant"]);
    read.ok()?;
    let word = |member| optional(member, text).ok().map(|word| word.map(String::from));
    Some(Platform {
        os: word(os)?.unwrap_or_default(),
        architecture: word(architecture)?.unwrap_or_default(),
        variant: word(variant)?.filter(|variant| !variant.is_empty()),
    })
}

/// Why a member has no usable digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoDigest {
    /// Its algorithm is unknown here, so it certainly differs from every known digest.
    Algorithm,
    /// It is missing, or cannot be read.
    Unreadable,
}

pub(super) fn read_digest(member: Member<'_>) -> Result<Digest, NoDigest> {
    let read = optional(member, text).ok().flatten().ok_or(NoDigest::Unreadable)?;
    read.parse().map_err(|why| match why {
        DigestError::Algorithm(name) if !name.is_empty() => NoDigest::Algorithm,
        _ => NoDigest::Unreadable,
    })
}

/// The value of a member; `None` if it is missing or `null`. `Err` if it comes twice or cannot be read.
pub(super) fn optional<'a, T>(
    member: Member<'a>,
    read: impl Fn(Raw<'a>) -> Result<Option<T>, ()>,
) -> Result<Option<T>, ()> {
    match member {
        Member::Missing => Ok(None),
        Member::There(value) if is_null(value) => Ok(None),
        Member::There(value) => read(value),
        Member::Twice => Err(()),
    }
}
