//! Takes the terminal over, and gives it back as it was, however the program ends.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};

use crate::clock;
use crate::shutdown::Stop;

/// How soon a request to end is seen while no key is pressed.
const GLANCE: Duration = Duration::from_millis(200);

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    /// The next of several syncs.
    Next,
    Previous,
}

/// The terminal, on a screen of its own; dropping it brings the former screen back, and so does a panic.
pub(super) struct Terminal(DefaultTerminal);

impl Terminal {
    pub(super) fn start() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Waits for a key that means something, but no longer than `limit`, and ends early when the terminal
/// has another size by then.
pub(super) fn key(limit: Duration, stop: &Stop) -> io::Result<Option<Key>> {
    let end = clock::now().plus(limit);
    while !stop.requested() {
        let left = end.since(clock::now());
        if event::poll(left.min(GLANCE))? {
            match event::read()? {
                Event::Key(key) if meaning(key).is_some() => return Ok(meaning(key)),
                Event::Resize(..) => return Ok(None),
                _ => {}
            }
        } else if left.is_zero() {
            break;
        }
    }
    Ok(None)
}

fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Tab | KeyCode::Right | KeyCode::Down => Some(Key::Next),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Up => Some(Key::Previous),
        _ => None,
    }
}
