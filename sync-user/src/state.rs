//! Keeps what outlives a run, in one directory: who replicates what, and the ledger of each.
//!
//! Two daemons that replicate into the same directory would undo each other's work, so each
//! claims its targets by a lock. The kernel lets go of a lock when its process ends, however.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Where a service of the system keeps its state, by the Filesystem Hierarchy Standard.
const SYSTEM: &str = "/var/lib/ksyncd";

/// Where it keeps its sockets; the unit asks systemd for this one.
const RUNTIME: &str = "/run/ksyncd";

/// A directory of our own.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
}

/// A target that nobody else on this machine replicates the same source to, while this lives.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
    ledger: PathBuf,
}

impl Claim {
    /// The file in which the target's ledger is kept.
    pub fn ledger(&self) -> PathBuf {
        self.ledger.clone()
    }
}

/// A source and a target that were claimed, now or before. While this lives nobody else can
/// claim them.
#[derive(Debug)]
pub struct Pair {
    pub source: String,
    pub target: String,
    /// Who has claimed them now.
    pub holder: Option<String>,
    /// The file in which the target's ledger is kept, if it is.
    pub ledger: PathBuf,
    _lock: File,
}

impl Pair {
    /// `None` if the file is not a claim that was ever complete.
    fn read(path: &Path) -> Option<Self> {
        let mut lock = File::open(path).ok()?;
        let is_held = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
        let mut text = String::new();
        lock.read_to_string(&mut text).ok()?;
        let mut lines = text.lines().map(str::to_owned);
        let (holder, source, target) = (lines.next()?, lines.next()?, lines.next()?);
        let (holder, ledger) = (is_held.then_some(holder), path.with_extension("redb"));
        Some(Self { source, target, holder, ledger, _lock: lock })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    pub what: String,
    pub remedy: String,
}

impl State {
    /// Opens `directory`, or the usual one, and makes it if it is missing.
    pub fn open(directory: Option<&Path>) -> Result<Self, Error> {
        let directory = directory.map_or_else(usual_here, Path::to_owned);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|error| Error {
            what: format!("make the state directory {}: {error}", directory.display()),
            remedy: "give one that this user may write to: --state-dir DIR".to_owned(),
        })?;
        Ok(Self { directory })
    }

    /// Every source and target that was ever claimed here.
    pub fn pairs(&self) -> Result<Vec<Pair>, Error> {
        let failed = |error: std::io::Error| Error {
            what: format!("list the state directory {}: {error}", self.directory.display()),
            remedy: "give one that this user may read: --state-dir DIR".to_owned(),
        };
        let mut pairs = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "lock")
                && let Some(pair) = Pair::read(&path)
            {
                pairs.push(pair);
            }
        }
        pairs.sort_by(|one, other| (&one.source, &one.target).cmp(&(&other.source, &other.target)));
        Ok(pairs)
    }

    /// Claims the replication of `source` to `target`.
    pub fn claim(&self, source: &Path, target: &str) -> Result<Claim, Error> {
        let pair = format!("{}\n{target}\n", source.display());
        let name = blake3::hash(pair.as_bytes()).to_hex();
        let path = self.directory.join(format!("{}.lock", &name[..16]));
        let failed = |what: &str, error: &dyn std::fmt::Display| Error {
            what: format!("{what} {}: {error}", path.display()),
            remedy: "give a state directory that this user may write to: --state-dir DIR".to_owned(),
        };
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| failed("open", &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is only makes the message better.
                let _unknown = lock.read_to_string(&mut holder);
                let holder = holder.lines().next().unwrap_or_default();
                return Err(Error {
                    what: format!("{} is replicated to {target} already, by {holder}", source.display()),
                    remedy: "stop that one first; two of them would undo each other's work".to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &error)),
        }
        let holder = format!("process {}\n{pair}", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.write_all(holder.as_bytes()))
            .map_err(|error| failed("write", &error))?;
        Ok(Claim { _lock: lock, ledger: path.with_extension("redb") })
    }
}

/// Where a daemon has its control socket whose state directory was given as `directory`.
pub fn control_directory(directory: Option<&Path>) -> PathBuf {
    directory.map(Path::to_owned).or_else(runtime_directory).unwrap_or_else(usual_here)
}

/// Where the control socket of a daemon may be, for one who asks from a shell of their own.
pub fn control_directories(directory: Option<&Path>) -> Vec<PathBuf> {
    if let Some(directory) = directory {
        return vec![directory.to_owned()];
    }
    let mut directories: Vec<PathBuf> = runtime_directory().into_iter().collect();
    for usual in [PathBuf::from(RUNTIME), usual_here()] {
        if !directories.contains(&usual) {
            directories.push(usual);
        }
    }
    directories
}

/// The one that systemd made; it separates several by colons.
fn runtime_directory() -> Option<PathBuf> {
    let directories = std::env::var_os("RUNTIME_DIRECTORY")?;
    std::env::split_paths(&directories).next().filter(|directory| directory.is_absolute())
}

fn usual_here() -> PathBuf {
    usual(nix::unistd::geteuid().is_root(), |name| std::env::var_os(name).map(PathBuf::from))
}

/// systemd names a directory for its services; others follow the standards.
fn usual(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(directory) = variable("STATE_DIRECTORY") {
        return directory;
    }
    if root {
        return PathBuf::from(SYSTEM);
    }
    let home = || variable("HOME").unwrap_or_else(|| PathBuf::from("/")).join(".local/state");
    variable("XDG_STATE_HOME").unwrap_or_else(home).join("ksyncd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_one_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(Some(&directory.path().join("deep/er"))).unwrap();
        let (source, target) = (Path::new("/srv/www"), "web2:/srv/www");
        let claim = state.claim(source, target).unwrap();
        let refused = state.claim(source, target).unwrap_err();
        let expected =
            format!("/srv/www is replicated to web2:/srv/www already, by process {}", std::process::id());
        assert_eq!(refused.what, expected);
        let _other = state.claim(source, "web3:/srv/www").unwrap();
        drop(claim);
        state.claim(source, target).unwrap();
    }

    #[test]
    fn the_usual_place_depends_on_who_runs_it() {
        let none = |_: &str| None;
        assert_eq!(usual(true, none), Path::new("/var/lib/ksyncd"));
        assert_eq!(
            usual(false, |name| (name == "HOME").then(|| "/home/web".into())),
            Path::new("/home/web/.local/state/ksyncd")
        );
        assert_eq!(
            usual(false, |name| (name == "XDG_STATE_HOME").then(|| "/s".into())),
            Path::new("/s/ksyncd")
        );
        assert_eq!(
            usual(true, |name| (name == "STATE_DIRECTORY").then(|| "/run/s".into())),
            Path::new("/run/s")
        );
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_told() {
        let error = State::open(Some(Path::new("/proc/ksyncd"))).unwrap_err();
        assert!(error.what.starts_with("make the state directory /proc/ksyncd: "), "{error}");
    }
}
