//! An HTTP server with bounds on what its callers can hold. It knows nothing of what it serves: `cli::controller` puts the
//! routers together.
//!
//! The accept loop is our own, because `axum::serve` has none of these bounds.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The pause after the system has refused to accept a connection: it has no file descriptor left, for instance.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a server listens, and which flag says so.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// The flag that names it.
    pub flag: &'static str,
    /// What to do if the address is taken.
    pub advice: &'static str,
}

impl Listen {
    async fn bind(&self) -> anyhow::Result<TcpListener> {
        let Self { address, flag, advice } = self;
        TcpListener::bind(address)
            .await
            .with_context(|| format!("{flag} {address} cannot be bound; {advice}"))
    }
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at the same time; others wait until the system accepts them for us. Probes, scrapes and a few people
    /// need a handful.
    connections: usize,
    /// Longest wait for the whole head of a request, also for that of a next one on the same connection.
    head: Duration,
    /// Largest head. Buffers are not larger either.
    head_bytes: usize,
    /// Largest body, where a router sets no other.
    body_bytes: usize,
    /// Longest life of a connection. It also ends one whose caller does not read the answer.
    life: Duration,
    /// Time for the request under way, when the connection or the server is to end. Prometheus waits as long by default.
    grace: Duration,
}

impl Limits {
    const USUAL: Self = Self {
        connections: 64,
        head: Duration::from_secs(10),
        head_bytes: 32 * 1024,
        body_bytes: 64 * 1024,
        life: Duration::from_mins(1),
        grace: Duration::from_secs(10),
    };

    fn http(&self) -> http1::Builder {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.head).max_buf_size(self.head_bytes);
        http
    }
}

/// Serves `router` until `stop` is cancelled, and lets the requests under way end. `paths` is for the log.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(
    listen: Listen,
    paths: &'static str,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listen.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "serving {paths}");
    accept(listener, router, Limits::USUAL, stop).await;
    Ok(())
}

async fn accept(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let router = router.layer(DefaultBodyLimit::max(limits.body_bytes));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    open.spawn(connection(stream, router.clone(), limits, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "connection not accepted");
                    let _ = timeout(PAUSE, stop.cancelled()).await;
                }
            },
        }
    }
    drop(listener);
    // Each ends within its grace.
    while open.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(limits.http().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // An error is the caller's: it has gone, or sent what is no HTTP.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(limits.life) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.grace, connection).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// So short that a test can wait for it.
    const SHORT: Duration = Duration::from_millis(100);

    /// So long that a test which waits for it fails.
    const LONG: Duration = Duration::from_mins(1);

    const ROOMY: Limits = Limits { head: LONG, life: LONG, grace: LONG, ..Limits::USUAL };

    /// A server with these bounds, and what ends it.
    async fn started(limits: Limits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let router = Router::new()
            .route("/", get(|| async { "ok\n" }))
            .route("/slow", get(|| async { sleep(3 * SHORT).await }))
            .route("/never", get(|| async { sleep(LONG).await }))
            .route("/echo", post(|body: String| async { body }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let server = tokio::spawn(accept(listener, router, limits, stop.clone()));
        (address, stop, server)
    }

    async fn sent(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Everything until the server closes the connection.
    async fn answer(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        timeout(LONG / 2, stream.read_to_end(&mut text)).await.unwrap().unwrap();
        String::from_utf8(text).unwrap()
    }

    const LAST: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[rstest::rstest]
    #[case::nothing("", "")]
    #[case::half_a_head("GET / HTTP/1.1\r\nhost:", "")]
    #[case::no_next_request("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200")]
    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection(#[case] text: &str, #[case] begins: &str) {
        let (address, ..) = started(Limits { head: SHORT, ..ROOMY }).await;
        let text = answer(sent(address, text).await).await;
        assert!(text.starts_with(begins) && text.is_empty() == begins.is_empty(), "{text}");
    }

    #[tokio::test]
    async fn a_head_has_a_largest_size() {
        let (address, ..) = started(Limits { head_bytes: 8192, ..ROOMY }).await;
        let text = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(9000));
        let text = answer(sent(address, &text).await).await;
        assert!(text.starts_with("HTTP/1.1 431"), "{text}");
    }

    #[rstest::rstest]
    #[case(8, "HTTP/1.1 200")]
    #[case(9, "HTTP/1.1 413")]
    #[tokio::test]
    async fn a_body_has_a_largest_size(#[case] length: usize, #[case] begins: &str) {
        let (address, ..) = started(Limits { body_bytes: 8, ..ROOMY }).await;
        let text = format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{}",
            "x".repeat(length)
        );
        let text = answer(sent(address, &text).await).await;
        assert!(text.starts_with(begins), "{text}");
    }

    /// One that is above the number waits, and is served when another has ended.
    #[tokio::test]
    async fn connections_have_a_largest_number() {
        let (address, ..) = started(Limits { connections: 2, ..ROOMY }).await;
        let held = [sent(address, "GET /").await, sent(address, "GET /").await];
        let mut third = sent(address, LAST).await;
        let mut byte = [0];
        assert!(timeout(SHORT, third.read(&mut byte)).await.is_err(), "it is served");
        drop(held);
        assert!(answer(third).await.contains("ok"));
    }

    /// A caller that keeps a connection, or never gets its answer, does not keep its place.
    #[tokio::test]
    async fn a_connection_has_a_longest_life() {
        let (address, ..) = started(Limits { life: SHORT, grace: SHORT, ..ROOMY }).await;
        assert_eq!(answer(sent(address, "GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await).await, "");
        assert!(answer(sent(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await).await.contains("ok"));
    }

    #[tokio::test]
    async fn it_ends_after_the_request_under_way() {
        let (address, stop, server) = started(ROOMY).await;
        let idle = sent(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let slow = sent(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        sleep(SHORT).await;
        stop.cancel();
        assert!(answer(slow).await.starts_with("HTTP/1.1 200"));
        assert!(answer(idle).await.contains("ok"));
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn its_end_does_not_wait_for_ever() {
        let (address, stop, server) = started(Limits { grace: SHORT, ..ROOMY }).await;
        let never = sent(address, "GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
        sleep(SHORT).await;
        let begun = Instant::now();
        stop.cancel();
        server.await.unwrap();
        assert!(begun.elapsed() < LONG / 2);
        assert_eq!(answer(never).await, "");
    }

    #[tokio::test]
    async fn a_taken_address_names_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let listen =
            Listen { address, flag: "--health-address", advice: "is another operator running here?" };
        let error = serve(listen, "/livez", Router::new(), CancellationToken::new()).await.unwrap_err();
        let expected =
            format!("--health-address {address} cannot be bound; is another operator running here?");
        assert_eq!(error.to_string(), expected);
    }
}
