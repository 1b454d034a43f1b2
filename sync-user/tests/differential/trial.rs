//! Tries one case: the operations, the model, the capture and the replica side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sync_user::capture::Config;
use sync_user::model::TreePath;

use crate::model::Model;
use crate::operation::{Case, Operation};
use crate::processes::{Answer, Processes};
use crate::replica::Replica;
use crate::snapshot::{self, Changed};
use crate::watch::{self, Told, Watch};

/// A place to try cases in, one after the other.
pub(crate) struct Bench {
    root: PathBuf,
    outside: PathBuf,
    processes: Processes,
    watch: Watch,
    replica: Option<Replica>,
    /// Whether the last case has failed, so that the replica may never be equal again.
    spoilt: bool,
    /// Whether capture sees what is stored through a map before the file is closed.
    sees_maps: bool,
    /// How long to wait for what should come.
    pub(crate) patience: Duration,
    stamp: u32,
}

/// The root in the folder `base`, which has to be there.
pub(crate) fn source(base: &Path) -> PathBuf {
    base.join("source")
}

/// What cases have amounted to, to show that they were no empty ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Amount {
    /// Operations that were carried out, by name; and those that were not, by their error.
    pub(crate) done: BTreeMap<String, usize>,
    pub(crate) refused: BTreeMap<(String, i32), usize>,
    pub(crate) bursts: usize,
    pub(crate) changed: usize,
    /// Bursts in which capture had to say that something changed somewhere.
    pub(crate) with_gaps: usize,
}

impl Amount {
    pub(crate) fn add(&mut self, other: Self) {
        for (name, count) in other.done {
            *self.done.entry(name).or_default() += count;
        }
        for (refusal, count) in other.refused {
            *self.refused.entry(refusal).or_default() += count;
        }
        self.bursts += other.bursts;
        self.changed += other.changed;
        self.with_gaps += other.with_gaps;
    }

    fn count(&mut self, operation: &Operation, answer: Answer) {
        let name = operation.name();
        match answer {
            Ok(()) => *self.done.entry(name).or_default() += 1,
            Err(error) => *self.refused.entry((name, error)).or_default() += 1,
        }
    }
}

impl Bench {
    /// `replicate` is the program and its `--capture`. An error tells why nothing can be captured.
    pub(crate) fn new(
        base: &Path,
        config: &Config,
        sees_maps: bool,
        replicate: Option<(&Path, &str)>,
        patience: Duration,
    ) -> Result<Self, String> {
        let root = source(base);
        let (outside, bind) = (base.join("outside"), base.join("bind"));
        for directory in [&outside, &bind] {
            std::fs::create_dir(directory).unwrap();
        }
        let processes = Processes::start(&root, &outside, &bind).unwrap();
        let watch = Watch::open(root.clone(), config)?;
        let replica = replicate.map(|(ksyncd, capture)| Replica::start(ksyncd, capture, &root, base));
        Ok(Self { root, outside, processes, watch, replica, spoilt: false, sees_maps, patience, stamp: 0 })
    }

    /// An error tells what capture, the model or the replica have missed.
    pub(crate) fn run(&mut self, case: &Case) -> Result<Amount, String> {
        if std::mem::replace(&mut self.spoilt, true) {
            self.processes.release_all().unwrap();
            watch::empty(&self.root);
            watch::empty(&self.outside);
            self.replica.iter_mut().for_each(Replica::restart);
        }
        let (mut model, mut amount) = (Model::default(), Amount::default());
        for (number, burst) in case.bursts.iter().enumerate() {
            let failed = |what: String| format!("burst {number}, {}: {what}", told(burst));
            self.burst(burst, case.together, &mut model, &mut amount).map_err(failed)?;
        }
        watch::empty(&self.root);
        watch::empty(&self.outside);
        self.replicated(&BTreeSet::new(), "once the source is empty")?;
        let surprises = self.replica.as_ref().map_or(0, Replica::surprises);
        if surprises > 0 {
            return Err(format!("I4: {surprises} steps met something else than they expected"));
        }
        self.spoilt = false;
        Ok(amount)
    }

    fn burst(
        &mut self,
        burst: &[(u8, Operation)],
        together: bool,
        model: &mut Model,
        amount: &mut Amount,
    ) -> Result<(), String> {
        // Whatever is told late of an earlier burst must not count for this one.
        self.watch.settle();
        let before = snapshot::take(&self.root).unwrap();
        if together {
            let answers = self.processes.perform_together(burst, self.stamp).unwrap();
            for ((_, operation), answer) in burst.iter().zip(answers) {
                amount.count(operation, answer);
            }
            self.stamp += burst.len() as u32;
        } else {
            for (process, operation) in burst {
                self.stamp += 1;
                let answer = self.processes.perform(*process, operation, self.stamp).unwrap();
                if answer.is_ok() {
                    model.follow(*process, operation, self.stamp);
                }
                amount.count(operation, answer);
            }
        }
        let after = snapshot::take(&self.root).unwrap();
        if !together && let Some(wrong) = snapshot::against(model, &after) {
            return Err(format!("the model is wrong: {wrong}"));
        }
        let (changed, mut told) = (snapshot::changed(&before, &after), Told::default());
        // fanotify has no event for a store through a map, only for the close that follows.
        let mapped = if self.sees_maps { BTreeSet::new() } else { self.processes.mapped().unwrap() };
        let is_seen =
            |changed: &Changed| !changed.same.as_ref().is_some_and(|(inode, _)| mapped.contains(inode));
        let seen = changed.iter().filter(|(_, changed)| is_seen(changed));
        let seen = seen.map(|(path, changed)| (path.clone(), changed.clone())).collect();
        self.told(&seen, &mut told, "while files are open")?;
        self.replicated(&snapshot::names(&after, &mapped), "while files are open")?;
        self.processes.release_all().unwrap();
        model.release_all();
        self.told(&changed, &mut told, "once they are closed")?;
        self.replicated(&BTreeSet::new(), "once they are closed")?;
        amount.bursts += 1;
        amount.changed += changed.len();
        amount.with_gaps += usize::from(!told.gaps.is_empty());
        Ok(())
    }

    fn told(
        &mut self,
        changed: &BTreeMap<TreePath, Changed>,
        told: &mut Told,
        when: &str,
    ) -> Result<(), String> {
        let missing = self.watch.missing(changed, told, self.patience);
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("capture has not told of {missing:?} {when}"))
    }

    fn replicated(&mut self, except: &BTreeSet<TreePath>, when: &str) -> Result<(), String> {
        let Some(replica) = &mut self.replica else { return Ok(()) };
        let differences = replica.differences(except, self.patience);
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
