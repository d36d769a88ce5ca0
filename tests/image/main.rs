//! The image, run as a cluster runs it: its own files as the root, and nothing else.
//!
//! Not a part of `make test`, because the program is compiled for minutes and mounting takes root: `make image-test`.
//! There is no container engine; `chroot` in a mount namespace does what the kubelet's runtime does for this image.

mod built;
mod dns;
mod elf;
mod pod;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use built::Image;
use pod::Pod;

/// All files of the image. Every new entry of this list must be kept free of vulnerabilities.
const FILES: [&str; 5] =
    ["artifactconfig", "etc/group", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs/ca-certificates.crt"];

/// What nodes download; a program that doubles is a mistake, not a feature.
const LARGEST: u64 = 64 * 1024 * 1024;

#[tokio::test]
#[ignore = "takes a static build and root: run `make image-test`"]
async fn it_holds_a_static_program_that_only_root_can_change() -> Result<()> {
    let image = Image::build().await?;
    let files = image.files()?;
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), FILES);
    for file in &files {
        assert_eq!((file.uid, file.gid), (0, 0), "{}", file.path);
        assert_eq!(file.mode & 0o022, 0, "{} can be written by others", file.path);
        assert_eq!(file.mode & 0o004, 0o004, "{} cannot be read by everybody", file.path);
    }
    let program = std::fs::read(image.root().join("artifactconfig"))?;
    let headers = elf::ProgramHeaders::read(&program).context("the program is no ELF file")?;
    assert!(!headers.interpreter, "the program wants a loader, which the image does not have");
    assert!(headers.position_independent, "the program's addresses are the same in every process");
    let size = u64::try_from(program.len())?;
    eprintln!("program: {size} bytes; layer: {} bytes, compressed {}", image.layer, image.compressed);
    assert!(size < LARGEST, "{size} bytes");
    Ok(())
}

#[tokio::test]
#[ignore = "takes a static build and root: run `make image-test`"]
async fn its_configuration_is_that_of_the_dockerfile() -> Result<()> {
    let image = Image::build().await?;
    let config = &image.config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/artifactconfig"]));
    assert_eq!(config["WorkingDir"], "/");
    assert!(config["Cmd"].is_null(), "{config}");
    assert_eq!(config["ExposedPorts"], serde_json::json!({"8080/tcp": {}}));
    assert_eq!(config["Labels"]["org.opencontainers.image.title"], "artifactconfig");
    assert_eq!(config["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0");
    assert_eq!(image.config["os"], "linux");
    Ok(())
}

#[tokio::test]
#[ignore = "takes a static build and root: run `make image-test`"]
async fn the_same_files_are_the_same_image() -> Result<()> {
    let (one, other) = tokio::try_join!(Image::build(), Image::build())?;
    assert_eq!(one.digest, other.digest);
    Ok(())
}

#[tokio::test]
#[ignore = "takes a static build and root: run `make image-test`"]
async fn it_starts_without_network() -> Result<()> {
    let image = Image::build().await?;
    let started = Instant::now();
    let mut quickest = Duration::MAX;
    for _ in 0..10 {
        let started = Instant::now();
        let printed = Pod::offline(&image)?.output(&["--version"])?;
        quickest = quickest.min(started.elapsed());
        assert_eq!(printed.trim(), format!("artifactconfig {}", env!("CARGO_PKG_VERSION")));
    }
    eprintln!("--version: {quickest:?} at best, with chroot; ten of them {:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
#[ignore = "takes a static build and root: run `make image-test`"]
async fn it_does_its_work_in_a_cluster() -> Result<()> {
    work::check(&Image::build().await?).await
}
