//! Two roots with a daemon each, which replicate to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::Pid;
use sync_user::control::TargetStatus;

use super::host::{Daemon, Host, KSYNCD, PATIENCE, first_target};
use super::pump::Pump;

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
        let key = pair.host.sshd.host_key().unwrap();
        fs::write(pair.host.path().join("known_hosts"), format!("far {key}")).unwrap();
        let config = format!(
            "Host far\n  HostName 127.0.0.1\n  Port {}\n  HostKeyAlias far\n  IdentityFile {}\n  \
             UserKnownHostsFile {}\n",
            pump.port(),
            pair.host.sshd.identity().display(),
            pair.host.path().join("known_hosts").display(),
        );
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
        command.args(["--capture", "fanotify", "--two-way", "--log-level", "debug"]);
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

    /// Waits until both ends hold the same, and stay so for a moment.
    pub(crate) fn wait_until_equal(&self, daemons: &[Daemon]) {
        let began = Instant::now();
        let mut equal_since = None;
        loop {
            let [one, other] = End::BOTH.map(|end| tree(&self.root(end)));
            if one == other {
                if equal_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(500) {
                    return;
                }
            } else {
                equal_since = None;
            }
            if began.elapsed() >= PATIENCE {
                let logs = daemons.iter().map(Daemon::log).collect::<Vec<_>>().join("\n--\n");
                panic!("{logs}\nthey stay different:\n{}", self.differences(&one, &other));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Each path that is not alike, and what both daemons say of it.
    fn differences(&self, one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>) -> String {
        let paths: BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
        let line = |path: &PathBuf| {
            let told = End::BOTH.map(|end| self.why(end, path)).concat();
            format!("{}: {:?}, {:?}\n{told}", path.display(), one.get(path), other.get(path))
        };
        let differ = |path: &&&PathBuf| one.get(**path) != other.get(**path);
        paths.iter().filter(differ).map(|path| line(path)).collect()
    }

    /// What the daemon of an end says of a path.
    fn why(&self, end: End, path: &Path) -> String {
        let mut command = Command::new(KSYNCD);
        let output = command.arg("why").arg(path).arg("--state-dir").arg(self.state(end)).output().unwrap();
        let [said, error] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        format!("-- {end:?} says:\n{said}{error}")
    }

    /// How the other end is, as the daemon of this one says.
    pub(crate) fn target_status(&self, end: End) -> TargetStatus {
        let mut command = Command::new(KSYNCD);
        command.args(["status", "--state-dir"]).arg(self.state(end));
        first_target(command)
    }

    /// Waits until all that this end has seen is at the other one; `false` if it is not in time.
    pub(crate) fn wait(&self, end: End) -> bool {
        let mut command = Command::new(KSYNCD);
        command.args(["wait", "--timeout", "1m", "--state-dir"]).arg(self.state(end));
        command.output().unwrap().status.success()
    }

    /// Waits until what an end has agreed on is stored: what is in its journal would be unsure after
    /// a crash.
    pub(crate) fn wait_until_stored(&self, end: End, daemon: &Daemon) {
        let began = Instant::now();
        let state = self.state(end);
        let is_stored = || {
            let files = fs::read_dir(&state).unwrap().flatten();
            let mut journals =
                files.filter(|file| file.path().extension().is_some_and(|kind| kind == "journal"));
            journals.all(|journal| journal.metadata().unwrap().len() == 0)
        };
        while !is_stored() {
            assert!(began.elapsed() < PATIENCE, "it is not stored\n{}", daemon.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn write(&self, end: End, path: &str, text: &str) {
        fs::write(self.root(end).join(path), text).unwrap();
    }

    pub(crate) fn read(&self, end: End, path: &str) -> Option<String> {
        fs::read_to_string(self.root(end).join(path)).ok()
    }

    /// What is kept at an end, each with its path.
    pub(crate) fn kept(&self, end: End) -> Vec<String> {
        let output = Command::new(KSYNCD).args(["conflicts", "list"]).arg(self.root(end)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The content of one that is kept.
    pub(crate) fn kept_content(&self, end: End, line: &str) -> String {
        let id = line.split_whitespace().next().unwrap();
        let output =
            Command::new(KSYNCD).args(["conflicts", "show"]).arg(self.root(end)).arg(id).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The receivers of a root.
pub(crate) fn receivers(root: &Path) -> Vec<Pid> {
    let mut receivers = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(words) = fs::read(process.path().join("cmdline")) else { continue };
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
        let is_receiver =
            words.contains(&b"receive".as_slice()) && words.contains(&root.as_os_str().as_encoded_bytes());
        if let (true, Ok(id)) = (is_receiver, process.file_name().to_string_lossy().parse()) {
            receivers.push(Pid::from_raw(id));
        }
    }
    receivers
}

/// What counts of a tree: names, kinds, content, modes, and times of what is no directory.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if name.starts_with(".ksyncd") {
                continue;
            }
            let mode = metadata.permissions().mode();
            let what = if metadata.is_dir() {
                waiting.push(path);
                format!("directory {mode:o}")
            } else if metadata.is_symlink() {
                format!("link to {:?}", fs::read_link(&path).ok())
            } else {
                let content = fs::read(&path).map(|bytes| blake3::hash(&bytes).to_hex().to_string());
                format!("file {mode:o} {}.{:09} {content:?}", metadata.mtime(), metadata.mtime_nsec())
            };
            all.insert(name, what);
        }
    }
    all
}

/// Sets the modification time to so many seconds ago.
pub(crate) fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}
