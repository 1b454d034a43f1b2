//! Opens the stream that SSH is spoken on: a TCP connection, or a command that talks with the server.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{Shutdown, sockopt};
use tracing::warn;

use super::connect::ConnectError;
use super::openssh::Route;

/// How long sent bytes may stay without acknowledgement by the peer's kernel.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// Of a line that a command prints, what is logged at most, in bytes.
const LINE_MAX: u64 = 500;

/// A stream to the server.
#[derive(Debug)]
pub(super) struct Socket {
    stream: OwnedFd,
    /// It ends with the stream.
    _proxy: Option<Proxy>,
}

impl Socket {
    /// Another descriptor of the same stream.
    pub(super) fn try_clone(&self) -> std::io::Result<OwnedFd> {
        self.stream.try_clone()
    }

    /// Ends the stream for both sides, now.
    pub(super) fn shut_down(&self) {
        // It may have ended already.
        let _gone = rustix::net::shutdown(&self.stream, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A command that runs as long as its connection is used.
#[derive(Debug)]
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Connects as the route says.
pub(super) fn dial(route: &Route, patience: Duration) -> Result<Socket, ConnectError> {
    match &route.proxy {
        None => connect(&route.host, route.port, patience),
        Some(command) => through(route, command).map_err(|error| ConnectError::Unreachable {
            host: route.host.clone(),
            port: route.port,
            cause: format!("run {}: {error}", command.join(" ")),
        }),
    }
}

fn connect(host: &str, port: u16, patience: Duration) -> Result<Socket, ConnectError> {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| ConnectError::Unresolved { host: host.to_owned(), cause: error.to_string() })?;
    let mut cause = "it has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => {
                prepare(&socket);
                return Ok(Socket { stream: socket.into(), _proxy: None });
            }
            Err(error) => cause = error.to_string(),
        }
    }
    Err(ConnectError::Unreachable { host: host.to_owned(), port, cause })
}

/// Sets what the kernel allows; a connection without is slower, not wrong.
fn prepare(socket: &TcpStream) {
    // Without it a receipt can wait 40 ms for a delayed acknowledgement.
    let _slower = socket.set_nodelay(true);
    let _later = sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MAX.as_millis() as u32);
    let _later = sockopt::set_socket_keepalive(socket, true);
    // BBR does not fall back to slow start after every pause, nor collapse on a lossy line.
    let _slower = sockopt::set_tcp_congestion(socket, "bbr");
}

fn through(route: &Route, command: &[String]) -> std::io::Result<Socket> {
    let (ours, theirs) = UnixStream::pair()?;
    let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(OwnedFd::from(theirs.try_clone()?))
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        // An interrupt at the terminal is for us, who have something to finish by it.
        .process_group(0)
        .spawn()?;
    if let Some(complaints) = child.stderr.take() {
        let alias = route.alias.clone();
        std::thread::Builder::new().name("proxy".to_owned()).spawn(move || tell(&alias, complaints))?;
    }
    Ok(Socket { stream: ours.into(), _proxy: Some(Proxy(child)) })
}

/// Logs what the command says, until it ends.
fn tell(alias: &str, complaints: impl Read) {
    let mut complaints = BufReader::new(complaints);
    let mut line = Vec::new();
    while complaints.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let said = super::ssh::printable(&String::from_utf8_lossy(&line));
        if !said.is_empty() {
            warn!(host = alias, "on the way to it: {said}");
        }
        line.clear();
    }
}
