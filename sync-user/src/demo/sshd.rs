//! Runs a throw-away SSH server on loopback: for the demonstration, the tests and the benchmarks.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock;

/// Debian's place; `sshd` insists on being started by its whole path.
const SSHD: &str = "/usr/sbin/sshd";

/// A busy machine can take long to start a process.
const START_MAX: Duration = Duration::from_secs(30);

/// An OpenSSH server of our own, with its own keys; dropping it stops it.
#[derive(Debug)]
pub struct Sshd {
    directory: PathBuf,
    address: Ipv4Addr,
    /// Where it listens.
    own_port: u16,
    /// Where it is reached.
    port: u16,
    child: Option<Child>,
}

impl Sshd {
    /// Makes keys and a configuration in `directory`, which has to exist, and starts the server
    /// on a free port of 127.0.0.1. `extra` is added to the configuration.
    pub fn start(directory: &Path, extra: &str) -> Result<Self> {
        Self::start_at(directory, Ipv4Addr::LOCALHOST, extra)
    }

    /// The same on another address of this machine.
    pub fn start_at(directory: &Path, address: Ipv4Addr, extra: &str) -> Result<Self> {
        let directory = directory.join("sshd");
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("make {}", directory.display()))?;
        for key in ["host_key", "client_key"] {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "ksyncd demonstration", "-f"])
                .arg(directory.join(key))
                .stdin(Stdio::null())
                .status()
                .context("start ssh-keygen (package openssh-client)")?;
            if !status.success() {
                bail!("ssh-keygen ended with {status}");
            }
        }
        // The port is free when asked for; that another program takes it meanwhile shows when
        // the server does not start.
        let port = TcpListener::bind((address, 0))
            .and_then(|socket| socket.local_addr())
            .context("find a free port")?
            .port();
        fs::copy(directory.join("client_key.pub"), directory.join("authorized_keys"))?;
        let host_key = fs::read_to_string(directory.join("host_key.pub"))?;
        fs::write(directory.join("known_hosts"), format!("[{address}]:{port} {host_key}"))?;
        let at = directory.display();
        // bash reads its user's start-up files when it believes to be the first shell behind sshd,
        // and those may do anything, or wait for something.
        let configuration = format!(
            "Port {port}\nListenAddress {address}\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/authorized_keys\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nMaxStartups 100\nSetEnv SHLVL=1\nSubsystem sftp internal-sftp\n{extra}\n"
        );
        fs::write(directory.join("config"), configuration)?;
        let mut server = Self { directory, address, own_port: port, port, child: None };
        server.restart()?;
        Ok(server)
    }

    /// Where it is reached.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it is reached at another port of the same address, which leads to its own.
    pub fn reach_through(&mut self, door: u16) -> Result<()> {
        let line = format!("[{}]:{door} {}", self.address, self.host_key()?);
        let known = fs::read_to_string(self.known_hosts())? + &line;
        fs::write(self.known_hosts(), known)?;
        self.port = door;
        Ok(())
    }

    /// The server's host key, as `known_hosts` has it behind a name.
    pub fn host_key(&self) -> Result<String> {
        fs::read_to_string(self.directory.join("host_key.pub")).context("read the host key")
    }

    /// The private key that the server lets in.
    pub fn identity(&self) -> PathBuf {
        self.directory.join("client_key")
    }

    /// A file that knows the server's host key.
    pub fn known_hosts(&self) -> PathBuf {
        self.directory.join("known_hosts")
    }

    /// `program run` from `source` to `target` through this server, with every flag that takes.
    pub fn run_through(&self, program: &Path, source: &Path, target: &Path, state: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg("--source")
            .arg(source)
            .arg("--target")
            .arg(format!("{}:{}", self.address, target.display()))
            .args(["--port", &self.port.to_string(), "--ssh-config", "none"])
            .arg("--identity")
            .arg(self.identity())
            .arg("--known-hosts")
            .arg(self.known_hosts())
            .arg("--state-dir")
            .arg(state);
        command
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Starts the server again on the same port, after ending it with all its connections.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        // As root the server insists on this directory.
        if nix::unistd::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").context("make /run/sshd")?;
        }
        let mut command = Command::new(SSHD);
        command
            .args(["-D", "-f"])
            .arg(self.directory.join("config"))
            .arg("-E")
            .arg(self.directory.join("log"))
            .stdin(Stdio::null())
            .process_group(0);
        // SAFETY: the closure runs between fork and exec and makes one system call.
        unsafe {
            command.pre_exec(|| {
                // The server shall not outlive a demonstration that was killed.
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).map_err(io::Error::from)
            });
        }
        self.child = Some(command.spawn().context("start sshd (package openssh-server)")?);
        let deadline = clock::now().plus(START_MAX);
        while TcpStream::connect((self.address, self.own_port)).is_err() {
            let ended = self
                .child
                .as_mut()
                .is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
            if ended || clock::now() > deadline {
                bail!("sshd did not start: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends the server and all its connections.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Each connection is a process of its own, below the server or in its group.
        for process in descendants(child.id()) {
            let _ended = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
        }
        let _ended = child.kill();
        let _ended = child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// All processes below `parent`, by `/proc`.
fn descendants(parent: u32) -> Vec<nix::unistd::Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let mut all = Vec::new();
    for child in children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()) {
        all.push(nix::unistd::Pid::from_raw(child.cast_signed()));
        all.extend(descendants(child));
    }
    all
}
