//! Log lines on standard error: JSON for collectors, readable for people. What is logged can be changed while it runs.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::spans;

use super::Traces;

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Pretty,
}

/// What is logged, and the way to change it; clones change the same.
#[derive(Clone)]
pub struct LogLevel {
    handle: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
}

/// Starts logging, and traces where they are wanted.
///
/// # Errors
/// Where `filter` is no filter, or logging was started before.
pub fn init(format: LogFormat, filter: &str, traces: Option<&Traces>) -> anyhow::Result<LogLevel> {
    let parsed = parse(filter).map_err(|why| anyhow::anyhow!("--log-level {why}"))?;
    let (parsed, handle) = reload::Layer::new(parsed);
    tracing_subscriber::registry()
        // The spans of traces would stand in front of each line, and say what its fields say.
        .with(lines(format).with_filter(parsed.and(filter_fn(|metadata| metadata.target() != spans::TARGET))))
        .with(traces.map(Traces::layer))
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
    if let Some(traces) = traces {
        traces.set_global();
    }
    Ok(LogLevel { handle, text: Arc::new(Mutex::new(filter.to_owned())) })
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Pretty => lines.boxed(),
    }
}

/// A filter that says something: what is empty would silence everything.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    let wanted = "is not a level or filter such as info or artifactconfig=debug,info";
    if filter.trim().is_empty() {
        return Err(format!("'{filter}' {wanted}: it is empty; off silences everything"));
    }
    EnvFilter::builder().parse(filter).map_err(|error| format!("'{filter}' {wanted}: {error}"))
}

impl LogLevel {
    /// The filter as it was given.
    #[must_use]
    pub fn get(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is logged from now on, and logs that.
    ///
    /// # Errors
    /// Where `filter` is none, with what one looks like.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = parse(filter)?;
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = (text.as_str(), filter);
        // Whichever of the two filters lets it through: the change must not go unseen because it silences.
        let seen = tracing::enabled!(tracing::Level::WARN);
        if seen {
            tracing::warn!(from, to, "log level changed");
        }
        self.handle.reload(parsed).map_err(|error| format!("the log level cannot be changed: {error}"))?;
        if !seen {
            tracing::warn!(from, to, "log level changed");
        }
        filter.clone_into(&mut text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("info", true)]
    #[case("artifactconfig=debug,info", true)]
    #[case("off", true)]
    #[case("", false)]
    #[case("  ", false)]
    #[case("artifactconfig=loud", false)]
    #[case("a=b=c", false)]
    fn filters_are_taken_or_explained(#[case] filter: &str, #[case] taken: bool) {
        match parse(filter) {
            Ok(_) => assert!(taken, "{filter}"),
            Err(why) => assert!(!taken && why.contains(filter) && why.contains("such as info"), "{why}"),
        }
    }
}
