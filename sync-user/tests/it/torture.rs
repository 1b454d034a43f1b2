//! Both ends change at once what collides, while connections are cut and daemons killed (I8).
//!
//! What is written is never the same twice, and whoever replaces or removes something looks at it:
//! it is taken out in one act, so it is known what somebody has seen and given up. In the end both
//! trees are equal, and whatever nobody has given up is in them, or kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::host::Daemon;
use super::pair::{End, Pair};
use super::site::receivers;

/// Names that both ends use, few enough to collide all the time.
const NAMES: [&str; 8] = ["f", "g", "a", "a/f", "a/g", "a/b", "a/b/f", "c/f"];

/// How long it goes on; `KSYNCD_TORTURE_SECONDS` makes it longer.
const DURATION: Duration = Duration::from_secs(15);

/// Between ends that are far from each other.
const ONE_WAY: Duration = Duration::from_millis(25);

/// Somebody who works at one end.
struct Person<'a> {
    root: PathBuf,
    /// Where things are made, and taken out to.
    desk: PathBuf,
    written: &'a Mutex<BTreeSet<String>>,
    given_up: &'a Mutex<BTreeSet<String>>,
    next: &'a AtomicU32,
    random: fastrand::Rng,
}

impl Person<'_> {
    fn work(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            self.act();
            std::thread::sleep(Duration::from_micros(self.random.u64(0..20_000)));
        }
    }

    fn name(&mut self) -> PathBuf {
        self.root.join(NAMES[self.random.usize(0..NAMES.len())])
    }

    /// Does something, if it is possible.
    fn act(&mut self) {
        let at = self.name();
        match self.random.u8(0..20) {
            0..=9 => self.write(&at),
            10..=11 => {
                let _there = fs::create_dir(&at);
            }
            12..=14 => self.remove(&at),
            15..=17 => {
                let to = self.name();
                let _impossible = renameat_with(CWD, &at, CWD, &to, RenameFlags::NOREPLACE);
            }
            _ => {
                let mode = if self.random.bool() { 0o600 } else { 0o640 };
                let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
                if at.is_file() {
                    let _gone = fs::set_permissions(&at, permissions);
                }
            }
        }
    }

    fn fresh(&self) -> PathBuf {
        self.desk.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Puts a new file there, in place of what file is there.
    fn write(&mut self, at: &Path) {
        let new = self.fresh();
        let text = format!("content {}", new.display());
        fs::write(&new, &text).unwrap();
        let note = || self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone());
        if renameat_with(CWD, &new, CWD, at, RenameFlags::NOREPLACE).is_ok() {
            note();
            return;
        }
        if !at.is_file() || renameat_with(CWD, &new, CWD, at, RenameFlags::EXCHANGE).is_err() {
            // It was nowhere to be seen.
            fs::remove_file(&new).unwrap();
            return;
        }
        note();
        self.give_up(&new);
    }

    fn remove(&mut self, at: &Path) {
        let out = self.fresh();
        if fs::rename(at, &out).is_ok() {
            self.give_up(&out);
        }
    }

    /// What is at `out` was seen.
    fn give_up(&self, out: &Path) {
        let mut waiting = vec![out.to_owned()];
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if let Ok(text) = fs::read_to_string(&path) {
                given_up.insert(text);
            }
        }
    }
}

/// Every content below `root`, by where it is.
fn contents(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                // What a receiver has not put into place yet is in no safe place.
                if !entry.file_name().to_string_lossy().starts_with("stage-") {
                    waiting.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                all.insert(path, text);
            }
        }
    }
    all
}

/// Ends the receivers of a root, as a lost connection does.
fn cut(root: &Path) {
    for receiver in receivers(root) {
        let _gone = kill(receiver, Signal::SIGKILL);
    }
}

#[test]
fn nothing_is_lost_whatever_is_cut_and_killed() {
    torture(&Pair::new());
}

/// Whatever one does crosses what the other does.
#[test]
fn nothing_is_lost_far_from_each_other_whatever_is_cut_and_killed() {
    torture(&Pair::far_apart(ONE_WAY));
}

fn torture(pair: &Pair) {
    let duration = std::env::var("KSYNCD_TORTURE_SECONDS").ok().map_or(DURATION, |seconds| {
        Duration::from_secs(seconds.parse().expect("KSYNCD_TORTURE_SECONDS is a number"))
    });
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let desks = End::BOTH.map(|end| pair.host.path().join(format!("desk-{end:?}")));
    for desk in &desks {
        fs::create_dir(desk).unwrap();
    }
    let (written, given_up) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut daemons = pair.start_both();
    let mut random = fastrand::Rng::with_seed(seed);
    std::thread::scope(|scope| {
        for (index, end) in End::BOTH.into_iter().enumerate() {
            let mut person = Person {
                root: pair.root(end),
                desk: desks[index].clone(),
                written: &written,
                given_up: &given_up,
                next: &next,
                random: fastrand::Rng::with_seed(seed ^ (index as u64 + 1)),
            };
            let over = &over;
            scope.spawn(move || person.work(over));
        }
        let began = Instant::now();
        while began.elapsed() < duration {
            std::thread::sleep(Duration::from_millis(random.u64(200..2_500)));
            let index = random.usize(0..2);
            let end = End::BOTH[index];
            if random.bool() {
                cut(&pair.root(end));
            } else {
                daemons[index].kill_and_start(pair.run(end));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    pair.wait_until_equal(&daemons);

    // I8: nothing circulates.
    let shipped = || End::BOTH.map(|end| pair.target_status(end).bytes_shipped);
    let mut before = shipped();
    let began = Instant::now();
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = shipped();
        if now == before {
            break;
        }
        before = now;
        assert!(began.elapsed() < Duration::from_mins(1), "it never comes to rest: {now:?}");
    }
    pair.wait_until_equal(&daemons);

    let mut left: BTreeSet<String> = BTreeSet::new();
    for end in End::BOTH {
        left.extend(contents(&pair.root(end)).into_values());
    }
    let (given_up, written) = (given_up.into_inner().unwrap(), written.into_inner().unwrap());
    let lost: Vec<&String> =
        written.iter().filter(|text| !left.contains(*text) && !given_up.contains(*text)).collect();
    let logs = || daemons.iter().map(Daemon::log).collect::<Vec<_>>().join("\n--\n");
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?}\n{}", logs());
    eprintln!(
        "{} contents written, {} seen and given up, {} left",
        written.len(),
        given_up.len(),
        left.len()
    );
}
