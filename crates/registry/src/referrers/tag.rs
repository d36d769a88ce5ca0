//! The list that pushers keep under a tag, if the registry has no Referrers API (distribution-spec, "Referrers Tag
//! Schema").

use std::sync::Arc;

use oci::{Digest, Index, ManifestError, media_type, parse_index};

use crate::content::fetch::MAX_MANIFEST;
use crate::error::Error;
use crate::session::Session;

use super::api::plain;
use super::memory::{Asked, Tagged};

impl Session<'_> {
    /// The list under the tag; `None` if the registry says that the tag does not exist. For a remembered list, `HEAD`
    /// shows whether it is still the same: some registries count a `GET` as a pull.
    pub(crate) async fn list_by_tag(&self, asked: &Asked) -> Result<Option<Arc<Index>>, Error> {
        let path = format!("manifests/{}", asked.subject.referrers_tag());
        let accept = media_type::OCI_INDEX.to_owned();
        let tagged = &self.client.memory.tagged;
        if let Some(known) = tagged.get(asked)
            && self.head("referrers", &path, accept.clone()).await?.as_ref() == Some(&known.digest)
        {
            return Ok(Some(known.index.clone()));
        }
        tagged.invalidate(asked);
        let Some(content) = self.get("referrers", &path, Some(accept), MAX_MANIFEST).await? else {
            return Ok(None);
        };
        let bytes = plain(&content);
        let mut index = self.read_tagged(asked, &bytes, content.content_type.as_deref())?;
        if content.moved {
            // Text of another host is not repeated.
            index.types.clear();
        }
        let index = Arc::new(index);
        let digest = Digest::sha256(&bytes);
        tagged.insert(asked.clone(), Arc::new(Tagged { digest, index: index.clone() }));
        Ok(Some(index))
    }

    fn read_tagged(&self, asked: &Asked, bytes: &[u8], content_type: Option<&str>) -> Result<Index, Error> {
        let subject = &asked.subject;
        // GitLab reads the tag as a digest and returns the subject itself, whose children would pass for referrers
        // (oras-go#1396).
        if Digest::of(subject.algorithm(), bytes) == *subject {
            return Ok(no_list(subject, "the image itself"));
        }
        match parse_index(bytes, content_type, asked.artifact_type.as_deref()) {
            Ok(index) => Ok(index),
            // "If the tag is not a valid image index, assume that there are no referrers."
            Err(ManifestError::Kind(found, _)) => Ok(no_list(subject, &format!("of the media type {found}"))),
            Err(why) => Err(self.refused_list(subject, &why)),
        }
    }
}

/// Nothing is attached. The note tells a person what the tag holds instead of a list.
fn no_list(subject: &Digest, found: &str) -> Index {
    let note = format!("what the tag {} holds is no list of referrers but {found}", subject.referrers_tag());
    Index { note: Some(note), ..Index::default() }
}
