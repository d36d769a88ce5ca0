//! A name server that knows a few names, as the cluster's DNS would.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Of a question of the class IN.
const TYPE_A: u16 = 1;
const HEADER: usize = 12;
/// Longest question over UDP that anybody sends here.
const LONGEST: usize = 512;

/// Answers until it is dropped.
pub struct NameServer {
    pub address: Ipv4Addr,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Listens on port 53, because resolv.conf cannot name another one, at an address of the loopback that nobody else
    /// uses; all of `names` are 127.0.0.1, and no other name exists.
    pub async fn start(names: &'static [&'static str]) -> Result<Self> {
        let address = Ipv4Addr::new(127, 65, 53, 32);
        let socket = UdpSocket::bind(SocketAddr::from((address, 53)))
            .await
            .with_context(|| format!("cannot listen on {address}:53: this test runs as root, and alone"))?;
        let task = tokio::spawn(async move {
            let mut question = [0; LONGEST];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                if let Some(answer) = question.get(..length).and_then(|question| answer(question, names)) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035, section 4. `None` if the bytes are not a question.
fn answer(question: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
    let asked = question.get(HEADER..end + 4)?;
    let known = names.contains(&name.as_str());
    let found = known && kind == TYPE_A;
    let mut answer = question.get(..2)?.to_vec();
    // A response to a query that wanted recursion, with recursion; 0 is "no error", 3 "no such name".
    answer.extend([0x81, if known { 0x80 } else { 0x83 }]);
    // One question, one answer or none, nothing else.
    answer.extend([0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    answer.extend(asked);
    if found {
        // The name of the question, type A, class IN, for one second, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

/// The name, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8(question.get(at..at + length)?.to_vec()).ok()?.to_lowercase());
        at += length;
    }
}
