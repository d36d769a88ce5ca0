//! Private registries: who gets in, who does not, and that no credential goes anywhere it should not.

use std::collections::BTreeMap;

use anyhow::Result;
use api::Reason;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use testbed::registry::{ProcessRegistry, RegistryKind, RegistryOptions};

use crate::support::{Bench, CONFIG_TYPE, Ready as _, cases, checked, same, text};

cases! {
    Distribution [a_private_registry_without_the_referrers_api]
    Embedded [
        a_pull_secret_opens_a_registry_with_passwords,
        a_pull_secret_opens_a_registry_with_tokens,
        a_missing_secret_is_named_and_waited_for,
        a_secret_of_another_kind_is_refused,
        a_broken_secret_hides_no_good_one,
        a_wrong_password_is_distinguished_from_none,
        a_rotated_password_counts_at_once,
        credentials_for_elsewhere_stay_here,
        what_one_namespace_may_see_another_may_not,
        the_data_stays_when_access_is_lost,
        an_expired_token_is_renewed,
    ]
}

const USER: &str = "robot";
const PASSWORD: &str = "pass-that-must-not-show";
const FILES: [(&str, &str); 1] = [("config.json", "private")];

/// How a registry asks.
#[derive(Clone, Copy)]
enum Scheme {
    Basic,
    Bearer,
}

/// An image with config. After this, only readers with the password may read it.
async fn private(bench: &Bench, scheme: Scheme, password: &str) -> Result<String> {
    let repository = match scheme {
        Scheme::Basic => "basic",
        Scheme::Bearer => "bearer",
    };
    let (image, _, _) = bench.image_with(&format!("{repository}/web:v1"), &FILES).await?;
    guard(bench, repository, scheme, password);
    Ok(image)
}

fn guard(bench: &Bench, repository: &str, scheme: Scheme, password: &str) {
    let prefix = format!("{}/{repository}/", bench.namespace);
    match scheme {
        Scheme::Basic => bench.world.embedded.require_basic(&prefix, USER, password),
        Scheme::Bearer => bench.world.embedded.require_bearer(&prefix, USER, password),
    }
}

async fn put_secret(bench: &Bench, host: &str, password: &str) -> Result<()> {
    bench.put_pull_secret(host, USER, password).await
}

fn with_secret(image: &str) -> Value {
    json!({"image": image, "registry": {"pullSecrets": [{"name": "regcred"}]}})
}

/// Without credentials, the message asks for a Secret. With them, the resource is synced. The password appears nowhere.
async fn opens(bench: Bench, scheme: Scheme) -> Result<()> {
    let image = private(&bench, scheme, PASSWORD).await?;
    put_secret(&bench, &bench.world.embedded.host(), PASSWORD).await?;
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.failed("web", Reason::AuthenticationFailed).await?;
    let message = config.message()?;
    checked("the message says what to do", message.contains("spec.registry.pullSecrets"), message)?;
    same("a ConfigMap exists", bench.has_config_map("web").await?, false)?;

    bench.apply("web", with_secret(&image)).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&FILES))?;
    shows_nowhere(&bench).await
}

/// HTTP Basic, as of a registry with htpasswd.
async fn a_pull_secret_opens_a_registry_with_passwords(bench: Bench) -> Result<()> {
    opens(bench, Scheme::Basic).await
}

/// Bearer tokens from a token server, as of Docker Hub, GHCR or Harbor.
async fn a_pull_secret_opens_a_registry_with_tokens(bench: Bench) -> Result<()> {
    opens(bench, Scheme::Bearer).await
}

/// The same with a real registry and the referrers tag, in a separate registry.
async fn a_private_registry_without_the_referrers_api(bench: Bench) -> Result<()> {
    let mut options = RegistryOptions::new(RegistryKind::Distribution);
    options.basic_auth = Some((USER.to_owned(), PASSWORD.to_owned()));
    let registry = ProcessRegistry::start(options).await?;
    let image = format!("{}/{}/web:v1", registry.host(), bench.namespace);
    let oras = testbed::Oras::locate().await?;
    oras.login(&registry.host(), USER, PASSWORD).await?;
    oras.push_image(&image).await?;
    oras.attach(&image, CONFIG_TYPE, &[("config.json", b"private")], &[]).await?;

    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::AuthenticationFailed).await?;
    put_secret(&bench, &registry.host(), PASSWORD).await?;
    bench.apply("web", with_secret(&image)).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&FILES))?;
    shows_nowhere(&bench).await
}

/// The message names Secret and namespace, and the Secret counts when it comes.
async fn a_missing_secret_is_named_and_waited_for(bench: Bench) -> Result<()> {
    let image = private(&bench, Scheme::Basic, PASSWORD).await?;
    let mut spec = with_secret(&image);
    spec["interval"] = json!("1s");
    bench.apply("web", spec).await?;
    let config = bench.failed("web", Reason::CredentialsNotFound).await?;
    let message = config.message()?;
    checked("both are named", message.contains("'regcred'") && message.contains(&bench.namespace), message)?;
    put_secret(&bench, &bench.world.embedded.host(), PASSWORD).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&FILES))
}

/// A Secret of another type is not a pull secret, and its content stays secret.
async fn a_secret_of_another_kind_is_refused(bench: Bench) -> Result<()> {
    let image = private(&bench, Scheme::Basic, PASSWORD).await?;
    let contents = [
        ("opaque", "Opaque", "password", PASSWORD.to_owned()),
        (
            "garbled",
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
            json!({"auths": [PASSWORD]}).to_string(),
        ),
    ];
    for (name, r#type, key, value) in contents {
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            type_: Some(r#type.to_owned()),
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(value.into_bytes()))])),
            ..Secret::default()
        };
        bench.secrets().create(&kube::api::PostParams::default(), &secret).await?;
        bench.apply(name, json!({"image": image, "registry": {"pullSecrets": [{"name": name}]}})).await?;
        let config = bench.failed(name, Reason::InvalidCredentials).await?;
        checked("the Secret is named", config.message()?.contains(&format!("'{name}'")), config.message()?)?;
    }
    shows_nowhere(&bench).await
}

/// The credentials of the other Secrets are used, and the message names the unreadable one: it may have had the needed
/// credentials.
async fn a_broken_secret_hides_no_good_one(bench: Bench) -> Result<()> {
    let image = private(&bench, Scheme::Basic, PASSWORD).await?;
    // As the API server takes it, and no kubelet does.
    let broken = json!({"auths": [PASSWORD]}).to_string();
    let secret = Secret {
        metadata: ObjectMeta { name: Some("broken".to_owned()), ..ObjectMeta::default() },
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        data: Some(BTreeMap::from([(".dockerconfigjson".to_owned(), ByteString(broken.into_bytes()))])),
        ..Secret::default()
    };
    bench.secrets().create(&kube::api::PostParams::default(), &secret).await?;
    put_secret(&bench, &bench.world.embedded.host(), PASSWORD).await?;
    let secrets = ["broken", "absent", "regcred"].map(|name| json!({"name": name}));
    bench.apply("web", json!({"image": image, "registry": {"pullSecrets": secrets}})).await?;
    let config = bench.ready("web").await?;
    checked("the broken one is named", config.message()?.contains("'broken'"), config.message()?)?;
    same("data", bench.data("web").await?, text(&FILES))?;

    put_secret(&bench, &bench.world.embedded.host(), "another password").await?;
    let config = bench.sync_failed("web", Reason::AuthenticationFailed).await?;
    checked("the broken one is named", config.message()?.contains("'broken'"), config.message()?)?;
    shows_nowhere(&bench).await
}

/// No credentials and wrong ones call for different remedies.
async fn a_wrong_password_is_distinguished_from_none(bench: Bench) -> Result<()> {
    for (name, scheme) in [("basic", Scheme::Basic), ("bearer", Scheme::Bearer)] {
        let image = private(&bench, scheme, "another password").await?;
        put_secret(&bench, &bench.world.embedded.host(), PASSWORD).await?;
        bench.apply(name, with_secret(&image)).await?;
        let config = bench.failed(name, Reason::AuthenticationFailed).await?;
        let message = config.message()?;
        checked(
            "the message says that they were tried",
            message.contains("does not accept the credentials"),
            message,
        )?;
    }
    shows_nowhere(&bench).await
}

/// Secrets are read again at each sync; facts that the old password gave are forgotten.
async fn a_rotated_password_counts_at_once(bench: Bench) -> Result<()> {
    let image = private(&bench, Scheme::Basic, PASSWORD).await?;
    put_secret(&bench, &bench.world.embedded.host(), PASSWORD).await?;
    bench.apply("web", with_secret(&image)).await?;
    bench.ready("web").await?;
    guard(&bench, "basic", Scheme::Basic, "the next password");
    bench.sync_failed("web", Reason::AuthenticationFailed).await?;
    put_secret(&bench, &bench.world.embedded.host(), "the next password").await?;
    bench.sync_ready("web").await?;
    Ok(())
}

/// A registry sees only what is meant for it.
async fn credentials_for_elsewhere_stay_here(bench: Bench) -> Result<()> {
    let image = private(&bench, Scheme::Basic, PASSWORD).await?;
    put_secret(&bench, "registry.example.com", PASSWORD).await?;
    let since = std::time::SystemTime::now();
    bench.apply("web", with_secret(&image)).await?;
    bench.failed("web", Reason::AuthenticationFailed).await?;
    let requests = bench.requests_since(since);
    checked("it was asked", !requests.is_empty(), &requests)?;
    let sent: Vec<_> = requests.iter().filter_map(|request| request.authorization.as_deref()).collect();
    checked("nothing was sent", sent.is_empty(), sent)
}

/// Content that the operator fetched for one namespace is not given to another one without credentials.
async fn what_one_namespace_may_see_another_may_not(bench: Bench) -> Result<()> {
    let image = private(&bench, Scheme::Bearer, PASSWORD).await?;
    put_secret(&bench, &bench.world.embedded.host(), PASSWORD).await?;
    bench.apply("web", with_secret(&image)).await?;
    bench.ready("web").await?;

    let neighbour = bench.neighbour().await?;
    neighbour.apply("without", json!({"image": image})).await?;
    neighbour.failed("without", Reason::AuthenticationFailed).await?;
    neighbour.apply("theirs", with_secret(&image)).await?;
    neighbour.failed("theirs", Reason::CredentialsNotFound).await?;
    same("a ConfigMap exists", neighbour.has_config_map("without").await?, false)?;
    neighbour.clean_up().await
}

/// Losing access is a failure like any other: the last good config stays.
async fn the_data_stays_when_access_is_lost(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("bearer/web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let before = bench.config_map("web").await?;
    guard(&bench, "bearer", Scheme::Bearer, PASSWORD);
    let config = bench.sync_failed("web", Reason::AuthenticationFailed).await?;
    same("artifact", config.artifact()?, &artifact)?;
    same("the ConfigMap", bench.config_map("web").await?, before)
}

/// A token that the registry no longer takes is no refusal of the password.
async fn an_expired_token_is_renewed(bench: Bench) -> Result<()> {
    let image = private(&bench, Scheme::Bearer, PASSWORD).await?;
    put_secret(&bench, &bench.world.embedded.host(), PASSWORD).await?;
    bench.apply("web", with_secret(&image)).await?;
    bench.ready("web").await?;
    bench.world.embedded.revoke_tokens();
    bench.sync_ready("web").await?;
    Ok(())
}

/// Neither in status, nor in events, nor in the operator's log; not in the form that goes over the wire either.
async fn shows_nowhere(bench: &Bench) -> Result<()> {
    use base64::Engine as _;
    let wire = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let objects =
        bench.kubectl(&["get", "acfg,configmaps,events", "--output=yaml", "--show-managed-fields"]).await?;
    for (place, content) in [("an object", objects), ("the log", bench.world.operator.log())] {
        for secret in [PASSWORD, &wire] {
            same(&format!("{place} shows the password"), content.contains(secret), false)?;
        }
    }
    Ok(())
}
