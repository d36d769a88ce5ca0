//! Where the commands of a page run: registries under the names that the page uses, a namespace, a home, a shell.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use regex::Regex;
use testbed::registry::EmbeddedRegistry;
use testbed::tools::{Tool, ToolPaths};
use testbed::{Cluster, Scratch};

use crate::authority::Authority;
use crate::page::{Page, root};

/// Longest time of a block. It usually takes seconds; the rest is for machines that also compile.
const LIMIT: Duration = Duration::from_secs(90);

/// Registries as pages name them. The certificate of the last one is signed by an authority that nobody knows.
const REGISTRIES: [&str; 4] =
    ["registry.example.com", "mirror.example.com", "old.example.com", "private.example.com"];

/// The one whose authority is to be made known.
const PRIVATE: &str = "private.example.com";

/// Repositories that want credentials, with those that pages write in their place.
const PROTECTED: &str = "private/";
const CREDENTIALS: (&str, &str) = ("USER", "PASSWORD");

/// oras dates artifacts by the second, and the newest counts: a person who types takes longer than that.
const ORAS: &str = "#!/bin/sh
if [ \"$1\" = attach ]; then
    now=$(date +%s)
    while [ \"$(date +%s)\" = \"$now\" ]; do sleep 0.05; done
fi
exec ORAS \"$@\"
";

/// A difference that `diff` finds is no failure; everything else is.
const ARTIFACTCONFIG: &str = "#!/bin/sh
status=0
PROGRAM \"$@\" || status=$?
if [ \"$1\" = diff ] && [ $status = 1 ]; then status=0; fi
exit $status
";

/// A separate place for each page.
pub struct Place {
    /// Before the names of namespaces; empty where the cluster is the page's own.
    prefix: String,
    scratch: Scratch,
    registries: Vec<(&'static str, EmbeddedRegistry)>,
    path: String,
    namespaces: Regex,
}

/// How something ended, and what it printed on both streams, in order.
pub struct Ran {
    pub status: i32,
    pub output: String,
}

impl Place {
    pub async fn new(
        page: &Page,
        cluster: &Cluster,
        tools: &ToolPaths,
        authority: &Authority,
        program: &Path,
    ) -> Result<Self> {
        let slug = page.path.to_lowercase().replace(".md", "").replace(['/', '_'], "-");
        let prefix = if page.own_cluster { String::new() } else { format!("{slug}-") };
        let scratch = Scratch::new("page").await?;
        let mut place = Self {
            prefix,
            scratch,
            registries: Vec::new(),
            path: String::new(),
            namespaces: Regex::new(
                r"(-n |--namespace[ =]|namespace: |namespaces?[ /]|serviceaccount:)((?:shop|team)[a-z0-9-]*)\b",
            )?,
        };
        let scenes = scenes(page)?;
        for name in REGISTRIES {
            if page.text.contains(name) || scenes.contains(name) {
                place.start_registry(name, authority).await?;
            }
        }
        place.furnish(cluster, tools, authority, program)?;
        Ok(place)
    }

    async fn start_registry(&mut self, name: &'static str, authority: &Authority) -> Result<()> {
        let unknown;
        let authority = if name == PRIVATE {
            unknown = Authority::new()?;
            std::fs::write(self.scratch.join("private-ca.crt"), unknown.pem())?;
            &unknown
        } else {
            authority
        };
        let registry = EmbeddedRegistry::start_with_tls(authority.server()?).await?;
        registry.require_basic(PROTECTED, CREDENTIALS.0, CREDENTIALS.1);
        self.registries.push((name, registry));
        Ok(())
    }

    /// Programs, a home, a kubeconfig, and the repository's files where a checkout has them.
    fn furnish(
        &mut self,
        cluster: &Cluster,
        tools: &ToolPaths,
        authority: &Authority,
        program: &Path,
    ) -> Result<()> {
        for directory in ["bin", "home/.local/bin", "work"] {
            std::fs::create_dir_all(self.scratch.join(directory))?;
        }
        std::fs::write(self.scratch.join("ca.crt"), authority.pem())?;
        std::fs::write(self.scratch.join("cwd"), self.work().display().to_string())?;
        let bin = self.scratch.join("bin");
        for (name, target) in [("kubectl", tools.path(Tool::Kubectl)?), ("helm", tools.path(Tool::Helm)?)] {
            std::os::unix::fs::symlink(target, bin.join(name))?;
        }
        let oras = ORAS.replace("ORAS", &tools.path(Tool::Oras)?.display().to_string());
        write_program(&bin.join("oras"), &oras)?;
        let artifactconfig = ARTIFACTCONFIG.replace("PROGRAM", &program.display().to_string());
        for name in ["artifactconfig", "kubectl-artifactconfig"] {
            write_program(&bin.join(name), &artifactconfig)?;
        }
        for name in ["charts", "crds", "deploy"] {
            std::os::unix::fs::symlink(root().join(name), self.work().join(name))?;
        }
        std::fs::copy(cluster.kubeconfig(), self.kubeconfig())?;
        let local = self.scratch.join("home/.local/bin");
        self.path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", bin.display(), local.display());
        Ok(())
    }

    /// Makes the namespace that the page is in when it names none.
    pub async fn settle(&self) -> Result<()> {
        if !self.prefix.is_empty() {
            let namespace = self.here("-n shop").replace("-n ", "");
            let text = format!(
                "kubectl create namespace {namespace}\nkubectl config set-context --current --namespace={namespace}\n"
            );
            let ran = self.run("sh", &text).await?;
            ensure!(ran.status == 0, "{}", ran.output);
        }
        Ok(())
    }

    /// Namespaces of this place, all others being somebody else's.
    pub fn is_ours(&self, namespace: &str) -> bool {
        namespace.starts_with(&self.prefix)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.scratch.join("kubeconfig")
    }

    /// Where commands begin.
    pub fn work(&self) -> PathBuf {
        self.scratch.join("work")
    }

    /// The text with the names of this place.
    pub fn here(&self, text: &str) -> String {
        let mut text = self.namespaces.replace_all(text, format!("${{1}}{}${{2}}", self.prefix)).into_owned();
        for (name, registry) in &self.registries {
            text = text.replace(name, &registry.host());
        }
        text
    }

    /// The text with the names of the page.
    pub fn there(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, registry) in &self.registries {
            text = text.replace(&registry.host(), name);
        }
        if self.prefix.is_empty() { text } else { text.replace(&self.prefix, "") }
    }

    /// Runs the text in a shell that goes on where the one before it ended: directory and exported variables.
    pub async fn run(&self, shell: &str, text: &str) -> Result<Ran> {
        let (variables, directory) = (self.scratch.join("variables"), self.scratch.join("cwd"));
        let script = format!(
            "[ ! -e {v} ] || . {v}\ncd \"$(cat {d})\"\nset -eu\n{text}\nset +eu\nexport -p > {v}\npwd > {d}\n",
            v = variables.display(),
            d = directory.display(),
        );
        let file = self.scratch.join("script");
        std::fs::write(&file, script)?;
        let mut command = tokio::process::Command::new("sh");
        // Both streams in one, as on a terminal.
        command.args(["-c", "exec \"$1\" \"$2\" 2>&1", "sh", shell]).arg(&file).kill_on_drop(true);
        command
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let output = tokio::time::timeout(LIMIT, command.output())
            .await
            .with_context(|| format!("it takes longer than {} s", LIMIT.as_secs()))??;
        let status = output.status.code().with_context(|| format!("it was ended: {}", output.status))?;
        Ok(Ran { status, output: self.there(&String::from_utf8_lossy(&output.stdout)) })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.scratch.join(name).display().to_string();
        vec![
            ("PATH", self.path.clone()),
            ("HOME", path("home")),
            ("KUBECONFIG", self.kubeconfig().display().to_string()),
            ("SSL_CERT_FILE", path("ca.crt")),
            // For scenes: the certificate of the authority that nobody knows.
            ("PRIVATE_CA", path("private-ca.crt")),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
        ]
    }
}

/// The file of a scene.
pub fn scene(name: &str) -> Result<String> {
    let path = root().join("tests/docs/scenes").join(format!("{name}.sh"));
    std::fs::read_to_string(&path).with_context(|| format!("no scene {}", path.display()))
}

/// The scenes of a page, one after the other.
fn scenes(page: &Page) -> Result<String> {
    let mut text = String::new();
    for step in &page.steps {
        if let crate::page::What::Scene(name) = &step.what {
            text.push_str(&scene(name).with_context(|| page.at(step.line))?);
        }
    }
    Ok(text)
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
