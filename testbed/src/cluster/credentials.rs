//! Keys and kubeconfigs: who may talk to the API server, and how it proves who it is.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

/// `SubjectPublicKeyInfo` of a P-256 key up to the point itself (RFC 5480 §2).
const P256_KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Line length of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// Writes a new key pair for `ServiceAccount` tokens: `private` signs, `public` verifies.
pub(super) fn write_service_account_key(private: &Path, public: &Path) -> Result<()> {
    let rng = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng)
        .map_err(|_| anyhow!("cannot generate the key that signs ServiceAccount tokens"))?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &rng)
        .map_err(|why| anyhow!("cannot read back the key that signs ServiceAccount tokens: {why}"))?;
    let mut info = P256_KEY_INFO.to_vec();
    info.extend_from_slice(pair.public_key().as_ref());
    write(private, &pem("PRIVATE KEY", document.as_ref()))?;
    write(public, &pem("PUBLIC KEY", &info))
}

/// Writes the token file that gives the returned token the rights of an administrator.
pub(super) fn write_admin_token(path: &Path) -> Result<String> {
    let token = random_token()?;
    write(path, &format!("{token},admin,admin,system:masters\n"))?;
    Ok(token)
}

/// Writes a kubeconfig; the CA goes into it, so that the file can be copied anywhere.
pub(super) fn write_kubeconfig(
    path: &Path,
    server: &str,
    ca_pem: &[u8],
    user: &str,
    token: &str,
) -> Result<()> {
    let ca = STANDARD.encode(ca_pem);
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: testbed
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    token: {token}
contexts:
- name: {user}@testbed
  context:
    cluster: testbed
    user: {user}
current-context: {user}@testbed
"
    );
    write(path, &text)
}

/// 192 random bits in characters that need no quoting anywhere.
pub(crate) fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 24];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("no randomness: cannot read /dev/urandom")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_lines_are_64_characters() {
        let text = pem("PUBLIC KEY", &[7; 100]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.first(), Some(&"-----BEGIN PUBLIC KEY-----"));
        assert_eq!(lines.last(), Some(&"-----END PUBLIC KEY-----"));
        assert!(lines[1..lines.len() - 2].iter().all(|line| line.len() == PEM_LINE));
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(random_token().unwrap(), random_token().unwrap());
    }
}
