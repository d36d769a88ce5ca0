//! The Go toolchain on this machine.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::module::Module;

/// Where to get Go, for messages.
const INSTALL: &str =
    "install it from https://go.dev/dl/, or point KUBEBUILDER_ASSETS at ready-made programs";

/// What the installed Go says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Go {
    /// For example `go1.26.1`.
    pub(crate) version: String,
    pub(crate) os: String,
    pub(crate) arch: String,
    /// `GOTOOLCHAIN`: whether Go may fetch a newer version of itself.
    pub(crate) toolchain: String,
}

impl Go {
    /// Asks the `go` on the search path.
    pub(crate) fn find() -> Result<Self> {
        let output = Command::new(program())
            .args(["env", "GOVERSION", "GOOS", "GOARCH", "GOTOOLCHAIN"])
            // Outside of any module: inside of one, Go would answer for the version that module asks for.
            .current_dir("/")
            .output()
            .with_context(|| {
                format!("Go is needed to build the testbed's programs and `go` does not run: {INSTALL}")
            })?;
        if !output.status.success() {
            bail!("`go env` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        let mut next = |name: &str| lines.next().with_context(|| format!("`go env` did not print {name}"));
        Ok(Self {
            version: next("GOVERSION")?,
            os: next("GOOS")?,
            arch: next("GOARCH")?,
            toolchain: next("GOTOOLCHAIN")?,
        })
    }

    /// Fails where this Go can neither build the module nor fetch a Go that can.
    pub(crate) fn check(&self, module: &Module) -> Result<()> {
        let Some(needed) = module.needs_go() else { return Ok(()) };
        let (Some(found), Some(least)) = (Version::parse(&self.version), Version::parse(needed)) else {
            // A development build of Go names no release; let the build itself decide.
            return Ok(());
        };
        if found < least && self.toolchain == "local" {
            bail!(
                "{} {} needs Go {needed} or newer and {} is installed: {INSTALL}; \
                 or let Go fetch the version it needs with GOTOOLCHAIN=auto",
                module.name,
                module.version,
                self.version,
            );
        }
        Ok(())
    }

    /// A `go` command that sees nothing of the surrounding workspace.
    pub(crate) fn command() -> Command {
        let mut command = Command::new(program());
        // Static programs, independent of the C compiler and libraries of the machine.
        command.env("CGO_ENABLED", "0").env("GOWORK", "off");
        command
    }
}

fn program() -> OsString {
    OsString::from("go")
}

/// A Go release, ordered: major, minor, patch. A release candidate counts as its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl Version {
    /// Reads `go1.26.1`, `1.26`, `go1.27rc1` and what distributions append (`go1.26.1 X:nogreenteagc`,
    /// `go1.26.1-x`).
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("go").unwrap_or(text);
        let mut numbers = text.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse::<u32>().ok()
        });
        let major = numbers.next()??;
        let minor = numbers.next()??;
        Some(Self(major, minor, numbers.next().flatten().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Tool;

    #[test]
    fn versions_are_read_as_go_and_distributions_write_them() {
        assert_eq!(Version::parse("go1.26.8"), Some(Version(1, 26, 8)));
        assert_eq!(Version::parse("1.26.0"), Some(Version(1, 26, 0)));
        assert_eq!(Version::parse("go1.26"), Some(Version(1, 26, 0)));
        assert_eq!(Version::parse("go1.27rc2"), Some(Version(1, 27, 0)));
        assert_eq!(Version::parse("go1.26.3 X:nogreenteagc"), Some(Version(1, 26, 3)));
        assert_eq!(Version::parse("go1.26.3-custom"), Some(Version(1, 26, 3)));
        assert_eq!(Version::parse("devel +abc"), None);
        assert!(Version::parse("go1.9.7") < Version::parse("go1.26.0"));
    }

    #[test]
    fn an_old_go_is_refused_with_what_to_do() {
        let go = |version: &str, toolchain: &str| Go {
            version: version.into(),
            os: "linux".into(),
            arch: "amd64".into(),
            toolchain: toolchain.into(),
        };
        let module = Tool::KubeApiserver.module();
        let message = go("go1.22.1", "local").check(module).unwrap_err().to_string();
        assert!(
            message.contains("go1.22.1") && message.contains("1.26.0") && message.contains("go.dev/dl"),
            "{message}"
        );
        assert!(go("go1.22.1", "auto").check(module).is_ok(), "Go fetches the version it needs");
        assert!(go("go1.27.0", "local").check(module).is_ok());
        assert!(go("devel go1.30-abc", "local").check(module).is_ok());
    }
}
