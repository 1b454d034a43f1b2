//! Shows running daemons on a terminal, drawn anew again and again until a key ends it.

mod look;
mod terminal;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use super::ask::Ask;
use super::{fail, signals};
use crate::clock;
use crate::control::Daemon;
use crate::exit::Exit;
use crate::shutdown::Stop;
use look::Looks;
use nix::sys::signal::Signal;
use terminal::{Key, Terminal};

/// Signals that end it, with the terminal as it was before.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Flags of `ksyncd top`.
#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    ask: Ask,

    /// How often it is drawn anew
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = super::ask::interval)]
    interval: Duration,
}

pub(super) fn top(flags: &Top) -> Exit {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let remedy = "use ksyncd status, or ksyncd latency --watch, where there is none";
        return fail(Exit::Usage, &"standard input and output are to be a terminal", Some(remedy));
    }
    // Whoever cannot be asked at all is told while the terminal is still as usual.
    let daemons = match flags.ask.daemons() {
        Ok(daemons) => daemons,
        Err(exit) => return exit,
    };
    match show(flags, daemons) {
        Ok(()) => Exit::Success,
        Err(error) => fail(Exit::Failure, &format!("draw on the terminal: {error}"), None),
    }
}

fn show(flags: &Top, mut daemons: Vec<Daemon>) -> std::io::Result<()> {
    let stop = Stop::new()?;
    let blocked = signals::block(&ENDING)?;
    let asked = stop.clone();
    signals::serve(blocked, stop.clone(), move |_| asked.request())?;
    let mut terminal = Terminal::start()?;
    let (mut looks, mut shown, mut due) = (Vec::new(), 0, clock::now());
    while !stop.requested() {
        let now = clock::now();
        if now >= due {
            due = now.plus(flags.interval);
            if daemons.is_empty() {
                daemons = flags.ask.still_running();
            }
            look_at(&mut daemons, &mut looks);
        }
        shown = shown.min(looks.len().saturating_sub(1));
        terminal.draw(|frame| view::draw(frame, looks.get(shown), (shown, looks.len())))?;
        match terminal::key(due.since(clock::now()), &stop)? {
            Some(Key::Quit) => break,
            Some(Key::Next) => shown = (shown + 1) % looks.len().max(1),
            Some(Key::Previous) => shown = (shown + looks.len().saturating_sub(1)) % looks.len().max(1),
            None => {}
        }
    }
    Ok(())
}

/// Asks each daemon. When one does not answer all are looked for anew the next time: it may have ended,
/// or been started again.
fn look_at(daemons: &mut Vec<Daemon>, looks: &mut Vec<Looks>) {
    let mut seen = Vec::new();
    for daemon in daemons.iter_mut() {
        let Ok(status) = daemon.status() else {
            daemons.clear();
            looks.clear();
            return;
        };
        // Before capture is attached there are none.
        let report = daemon.latency(None).ok();
        let before = looks.iter().position(|looks| looks.is_of(&status)).map(|at| looks.swap_remove(at));
        seen.push(before.unwrap_or_default().then(status, report, clock::now()));
    }
    *looks = seen;
}
