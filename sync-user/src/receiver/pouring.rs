//! Is a lane: pours what comes into the pipe of the receiver that the lane belongs to, and tells how much has come.
//!
//! Nothing of it is looked at here. From what is told the source sees how long its bytes take, and
//! sends no more ahead than the line holds, so that small changes do not wait behind them.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use super::{Error, Input, Receiver};
use crate::clock;
use crate::receive::Root;
use crate::wire::{Lane, ToSource};

/// It is told no more often than so many milliseconds, which costs nothing, and shows a queue soon.
const TELL_EVERY_MS: u8 = 4;

impl<R: Input, W: Write + Send> Receiver<'_, '_, R, W> {
    /// Has whatever comes go to the receiver that `lane` names.
    pub(super) fn pour(&mut self, root: &Root, lane: &Lane) -> Result<(), Error> {
        let mut pipe = File::from(root.join(lane)?);
        self.say(&ToSource::Joined)?;
        if !self.decoder.is_empty() {
            return Err(Error::Protocol("a lane did not wait for its receiver".to_owned()));
        }
        let (mut came, mut told, mut said) = (0, 0, clock::now());
        loop {
            if came == told {
                self.reader.wait(true, &[]).map_err(Error::Read)?;
            } else if !self.reader.comes_within(TELL_EVERY_MS).map_err(Error::Read)? {
                // What follows at once would have been told with it.
                self.say(&ToSource::Came { bytes: came })?;
                (told, said) = (came, clock::now());
                continue;
            }
            let count = match self.reader.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            came += count as u64;
            let now = clock::now();
            if now.since(said) >= Duration::from_millis(TELL_EVERY_MS.into()) {
                self.say(&ToSource::Came { bytes: came })?;
                (told, said) = (came, now);
            }
            match pipe.write_all(&self.buffer[..count]) {
                Ok(()) => {}
                // The receiver has ended, and with it the connection that this is a part of.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Error::Write(error)),
            }
        }
    }
}
