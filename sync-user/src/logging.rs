//! Sets up the log: to standard error, one line an occurrence.

use std::io::IsTerminal;

use tracing::Level;

/// Starts logging what is at `level` or above; `RUST_LOG` decides instead where it is set.
pub fn start(level: Level) {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::from_level(level).into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
}
