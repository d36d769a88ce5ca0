//! The image that the pods of a workload run.

use api::{Reason, Resolve};
use oci::{Digest, ImageRef, text};
use serde_json::Value;

use crate::Failure;
use crate::workload::{Workload, shown};

/// The digest that the pods of a workload run, by what the kubelet reports.
///
/// `imageID` counts only with a repository: containerd reports `repository@digest` of what was pulled, but the digest of the
/// image's own config for images that were loaded, as CRI-O does since 1.28 (kubernetes/kubernetes#95968,
/// cri-o/cri-o#7149); no registry knows that one. Then the digest in the pod's spec counts.
///
/// # Errors
/// `ImageUnknown` if no pod tells, or if pods tell different digests.
pub fn running(workload: &Workload, pods: &[Value]) -> Result<Digest, Failure> {
    let Workload { reference, container, .. } = workload;
    let shown = shown(reference);
    let unknown = |why: String| Failure::new(Reason::ImageUnknown, why);
    let mut digests: Vec<Digest> = Vec::new();
    for pod in pods.iter().filter(|pod| is_running(pod)) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let Some(digest) = digest_of(pod, container) else {
            return Err(unknown(format!(
                "pod '{name}' of {shown} does not tell the digest of container '{container}': its runtime reports no registry digest yet, or only a local one; use spec.workloadRef.resolve: Template, or a digest in the pod template"
            )));
        };
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }
    match &*digests {
        [only] => Ok(only.clone()),
        [] => Err(unknown(format!("{shown} has no pod that runs, so the digest of its image is not known"))),
        several => {
            let several = text::list(several.iter().map(Digest::short), 5);
            Err(unknown(format!(
                "the pods of {shown} run different images ({several}); this ends when all of them run the same one"
            )))
        }
    }
}

/// Pods that are being deleted, or have ended, run nothing.
fn is_running(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    pod["metadata"]["deletionTimestamp"].is_null() && !matches!(phase, "Succeeded" | "Failed")
}

fn tells(pod: &Value, workload: &Workload) -> bool {
    is_running(pod) && digest_of(pod, &workload.container).is_some()
}

fn digest_of(pod: &Value, container: &str) -> Option<Digest> {
    let of = |list: &Value, field: &str| {
        let is_this = |status: &&Value| status["name"].as_str() == Some(container);
        let text = list.as_array()?.iter().find(is_this)?[field].as_str()?;
        text.rsplit_once('@')?.1.parse().ok()
    };
    of(&pod["status"]["containerStatuses"], "imageID").or_else(|| of(&pod["spec"]["containers"], "image"))
}

/// The image to ask the registry for: as the pod template names it, or with the digest that its pods run.
///
/// `is_first` is whether no config was applied yet. Then pods may wait for the `ConfigMap`, and tell nothing before it exists: the
/// pod template counts until one of them runs.
///
/// # Errors
/// `InvalidSpec` if the image is no reference, and the errors of [`running`].
pub fn image(workload: &Workload, pods: &[Value], is_first: bool) -> Result<ImageRef, Failure> {
    let image = workload.image()?;
    match workload.reference.resolve {
        Resolve::Template => Ok(image),
        Resolve::Pods if image.digest().is_some() => Ok(image),
        Resolve::Pods if is_first && !pods.iter().any(|pod| tells(pod, workload)) => Ok(image),
        Resolve::Pods => Ok(image.at(running(workload, pods)?)),
    }
}

#[cfg(test)]
mod tests {
    use api::WorkloadRef;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn workload() -> Workload {
        let reference: WorkloadRef =
            serde_json::from_value(json!({"kind": "Deployment", "name": "web", "container": "web"})).unwrap();
        Workload::named(&reference, "r.example/web:v1".to_owned())
    }

    /// Every form of imageID that a runtime is known to report.
    #[rstest]
    #[case::containerd("r.example/web@sha256:{}", "r.example/web:v1", Some('a'))]
    #[case::dockershim("docker-pullable://r.example/web@sha256:{}", "r.example/web:v1", Some('a'))]
    #[case::a_mirror("mirror.example/web@sha256:{}", "r.example/web:v1", Some('a'))]
    #[case::docker_loaded("docker://sha256:{}", "r.example/web:v1", None)]
    #[case::loaded("sha256:{}", "r.example/web:v1", None)]
    #[case::crio("{}", "r.example/web:v1", None)]
    #[case::not_started("", "r.example/web:v1", None)]
    #[case::crio_with_a_digest("{}", "r.example/web@sha256:{b}", Some('b'))]
    fn a_pod_tells_its_digest(#[case] id: &str, #[case] image: &str, #[case] expected: Option<char>) {
        let hex = |letter: char| letter.to_string().repeat(64);
        let id = id.replace("{}", &hex('a'));
        let image = image.replace("{b}", &hex('b'));
        let pod = json!({"metadata": {"name": "web-1"}, "spec": {"containers": [{"name": "web", "image": image}]},
            "status": {"containerStatuses": [{"name": "proxy", "imageID": "x@sha256:no"}, {"name": "web", "imageID": id}]}});
        let workload = workload();
        let told = running(&workload, &[pod]);
        match expected {
            Some(letter) => assert_eq!(told.unwrap().to_string(), format!("sha256:{}", hex(letter))),
            None => assert_eq!(told.unwrap_err().reason, Reason::ImageUnknown),
        }
    }

    /// Pods that wait for the `ConfigMap` tell nothing, so without this the two would wait for each other.
    #[test]
    fn the_pod_template_counts_for_the_first_config_until_a_pod_runs() {
        let mut workload = workload();
        workload.reference.resolve = Resolve::Pods;
        let waiting = json!({"metadata": {"name": "web-1"}, "status": {"phase": "Pending"}});
        let digest = "a".repeat(64);
        let runs = json!({"metadata": {"name": "web-2"}, "status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "imageID": format!("r.example/web@sha256:{digest}")}]}});
        let image =
            |pods: &[Value], is_first| image(&workload, pods, is_first).map(|image| image.to_string());
        assert_eq!(image(std::slice::from_ref(&waiting), true).unwrap(), "r.example/web:v1");
        assert_eq!(image(&[], true).unwrap(), "r.example/web:v1");
        assert_eq!(
            image(std::slice::from_ref(&runs), true).unwrap(),
            format!("r.example/web:v1@sha256:{digest}")
        );
        assert!(image(&[waiting, runs], true).is_err(), "one of two does not tell");
        assert!(image(&[], false).is_err());
    }

    #[test]
    fn pods_that_disagree_tell_nothing_and_those_that_end_do_not_count() {
        let pod = |letter: &str, phase: &str| {
            json!({"metadata": {"name": letter}, "status": {"phase": phase, "containerStatuses": [
                {"name": "web", "imageID": format!("r.example/web@sha256:{}", letter.repeat(64))}]}})
        };
        let workload = workload();
        let why = running(&workload, &[pod("a", "Running"), pod("b", "Running")]).unwrap_err().message;
        assert!(why.contains("run different images (sha256:aaaaaaaaaaaa, sha256:bbbbbbbbbbbb)"), "{why}");
        let one = running(&workload, &[pod("a", "Running"), pod("b", "Failed")]).unwrap();
        assert_eq!(one.short(), "sha256:aaaaaaaaaaaa");
        assert!(running(&workload, &[]).unwrap_err().message.contains("no pod that runs"));
    }
}
