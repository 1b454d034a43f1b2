//! Draws the same thing anew, again and again: on a terminal in place, elsewhere one below the other.

use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::Duration;

use crate::exit::Exit;

/// To the upper left, and nothing below: the only thing that is not text. Colours there are none.
const ANEW: &str = "\x1b[H\x1b[J";

/// Shows what `draw` gives, every `interval`, until it gives none or nobody reads it.
pub(super) fn watch(interval: Duration, mut draw: impl FnMut() -> Result<String, Exit>) -> Exit {
    let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    let in_place = io::stdout().is_terminal() && !is_dumb;
    let mut is_first = true;
    loop {
        let text = match draw() {
            Ok(text) => text,
            Err(exit) => return exit,
        };
        let before = match (in_place, is_first) {
            (true, _) => ANEW,
            (false, true) => "",
            (false, false) => "\n",
        };
        is_first = false;
        let mut out = io::stdout().lock();
        if writeln!(out, "{before}{}", text.trim_end_matches('\n')).and_then(|()| out.flush()).is_err() {
            return Exit::Success;
        }
        drop(out);
        thread::sleep(interval);
    }
}
