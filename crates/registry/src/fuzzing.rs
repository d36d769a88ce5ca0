//! The entry points for fuzzing: each parses bytes that others choose, and asserts what must hold for every result.
//! They exist only for the targets in `fuzz/`, and for the test that reads their seeds.
#![allow(clippy::missing_panics_doc, reason = "a panic is what is searched")]

use http::header::{HeaderMap, HeaderName, HeaderValue, LINK, WWW_AUTHENTICATE};
use oci::{Descriptor, Digest, TITLE, normalize_path};
use reqwest::Url;

use crate::content::archive::{Archive, MAX_ARCHIVE, Room, unpack};
use crate::credentials::{docker_config, go_json};
use crate::login::challenge::{Asked, Challenge, Namer, parse, reach_of, scope};
use crate::referrers::link::next_page;
use crate::wanted::Everything;

/// A packed directory whose bytes were verified, and from which all files are wanted.
pub fn archive(bytes: &[u8]) {
    let layer = Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
        digest: Digest::sha256(bytes),
        size: bytes.len() as u64,
        annotations: [(TITLE, "conf.d")].into_iter().collect(),
        data: None,
    };
    let Ok(archive) = Archive::of(&layer, bytes.to_vec().into()) else { return };
    let Ok(pulled) = unpack(&archive, &Everything { bytes: MAX_ARCHIVE }, &Room::default()) else { return };
    for file in pulled.files {
        assert_eq!(normalize_path(&file.path).as_deref(), Ok(&*file.path), "a path leads nowhere else");
        assert!(file.path.starts_with("conf.d/"), "{} lies outside of its directory", file.path);
    }
}

/// The answer of a registry to a request without a token: header lines, separated by line breaks.
pub fn challenge(bytes: &[u8]) {
    let Asked::Readable(challenges) = parse(&headers(&WWW_AUTHENTICATE, bytes)) else { return };
    assert!(!challenges.is_empty(), "what is readable has a challenge");
    for challenge in challenges {
        let Challenge::Bearer { realm, scope: asked, .. } = challenge else { continue };
        let scope = scope(asked.as_deref(), "shop/web");
        assert!(!scope.contains("push") || !scope.contains(':'), "a token may do more than to pull: {scope}");
        if let Some(url) = page() {
            let reach = reach_of(&realm, Namer { url: &url, peer: None });
            assert!(reach.is_err() || realm.scheme() == "https", "a credential goes to {}", realm.scheme());
        }
    }
}

/// JSON as Go reads it, and the pull secrets that are written in it.
pub fn json(bytes: &[u8]) {
    let mended = go_json::text(bytes);
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) {
        assert_eq!(serde_json::from_str(&mended).ok(), Some(value), "what is right is left as it is");
    }
    // A second byte order mark stays, and a second pass would remove it as the first.
    if !mended.starts_with('\u{feff}') {
        assert_eq!(*go_json::text(mended.as_bytes()), *mended, "what was mended is right");
    }
    let _ = (docker_config::read(bytes).is_ok(), docker_config::read_legacy(bytes).is_ok());
}

/// The headers of a list that name its next page: header lines, separated by line breaks.
pub fn link(bytes: &[u8]) {
    let Some(page) = page() else { return };
    if let Ok(Some(next)) = next_page(&headers(&LINK, bytes), &page) {
        assert_eq!(page.join(next.as_str()).as_ref(), Ok(&next), "the next page is a whole URL");
    }
}

fn page() -> Option<Url> {
    Url::parse("https://r.example/v2/shop/web/referrers/x?artifactType=y").ok()
}

/// All lines, without those that are not valid in a header.
fn headers(name: &HeaderName, bytes: &[u8]) -> HeaderMap {
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    lines.fold(HeaderMap::new(), |mut headers, line| {
        headers.append(name.clone(), line);
        headers
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// An input that broke a parser becomes a seed. This test tries all seeds.
    #[rstest::rstest]
    #[case("archive", archive)]
    #[case("challenge", challenge)]
    #[case("json", json)]
    #[case("link", link)]
    fn every_seed_is_read(#[case] target: &str, #[case] read: fn(&[u8])) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        let seeds: Vec<_> = std::fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            read(&std::fs::read(seed).unwrap());
        }
    }
}
