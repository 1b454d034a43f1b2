//! Brings the receiver to a target that has not this very build, and starts it.
//!
//! The program's place on the target is named after its hash, so a target that has it needs one
//! round trip, and another version never stands in its place. The target computes the hash of
//! what it got, and only what matches is renamed to that place.

use std::fmt::Write as _;
use std::time::Duration;

use sha2::Digest as _;
use tracing::{debug, info};

use super::address::TargetAddress;
use super::connect::{ConnectError, Reached, Transport};
use super::link::{Link, LinkError, Received};
use super::ssh::{Connection, SshLink, printable};
use crate::clock;
use crate::wire::{NOISE_BYTES_MAX, PREAMBLE};

/// What a target without the program prints instead of the preamble.
const ABSENT: &[u8] = b"\0ksyncd-absent\0";

/// How long a target may take to start the receiver, shell start-up files included.
const START_MAX: Duration = Duration::from_secs(20);

/// How many other builds are kept on a target: one for each version of a usual roll-out.
const OTHERS_KEPT: u32 = 2;

/// Starts the receiver behind `connection`, installing `program` first if it is not there.
pub(super) fn start(
    connection: Connection,
    target: &TargetAddress,
    program: &[u8],
) -> Result<Reached, ConnectError> {
    let hash = hash(program);
    let name = connection.name().to_owned();
    let failed = |cause: String| ConnectError::Start { name: name.clone(), cause };
    let command = start_command(&hash, target);
    let found = find(&connection, &hash).map_err(failed)?;
    match found {
        Found::This => {}
        Found::Nothing => {
            info!(target = %target, bytes = program.len(), "installing the receiver");
            install(&connection, &hash, program)?;
        }
        Found::Prescribed => {
            debug!(target = %target, "the target prescribes the receiver (command= in its authorized_keys)");
        }
    }
    let mut link = connection.start(&command).map_err(failed)?;
    let rest = await_preamble(&mut link).map_err(failed)?;
    let link = Box::new(Greeted { link, rest });
    Ok(Reached { link, is_prescribed: found == Found::Prescribed, transport: Transport::Agent })
}

fn hash(program: &[u8]) -> String {
    sha2::Sha256::digest(program).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The directory of installed receivers, as a shell expression.
const HOME: &str = "\"${XDG_CACHE_HOME:-$HOME/.cache}/ksyncd\"";

/// Runs under any login shell: `sh` reads what matters.
fn in_sh(script: &str) -> String {
    format!("exec sh -c {}", quoted(script.as_bytes()))
}

/// What a target has of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// This very build.
    This,
    Nothing,
    /// Whatever is asked for, its `authorized_keys` have the receiver started that is installed there.
    Prescribed,
}

/// What a receiver begins with, as far as it is text.
const GREETING: &str = "ksyncd-receiver";

fn find(connection: &Connection, hash: &str) -> Result<Found, String> {
    let absent = String::from_utf8_lossy(ABSENT).trim_matches('\0').to_owned();
    let script = format!("if [ -x {HOME}/{hash}/ksyncd ]; then echo ksyncd-present; else echo {absent}; fi");
    let said = match connection.run(&in_sh(&script), &[]) {
        Ok(said) => said,
        // It may have failed at its root, and says so again when it is started.
        Err(failure) if failure.contains(GREETING) => return Ok(Found::Prescribed),
        Err(failure) => return Err(failure),
    };
    if said.contains("ksyncd-present") {
        Ok(Found::This)
    } else if said.contains(&absent) {
        Ok(Found::Nothing)
    } else if said.contains(GREETING) {
        Ok(Found::Prescribed)
    } else if said.trim().is_empty() {
        Err("it runs no commands".to_owned())
    } else {
        Err(format!("it printed instead of an answer: {}", printable(&said)))
    }
}

fn install(connection: &Connection, hash: &str, program: &[u8]) -> Result<(), ConnectError> {
    let failed = |cause: String, remedy: &str| ConnectError::Deploy {
        name: connection.name().to_owned(),
        cause,
        remedy: remedy.to_owned(),
    };
    let machine = connection
        .run(&in_sh("uname -s -m"), &[])
        .map_err(|cause| failed(cause, "log in by ssh and try `uname`"))?;
    let ours = format!("Linux {}", std::env::consts::ARCH);
    if !machine.contains(&ours) {
        let cause = format!("it is {:?}, and this build is for {ours:?}", printable(&machine));
        return Err(failed(cause, "replicate to a machine of the same kind"));
    }
    // A temporary name of its own, so that two sources can install at once.
    let process = std::process::id();
    let script = format!(
        "set -e; umask 077; d={HOME}; mkdir -p \"$d\"; t=\"$d/new.{process}.$$\"; rm -rf \"$t\"; mkdir \"$t\"; \
         trap 'rm -rf \"$t\"' EXIT; cat > \"$t/ksyncd\"; \
         h=$(sha256sum < \"$t/ksyncd\"); h=${{h%% *}}; \
         if [ \"$h\" != {hash} ]; then echo \"what arrived has the hash $h\" >&2; exit 3; fi; \
         chmod 700 \"$t/ksyncd\"; \"$t/ksyncd\" --version > /dev/null; \
         rm -rf \"$d/{hash}\"; mv \"$t\" \"$d/{hash}\"; \
         cd \"$d\"; n=0; for o in $(ls -t); do case $o in new.*|{hash}) ;; \
         *) n=$((n+1)); if [ $n -gt {OTHERS_KEPT} ]; then rm -rf \"$d/$o\"; fi;; esac; done"
    );
    connection.run(&in_sh(&script), program).map(drop).map_err(|cause| {
        failed(
            cause,
            "let the user write to ~/.cache on the target, on a file system that allows programs to run",
        )
    })
}

fn start_command(hash: &str, target: &TargetAddress) -> String {
    use std::os::unix::ffi::OsStrExt;
    let root = quoted(target.directory().as_os_str().as_bytes());
    in_sh(&format!("exec {HOME}/{hash}/ksyncd receive --root {root}"))
}

/// A word for a POSIX shell.
fn quoted(word: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(word).replace('\'', r"'\''"))
}

/// Reads up to the end of the preamble, over whatever a shell prints before; gives what came
/// behind it.
fn await_preamble(link: &mut SshLink) -> Result<Vec<u8>, String> {
    let deadline = clock::now().plus(START_MAX);
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let received = link.read(&mut buffer).map_err(|error| error.to_string())?;
        match received {
            Received::Bytes(count) => heard.extend_from_slice(&buffer[..count]),
            Received::Ended => {
                let complaints = link.complaints();
                return Err(format!("it ended: {complaints}{}", printable(&String::from_utf8_lossy(&heard))));
            }
            Received::Nothing => {
                if clock::now() > deadline {
                    return Err(format!("it was silent for {} s", START_MAX.as_secs()));
                }
                link.wait(false, &[], Some(Duration::from_millis(500))).map_err(|error| error.to_string())?;
            }
        }
        if let Some(at) = heard.windows(PREAMBLE.len()).position(|window| window == PREAMBLE) {
            return Ok(heard.split_off(at + PREAMBLE.len()));
        }
        if heard.len() > NOISE_BYTES_MAX {
            return Err(format!("it printed more than {NOISE_BYTES_MAX} bytes that are no greeting"));
        }
    }
}

/// A link of which the first bytes were already read.
struct Greeted {
    link: SshLink,
    rest: Vec<u8>,
}

impl Link for Greeted {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        self.link.write(bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Received, LinkError> {
        if self.rest.is_empty() {
            return self.link.read(buffer);
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(Received::Bytes(count))
    }

    fn wait(
        &mut self,
        writing: bool,
        bells: &[std::os::fd::BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<(), LinkError> {
        if self.rest.is_empty() { self.link.wait(writing, bells, timeout) } else { Ok(()) }
    }

    fn complaints(&mut self) -> String {
        self.link.complaints()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_directories_for_the_shell() {
        assert_eq!(quoted(b"/srv/it's; rm -rf $HOME"), r"'/srv/it'\''s; rm -rf $HOME'");
    }

    #[test]
    fn knows_a_receiver_by_its_greeting() {
        assert!(String::from_utf8_lossy(PREAMBLE).contains(GREETING));
    }

    #[test]
    fn names_programs_by_their_hash() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
