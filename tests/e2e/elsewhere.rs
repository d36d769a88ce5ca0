//! Config that is not attached to the image's own manifest or in its repository: platforms, mirrors, and the
//! credentials for them.

use anyhow::Result;
use api::Reason;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{Bench, Ready as _, cases, checked, same, text};

cases! {
    Both [
        what_is_attached_to_the_platform_counts_where_the_index_has_nothing,
        referrers_of_a_mirror_are_found,
    ]
    Embedded [a_service_account_brings_its_pull_secrets]
}

/// The index comes first. The platform's manifest is used if nothing is attached to the index.
async fn what_is_attached_to_the_platform_counts_where_the_index_has_nothing(bench: Bench) -> Result<()> {
    let single = bench.image("web:amd64");
    let manifest = bench.push(&single).await?;
    bench.attach_at(&single, 1, &[("config.json", "of the platform")]).await?;
    let index = bench.image("web:v1");
    let directory = tempfile::tempdir()?;
    let create = ["manifest", "index", "create", "--plain-http", &index, &manifest];
    bench.world.oras.run(&create, directory.path()).await?;

    bench.apply("without", json!({"image": index})).await?;
    bench.failed("without", Reason::ArtifactNotFound).await?;
    bench.apply("with", json!({"image": index, "platform": "linux/amd64"})).await?;
    bench.ready("with").await?;
    same("data", bench.data("with").await?, text(&[("config.json", "of the platform")]))?;
    bench.apply("other", json!({"image": index, "platform": "linux/s390x"})).await?;
    let config =
        bench.wait("other", "to fail", |config| checked("ready", config.reason()? != "Synced", ())).await?;
    checked("the platform is named", config.message()?.contains("linux/s390x"), config.message()?)?;

    bench.attach_at(&index, 2, &[("config.json", "of the index")]).await?;
    bench.sync_ready("with").await?;
    same("data", bench.data("with").await?, text(&[("config.json", "of the index")]))
}

/// A mirror without the referrers: the image is resolved there, and its referrers are listed by digest in another
/// repository.
async fn referrers_of_a_mirror_are_found(bench: Bench) -> Result<()> {
    let (mirror, image) = (bench.image("mirror:v1"), bench.image("origin:v1"));
    let seed = &bench.namespace;
    let digest = bench.world.oras.push_image_from(&mirror, seed).await?;
    same("it is the same image", bench.world.oras.push_image_from(&image, seed).await?, digest)?;
    bench.attach(&image, &[("config.json", "at the origin")]).await?;
    bench.apply("without", json!({"image": mirror})).await?;
    bench.failed("without", Reason::ArtifactNotFound).await?;
    bench.apply("with", json!({"image": mirror, "referrersRepository": bench.image("origin")})).await?;
    bench.ready("with").await?;
    same("data", bench.data("with").await?, text(&[("config.json", "at the origin")]))
}

/// The account that the workload runs as pulls the image; the same secrets open the config.
async fn a_service_account_brings_its_pull_secrets(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "private")]).await?;
    bench.world.embedded.require_basic(&format!("{}/", bench.namespace), "robot", "secret-word");
    let auths =
        json!({"auths": {bench.world.embedded.host(): {"username": "robot", "password": "secret-word"}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "regcred"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": auths.to_string()},
    });
    let parameters = PatchParams::apply("e2e").force();
    bench.secrets().patch("regcred", &parameters, &Patch::Apply(secret)).await?;
    let spec = json!({"image": image, "registry": {"serviceAccountName": "web"}});
    bench.apply("web", spec).await?;
    let config = bench.failed("web", Reason::CredentialsNotFound).await?;
    checked("the account is named", config.message()?.contains("'web'"), config.message()?)?;

    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"},
        "imagePullSecrets": [{"name": "regcred"}],
    });
    let accounts: Api<ServiceAccount> = Api::namespaced(bench.world.cluster.admin(), &bench.namespace);
    accounts.patch("web", &parameters, &Patch::Apply(account)).await?;
    bench.sync_ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "private")]))
}
