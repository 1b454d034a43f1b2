//! Runs a capture in this process, and says what it has not told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sync_user::capture::{self, Config};
use sync_user::model::{Captured, Change, Kind, Reason, TreePath};
use sync_user::shutdown::Stop;

use crate::snapshot::Changed;

/// How long an event may take on a busy machine.
const SETTLE_MAX: Duration = Duration::from_mins(1);

/// A capture at work.
pub(crate) struct Watch {
    root: PathBuf,
    told: Receiver<Captured>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    cookies: u32,
}

/// What capture has told since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Paths that were named.
    paths: BTreeSet<TreePath>,
    /// Paths below which everything is to be looked at; and those that took all below along.
    trees: BTreeSet<TreePath>,
    left: BTreeSet<TreePath>,
    pub(crate) gaps: Vec<Reason>,
}

impl Watch {
    /// An error tells why nothing can be captured.
    pub(crate) fn open(root: PathBuf, config: &Config) -> Result<Self, String> {
        let (capture, _reason) =
            capture::open(config).map_err(|error| format!("{error}: {}", error.remedy))?;
        let (sender, told) = mpsc::channel();
        let stop = Stop::new().unwrap();
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            // Nobody listens at the end.
            let mut deliver = |captured| drop(sender.send(captured));
            capture.run(&mut deliver, &asked).unwrap();
        });
        Ok(Self { root, told, stop, thread: Some(thread), cookies: 0 })
    }

    /// Waits until capture has told of all that has happened until now, and forgets it.
    pub(crate) fn settle(&mut self) {
        self.cookies += 1;
        let name = format!(".cookie-{}", self.cookies);
        let mut file = fs::File::create(self.root.join(&name)).unwrap();
        file.write_all(b"x").unwrap();
        drop(file);
        let path = TreePath::new(name.as_bytes()).unwrap();
        let mut told = Told::default();
        let met = self.wait(&mut told, SETTLE_MAX, |told| told.paths.contains(&path));
        assert!(met, "capture has not told of {name}");
        fs::remove_file(self.root.join(&name)).unwrap();
    }

    /// Waits until everything in `changed` was told; says what was not.
    pub(crate) fn missing(
        &mut self,
        changed: &BTreeMap<TreePath, Changed>,
        told: &mut Told,
        patience: Duration,
    ) -> Vec<TreePath> {
        self.wait(told, patience, |told| changed.iter().all(|(path, changed)| told.covers(path, changed)));
        let missing = changed.iter().filter(|(path, names)| !told.covers(path, names));
        missing.map(|(path, _)| path.clone()).collect()
    }

    fn wait(&self, told: &mut Told, patience: Duration, is_met: impl Fn(&Told) -> bool) -> bool {
        let end = Instant::now() + patience;
        while !is_met(told) {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(captured) => told.add(captured),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }
}

impl Told {
    fn add(&mut self, captured: Captured) {
        match captured {
            Captured::Gap(gap) => {
                self.gaps.push(gap.reason);
                self.trees.insert(gap.place);
            }
            Captured::Change(Change { kind, path, .. }) => {
                match kind {
                    Kind::Moved { from, directory } => {
                        if directory {
                            self.trees.insert(path.clone());
                            self.left.insert(from.clone());
                        }
                        self.paths.insert(from);
                    }
                    Kind::MovedIn => {
                        self.trees.insert(path.clone());
                    }
                    Kind::Removed => {
                        self.left.insert(path.clone());
                    }
                    // What is in a new directory has events of its own.
                    Kind::Named | Kind::Created | Kind::Writing | Kind::Written | Kind::Attributes => {}
                }
                self.paths.insert(path);
            }
        }
    }

    fn covers(&self, path: &TreePath, changed: &Changed) -> bool {
        let below =
            |path: &TreePath, tops: &BTreeSet<TreePath>| tops.iter().any(|top| path.is_at_or_below(top));
        let told = |path: &TreePath| self.paths.contains(path) || below(path, &self.trees);
        told(path)
            || (changed.gone && below(path, &self.left))
            || changed.same.iter().any(|(_, names)| names.iter().any(told))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Removes everything below `root`.
pub(crate) fn empty(root: &Path) {
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}
