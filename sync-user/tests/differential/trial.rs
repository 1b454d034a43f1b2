//! Tries one case: the operations, the model, the capture and the replica side by side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sync_user::capture::Config;

use crate::model::Model;
use crate::operation::{Case, Operation};
use crate::processes::Processes;
use crate::replica::Replica;
use crate::snapshot;
use crate::watch::{self, Told, Watch};

/// How long capture and replica may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A place to try cases in, one after the other.
pub(crate) struct Bench {
    root: PathBuf,
    outside: PathBuf,
    processes: Processes,
    watch: Watch,
    replica: Option<Replica>,
    /// How long to wait for what should come.
    pub(crate) patience: Duration,
    stamp: u32,
}

/// The root in the folder `base`, which has to be there.
pub(crate) fn source(base: &Path) -> PathBuf {
    base.join("source")
}

/// What cases have amounted to, to show that they were no empty ones.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Amount {
    pub(crate) operations: usize,
    pub(crate) changed: usize,
    pub(crate) gaps: usize,
}

impl Bench {
    /// `replicate` is the program and its `--capture`.
    pub(crate) fn new(base: &Path, config: &Config, replicate: Option<(&Path, &str)>) -> Self {
        let root = source(base);
        let (outside, bind) = (base.join("outside"), base.join("bind"));
        for directory in [&outside, &bind] {
            std::fs::create_dir(directory).unwrap();
        }
        let processes = Processes::start(&root, &outside, &bind).unwrap();
        let watch = Watch::open(root.clone(), config);
        let replica = replicate.map(|(ksyncd, capture)| Replica::start(ksyncd, capture, &root, base));
        Self { root, outside, processes, watch, replica, patience: PATIENCE, stamp: 0 }
    }

    /// An error tells what capture, the model or the replica have missed.
    pub(crate) fn run(&mut self, case: &Case) -> Result<Amount, String> {
        self.processes.release_all().unwrap();
        watch::empty(&self.root);
        watch::empty(&self.outside);
        let (mut model, mut amount) = (Model::default(), Amount::default());
        for (number, burst) in case.bursts.iter().enumerate() {
            let failed = |what: String| format!("burst {number}, {}: {what}", told(burst));
            // Whatever is told late of an earlier burst must not count for this one.
            self.watch.settle(PATIENCE);
            let before = snapshot::take(&self.root).unwrap();
            if case.together {
                amount.operations += self.processes.perform_together(burst, self.stamp).unwrap();
                self.stamp += burst.len() as u32;
            } else {
                for (process, operation) in burst {
                    self.stamp += 1;
                    if self.processes.perform(*process, operation, self.stamp).unwrap().is_ok() {
                        model.follow(*process, operation, self.stamp);
                        amount.operations += 1;
                    }
                }
            }
            let after = snapshot::take(&self.root).unwrap();
            if !case.together
                && let Some(wrong) = snapshot::against(&model, &after)
            {
                return Err(failed(format!("the model is wrong: {wrong}")));
            }
            // Files are still held open and mapped now.
            let (changed, mut told) = (snapshot::changed(&before, &after), Told::default());
            let missing = self.watch.missing(&changed, &mut told, self.patience);
            amount.changed += changed.len();
            amount.gaps += told.gaps.len();
            if !missing.is_empty() {
                return Err(failed(format!("capture has not told of {missing:?}")));
            }
            self.compare("while files are open").map_err(failed)?;
            self.processes.release_all().unwrap();
            model.release_all();
            self.compare("once they are closed").map_err(failed)?;
        }
        Ok(amount)
    }

    fn compare(&mut self, when: &str) -> Result<(), String> {
        let Some(replica) = &mut self.replica else { return Ok(()) };
        let differences = replica.differences(self.patience);
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!("the trees differ {when}:\n  {}", differences.join("\n  ")))
    }
}

/// A burst for people: short ones whole.
fn told(burst: &[(u8, Operation)]) -> String {
    match burst {
        [(_, one)] => format!("{one:?}"),
        many => format!("{} operations", many.len()),
    }
}
