//! Ports nobody listens on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// What programs log when another process took their port in the meantime (Go, Rust).
const CLASHES: [&str; 2] = ["address already in use", "Address already in use"];

/// A free port on the loopback address.
///
/// Between this call and the program's own bind another process may take it. Ports handed out by the kernel
/// this way rotate, so that is rare; who starts a program checks [`is_clash`] and tries again.
///
/// # Errors
/// When the machine has no port left.
pub(crate) fn free() -> Result<u16> {
    let listener =
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr().context("the free port has no address")?.port())
}

/// Whether a program's log says that its port was taken.
pub(crate) fn is_clash(log: &str) -> bool {
    CLASHES.iter().any(|text| log.contains(text))
}
