//! `artifactconfig completion`.

use super::output::print;

/// Print a script that makes a shell complete the command line.
///
/// bash: 'source <(artifactconfig completion bash)'; zsh: 'artifactconfig completion zsh > "${fpath[1]}/_artifactconfig"';
/// fish: 'artifactconfig completion fish > ~/.config/fish/completions/artifactconfig.fish'.
#[derive(clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<()> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "artifactconfig", &mut script);
    print(&String::from_utf8(script)?)
}
