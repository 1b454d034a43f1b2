//! Knows where the sockets of running daemons are.
//!
//! Each sync of each daemon has one of its own, named after its process and a number, so that
//! several may share a state directory.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

const PREFIX: &str = "control-";
const SUFFIX: &str = ".sock";

/// Connections that wait to be accepted.
const WAITING_MAX: i32 = 16;

/// A directory that holds sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(PathBuf);

/// A socket of this process, removed when dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    pub(super) listener: UnixListener,
}

impl Place {
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a socket of this process, which only its user may connect to; one for each `number`.
    pub fn bind(&self, number: usize) -> io::Result<Socket> {
        let path = self.0.join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
        for stale in self.sockets()?.into_iter().filter(|socket| !answers(socket)) {
            // Another daemon may have removed it meanwhile.
            let _gone = std::fs::remove_file(stale);
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // On Linux the file takes the mode of the socket that is bound to it, so that it never has
        // another one.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        rustix::net::listen(&socket, WAITING_MAX)?;
        Ok(Socket { path, listener: UnixListener::from(socket) })
    }

    /// The sockets there, of living daemons and dead ones, in the order of their names.
    pub(super) fn sockets(&self) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.0)?;
        let is_socket = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(PREFIX) && name.ends_with(SUFFIX)
        };
        let mut sockets: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_socket).collect();
        sockets.sort();
        Ok(sockets)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever finds it later sees that nobody answers.
        let _left = std::fs::remove_file(&self.path);
    }
}

/// Whether a living process listens.
fn answers(socket: &Path) -> bool {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_its_user_may_use_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path());
        let socket = place.bind(0).unwrap();
        let mode = std::fs::metadata(&socket.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(place.sockets().unwrap(), std::slice::from_ref(&socket.path));
        drop(socket);
        assert!(place.sockets().unwrap().is_empty());
    }

    #[test]
    fn what_a_killed_daemon_left_is_removed_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let stale = directory.path().join("control-1.sock");
        drop(UnixListener::bind(&stale).unwrap());
        let place = Place::new(directory.path());
        let living = place.bind(0).unwrap();
        assert_eq!(place.sockets().unwrap(), std::slice::from_ref(&living.path));
    }
}
