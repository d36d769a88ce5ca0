//! A machine that reaches the API server through a proxy, as kubectl does it in the same shell.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Person, Ran};
use crate::support::{Bench, World, cases, checked, same};

cases! {
    Embedded [
        the_api_server_is_reached_through_the_proxy_of_the_environment,
        no_proxy_by_name_address_and_network_goes_directly,
        the_proxy_of_the_kubeconfig_comes_first,
    ]
}

/// Names the API server so that no loopback rule applies; only the proxy can resolve it.
const NAME: &str = "api.testbed.example";

/// A proxy that tunnels every request to the API server, and counts them.
struct Proxy {
    address: String,
    tunnels: Arc<AtomicUsize>,
}

impl Proxy {
    async fn start(server: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tunnels);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, counted) = (server.clone(), Arc::clone(&counted));
                tokio::spawn(async move { tunnel(client, &server, &counted).await });
            }
        });
        Ok(Self { address, tunnels })
    }

    fn used(&self) -> bool {
        self.tunnels.swap(0, Ordering::SeqCst) > 0
    }
}

async fn tunnel(mut client: TcpStream, server: &str, counted: &AtomicUsize) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    anyhow::ensure!(head.starts_with(b"CONNECT "), "only CONNECT is answered");
    counted.fetch_add(1, Ordering::SeqCst);
    let mut upstream = TcpStream::connect(server).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

/// The kubeconfig of the testbed with another server and more in its cluster.
fn changed(bench: &Bench, person: &mut Person, server: &str, more: &str) -> Result<()> {
    let text = std::fs::read_to_string(bench.world.cluster.kubeconfig())?;
    let authority = bench.world.cluster.server();
    let host = authority.trim_start_matches("https://").split(':').next().context("no host")?;
    let extra = format!("\"tls-server-name\": \"{host}\"{more}");
    let mut config: serde_json::Value = serde_saphyr::from_str(&text)?;
    let cluster = &mut config["clusters"][0]["cluster"];
    cluster["server"] = server.into();
    let extra: serde_json::Value = serde_json::from_str(&format!("{{{extra}}}"))?;
    for (key, value) in extra.as_object().context("no object")? {
        cluster[key] = value.clone();
    }
    let path = person.home().join("kubeconfig");
    std::fs::write(&path, config.to_string())?;
    person.kubeconfig = path;
    Ok(())
}

fn address_of(bench: &Bench) -> Result<String> {
    Ok(bench
        .world
        .cluster
        .server()
        .split_once("://")
        .context("no scheme")?
        .1
        .trim_end_matches('/')
        .to_owned())
}

async fn get(person: &Person, variables: &[(&str, &str)]) -> Result<Ran> {
    let mut command = Command::new(World::binary());
    command.args(["get", "-n", &person.namespace]);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    person.runs(&mut command).await
}

async fn the_api_server_is_reached_through_the_proxy_of_the_environment(bench: Bench) -> Result<()> {
    let mut person = Person::at(&bench)?;
    let address = address_of(&bench)?;
    let proxy = Proxy::start(address.clone()).await?;
    // A loopback address never needs a proxy: it works where kubectl works.
    get(&person, &[("HTTPS_PROXY", "http://127.0.0.1:1")]).await?.ok()?;
    let port = address.rsplit_once(':').context("no port")?.1;
    changed(&bench, &mut person, &format!("https://{NAME}:{port}"), "")?;
    let url = format!("http://{}", proxy.address);
    for (variable, value) in [("HTTPS_PROXY", &url), ("https_proxy", &url), ("HTTPS_PROXY", &proxy.address)] {
        get(&person, &[(variable, value), ("NO_PROXY", "other.example,, ,10.0.0.0/8,")]).await?.ok()?;
        checked(&format!("{variable}={value} is used"), proxy.used(), ())?;
    }
    let said = get(&person, &[("HTTPS_PROXY", "ftp://me:secret@proxy")]).await?.failed(1)?;
    checked("what is no proxy", said.contains("HTTPS_PROXY") && !said.contains("secret"), said)
}

async fn no_proxy_by_name_address_and_network_goes_directly(bench: Bench) -> Result<()> {
    let mut person = Person::at(&bench)?;
    let address = address_of(&bench)?;
    let (proxy, port) =
        (Proxy::start(address.clone()).await?, address.rsplit_once(':').context("no port")?.1);
    let url = format!("http://{}", proxy.address);
    // No loopback address by its number, and yet it leads to this machine.
    let anywhere = "0.0.0.0";
    changed(&bench, &mut person, &format!("https://{anywhere}:{port}"), "")?;
    get(&person, &[("HTTPS_PROXY", &url)]).await?.ok()?;
    checked("an address by the proxy", proxy.used(), ())?;
    for exception in [anywhere, "0.0.0.0/8", &format!("{anywhere}:{port}"), "*"] {
        get(&person, &[("HTTPS_PROXY", &url), ("NO_PROXY", exception)]).await?.ok()?;
        checked(&format!("NO_PROXY={exception} goes directly"), !proxy.used(), ())?;
    }
    // A name that the proxy alone can resolve: without it nothing is reached.
    changed(&bench, &mut person, &format!("https://{NAME}:{port}"), "")?;
    for exception in [NAME, "testbed.example", ".testbed.example", "*.testbed.example"] {
        let ran = get(&person, &[("HTTPS_PROXY", &url), ("no_proxy", exception)]).await?;
        same(&format!("no_proxy={exception}"), (ran.code, proxy.used()), (Some(1), false))?;
    }
    Ok(())
}

async fn the_proxy_of_the_kubeconfig_comes_first(bench: Bench) -> Result<()> {
    let mut person = Person::at(&bench)?;
    let address = address_of(&bench)?;
    let proxy = Proxy::start(address.clone()).await?;
    let more = format!(", \"proxy-url\": \"http://{}\"", proxy.address);
    changed(&bench, &mut person, &format!("https://{address}"), &more)?;
    get(&person, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]).await?.ok()?;
    checked("it is used", proxy.used(), ())
}
