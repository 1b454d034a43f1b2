//! Gets from a target's address to a link on which its receiver speaks.

use std::path::PathBuf;
use std::time::Duration;

use tracing::warn;

use super::address::TargetAddress;
use super::deploy;
use super::link::Link;
use super::sftp;
use super::ssh::Connection;

/// How to get into the targets of a run.
#[derive(Debug, Clone)]
pub struct Access {
    /// The private key; without one what OpenSSH's client would try is tried.
    pub identity: Option<PathBuf>,
    /// The only file of known host keys; without one those of OpenSSH's client.
    pub known_hosts: Option<PathBuf>,
    /// The port of targets that do not name one; without it OpenSSH's configuration says.
    pub port: Option<u16>,
    /// OpenSSH's configuration, if not the user's and the machine's; `none` for no file.
    pub ssh_config: Option<PathBuf>,
    /// How long the network, and each answer of the server, may take.
    pub patience: Duration,
}

/// Why a target could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the host {host} cannot be found: {cause}")]
    Unresolved { host: String, cause: String },
    #[error("{host} port {port} cannot be reached: {cause}")]
    Unreachable { host: String, port: u16, cause: String },
    #[error("SSH with {host} port {port} failed: {cause}")]
    Handshake { host: String, port: u16, cause: String },
    #[error("the host key of {name} is unknown: {kind} {fingerprint}")]
    UnknownKey { name: String, kind: String, fingerprint: String, accept: String },
    #[error("the host key of {name} has changed: it shows {kind} {fingerprint}, but {} line {line} says otherwise", file.display())]
    ChangedKey { name: String, lookup: String, kind: String, fingerprint: String, file: PathBuf, line: usize },
    #[error("the host key of {name} is revoked by {} line {line}", file.display())]
    RevokedKey { name: String, file: PathBuf, line: usize },
    #[error("OpenSSH's configuration cannot be read: {cause}")]
    Config { cause: String },
    #[error("the known hosts cannot be read: {cause}")]
    KnownHosts { cause: String },
    #[error("{name} refused to let {user} in; tried {tried}")]
    Refused { name: String, user: String, tried: String },
    #[error("the key {} cannot be used: {cause}", file.display())]
    Identity { file: PathBuf, cause: String },
    #[error("the receiver could not be installed on {name}: {cause}")]
    Deploy { name: String, cause: String, remedy: String },
    #[error("the receiver on {name} did not start: {cause}")]
    Start { name: String, cause: String },
    #[error("SFTP with {name} failed: {cause}")]
    Sftp { name: String, cause: String, is_lasting: bool },
    /// The receiver cannot run there, and something was asked for that only it can do.
    #[error("{name} cannot run the receiver, which {wish} needs: {cause}")]
    Incapable { name: String, wish: &'static str, cause: String },
    /// The receiver started, and said that it cannot work.
    #[error("{what}")]
    Receiver { what: String, remedy: String },
}

impl ConnectError {
    /// Whether another attempt may work without anybody doing anything.
    pub fn retry(&self) -> bool {
        match self {
            Self::Unresolved { .. }
            | Self::Unreachable { .. }
            | Self::Handshake { .. }
            | Self::Start { .. }
            | Self::Sftp { is_lasting: false, .. } => true,
            Self::UnknownKey { .. }
            | Self::ChangedKey { .. }
            | Self::RevokedKey { .. }
            | Self::Config { .. }
            | Self::KnownHosts { .. }
            | Self::Refused { .. }
            | Self::Identity { .. }
            | Self::Deploy { .. }
            | Self::Sftp { is_lasting: true, .. }
            | Self::Incapable { .. }
            | Self::Receiver { .. } => false,
        }
    }

    /// Whether it may be gone by itself where it has worked before: somebody is writing the file.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Config { .. })
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unresolved { .. } => "check the host's name, and the resolver of this machine".to_owned(),
            Self::Unreachable { .. } => {
                "check that the host is up, that sshd listens on that port, and that no firewall is between"
                    .to_owned()
            }
            Self::Handshake { .. } => "check that an SSH server of this decade listens there".to_owned(),
            Self::UnknownKey { accept, .. } => {
                format!(
                    "compare the fingerprint with the one that the server's console shows, then accept it by: {accept}"
                )
            }
            Self::ChangedKey { lookup, file, .. } => format!(
                "somebody may be listening in; only if the server was set up anew: ssh-keygen -R '{lookup}' -f {}, then accept the new key",
                file.display()
            ),
            Self::RevokedKey { .. } => "do not connect to it: its key was declared stolen".to_owned(),
            Self::Config { .. } => {
                "see what ssh -G says with the same file, or give another by --ssh-config".to_owned()
            }
            Self::KnownHosts { .. } => {
                "let this user read the file, or name another by --known-hosts".to_owned()
            }
            Self::Refused { user, .. } => format!(
                "add the public key to ~{user}/.ssh/authorized_keys on the target, or name another key by --identity"
            ),
            Self::Identity { .. } => {
                "name a private key that is readable and not encrypted, or load it into the SSH agent"
                    .to_owned()
            }
            Self::Deploy { remedy, .. } | Self::Receiver { remedy, .. } => remedy.clone(),
            Self::Start { .. } => {
                "log in by ssh with the same user and key, and see what it prints".to_owned()
            }
            Self::Sftp { is_lasting: false, .. } => {
                "log in by sftp with the same user and key, and see what it prints".to_owned()
            }
            Self::Sftp { .. } => {
                "use OpenSSH's SFTP server on the target, or let the receiver run there: --transport agent"
                    .to_owned()
            }
            Self::Incapable { wish, .. } => {
                format!("let the user run programs on the target, or leave out {wish}")
            }
        }
    }
}

/// How to replicate to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By a receiver where that can run, else by SFTP.
    Auto,
    /// By a receiver, which is brought along.
    Agent,
    /// By the target's SFTP server: nothing else runs there.
    Sftp,
}

/// A target whose receiver speaks, or what stands in for one.
pub struct Reached {
    /// It stands behind the receiver's preamble.
    pub link: Box<dyn Link>,
    /// The target prescribes which receiver is started, and for which directory.
    pub is_prescribed: bool,
    /// The way that was taken: not `Auto`.
    pub transport: Transport,
}

/// Connects, and brings the receiver along if the target has not this one. `wish` is what was asked
/// for that only a receiver can do.
pub fn connect(
    target: &TargetAddress,
    access: &Access,
    receiver: &[u8],
    (transport, wish): (Transport, Option<&'static str>),
) -> Result<Reached, ConnectError> {
    let connection = Connection::open(target, access)?;
    match (transport, wish) {
        (Transport::Agent, _) => deploy::start(connection, target, receiver),
        (Transport::Sftp, None) => sftp::start(connection, target),
        (Transport::Sftp, Some(wish)) => {
            let (name, cause) = (connection.name().to_owned(), "--transport sftp was given".to_owned());
            Err(ConnectError::Incapable { name, wish, cause })
        }
        (Transport::Auto, wish) => {
            let cause = match deploy::start(connection, target, receiver) {
                Err(cause @ (ConnectError::Start { .. } | ConnectError::Deploy { .. })) => cause,
                other => return other,
            };
            // Over a connection of its own. If that fails, too, the first failure tells more.
            let Ok(connection) = Connection::open(target, access) else { return Err(cause) };
            let name = connection.name().to_owned();
            let Ok(reached) = sftp::start(connection, target) else { return Err(cause) };
            if let Some(wish) = wish {
                return Err(ConnectError::Incapable { name, wish, cause: cause.to_string() });
            }
            warn!(target = %target, "{cause}; replicating by SFTP instead: {} (--transport)", sftp::WEAKER);
            Ok(reached)
        }
    }
}
