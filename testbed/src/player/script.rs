//! The orders of a test: how the containers of an image live.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::content::hex;

/// The life of the containers of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// They run, unless their content makes them crash. Init containers end with 0.
    #[default]
    Runs,
    /// They end with this exit code, also those that run already.
    Exits(i32),
    /// No registry has the image: `ImagePullBackOff`, until the test says otherwise.
    Missing,
}

/// How the status names the image that runs (`imageID`): runtimes differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageId {
    /// `repo@sha256:…`, the digest of the index: containerd.
    #[default]
    Repository,
    /// `docker-pullable://repo@sha256:…`: cri-dockerd.
    DockerPullable,
    /// `sha256:…`, the digest of the image's config, which no registry resolves: containerd for loaded images, CRI-O.
    Config,
    /// The same as bare hex digits.
    BareConfig,
}

/// All orders of a test.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) image_id: ImageId,
    pub(super) digests: HashMap<String, String>,
    pub(super) fates: HashMap<String, Fate>,
}

impl Script {
    /// By the image as the pod names it, else without its digest.
    pub(super) fn fate(&self, image: &str) -> Fate {
        self.fates.get(image).or_else(|| self.fates.get(without_digest(image))).copied().unwrap_or_default()
    }

    /// The `imageID` of an image that runs. Its digest is the one of the pod, else the one of the test, else one that
    /// follows from the name.
    pub(super) fn image_id(&self, image: &str) -> String {
        let digest = match image.split_once('@') {
            Some((_, digest)) => digest.to_owned(),
            None => self.digests.get(image).cloned().unwrap_or_else(|| sha256(image)),
        };
        let config = || sha256(&format!("config of {digest}"));
        match self.image_id {
            ImageId::Repository => format!("{}@{digest}", repository(image)),
            ImageId::DockerPullable => format!("docker-pullable://{}@{digest}", repository(image)),
            ImageId::Config => config(),
            ImageId::BareConfig => config().split_off("sha256:".len()),
        }
    }
}

fn sha256(text: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(text)))
}

fn without_digest(image: &str) -> &str {
    image.split_once('@').map_or(image, |(name, _)| name)
}

/// The image without tag and digest. A colon before the last slash belongs to a port.
fn repository(image: &str) -> &str {
    let name = without_digest(image);
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    name[path..].find(':').map_or(name, |colon| &name[..path + colon])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaa";

    #[test]
    fn an_image_id_has_the_digest_of_the_pod_or_of_the_test() {
        let mut script = Script::default();
        let untold = script.image_id("r.example:5000/shop/web:v1");
        assert!(untold.starts_with("r.example:5000/shop/web@sha256:"), "{untold}");
        assert_eq!(untold, script.image_id("r.example:5000/shop/web:v1"));
        script.digests.insert("r.example:5000/shop/web:v1".into(), DIGEST.into());
        assert_eq!(script.image_id("r.example:5000/shop/web:v1"), "r.example:5000/shop/web@sha256:aaaa");
        assert_eq!(
            script.image_id("r.example:5000/shop/web:v1@sha256:bb"),
            "r.example:5000/shop/web@sha256:bb"
        );
        assert_eq!(script.image_id("web@sha256:bb"), "web@sha256:bb");
    }

    #[test]
    fn each_runtime_has_its_form() {
        let mut script = Script::default();
        let mut as_id = |form| {
            script.image_id = form;
            script.image_id("web:v1@sha256:aaaa")
        };
        assert_eq!(as_id(ImageId::DockerPullable), "docker-pullable://web@sha256:aaaa");
        let config = as_id(ImageId::Config);
        assert!(config.starts_with("sha256:") && config.len() == 71 && !config.contains(DIGEST), "{config}");
        assert_eq!(as_id(ImageId::BareConfig), config["sha256:".len()..]);
    }

    #[test]
    fn a_fate_holds_for_the_image_with_its_digest_too() {
        let mut script = Script::default();
        script.fates.insert("web:v1".into(), Fate::Missing);
        script.fates.insert("web:v2@sha256:aaaa".into(), Fate::Exits(1));
        assert_eq!(script.fate("web:v1"), Fate::Missing);
        assert_eq!(script.fate("web:v1@sha256:aaaa"), Fate::Missing);
        assert_eq!(script.fate("web:v2@sha256:aaaa"), Fate::Exits(1));
        assert_eq!(script.fate("web:v2"), Fate::Runs);
    }
}
