//! One of several roots that replicate to each other, and what its daemon says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::Pid;
use sync_user::control::{Status, TargetStatus};
use sync_user::demo::sshd::Sshd;

use super::host::{Daemon, KSYNCD, PATIENCE};

/// Where its files are, and what its daemon remembers.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// For people.
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
}

impl Site {
    /// `ksyncd NAME` for its daemon.
    fn ask(&self, words: &[&str]) -> Command {
        let mut command = Command::new(KSYNCD);
        command.args(words).arg("--state-dir").arg(&self.state);
        command
    }

    /// What its daemon says of a path.
    pub(crate) fn why(&self, path: &Path) -> String {
        let output = self.ask(&["why"]).arg(path).output().unwrap();
        let [said, error] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        format!("-- {} says:\n{said}{error}", self.name)
    }

    /// How each of the others is, as its daemon says; it is waited for.
    pub(crate) fn targets(&self) -> Vec<TargetStatus> {
        let began = Instant::now();
        loop {
            let output = self.ask(&["status", "--json"]).output().unwrap();
            if let Ok(status) = serde_json::from_slice::<Status>(&output.stdout) {
                return status.targets;
            }
            assert!(began.elapsed() < PATIENCE, "{} does not say how it is: {output:?}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all that it has seen is at the others; `false` if it is not in time.
    pub(crate) fn wait(&self) -> bool {
        self.ask(&["wait", "--timeout", "1m"]).output().unwrap().status.success()
    }

    /// Waits until what was agreed on is stored: what is in its journal would be unsure after a crash.
    pub(crate) fn wait_until_stored(&self, daemon: &Daemon) {
        let began = Instant::now();
        let is_stored = || {
            let files = fs::read_dir(&self.state).unwrap().flatten();
            let mut journals =
                files.filter(|file| file.path().extension().is_some_and(|kind| kind == "journal"));
            journals.all(|journal| journal.metadata().unwrap().len() == 0)
        };
        while !is_stored() {
            assert!(began.elapsed() < PATIENCE, "it is not stored\n{}", daemon.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.root.join(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// What is kept here, each with its path.
    pub(crate) fn kept(&self) -> Vec<String> {
        let output = Command::new(KSYNCD).args(["conflicts", "list"]).arg(&self.root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The content of one that is kept.
    pub(crate) fn kept_content(&self, line: &str) -> String {
        let id = line.split_whitespace().next().unwrap();
        let output =
            Command::new(KSYNCD).args(["conflicts", "show"]).arg(&self.root).arg(id).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What OpenSSH's configuration says of `name`: it is this server, reached at `port`. What else that
/// takes is put into `directory`.
pub(crate) fn road(name: &str, sshd: &Sshd, port: u16, directory: &Path) -> String {
    let known_hosts = directory.join(format!("known-{name}"));
    fs::write(&known_hosts, format!("{name} {}", sshd.host_key().unwrap())).unwrap();
    format!(
        "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias {name}\n  IdentityFile {}\n  \
         UserKnownHostsFile {}\n",
        sshd.identity().display(),
        known_hosts.display(),
    )
}

/// Waits until all sites hold the same, and stay so for a moment.
pub(crate) fn wait_until_equal(sites: &[Site], daemons: &[Daemon]) {
    let began = Instant::now();
    let mut equal_since = None;
    loop {
        let trees: Vec<_> = sites.iter().map(|site| tree(&site.root)).collect();
        if trees.windows(2).all(|two| two[0] == two[1]) {
            if equal_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(500) {
                return;
            }
        } else {
            equal_since = None;
        }
        let told = || format!("{}\nthey stay different:\n{}", logs(daemons), differences(sites));
        assert!(began.elapsed() < PATIENCE, "{}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing is sent any more (I8: no change circulates).
pub(crate) fn wait_until_at_rest(sites: &[Site], daemons: &[Daemon]) {
    let began = Instant::now();
    let mut before = (Vec::new(), Instant::now());
    // Longer than anything waits that is put off.
    while before.1.elapsed() < Duration::from_secs(4) {
        let targets = sites.iter().flat_map(Site::targets);
        let sent: Vec<_> = targets.map(|target| (target.changes_shipped, target.bytes_written)).collect();
        if sent != before.0 {
            before = (sent, Instant::now());
        }
        assert!(began.elapsed() < PATIENCE, "it never comes to rest: {:?}\n{}", before.0, logs(daemons));
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn logs(daemons: &[Daemon]) -> String {
    daemons.iter().map(Daemon::log).collect::<Vec<_>>().join("\n--\n")
}

/// Each path that is not alike, and what all daemons say of it.
pub(crate) fn differences(sites: &[Site]) -> String {
    let trees: Vec<_> = sites.iter().map(|site| tree(&site.root)).collect();
    let paths: BTreeSet<&PathBuf> = trees.iter().flat_map(BTreeMap::keys).collect();
    let at = |path: &PathBuf| -> Vec<Option<&String>> { trees.iter().map(|tree| tree.get(path)).collect() };
    let line = |path: &PathBuf| {
        let told: String = sites.iter().map(|site| site.why(path)).collect();
        format!("{}: {:?}\n{told}", path.display(), at(path))
    };
    let differ = |path: &&&PathBuf| at(path).windows(2).any(|two| two[0] != two[1]);
    paths.iter().filter(differ).map(|path| line(path)).collect()
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
