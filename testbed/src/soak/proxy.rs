//! Between the operator and the API server: connections that can be counted, cut and stalled.
//!
//! A load balancer or a network does to watches what stopping the API server does not: it breaks connections while
//! everybody lives, or keeps them open and delivers nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes that are passed on at once.
const BUFFER: usize = 16 * 1024;

/// A TCP proxy on the loopback address. Dropping it closes everything.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    open: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
    control: watch::Sender<Control>,
    accepting: JoinHandle<()>,
}

/// The command to all connections.
#[derive(Debug, Clone, Copy, Default)]
struct Control {
    /// Connections of another age than this are to end.
    age: u64,
    /// Nothing is passed on.
    stalled: bool,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target` (`127.0.0.1:port`).
    pub(super) async fn start(target: String) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
        let address = listener.local_addr()?;
        let (control, told) = watch::channel(Control::default());
        let (open, accepted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&open), Arc::clone(&accepted));
        let accepting = tokio::spawn(async move {
            // Dropping the set ends all connections.
            let mut connections = JoinSet::new();
            loop {
                match listener.accept().await {
                    Ok((client, _)) => {
                        counts.1.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(connection(client, target.clone(), told.clone(), counts.0.clone()));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, open, accepted, control, accepting })
    }

    /// A copy of a kubeconfig beside it, that goes through here. The server's certificate is for 127.0.0.1 with any
    /// port.
    pub(super) fn kubeconfig(&self, direct: &Path, server: &str) -> Result<PathBuf> {
        let text =
            std::fs::read_to_string(direct).with_context(|| format!("cannot read {}", direct.display()))?;
        ensure!(text.contains(server), "{} does not name {server}", direct.display());
        let path = direct.with_extension("proxied");
        std::fs::write(&path, text.replace(server, &format!("https://{}", self.address)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were ever opened.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Ends every connection there is, watches among them; new ones are welcome.
    pub(super) fn cut(&self) {
        self.control.send_modify(|control| control.age += 1);
    }

    /// Keeps connections open and delivers nothing (`true`), or goes on.
    pub(super) fn stall(&self, stalled: bool) {
        self.control.send_modify(|control| control.stalled = stalled);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<AtomicU64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(
    client: TcpStream,
    target: String,
    mut told: watch::Receiver<Control>,
    open: Arc<AtomicU64>,
) {
    open.fetch_add(1, Ordering::Relaxed);
    let _open = Open(open);
    let age = told.borrow_and_update().age;
    // An API server that is down is a connection that ends at once, as behind a load balancer.
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Small answers must not wait for an acknowledgement.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Either direction that ends is the end of the connection: HTTP needs both.
    tokio::select! {
        () = pass(from_client, to_server, told.clone()) => {}
        () = pass(from_server, to_client, told.clone()) => {}
        _ = told.wait_for(|control| control.age != age) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut told: watch::Receiver<Control>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let flows = told.wait_for(|control| !control.stalled).await.is_ok();
        if !flows || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every byte with the same byte.
    async fn echo() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn asked(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
        stream.write_all(&[byte]).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn it_passes_on_stalls_and_cuts() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(asked(&mut stream, 7).await.unwrap(), 7);
        assert_eq!((proxy.open(), proxy.accepted()), (1, 1));

        proxy.stall(true);
        let silence = tokio::time::timeout(Duration::from_millis(100), asked(&mut stream, 8)).await;
        assert!(silence.is_err(), "nothing comes while it is stalled");
        proxy.stall(false);
        assert_eq!(stream.read_u8().await.unwrap(), 8, "and nothing is lost");

        proxy.cut();
        assert!(stream.read_u8().await.is_err(), "the connection ends");
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(asked(&mut stream, 9).await.unwrap(), 9, "a new one is welcome");
        assert_eq!((proxy.open(), proxy.accepted()), (1, 2));
    }

    #[test]
    fn a_kubeconfig_of_another_server_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        std::fs::write(&path, "server: https://127.0.0.1:1\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let proxy = Proxy::start("127.0.0.1:1".into()).await.unwrap();
            let copy = proxy.kubeconfig(&path, "https://127.0.0.1:1").unwrap();
            let text = std::fs::read_to_string(copy).unwrap();
            assert_eq!(text, format!("server: https://{}\n", proxy.address));
            assert!(proxy.kubeconfig(&path, "https://127.0.0.1:2").is_err());
        });
    }
}
