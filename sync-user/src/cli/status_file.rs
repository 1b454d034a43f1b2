//! Keeps a file that says how the daemon is, for monitors that read files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::clock;
use crate::control::{Roster, Status, summary};
use crate::shutdown::Stop;

/// How often it is written anew.
const INTERVAL: Duration = Duration::from_secs(5);

/// Writes the file at once, and again and again until `stop` is requested. Replication does not depend
/// on it, so only the first write may fail the start.
pub(super) fn keep(path: PathBuf, roster: Roster, stop: Stop) -> io::Result<()> {
    write(&path, &roster)?;
    let work = move || {
        let mut failing = false;
        while !stop.requested() {
            stop.wait(INTERVAL);
            match write(&path, &roster) {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    warn!("write the status file {}: {error}; it is tried again", path.display());
                }
                Err(_) => {}
            }
        }
    };
    thread::Builder::new().name("status file".to_owned()).spawn(work)?;
    Ok(())
}

/// Replaces the file in one act, so that nobody reads a part of it.
fn write(path: &Path, roster: &Roster) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    fs::write(&new, text(roster))?;
    fs::rename(&new, path)
}

/// When it was written, for a monitor to see that somebody still does; then what `ksyncd status` says.
fn text(roster: &Roster) -> String {
    let written = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + clock::since_1970());
    let syncs = roster.all().into_iter().map(|watched| summary(&Status::of(&watched)));
    std::iter::once(format!("written   {written}\n")).chain(syncs).collect::<Vec<_>>().join("\n")
}
