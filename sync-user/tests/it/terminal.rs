//! Runs programs on a terminal of the test's own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::host::PATIENCE;

/// A program on a terminal.
pub(crate) struct OnTerminal {
    child: std::process::Child,
    keyboard: fs::File,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Kept open, so that what the program leaves behind can be looked at.
    line: OwnedFd,
}

impl OnTerminal {
    pub(crate) fn start(mut command: Command) -> Self {
        const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
        const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();
        let size = Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let keyboard = fs::File::from(master);
        let (mut output, drawn) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                drawn.lock().unwrap_or_else(PoisonError::into_inner).process(&buffer[..length]);
            }
        });
        Self { child, keyboard, screen, line: slave }
    }

    fn with_screen<T>(&self, ask: impl FnOnce(&vt100::Screen) -> T) -> T {
        ask(self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen())
    }

    pub(crate) fn text(&self) -> String {
        self.with_screen(vt100::Screen::contents)
    }

    pub(crate) fn wait_until_shown(&self, what: &str, shown: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !shown(&self.text()) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what} on\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it shows a screen of its own, and what was before comes back afterwards.
    pub(crate) fn has_taken_over(&self) -> bool {
        self.is_raw() && self.with_screen(vt100::Screen::alternate_screen)
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(self.line.as_fd()).unwrap().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Waits for the end, after which the terminal has to be as it was; says how the program ended.
    pub(crate) fn ends(mut self) -> Option<i32> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        };
        assert!(!self.is_raw(), "lines and echo are back");
        let began = Instant::now();
        while self.with_screen(|screen| screen.alternate_screen() || screen.hide_cursor()) {
            assert!(began.elapsed() < PATIENCE, "the former screen is not back");
            thread::sleep(Duration::from_millis(20));
        }
        status.code()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
