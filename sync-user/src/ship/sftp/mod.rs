//! Replicates to a target on which nothing of ours can run: by its SFTP server alone.
//!
//! The session is none the wiser: it speaks with a receiver over a stream inside this process, and the
//! thread at the other end does each step by requests of SFTP version 3, many at once, over the raw
//! channel. A file is built in `.ksyncd` at the target's root and renamed over the old one
//! (`posix-rename@openssh.com`), so readers see the one or the other (I2).
//!
//! What SFTP cannot tell or do is written in docs/security.md; on any doubt the conversation ends, and the
//! next one compares.

mod attributes;
mod client;
mod content;
mod conversation;
mod failure;
mod listing;
mod local;
mod opening;
mod order;
mod packet;
mod put;
mod site;
mod steps;
mod voice;
mod work;

use std::os::unix::ffi::OsStrExt as _;
use std::thread;
use std::time::Duration;

use super::address::TargetAddress;
use super::connect::{ConnectError, Reached, Transport};
use super::link::{Link as _, Received};
use super::ssh::{Connection, SshLink};
use crate::clock;
use conversation::Conversation;
use local::{Complaint, LocalLink};
use packet::Decoder;
use site::Abilities;

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// What is weaker than with a receiver, for the log.
pub(super) const WEAKER: &str = "times are whole seconds; no extended attributes, no access control lists, \
                                 no deltas, no verify; owners go by their numbers";

/// Starts the target's SFTP server behind `connection`, and a thread that leads the conversation.
pub(super) fn start(connection: Connection, target: &TargetAddress) -> Result<Reached, ConnectError> {
    let name = connection.name().to_owned();
    let failed = |cause: String| ConnectError::Sftp { name: name.clone(), cause, is_lasting: false };
    let mut link = connection.start_subsystem("sftp").map_err(failed)?;
    let (decoder, extensions) = await_hello(&mut link).map_err(failed)?;
    let can = Abilities::of(&extensions);
    if !can.replaces {
        let cause = "its server has no posix-rename@openssh.com, so no file could be replaced in one act";
        return Err(ConnectError::Sftp { name, cause: cause.to_owned(), is_lasting: true });
    }
    let complaint = Complaint::default();
    let (local, socket) = LocalLink::pair(complaint.clone()).map_err(|error| failed(error.to_string()))?;
    let root = target.directory().as_os_str().as_bytes().to_vec();
    // Open until it is told why: else the session might find the end before the reason.
    let open = socket.try_clone().map_err(|error| failed(error.to_string()))?;
    let lead = move || {
        if let Err(what) = Conversation::new(Box::new(link), decoder, socket).lead(root, can) {
            complaint.set(what);
        }
        drop(open);
    };
    let thread = thread::Builder::new().name(format!("sftp {}", target.host()));
    thread.spawn(lead).map_err(|error| failed(error.to_string()))?;
    Ok(Reached { link: Box::new(local), is_prescribed: false, transport: Transport::Sftp })
}

/// Greets the server, and gives the names of its extensions.
fn await_hello(link: &mut SshLink) -> Result<(Decoder, Vec<Vec<u8>>), String> {
    let deadline = clock::now().plus(START_MAX);
    let (mut decoder, mut buffer) = (Decoder::default(), [0; 4096]);
    let greeting = packet::greeting();
    let mut greeted = 0;
    loop {
        if greeted < greeting.len() {
            greeted += link.write(&greeting[greeted..]).map_err(|error| error.to_string())?;
        }
        match link.read(&mut buffer).map_err(|error| error.to_string())? {
            Received::Bytes(count) => decoder.extend(&buffer[..count]),
            Received::Ended => return Err(format!("the server ended: {}", link.complaints())),
            Received::Nothing if clock::now() > deadline => {
                return Err(format!("the server was silent for {} s", START_MAX.as_secs()));
            }
            Received::Nothing => {
                let is_writing = greeted < greeting.len();
                let nap = Some(Duration::from_millis(500));
                link.wait(is_writing, &[], nap).map_err(|error| error.to_string())?;
            }
        }
        if let Some(extensions) = decoder.hello().map_err(|error| error.to_string())? {
            return Ok((decoder, extensions));
        }
    }
}
