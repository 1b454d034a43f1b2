//! Runs the whole program beside the capture: what the tree becomes has to arrive.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sync_user::demo::compare::{self, Difference};
use sync_user::demo::sshd::Sshd;
use sync_user::model::TreePath;

/// How long a daemon may take to start on a busy machine.
const START_MAX: Duration = Duration::from_mins(1);

/// `ksyncd run` to a target on this machine.
pub(crate) struct Replica {
    ksyncd: PathBuf,
    state: PathBuf,
    source: PathBuf,
    target: PathBuf,
    run: Command,
    daemon: Child,
    _sshd: Sshd,
}

impl Replica {
    pub(crate) fn start(ksyncd: &Path, capture: &str, source: &Path, base: &Path) -> Self {
        let sshd = Sshd::start(base, "").unwrap();
        let target = base.join("target");
        let state = base.join("state");
        let mut run = sshd.run_through(ksyncd, source, &target, &state);
        run.args(["--capture", capture, "--log-level", "error", "--open-file-interval", "250ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let daemon = run.spawn().unwrap();
        let (ksyncd, source) = (ksyncd.to_owned(), source.to_owned());
        let mut replica = Self { ksyncd, state, source, target, run, daemon, _sshd: sshd };
        replica.wait_for_start();
        replica
    }

    /// Starts anew with an empty target: after a failure it may differ for good, which is no
    /// fault of the next case.
    pub(crate) fn restart(&mut self) {
        self.end();
        fs::remove_dir_all(&self.target).unwrap();
        self.daemon = self.run.spawn().unwrap();
        self.wait_for_start();
    }

    /// Waits until the daemon has connected and compared.
    fn wait_for_start(&mut self) {
        let cookie = self.source.join(".started");
        for begin in [true, false] {
            if begin { fs::write(&cookie, "") } else { fs::remove_file(&cookie) }.unwrap();
            let differences = self.differences(&BTreeSet::new(), START_MAX);
            assert!(differences.is_empty(), "the replica does not start: {differences:?}");
        }
    }

    /// Waits until the target equals the source but at the paths in `except`; says where it
    /// does not, in the end.
    pub(crate) fn differences(&mut self, except: &BTreeSet<TreePath>, patience: Duration) -> Vec<String> {
        let counts = |difference: &Difference| {
            let path = TreePath::new(difference.path.as_os_str().as_bytes());
            path.is_ok_and(|path| !except.contains(&path))
        };
        let end = Instant::now() + patience;
        loop {
            let differences = compare::differences(&self.source, &self.target);
            let told: Vec<String> = match differences {
                Ok(all) => all.iter().filter(|one| counts(one)).map(ToString::to_string).collect(),
                Err(error) => vec![error.to_string()],
            };
            if told.is_empty() {
                return told;
            }
            if let Some(status) = self.daemon.try_wait().unwrap() {
                return vec![format!("ksyncd ended with {status}")];
            }
            if Instant::now() > end {
                return told;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How often a step has met something else than it expects, though nobody else changes the
    /// target: the ledger was wrong then.
    pub(crate) fn surprises(&self) -> u64 {
        let mut status = Command::new(&self.ksyncd);
        status.args(["status", "--json", "--state-dir"]).arg(&self.state);
        let said = status.output().unwrap().stdout;
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        let target = &said["targets"][0];
        ["unexpected_replaced", "unexpected_kept"].map(|name| target[name].as_u64().unwrap()).iter().sum()
    }

    fn end(&mut self) {
        let _ended = self.daemon.kill();
        let _ended = self.daemon.wait();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.end();
    }
}
