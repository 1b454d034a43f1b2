//! Connects by SSH; the only file that names `ssh2`, together with `auth`.
//!
//! libssh2 asks for care (each of these was a bug of somebody's): one session is used by one
//! thread; once data flows it never blocks; a packet that was begun has to be finished with the
//! same bytes before anything else; its own keep-alive is not used; a session is dropped only
//! after its socket was shut down, so that it does not wait for a dead peer.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ssh2::{BlockDirections, Channel, MethodType, Session};

use super::address::TargetAddress;
use super::auth;
use super::connect::{Access, ConnectError};
use super::dial::{Socket, dial};
use super::hostkeys::{self, KnownKeys, Verdict};
use super::link::{Link, LinkError, Received, sleep};
use super::openssh::Route;

/// libssh2 hands AES-GCM to OpenSSL 16 bytes at a time, which makes its own `ChaCha20` the
/// cheapest of its ciphers per byte.
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,\
                       aes256-ctr,aes192-ctr,aes128-ctr";

/// What the far end may say on standard error before the oldest is dropped.
const COMPLAINTS_BYTES_MAX: usize = 4096;

/// The end of a session whose socket is already shut down takes no longer.
const PARTING_MS: u32 = 1000;

/// An SSH connection that is authenticated, and blocks with a limit.
pub(super) struct Connection {
    session: Session,
    socket: Socket,
    name: String,
}

impl Connection {
    /// Connects, checks the host's key and logs in.
    pub(super) fn open(target: &TargetAddress, access: &Access) -> Result<Self, ConnectError> {
        let route = Route::to(target, access)?;
        let socket = dial(&route, access.patience)?;
        let handshake = |error: &dyn ToString| ConnectError::Handshake {
            host: route.host.clone(),
            port: route.port,
            cause: error.to_string(),
        };

        let (key_name, key_port) = route.key_name();
        let known = KnownKeys::read(&route.known_hosts, key_name, key_port)
            .map_err(|error| ConnectError::KnownHosts { cause: error.to_string() })?;
        let mut session = Session::new().map_err(|error| handshake(&error))?;
        let patience = u32::try_from(access.patience.as_millis()).unwrap_or(u32::MAX);
        session.set_timeout(patience);
        session.method_pref(MethodType::CryptCs, CIPHERS).map_err(|error| handshake(&error))?;
        session.method_pref(MethodType::CryptSc, CIPHERS).map_err(|error| handshake(&error))?;
        if let Some(algorithms) = known.algorithms() {
            session.method_pref(MethodType::HostKey, &algorithms).map_err(|error| handshake(&error))?;
        }
        session.set_tcp_stream(socket.try_clone().map_err(|error| handshake(&error))?);
        session.handshake().map_err(|error| handshake(&error))?;

        let (key, _) = session.host_key().ok_or_else(|| handshake(&"it shows no host key"))?;
        check_key(&known, key, &route)?;
        match &access.identity {
            Some(identity) => auth::log_in_by(&session, &route, identity)?,
            None => auth::log_in(&session, &route)?,
        }
        Ok(Self { session, socket, name: route.to_string() })
    }

    /// The host, and its port if it is not the usual one.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command to its end with `input` on its standard input; gives its standard output.
    pub(super) fn run(&self, command: &str, input: &[u8]) -> Result<String, String> {
        let attempt = || -> Result<(i32, String, String), Box<dyn std::error::Error>> {
            let mut channel = self.session.channel_session()?;
            channel.exec(command)?;
            channel.write_all(input)?;
            channel.send_eof()?;
            let (mut output, mut complaints) = (Vec::new(), Vec::new());
            Read::by_ref(&mut channel).take(64 << 10).read_to_end(&mut output)?;
            channel.stderr().take(64 << 10).read_to_end(&mut complaints)?;
            channel.wait_close()?;
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok((channel.exit_status()?, text(output), text(complaints)))
        };
        match attempt() {
            Ok((0, output, _)) => Ok(output),
            Ok((status, output, complaints)) => {
                Err(format!("it ended with status {status}: {}", printable(&format!("{output}{complaints}"))))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Starts a command that is talked with from now on, without blocking.
    pub(super) fn start(self, command: &str) -> Result<SshLink, String> {
        self.talk(|channel| channel.exec(command))
    }

    /// Starts a service of the far end, such as `sftp`, that is talked with in the same way.
    pub(super) fn start_subsystem(self, name: &str) -> Result<SshLink, String> {
        self.talk(|channel| channel.subsystem(name))
    }

    fn talk(self, start: impl FnOnce(&mut Channel) -> Result<(), ssh2::Error>) -> Result<SshLink, String> {
        let mut channel = self.session.channel_session().map_err(|error| error.to_string())?;
        start(&mut channel).map_err(|error| error.to_string())?;
        self.session.set_blocking(false);
        let Self { session, socket, name: _ } = self;
        Ok(SshLink { channel: Some(channel), session, socket, begun: false, complaints: Vec::new() })
    }
}

/// A command or service on the far end, talked with over one channel.
pub(super) struct SshLink {
    /// Always there, until it is dropped before its session.
    channel: Option<Channel>,
    session: Session,
    socket: Socket,
    /// A packet was begun and has to be finished before anything else.
    begun: bool,
    complaints: Vec<u8>,
}

impl SshLink {
    fn channel(&mut self) -> Result<&mut Channel, LinkError> {
        self.channel.as_mut().ok_or_else(|| LinkError("it was closed".to_owned()))
    }

    fn take_complaints(&mut self) {
        let mut buffer = [0; 1024];
        while let Some(channel) = &mut self.channel
            && let Ok(count @ 1..) = channel.stderr().read(&mut buffer)
        {
            self.complaints.extend_from_slice(&buffer[..count]);
            let surplus = self.complaints.len().saturating_sub(COMPLAINTS_BYTES_MAX);
            self.complaints.drain(..surplus);
        }
    }
}

impl Link for SshLink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        match self.channel()?.write(bytes) {
            Ok(count) => {
                self.begun = false;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.begun = true;
                Ok(0)
            }
            Err(error) => Err(LinkError(error.to_string())),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Received, LinkError> {
        match self.channel()?.read(buffer) {
            Ok(0) => {
                // As long as anything on standard error is unread, libssh2 does not call it the end.
                self.take_complaints();
                Ok(if self.channel()?.eof() { Received::Ended } else { Received::Nothing })
            }
            Ok(count) => Ok(Received::Bytes(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.take_complaints();
                Ok(Received::Nothing)
            }
            Err(error) => Err(LinkError(error.to_string())),
        }
    }

    fn wait(
        &mut self,
        writing: bool,
        bells: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<(), LinkError> {
        // Out of window only reading helps. Whether we are is asked for, and not concluded from what blocked
        // last: that may have been a read, which has met the new window on its way.
        let has_window = self.channel()?.write_window().remaining > 0;
        let is_blocked = !matches!(self.session.block_directions(), BlockDirections::Inbound);
        let writing = (writing || self.begun) && (has_window || is_blocked);
        sleep(self.socket.as_fd(), writing, bells, timeout)
    }

    fn complaints(&mut self) -> String {
        self.take_complaints();
        printable(&String::from_utf8_lossy(&self.complaints))
    }
}

impl Drop for SshLink {
    fn drop(&mut self) {
        // Without a socket nothing below waits for the peer; it may be gone already.
        self.socket.shut_down();
        self.session.set_timeout(PARTING_MS);
        self.session.set_blocking(true);
        self.channel = None;
    }
}

fn check_key(known: &KnownKeys, key: &[u8], route: &Route) -> Result<(), ConnectError> {
    let (kind, fingerprint, name) = (hostkeys::kind_of(key), hostkeys::fingerprint(key), route.to_string());
    let (host, port) = route.key_name();
    match known.judge(key) {
        Verdict::Known => Ok(()),
        Verdict::Unknown => {
            let file = route.known_hosts.first();
            let file = file.map(|file| file.display().to_string()).unwrap_or_default();
            let accept = format!("ssh-keyscan -p {port} {host} >> {file}");
            Err(ConnectError::UnknownKey { name, kind, fingerprint, accept })
        }
        Verdict::Changed { file, line } => {
            let lookup = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
            Err(ConnectError::ChangedKey { name, lookup, kind, fingerprint, file, line })
        }
        Verdict::Revoked { file, line } => Err(ConnectError::RevokedKey { name, file, line }),
    }
}

/// What a far end printed, for an error message: its last lines, without control characters.
pub(super) fn printable(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    last.chars().map(|character| if character.is_control() { '?' } else { character }).take(500).collect()
}
