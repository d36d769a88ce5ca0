//! Serving HTTP and HTTPS so that stopping means stopped: no connection survives, kept alive or in the middle of
//! an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::marks::{ClientCertificate, DISCONNECT};

/// Accepts connections until it is dropped or stopped.
#[derive(Debug)]
pub(super) struct Server {
    accepting: JoinHandle<()>,
}

impl Server {
    pub(super) fn new(listener: TcpListener, router: Router, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { accepting: tokio::spawn(accept(listener, router, tls.map(TlsAcceptor::from))) }
    }

    /// Closes the listener and all connections; afterwards connections are refused.
    pub(super) async fn stop(mut self) {
        self.accepting.abort();
        // Ends once the task, and with it the listener and the set of connections, is dropped.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Binds the address; a port that connections of a stopped server still wait on can be taken again
/// (`SO_REUSEADDR`, which tokio sets).
pub(super) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn accept(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>) {
    // Dropping the set aborts all connections.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, router.clone(), tls.clone()));
            }
            // Out of file descriptors, for example: let some connections end first.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, router: Router, tls: Option<TlsAcceptor>) {
    // Small answers must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, router, None).await };
    // A client that does not trust the certificate goes away here.
    let Ok(stream) = tls.accept(stream).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().map(|_| ClientCertificate);
    answer(stream, router, certificate).await;
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    router: Router,
    certificate: Option<ClientCertificate>,
) {
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        let answer = inner.call(request);
        async move {
            let answer: Response<Body> = answer.await.map_err(io::Error::other)?;
            if answer.headers().contains_key(DISCONNECT) {
                return Err(io::Error::other("a fault closes the connection"));
            }
            Ok(answer)
        }
    });
    // An error means that the client went away, or that a fault wanted it so.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
