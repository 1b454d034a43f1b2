//! Keeps progress bars and the log apart: both are on standard error.

use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar};

/// All bars that are shown; none, where standard error is no terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shows `bar` below the others.
pub fn bar(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// Standard error, with the bars out of the way while something is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside;

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
