//! Two roots with a daemon each, which replicate to each other.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sync_user::control::TargetStatus;

use super::host::{Daemon, Host, KSYNCD, capture};
use super::pump::Pump;
use super::site::{Site, road, wait_until_equal};

/// Both ends on one machine, over its SSH server.
pub(crate) struct Pair {
    /// What leads to the server, if that is far away.
    pump: Option<Pump>,
    pub(crate) host: Host,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    One,
    Other,
}

impl End {
    pub(crate) const BOTH: [Self; 2] = [Self::One, Self::Other];

    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::One => Self::Other,
            Self::Other => Self::One,
        }
    }
}

impl Pair {
    pub(crate) fn new() -> Self {
        let host = Host::new();
        fs::create_dir(host.target()).unwrap();
        Self { pump: None, host }
    }

    /// What travels takes `delay` each way.
    pub(crate) fn far_apart(delay: Duration) -> Self {
        let pair = Self::new();
        let pump = Pump::start(None, SocketAddrV4::new(Ipv4Addr::LOCALHOST, pair.host.sshd.port()), delay);
        let config = road("far", &pair.host.sshd, pump.port(), pair.host.path());
        fs::write(pair.host.path().join("ssh_config"), config).unwrap();
        Self { pump: Some(pump), ..pair }
    }

    pub(crate) fn root(&self, end: End) -> PathBuf {
        match end {
            End::One => self.host.source(),
            End::Other => self.host.target(),
        }
    }

    pub(crate) fn state(&self, end: End) -> PathBuf {
        self.host.path().join(format!("state-{end:?}"))
    }

    /// The daemon's command, to which a test may add.
    pub(crate) fn run(&self, end: End) -> Command {
        let state = self.state(end);
        let (from, to) = (self.root(end), self.root(end.opposite()));
        let mut command = if self.pump.is_some() {
            let mut command = Command::new(KSYNCD);
            command.args(["run", "--ssh-config"]).arg(self.host.path().join("ssh_config"));
            command.arg("--source").arg(&from).arg("--target").arg(format!("far:{}", to.display()));
            command.arg("--state-dir").arg(&state);
            command
        } else {
            self.host.sshd.run_through(Path::new(KSYNCD), &from, &to, &state)
        };
        command.args(["--capture", &capture(), "--two-way", "--log-level", "debug"]);
        command
    }

    /// Starts both.
    pub(crate) fn start_both(&self) -> [Daemon; 2] {
        let mut daemons = End::BOTH.map(|end| Daemon::start(self.run(end)));
        for daemon in &mut daemons {
            daemon.wait_until("the trees are merged", {
                let log = daemon.shared_log();
                move || {
                    log.lock().unwrap().contains(" the trees")
                        || log.lock().unwrap().contains("with the ledger")
                }
            });
        }
        daemons
    }

    /// One of them with all that is about it.
    pub(crate) fn site(&self, end: End) -> Site {
        Site { name: format!("{end:?}"), root: self.root(end), state: self.state(end) }
    }

    /// Waits until both ends hold the same, and stay so for a moment.
    pub(crate) fn wait_until_equal(&self, daemons: &[Daemon]) {
        wait_until_equal(&End::BOTH.map(|end| self.site(end)), daemons);
    }

    /// How the other end is, as the daemon of this one says.
    pub(crate) fn target_status(&self, end: End) -> TargetStatus {
        self.site(end).targets().remove(0)
    }

    /// Waits until all that this end has seen is at the other one; `false` if it is not in time.
    pub(crate) fn wait(&self, end: End) -> bool {
        self.site(end).wait()
    }

    /// Waits until what an end has agreed on is stored: what is in its journal would be unsure after
    /// a crash.
    pub(crate) fn wait_until_stored(&self, end: End, daemon: &Daemon) {
        self.site(end).wait_until_stored(daemon);
    }

    pub(crate) fn write(&self, end: End, path: &str, text: &str) {
        self.site(end).write(path, text);
    }

    pub(crate) fn read(&self, end: End, path: &str) -> Option<String> {
        self.site(end).read(path)
    }

    /// What is kept at an end, each with its path.
    pub(crate) fn kept(&self, end: End) -> Vec<String> {
        self.site(end).kept()
    }

    /// The content of one that is kept.
    pub(crate) fn kept_content(&self, end: End, line: &str) -> String {
        self.site(end).kept_content(line)
    }
}
