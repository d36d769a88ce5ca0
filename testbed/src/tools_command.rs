//! `testbed tools`.

use anyhow::Result;
use strum::VariantArray as _;
use testbed::tools::{Tool, Tools};

/// Builds what is missing; prints name, version and path of each program, one a line.
pub(crate) async fn run(all: bool) -> Result<()> {
    let wanted: &[Tool] = if all { Tool::VARIANTS } else { &Tool::DEFAULT };
    for (tool, path) in Tools::locate()?.ensure(wanted).await?.iter() {
        println!("{:<24} {:<8} {}", tool.name(), tool.version(), path.display());
    }
    Ok(())
}
