//! The cluster to work on, by the flags that kubectl has.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;

use super::kubeconfig;

/// Longest wait for a connection to the API server, and for each part of an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Prefix of the program's name as a plugin: kubectl runs `kubectl-NAME` for `kubectl NAME`.
const PLUGIN: &str = "kubectl-";

/// The cluster and the namespace.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig file [default: its current one].
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Namespace [default: that of the context].
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

/// A client for the cluster, and the namespace.
#[derive(Clone)]
pub struct Connection {
    /// For the API server.
    pub client: Client,
    /// From the flag, otherwise from the context.
    pub namespace: String,
    /// The flags for this cluster and namespace, for commands in messages.
    pub flags: String,
}

impl ClusterArgs {
    /// A client for the cluster that the flags name. Sends no request yet.
    ///
    /// # Errors
    /// If no usable kubeconfig exists, or it does not have the context.
    pub fn connect(&self) -> anyhow::Result<Connection> {
        let mut config = kubeconfig::config(self.kubeconfig.as_deref(), self.context.as_deref())?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        // A person decides whether to try again. The client's own 15 tries would be silent for minutes.
        config.default_retry = false;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("the client for the API server cannot be built")?;
        Ok(Connection { client, namespace, flags: self.repeated() })
    }

    fn repeated(&self) -> String {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        [
            ("--kubeconfig", kubeconfig.as_ref()),
            ("--context", self.context.as_ref()),
            ("-n", self.namespace.as_ref()),
        ]
        .into_iter()
        .filter_map(|(flag, value)| value.map(|value| format!(" {flag} {value}")))
        .collect()
    }
}

impl Connection {
    /// A command to type next, for the same cluster and namespace.
    #[must_use]
    pub fn command(&self, rest: &str) -> String {
        format!("{} {rest}{}", invoked_as(), self.flags)
    }
}

/// The command that a person types for this program: `kubectl artifactconfig` if it runs as a plugin.
#[must_use]
pub fn invoked_as() -> String {
    std::env::args_os()
        .next()
        .map_or_else(|| called("artifactconfig".as_ref()), |program| called(program.as_ref()))
}

fn called(program: &Path) -> String {
    let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".exe").map(str::to_owned).unwrap_or(name);
    match name.strip_prefix(PLUGIN) {
        Some(plugin) => format!("kubectl {}", plugin.replace('_', "-")),
        None if name.is_empty() => "artifactconfig".to_owned(),
        None => name,
    }
}

/// kubectl accepts its flags before and after the subcommand, and users type `kubectl -n shop get …`. This moves flags
/// from before the subcommand to after its name, where each subcommand parses its own flags.
#[must_use]
pub fn subcommand_first(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut leading = 0;
    while let Some(flag) = arguments.get(1 + leading).and_then(|argument| argument.to_str()) {
        leading += match flag {
            "-n" | "--namespace" | "--context" | "--kubeconfig" => 2,
            "-A" | "--all-namespaces" => 1,
            _ if ["--namespace=", "--context=", "--kubeconfig="]
                .iter()
                .any(|flag_is| flag.starts_with(flag_is)) =>
            {
                1
            }
            _ if flag.starts_with("-n") => 1,
            _ => break,
        };
    }
    let subcommand = 1 + leading;
    let mut ordered = arguments;
    if leading > 0 && subcommand < ordered.len() {
        ordered[1..=subcommand].rotate_right(1);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("/usr/bin/artifactconfig", "artifactconfig")]
    #[case("kubectl-artifactconfig", "kubectl artifactconfig")]
    #[case("/home/me/.krew/bin/kubectl-artifactconfig", "kubectl artifactconfig")]
    #[case("kubectl-artifact_config", "kubectl artifact-config")]
    #[case("kubectl-artifactconfig.exe", "kubectl artifactconfig")]
    #[case("artifactconfig.exe", "artifactconfig")]
    #[case("", "artifactconfig")]
    fn usage_says_what_was_typed(#[case] program: &str, #[case] typed: &str) {
        assert_eq!(called(program.as_ref()), typed);
    }

    #[rstest::rstest]
    #[case("p get web", "p get web")]
    #[case("p -n shop get web", "p get -n shop web")]
    #[case(
        "p --namespace=shop --context prod history web -o wide",
        "p history --namespace=shop --context prod web -o wide"
    )]
    #[case("p -nshop -A get", "p get -nshop -A")]
    #[case("p -n", "p -n")]
    #[case("p -n shop", "p -n shop")]
    #[case("p --help", "p --help")]
    #[case("p", "p")]
    fn flags_may_stand_before_the_subcommand(#[case] typed: &str, #[case] parsed: &str) {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(subcommand_first(words(typed)), words(parsed));
    }
}
