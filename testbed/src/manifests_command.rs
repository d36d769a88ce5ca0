//! `testbed manifests`.

use std::path::Path;

use anyhow::{Context, Result};
use testbed::{Helm, Manifests};

/// Writes the rendered files that are not as they should be, and says which.
pub(crate) async fn run(root: Option<&Path>) -> Result<()> {
    let manifests = Manifests::find(root)?;
    for file in manifests.rendered(&Helm::locate().await?).await? {
        let path = manifests.path(file.path);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&*file.text) {
            std::fs::write(&path, file.text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", file.path);
        }
    }
    Ok(())
}
