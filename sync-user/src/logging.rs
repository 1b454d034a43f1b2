//! Sets up the log: to standard error, one line an occurrence.

#[cfg(feature = "source")]
mod bars;

#[cfg(feature = "source")]
pub use bars::bar;

use std::fmt;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Changes what is logged, as it runs.
pub type SetLevel = Box<dyn Fn(Level)>;

/// Starts logging what is at `level` or above; `RUST_LOG` decides instead where it is set.
pub fn start(level: Level) -> SetLevel {
    let builder = tracing_subscriber::fmt().with_writer(writer).with_target(false);
    if is_journal() {
        // The journal knows the time, and the priority from the prefix.
        let format = Prioritised(
            tracing_subscriber::fmt::format()
                .without_time()
                .with_level(false)
                .with_target(false)
                .with_ansi(false),
        );
        let builder = builder.event_format(format).with_env_filter(filter(level)).with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        // It can only fail when the log is gone, and then nothing can be said about it.
        return Box::new(move |level| drop(handle.reload(filter(level))));
    }
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = builder.with_ansi(ansi).with_env_filter(filter(level)).with_filter_reloading();
    let handle = builder.reload_handle();
    builder.init();
    Box::new(move |level| drop(handle.reload(filter(level))))
}

#[cfg(feature = "source")]
fn writer() -> bars::Beside {
    bars::Beside
}

#[cfg(not(feature = "source"))]
fn writer() -> std::io::Stderr {
    std::io::stderr()
}

fn filter(level: Level) -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::from_level(level).into()).from_env_lossy()
}

/// What stands before an error on standard error: its priority, where the journal reads it.
pub fn error_prefix() -> &'static str {
    if is_journal() { "<3>" } else { "" }
}

/// Whether standard error is the journal's: systemd says which file it gave us.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let here = std::fs::metadata("/proc/self/fd/2").map(|file| format!("{}:{}", file.dev(), file.ino()));
    here.is_ok_and(|here| here == stream)
}

/// Writes the priority before each line, as `sd-daemon(3)` has it.
struct Prioritised<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}
