//! The operator's work, done from within the image.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::Kubeconfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use secrecy::ExposeSecret as _;
use testbed::registry::EmbeddedRegistry;
use testbed::{Cluster, ClusterOptions, Manifests, Oras, Process, eventually};

use crate::built::Image;
use crate::dns::NameServer;
use crate::pod::Pod;

/// Known to the name server alone. With two dots, and `ndots:5` in resolv.conf, it is first looked for below each of the
/// search domains, as in every Pod.
const BY_DNS: &str = "registry.image.test";
/// Known to /etc/hosts alone.
const BY_HOSTS: &str = "mirror.image.test";

const NAMESPACE: &str = "artifactconfig-system";
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const CONFIG: &str = "{\"greeting\": \"from within the image\"}\n";
const START: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(20);

pub async fn check(image: &Image) -> Result<()> {
    let authority = Authority::new()?;
    let registry = EmbeddedRegistry::start_with_tls(authority.server()?).await?;
    let port = registry.host().rsplit_once(':').context("a registry without a port")?.1.to_owned();
    attach(&registry, image, &authority).await?;
    let manifests = Manifests::find(None)?;
    let options = ClusterOptions { manifests: vec![manifests.crd()], ..ClusterOptions::default() };
    let cluster = Cluster::start(options).await?;
    let kubeconfig = Kubeconfig::read_from(cluster.install(&manifests).await?)?;
    let dns = NameServer::start(&[BY_DNS]).await?;

    // As the chart runs it: the cluster is found by the Pod's account, the certificates are those of the image.
    let pod = Pod::new(image, "mounts")?;
    let api_server = account(&pod, &kubeconfig)?;
    let resolv = format!(
        "nameserver {}\nsearch {NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
        dns.address
    );
    pod.mount("/etc/resolv.conf", &resolv)?;
    pod.mount("/etc/hosts", &format!("127.0.0.1\tlocalhost\n127.0.0.1\t{BY_HOSTS}\n"))?;
    let operator = Operator::start(&pod, &api_server, &[], image, "operator.log").await?;
    operator.is_restricted()?;
    operator.knows_itself().await.with_context(|| operator.log())?;
    let ca = format!("--from-file=ca.crt={}", image.beside("oras/ca.pem").display());
    cluster
        .kubectl(&["create", "secret", "generic", "ca", "--namespace=default", &ca])
        .await?
        .ok("kubectl create")?;
    cluster.apply(&resource("dns", &format!("{BY_DNS}:{port}"), "{certSecretRef: {name: ca}}")).await?;
    cluster.apply(&resource("hosts", &format!("{BY_HOSTS}:{port}"), "{certSecretRef: {name: ca}}")).await?;
    cluster.apply(&resource("untrusted", &format!("{BY_DNS}:{port}"), "{}")).await?;
    for name in ["dns", "hosts"] {
        written(&cluster, name).await.with_context(|| operator.log())?;
    }
    // The authority is in no list of public ones: what is in the image is read, and decides.
    cluster
        .kubectl(&[
            "wait",
            "artifactconfig/untrusted",
            "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=RegistryUnavailable",
            "--timeout=60s",
        ])
        .await?
        .ok("kubectl wait")
        .with_context(|| operator.log())?;
    operator.end().await?;

    // The same with the certificates of a platform team, as `caBundle` of the chart mounts them.
    pod.mount("/etc/artifactconfig/ca/ca.crt", &authority.pem)?;
    let env = [("SSL_CERT_FILE", "/etc/artifactconfig/ca/ca.crt")];
    let operator = Operator::start(&pod, &api_server, &env, image, "trusting.log").await?;
    written(&cluster, "untrusted").await.with_context(|| operator.log())?;
    operator.end().await?;
    cluster.stop().await
}

/// An image with a config, pushed by the real `oras` over TLS.
async fn attach(registry: &EmbeddedRegistry, image: &Image, authority: &Authority) -> Result<()> {
    let oras = Oras::locate().await?;
    let directory = image.beside("oras");
    std::fs::create_dir(&directory)?;
    for (name, content) in
        [("ca.pem", authority.pem.as_str()), ("layer.txt", "layer"), ("config.json", CONFIG)]
    {
        std::fs::write(directory.join(name), content)?;
    }
    let reference = format!("{}/shop/web:v1", registry.host());
    oras.run(&["push", "--ca-file", "ca.pem", &reference, "layer.txt"], &directory).await?;
    let attach =
        ["attach", "--ca-file", "ca.pem", "--artifact-type", "custom/config", &reference, "config.json"];
    oras.run(&attach, &directory).await?;
    Ok(())
}

/// Mounts the account's token, as the kubelet does; returns where the API server is, as it sets it in the environment.
fn account(pod: &Pod, kubeconfig: &Kubeconfig) -> Result<(String, String)> {
    let cluster = kubeconfig.clusters[0].cluster.as_ref().context("a kubeconfig without a cluster")?;
    let user = kubeconfig.auth_infos[0].auth_info.as_ref().context("a kubeconfig without a user")?;
    let ca = cluster.certificate_authority_data.as_ref().context("no CA of the API server")?;
    let token = user.token.as_ref().context("no token")?;
    pod.mount(&format!("{ACCOUNT}/ca.crt"), &String::from_utf8(STANDARD.decode(ca)?)?)?;
    pod.mount(&format!("{ACCOUNT}/token"), token.expose_secret())?;
    pod.mount(&format!("{ACCOUNT}/namespace"), NAMESPACE)?;
    let server = cluster.server.as_deref().unwrap_or_default();
    let (host, port) = server
        .strip_prefix("https://")
        .and_then(|address| address.rsplit_once(':'))
        .with_context(|| format!("{server} is no address of an API server"))?;
    Ok((host.to_owned(), port.to_owned()))
}

fn resource(name: &str, host: &str, registry: &str) -> String {
    format!(
        "apiVersion: artifactconfig.dev/v1alpha1
kind: ArtifactConfig
metadata: {{name: {name}, namespace: default}}
spec:
  image: {host}/shop/web:v1
  artifactType: custom/config
  registry: {registry}
"
    )
}

/// Waits until the ConfigMap has the config.
async fn written(cluster: &Cluster, name: &str) -> Result<()> {
    let query = ["get", "configmap", name, "--output=jsonpath={.data.config\\.json}"];
    eventually(format!("the ConfigMap {name}"), START, || async {
        let output = cluster.kubectl(&query).await?;
        Ok(if output.stdout == CONFIG { Ok(()) } else { Err(format!("{}{}", output.stdout, output.stderr)) })
    })
    .await
}

/// The operator, in its container.
struct Operator {
    process: Process,
    health: String,
    http: reqwest::Client,
}

impl Operator {
    /// Returns once it is ready.
    async fn start(
        pod: &Pod,
        (host, port): &(String, String),
        env: &[(&str, &str)],
        image: &Image,
        log: &str,
    ) -> Result<Self> {
        let health = free_address()?;
        let own = [
            ("HOSTNAME", "artifactconfig-0"),
            ("KUBERNETES_SERVICE_HOST", host.as_str()),
            ("KUBERNETES_SERVICE_PORT", port.as_str()),
            ("ARTIFACTCONFIG_HEALTH_ADDRESS", health.as_str()),
            ("ARTIFACTCONFIG_ADMIN_ADDRESS", "127.0.0.1:0"),
        ];
        let command =
            pod.command(&["controller", "--log-format=json", "--leader-elect"], &[&own[..], env].concat());
        let started = Instant::now();
        let process = Process::spawn("the image", &command, &image.beside(log)).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let operator = Self { process, health, http };
        for path in ["livez", "readyz"] {
            let url = operator.url(path);
            let answers = eventually(&url, START, || async {
                if !operator.process.is_running() {
                    return Err(anyhow::anyhow!("it has ended"));
                }
                Ok(match operator.http.get(&url).send().await {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    Ok(answer) => Err(answer.status().to_string()),
                    Err(why) => Err(why.to_string()),
                })
            });
            answers.await.with_context(|| operator.log())?;
            eprintln!("/{path} answers after {:?}", started.elapsed());
        }
        Ok(operator)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.health)
    }

    /// The metrics of the process are read from /proc, with values of libc about the machine.
    async fn knows_itself(&self) -> Result<()> {
        let metrics = self.http.get(self.url("metrics")).send().await?.text().await?;
        for name in ["process_resident_memory_bytes", "process_open_fds", "artifactconfig_build_info"] {
            ensure!(metrics.lines().any(|line| line.starts_with(name)), "no {name} in\n{metrics}");
        }
        Ok(())
    }

    fn log(&self) -> String {
        format!("the end of its log:\n{}", self.process.log_tail())
    }

    /// The restrictions of the chart's security context, which only a program without other needs can bear.
    fn is_restricted(&self) -> Result<()> {
        let of_process = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.process.pid()));
        let status = of_process("status")?;
        for line in [
            "Uid:\t65532\t65532\t65532\t65532",
            "Gid:\t65532\t65532\t65532\t65532",
            "Groups:\t ",
            "NoNewPrivs:\t1",
        ] {
            ensure!(
                status.lines().any(|found| found.trim_end() == line.trim_end()),
                "no {line:?} in\n{status}"
            );
        }
        for kind in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let none = format!("{kind}:\t0000000000000000");
            ensure!(status.contains(&none), "no {none:?} in\n{status}");
        }
        let mounts = of_process("mountinfo")?;
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).context("no root")?;
        ensure!(root.split(' ').nth(5).is_some_and(|options| options.starts_with("ro")), "{root}");
        // Everything that is mapped comes from the program, and no library does.
        let maps = of_process("maps")?;
        let foreign = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .find(|path| path.starts_with('/') && !path.ends_with("/artifactconfig"));
        ensure!(foreign.is_none(), "it has loaded {foreign:?}");
        let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
        eprintln!("when it is ready: {resident}");
        Ok(())
    }

    /// Ends it as the kubelet does.
    async fn end(&self) -> Result<()> {
        let status = self.process.stop(GRACE).await?;
        ensure!(status.success(), "it ended with {status}; {}", self.log());
        Ok(())
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A certificate authority that nobody knows.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    fn server(&self) -> Result<ServerConfig> {
        let key = KeyPair::generate()?;
        let names = [BY_DNS, BY_HOSTS, "127.0.0.1"].map(str::to_owned).to_vec();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private)?)
    }
}
