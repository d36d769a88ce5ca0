//! The kubeconfig as a configuration of the client, with the proxy that kubectl would use.
//!
//! This does not use `Config::from_custom_kubeconfig`, which compares `NO_PROXY` with the proxy instead of the API
//! server, and fails for entries that Go skips. See docs/decisions/0028.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use decide::near;
use http::Uri;
use kube::Config;
use kube::config::{AuthInfo, Cluster, Context, ExecAuthCluster, Kubeconfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::proxy::{self, Environment};

/// The configuration for a context of a kubeconfig file, or for the current one.
///
/// # Errors
/// If no usable kubeconfig exists, or it does not have the context.
pub fn config(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let kubeconfig = match file {
        Some(path) => Kubeconfig::read_from(path)
            .with_context(|| format!("the kubeconfig {} cannot be read", path.display()))?,
        None => match Kubeconfig::read() {
            Ok(kubeconfig) => kubeconfig,
            // Like kubectl: in a Pod without a kubeconfig, use the cluster of the Pod.
            Err(error) => {
                return Config::incluster()
                    .ok()
                    .ok_or(error)
                    .context("there is no usable kubeconfig; name one with --kubeconfig or $KUBECONFIG");
            }
        },
    };
    of(kubeconfig, context, &Environment::of_process())
}

fn of(kubeconfig: Kubeconfig, context: Option<&str>, environment: &Environment) -> anyhow::Result<Config> {
    let Context { cluster: cluster_name, user, namespace, .. } = chosen(&kubeconfig, context)?;
    let cluster = kubeconfig
        .clusters
        .into_iter()
        .find(|named| named.name == cluster_name)
        .and_then(|named| named.cluster)
        .ok_or_else(|| anyhow!("the kubeconfig has no cluster '{cluster_name}'"))?;
    let server: Uri = cluster
        .server
        .as_deref()
        .filter(|server| !server.is_empty())
        .ok_or_else(|| anyhow!("cluster '{cluster_name}' of the kubeconfig names no server"))?
        .parse()
        .with_context(|| format!("the server of cluster '{cluster_name}' in the kubeconfig is not a URL"))?;
    let told = ExecAuthCluster::try_from(&cluster)
        .with_context(|| format!("the certificate authority of cluster '{cluster_name}' cannot be read"))?;
    // A missing user means anonymous requests, as in client-go.
    let mut auth_info = kubeconfig
        .auth_infos
        .into_iter()
        .find(|named| Some(&named.name) == user.as_ref())
        .and_then(|named| named.auth_info)
        .unwrap_or_else(AuthInfo::default);
    if let Some(exec) = &mut auth_info.exec
        && exec.provide_cluster_info
    {
        exec.cluster = Some(told.clone());
    }
    let root_cert = told.certificate_authority_data.as_deref().map(certificates).transpose()?;
    let Cluster { insecure_skip_tls_verify, proxy_url, disable_compression, tls_server_name, .. } = cluster;
    let proxy_url =
        proxy::for_server(proxy_url.as_deref(), environment, &server).map_err(|why| anyhow!(why))?;
    let mut config = Config::new(server);
    if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
        config.default_namespace = namespace;
    }
    config.root_cert = root_cert;
    config.accept_invalid_certs = insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = disable_compression.unwrap_or(false);
    config.proxy_url = proxy_url;
    config.auth_info = auth_info;
    config.tls_server_name = tls_server_name;
    Ok(config)
}

fn chosen(kubeconfig: &Kubeconfig, context: Option<&str>) -> anyhow::Result<Context> {
    let Some(name) = context.or(kubeconfig.current_context.as_deref()).filter(|name| !name.is_empty()) else {
        bail!(
            "the kubeconfig has no current context; choose one with --context or 'kubectl config use-context'"
        );
    };
    let found = kubeconfig.contexts.iter().find(|named| named.name == name);
    found.and_then(|named| named.context.clone()).ok_or_else(|| {
        let known: Vec<&str> = kubeconfig.contexts.iter().map(|named| named.name.as_str()).collect();
        anyhow!(near::no_such("context", name, "in the kubeconfig", &known))
    })
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).map(|found| found.map(|found| found.to_vec())).collect();
    let found =
        read.map_err(|_| anyhow!("the certificate authority in the kubeconfig is not in PEM form"))?;
    if found.is_empty() {
        bail!("the certificate authority in the kubeconfig holds no certificate");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use serde_json::{Value, json};

    fn kubeconfig(cluster: &Value) -> Kubeconfig {
        serde_json::from_value(json!({
            "current-context": "one",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [
                {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
                {"name": "two", "context": {"cluster": "c", "user": "nobody"}},
                {"name": "lost", "context": {"cluster": "gone", "user": "u"}},
            ],
        }))
        .unwrap()
    }

    fn said(cluster: &Value, context: &str) -> String {
        format!("{:#}", of(kubeconfig(cluster), Some(context), &Environment::default()).unwrap_err())
    }

    #[test]
    fn everything_of_a_context_is_taken() {
        let pem = rcgen::generate_simple_self_signed(["api".to_owned()]).unwrap().cert.pem();
        let authority = base64::engine::general_purpose::STANDARD.encode(pem);
        let cluster = json!({
            "server": "https://api.example:6443", "certificate-authority-data": authority,
            "tls-server-name": "api", "insecure-skip-tls-verify": true, "disable-compression": true,
            "proxy-url": "http://proxy.example:3128",
        });
        let config = of(kubeconfig(&cluster), None, &Environment::default()).unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://api.example:6443/");
        assert_eq!(config.default_namespace, "shop");
        assert_eq!(config.root_cert.map(|found| found.len()), Some(1));
        assert_eq!(config.tls_server_name.as_deref(), Some("api"));
        assert_eq!(
            config.proxy_url.map(|proxy| proxy.to_string()).as_deref(),
            Some("http://proxy.example:3128/")
        );
        assert!(
            config.accept_invalid_certs && config.disable_compression && config.auth_info.token.is_some()
        );
        let two = of(kubeconfig(&cluster), Some("two"), &Environment::default()).unwrap();
        assert_eq!((two.default_namespace.as_str(), two.auth_info.token.is_none()), ("default", true));
    }

    /// What is wrong in `NO_PROXY` is nothing to end with, and it is held against the API server, not the proxy.
    #[test]
    fn exceptions_are_for_the_api_server() {
        let with = |no_proxy: &str| {
            let environment = Environment::new(|name| match name {
                "HTTPS_PROXY" => Some("http://proxy.example:3128".to_owned()),
                "NO_PROXY" => Some(no_proxy.to_owned()),
                _ => None,
            });
            of(kubeconfig(&json!({"server": "https://api.example"})), None, &environment).unwrap().proxy_url
        };
        assert!(with("api.example,").is_none());
        assert!(with("proxy.example").is_some());
        assert!(with(",,:,a b").is_some());
    }

    #[test]
    fn what_is_missing_is_named() {
        let server = json!({"server": "https://api.example"});
        assert!(said(&server, "tow").ends_with("did you mean 'two'?"), "{}", said(&server, "tow"));
        assert!(said(&server, "lost").contains("no cluster 'gone'"));
        assert!(said(&json!({}), "one").contains("names no server"));
        assert!(said(&json!({"server": "https://a b"}), "one").contains("is not a URL"));
        let broken = json!({"server": "https://api.example", "certificate-authority-data": "eA=="});
        assert!(said(&broken, "one").contains("no certificate"), "{}", said(&broken, "one"));
        let no_context: Kubeconfig = serde_json::from_value(json!({})).unwrap();
        let said = of(no_context, None, &Environment::default()).unwrap_err().to_string();
        assert!(said.contains("no current context"), "{said}");
    }
}
