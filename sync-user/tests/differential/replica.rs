//! Runs the whole program beside the capture: what the tree becomes has to arrive.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sync_user::demo::compare;
use sync_user::demo::sshd::Sshd;

/// `ksyncd run` to a target on this machine.
pub(crate) struct Replica {
    source: PathBuf,
    target: PathBuf,
    daemon: Child,
    _sshd: Sshd,
}

impl Replica {
    pub(crate) fn start(ksyncd: &Path, capture: &str, source: &Path, base: &Path) -> Self {
        let sshd = Sshd::start(base, "").unwrap();
        let target = base.join("target");
        let daemon = sshd
            .run_through(ksyncd, source, &target, &base.join("state"))
            .args(["--capture", capture, "--log-level", "error", "--open-file-interval", "250ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { source: source.to_owned(), target, daemon, _sshd: sshd }
    }

    /// Waits until the target equals the source; says where it does not, in the end.
    pub(crate) fn differences(&mut self, patience: Duration) -> Vec<String> {
        let end = Instant::now() + patience;
        loop {
            let differences = compare::differences(&self.source, &self.target);
            if differences.as_ref().is_ok_and(Vec::is_empty) {
                return Vec::new();
            }
            if let Some(status) = self.daemon.try_wait().unwrap() {
                return vec![format!("ksyncd ended with {status}")];
            }
            if Instant::now() > end {
                return match differences {
                    Ok(differences) => differences.iter().map(ToString::to_string).collect(),
                    Err(error) => vec![error.to_string()],
                };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ended = self.daemon.kill();
        let _ended = self.daemon.wait();
    }
}
