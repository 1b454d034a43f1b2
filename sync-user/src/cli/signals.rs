//! Turns signals into what they ask for.

use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::shutdown::Stop;

/// Blocks the signals that [`serve`] waits for, in this thread and all that it starts later: to
/// be called before any other thread exists.
pub(super) fn block() -> nix::Result<SigSet> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1].into_iter().collect();
    signals.thread_block()?;
    Ok(signals)
}

/// Serves the signals for as long as the process lives: SIGTERM and SIGINT ask for the end, a
/// second one ends at once, SIGUSR1 asks for `report`.
pub(super) fn serve(signals: SigSet, stop: Stop, report: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let work = move || {
        loop {
            match signals.wait() {
                Ok(Signal::SIGUSR1) => report(),
                Ok(signal) if stop.requested() => {
                    // Whoever asks twice does not want to wait; what is not acknowledged is
                    // sent by the next start.
                    std::process::exit(128 + signal as i32);
                }
                Ok(_) => stop.request(),
                Err(_) => {}
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(work)?;
    Ok(())
}
