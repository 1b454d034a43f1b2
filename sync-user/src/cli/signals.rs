//! Turns signals into what they ask for.

use std::io::IsTerminal as _;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::shutdown::Stop;

/// Signals that ask for the end, and one that asks for a report.
pub(super) const USUAL: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1];

/// Those, and the one that asks a daemon to read its settings again.
pub(super) const OF_A_DAEMON: [Signal; 4] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP];

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Stop,
    Report,
    Reload,
}

/// Blocks the signals that [`serve`] waits for, in this thread and all that it starts later: to
/// be called before any other thread exists.
pub(super) fn block(signals: &[Signal]) -> nix::Result<SigSet> {
    let signals: SigSet = signals.iter().copied().collect();
    signals.thread_block()?;
    Ok(signals)
}

/// Serves the signals for as long as the process lives: SIGTERM and SIGINT ask for the end, a
/// second one ends at once, SIGUSR1 asks for a report, SIGHUP to reload; but from a terminal that
/// goes away it asks for the end.
pub(super) fn serve(
    signals: SigSet,
    stop: Stop,
    order: impl Fn(Asked) + Send + 'static,
) -> std::io::Result<()> {
    let work = move || {
        loop {
            match signals.wait() {
                Ok(Signal::SIGUSR1) => order(Asked::Report),
                Ok(Signal::SIGHUP) if !std::io::stdin().is_terminal() => order(Asked::Reload),
                Ok(signal) if stop.requested() => {
                    // Whoever asks twice does not want to wait; what is not acknowledged is
                    // sent by the next start.
                    std::process::exit(128 + signal as i32);
                }
                Ok(_) => order(Asked::Stop),
                Err(_) => {}
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(work)?;
    Ok(())
}
