//! Works at one server: new versions of pages, and files that come, move and go.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::press::Press;
use crate::host::PATIENCE;

/// How long an author rests at most, in ms.
const REST_MAX: u64 = 25;

/// Somebody who works until told to stop.
pub(super) struct Author {
    over: Arc<AtomicBool>,
    acts: Arc<AtomicUsize>,
    thread: JoinHandle<Work>,
}

/// What only this author has touched, as it has to be in the end: the text of each path below the
/// root.
pub(super) type Work = BTreeMap<String, String>;

struct Desk {
    root: PathBuf,
    name: &'static str,
    press: Arc<Press>,
    shared: Vec<String>,
    /// Its own pages, which are never removed.
    pages: Vec<String>,
    own: Work,
    next: u32,
    random: fastrand::Rng,
}

impl Author {
    /// Begins to work on pages that others write, too, and on its own.
    pub(super) fn start(
        root: PathBuf,
        name: &'static str,
        press: &Arc<Press>,
        shared: Vec<String>,
        pages: Vec<String>,
    ) -> Self {
        let (over, acts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = std::thread::spawn({
            let (over, acts) = (Arc::clone(&over), Arc::clone(&acts));
            let random = fastrand::Rng::new();
            let press = Arc::clone(press);
            let mut desk = Desk { root, name, press, shared, pages, own: Work::new(), next: 0, random };
            move || {
                while !over.load(Ordering::Relaxed) {
                    desk.act();
                    acts.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(desk.random.u64(..REST_MAX)));
                }
                desk.own
            }
        });
        Self { over, acts, thread }
    }

    /// Waits until it has done this much more.
    pub(super) fn wait_for(&self, acts: usize) {
        let (began, before) = (Instant::now(), self.acts.load(Ordering::Relaxed));
        while self.acts.load(Ordering::Relaxed) < before + acts {
            assert!(began.elapsed() < PATIENCE && !self.thread.is_finished(), "nobody writes");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn stop(self) -> Work {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Desk {
    fn act(&mut self) {
        match self.random.u8(..20) {
            0..=6 => {
                let page = self.shared[self.random.usize(..self.shared.len())].clone();
                let size = self.size();
                self.press.publish(&self.root, &page, self.name, size);
            }
            7..=11 => {
                let page = self.pages[self.random.usize(..self.pages.len())].clone();
                self.write(page);
            }
            12..=15 => {
                self.next += 1;
                let page = format!("archive/{}-{}/{}.html", self.name, self.next % 7, self.next);
                self.write(page);
            }
            16..=17 => {
                if let Some(path) = self.of_archive() {
                    fs::remove_file(self.root.join(&path)).unwrap();
                    self.own.remove(&path);
                }
            }
            _ => {
                if let Some(from) = self.of_archive() {
                    let to = format!("{from}.old.html");
                    fs::rename(self.root.join(&from), self.root.join(&to)).unwrap();
                    let text = self.own.remove(&from).unwrap();
                    self.own.insert(to, text);
                }
            }
        }
    }

    fn write(&mut self, page: String) {
        let size = self.size();
        let text = self.press.publish(&self.root, &page, self.name, size);
        self.own.insert(page, text);
    }

    /// Most pages are small, and some are large.
    fn size(&mut self) -> usize {
        match self.random.u8(..20) {
            0 => self.random.usize(300_000..1_500_000),
            1..=4 => self.random.usize(20_000..200_000),
            _ => self.random.usize(100..10_000),
        }
    }

    fn of_archive(&mut self) -> Option<String> {
        let all: Vec<&String> = self.own.keys().filter(|path| path.starts_with("archive/")).collect();
        (!all.is_empty()).then(|| all[self.random.usize(..all.len())].clone())
    }
}
