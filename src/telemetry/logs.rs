//! Log lines on standard error: JSON for collectors, or readable text for people. The filter can be changed at run
//! time.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};

use decide::json;
use oci::text;
use tracing::Subscriber;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
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

/// The filter of log lines, which can be changed. Clones share it.
#[derive(Clone)]
pub struct LogLevel {
    handle: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
}

/// Starts logging, and traces if they are enabled.
///
/// # Errors
/// If `filter` is not valid, or logging was started before.
pub fn init(format: LogFormat, filter: &str, traces: Option<&Traces>) -> anyhow::Result<LogLevel> {
    let parsed = parse(filter).map_err(|why| anyhow::anyhow!("--log-level {why}"))?;
    let (parsed, handle) = reload::Layer::new(parsed);
    tracing_subscriber::registry()
        // Spans are left out of log lines: they would only repeat the fields.
        .with(
            lines(format, io::stderr)
                .with_filter(parsed.and(filter_fn(|metadata| metadata.target() != spans::TARGET))),
        )
        .with(traces.map(Traces::layer))
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
    if let Some(traces) = traces {
        traces.set_global();
    }
    Ok(LogLevel { handle, text: Arc::new(Mutex::new(filter.to_owned())) })
}

/// Log lines with printable characters only, because parts of them are text of others.
fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer();
    match format {
        LogFormat::Json => {
            lines.with_ansi(false).with_writer(Printable(writer)).json().flatten_event(true).boxed()
        }
        LogFormat::Pretty => {
            let fields = debug_fn(|out, field, value| {
                let value = format!("{value:?}");
                match field.name() {
                    "message" => write!(out, "{}", text::line(&value)),
                    name => write!(out, "{name}={}", text::line(&value)),
                }
            });
            let colours = io::stderr().is_terminal();
            lines.with_ansi(colours).with_writer(writer).fmt_fields(fields.delimited(" ")).boxed()
        }
    }
}

/// A writer of JSON, one document a line, that also escapes characters that JSON allows unescaped.
struct Printable<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Printable<W> {
    type Writer = PrintableWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        PrintableWriter(self.0.make_writer())
    }
}

struct PrintableWriter<W>(W);

impl<W: io::Write> io::Write for PrintableWriter<W> {
    /// The formatter writes a whole line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(json::escaped(&String::from_utf8_lossy(line), true).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Parses a filter. An empty one is refused, because it would silence everything.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    let wanted = "is not a level or filter such as info or artifactconfig=debug,info";
    if filter.trim().is_empty() {
        return Err(format!("'{filter}' {wanted}: it is empty; off silences everything"));
    }
    EnvFilter::builder().parse(filter).map_err(|error| format!("'{filter}' {wanted}: {error}"))
}

impl LogLevel {
    /// The filter as a text.
    #[must_use]
    pub fn get(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the filter, and logs the change.
    ///
    /// # Errors
    /// If `filter` is not valid; the error shows the expected form.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = parse(filter)?;
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = (text.as_str(), filter);
        // Logged under the old filter if that allows the line, otherwise under the new one: a change to silence is visible too.
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

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, foreign: &str) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry().with(lines(format, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(name = foreign, error = %foreign, "it says {foreign}");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// Texts of a registry can neither forge lines nor move the cursor of a reader of the log.
    #[test]
    fn a_log_line_is_a_line_of_printable_text() {
        let foreign = "a\u{1b}[31m\nINFO forged\u{7f}\u{9b}\u{202e}\u{2028}";
        for format in [LogFormat::Pretty, LogFormat::Json] {
            let line = logged(format, foreign);
            let line = line.strip_suffix('\n').unwrap();
            assert!(line.chars().all(text::is_printable), "{line}");
            assert!(line.contains("\\u202e"), "{line}");
        }
        let read: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json, foreign)).unwrap();
        assert_eq!((&read["name"], &read["error"]), (&foreign.into(), &foreign.into()));
        let plain = logged(LogFormat::Pretty, "web");
        assert!(plain.ends_with("it says web name=\"web\" error=web\n"), "{plain}");
    }

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
