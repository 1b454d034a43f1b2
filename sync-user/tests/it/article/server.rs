//! One of the two servers: a network, a root, Apache, an SSH server and the daemon.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use nix::sys::signal::Signal;
use sync_user::control::{Status, TargetStatus};
use sync_user::demo::sshd::Sshd;

use super::apache::Apache;
use super::network::Network;
use crate::host::{Daemon, KSYNCD};

pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) network: Arc<Network>,
    /// Its links to the others, by their names.
    links: [&'static str; 2],
    /// Where readers find it.
    pub(super) address: Ipv4Addr,
    directory: PathBuf,
    pub(super) sshd: Sshd,
    apache: Option<Apache>,
    daemon: Option<Daemon>,
    /// What daemons have logged that were killed.
    logged: String,
}

impl Server {
    /// Starts Apache and the SSH server. `private` is its address for the other one.
    pub(super) fn start(
        directory: PathBuf,
        name: &'static str,
        network: Network,
        links: [&'static str; 2],
        [address, private]: [Ipv4Addr; 2],
    ) -> Self {
        fs::create_dir_all(directory.join("www")).unwrap();
        let sshd = {
            let _inside = network.enter();
            Sshd::start_at(&directory, private, "").unwrap()
        };
        let network = Arc::new(network);
        let mut server = Self {
            name,
            network,
            links,
            address,
            directory,
            sshd,
            apache: None,
            daemon: None,
            logged: String::new(),
        };
        server.start_apache();
        server
    }

    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("www")
    }

    /// Writes the daemon's configuration: the other server is found as OpenSSH's configuration says.
    pub(super) fn configure(&self, other: &Self, road: SocketAddrV4) {
        let key = other.sshd.host_key().unwrap();
        fs::write(self.directory.join("known_hosts"), format!("{} {key}", other.name)).unwrap();
        let ssh = format!(
            "Host {name}\n  HostName {}\n  Port {}\n  HostKeyAlias {name}\n  IdentityFile {}\n  \
             UserKnownHostsFile {}\n",
            road.ip(),
            road.port(),
            other.sshd.identity().display(),
            self.directory.join("known_hosts").display(),
            name = other.name,
        );
        fs::write(self.directory.join("ssh_config"), ssh).unwrap();
        let configuration = format!(
            "state_dir = \"{}\"\nlog_level = \"debug\"\n\n[[sync]]\nsource = \"{}\"\ntarget = \"{}:{}\"\n\
             two_way = true\nssh_config = \"{}\"\ncapture = \"fanotify\"\n",
            self.state().display(),
            self.root().display(),
            other.name,
            other.root().display(),
            self.directory.join("ssh_config").display(),
        );
        fs::write(self.directory.join("ksyncd.toml"), configuration).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    pub(super) fn start_daemon(&mut self) {
        let _inside = self.network.enter();
        let mut command = Command::new(KSYNCD);
        command.arg("run").arg("--config").arg(self.directory.join("ksyncd.toml"));
        self.daemon = Some(Daemon::start(command));
    }

    /// As the kernel does when memory runs out.
    pub(super) fn kill_daemon(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.signal(Signal::SIGKILL);
            self.logged.push_str(&daemon.log());
            self.logged.push_str("-- killed\n");
        }
    }

    pub(super) fn start_apache(&mut self) {
        let _inside = self.network.enter();
        self.apache = Some(Apache::start(&self.directory.join("apache"), self.address, &self.root()));
    }

    /// Nobody says goodbye: first the links are dead, then all processes.
    pub(super) fn switch_off(&mut self) {
        for link in self.links {
            self.network.down(link);
        }
        self.apache = None;
        self.sshd.stop();
        self.kill_daemon();
    }

    /// All but the web server, which may wait for the pages that have changed.
    pub(super) fn switch_on(&mut self) {
        for link in self.links {
            self.network.up(link);
        }
        {
            let _inside = self.network.enter();
            self.sshd.restart().unwrap();
        }
        self.start_daemon();
    }

    /// `ksyncd NAME` for this server's daemon.
    pub(super) fn ask(&self, words: &[&str]) -> Output {
        Command::new(KSYNCD).args(words).arg("--state-dir").arg(self.state()).output().unwrap()
    }

    /// What the daemon says of a path.
    pub(super) fn why(&self, path: &Path) -> String {
        let output = self.ask(&["why", &path.to_string_lossy()]);
        let [said, error] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        format!("-- {} says:\n{said}{error}", self.name)
    }

    /// How the other server is, as this one's daemon says; `None` while it cannot say.
    pub(super) fn target_status(&self) -> Option<TargetStatus> {
        let output = self.ask(&["status", "--json"]);
        let status: Status = serde_json::from_slice(&output.stdout).ok()?;
        status.targets.into_iter().next()
    }

    /// Whether what was agreed on is stored: what is in a journal would be unsure after a crash.
    pub(super) fn has_stored(&self) -> bool {
        let journals = files(&self.state())
            .into_iter()
            .filter(|file| file.extension().is_some_and(|kind| kind == "journal"));
        let lengths: Vec<u64> = journals.map(|file| fs::metadata(file).map_or(1, |it| it.len())).collect();
        !lengths.is_empty() && lengths.iter().all(|length| *length == 0)
    }

    pub(super) fn log(&self) -> String {
        let now = self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
        format!("-- {}\n{}{now}", self.name, self.logged)
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(files(&entry.path())),
            _ => all.push(entry.path()),
        }
    }
    all
}
