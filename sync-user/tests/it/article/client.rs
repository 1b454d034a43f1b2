//! Reads the site as browsers do, by curl: a name with two addresses, which are tried in turn.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::network::Network;
use super::press::Press;
use crate::host::PATIENCE;

/// curl's exit status when the server has answered, but not with the page.
const REFUSED: i32 = 22;

/// How often files themselves are read.
const LOOK: Duration = Duration::from_millis(5);

/// Somebody who reads.
pub(super) struct Client(pub(super) Network);

/// What came instead of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoPage {
    /// The server says so, with this status.
    Status(String),
    /// There was no answer, or not all of it.
    NoAnswer(String),
}

impl Client {
    /// Reads a page from the first of the addresses that takes a connection.
    pub(super) fn read(&self, addresses: &[Ipv4Addr], page: &str) -> Result<Vec<u8>, NoPage> {
        let addresses: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
        let _inside = self.0.enter();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
            .args(["--connect-timeout", "10", "--max-time", "60", "--write-out", "%{stderr} %{http_code}"])
            .args(["--resolve", &format!("site:80:{}", addresses.join(","))])
            .arg(format!("http://site/{page}"))
            .stdin(Stdio::null())
            .output()
            .expect("start curl (package curl)");
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(output.stdout),
            Some(REFUSED) => Err(NoPage::Status(said.rsplit(' ').next().unwrap_or_default().to_owned())),
            _ => Err(NoPage::NoAnswer(format!("{}: {said}", output.status))),
        }
    }

    /// As a browser reads: once again, if the server has vanished in the middle of its answer.
    fn browse(&self, addresses: &[Ipv4Addr], page: &str) -> Result<Vec<u8>, NoPage> {
        match self.read(addresses, page) {
            Err(NoPage::NoAnswer(_)) => self.read(addresses, page),
            result => result,
        }
    }
}

/// Several who read pages all the time, and complain of each that they do not get, or not whole.
pub(super) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    client: Arc<Client>,
    press: Arc<Press>,
    pages: Vec<String>,
    over: AtomicBool,
    read: AtomicUsize,
    /// Answers of which Apache has taken the length from another version.
    cut_by_apache: AtomicUsize,
    complaints: Mutex<Vec<String>>,
}

impl Readers {
    /// One reader for each list of addresses.
    pub(super) fn start(
        client: &Arc<Client>,
        press: &Arc<Press>,
        pages: &[String],
        habits: Vec<Vec<Ipv4Addr>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            client: Arc::clone(client),
            press: Arc::clone(press),
            pages: pages.to_vec(),
            over: AtomicBool::new(false),
            read: AtomicUsize::new(0),
            cut_by_apache: AtomicUsize::new(0),
            complaints: Mutex::default(),
        });
        let read = |addresses: Vec<Ipv4Addr>| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.read(&addresses))
        };
        let threads = habits.into_iter().map(read).collect();
        Self { shared, threads }
    }

    /// Has somebody else read the files below `root` themselves, as no web server comes between.
    pub(super) fn read_below(&mut self, root: PathBuf) {
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::spawn(move || shared.read_below(&root)));
    }

    /// Waits until they have read this many more pages.
    pub(super) fn wait_for(&self, pages: usize) {
        let (began, before) = (Instant::now(), self.shared.read.load(Ordering::Relaxed));
        while self.shared.read.load(Ordering::Relaxed) < before + pages {
            assert!(began.elapsed() < PATIENCE, "nobody reads: {:?}", self.complaints());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.shared.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has them end, and gives how many pages they have read.
    pub(super) fn stop(mut self) -> usize {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        assert_eq!(self.complaints(), Vec::<String>::new());
        let cut = self.shared.cut_by_apache.load(Ordering::Relaxed);
        eprintln!("{cut} answers were as long as another version of their page");
        self.shared.read.load(Ordering::Relaxed)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn read_below(&self, root: &Path) {
        while !self.over.load(Ordering::Relaxed) {
            let page = &self.pages[fastrand::usize(..self.pages.len())];
            let complaint = match fs::read(root.join(page)) {
                Ok(text) if self.press.has_printed(page, &text) => None,
                Ok(text) => Some(never_printed(&text)),
                Err(error) => Some(error.to_string()),
            };
            self.complain(complaint.map(|complaint| format!("{page} below {}: {complaint}", root.display())));
            std::thread::sleep(LOOK);
        }
    }

    fn complain(&self, complaint: Option<String>) {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).extend(complaint);
    }

    fn read(&self, addresses: &[Ipv4Addr]) {
        while !self.over.load(Ordering::Relaxed) {
            let page = &self.pages[fastrand::usize(..self.pages.len())];
            let complaint = match self.client.browse(addresses, page) {
                Ok(text) if self.press.has_printed(page, &text) => None,
                Ok(text) if self.press.is_as_long_as_another(page, &text) => {
                    self.cut_by_apache.fetch_add(1, Ordering::Relaxed);
                    None
                }
                Ok(text) => Some(never_printed(&text)),
                Err(no_page) => Some(format!("{no_page:?}")),
            };
            self.complain(complaint.map(|complaint| format!("{page} from {addresses:?}: {complaint}")));
            self.read.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn never_printed(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let (lines, first, last) = (text.lines().count(), text.lines().next(), text.lines().last());
    format!("never printed, {} bytes in {lines} lines: {first:?} to {last:?}", text.len())
}
