//! A source, a target and an SSH server in a folder of their own, and the daemon between them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sync_user::control::{Status, TargetStatus};
use sync_user::demo::compare;
use sync_user::demo::sshd::Sshd;

/// The program under test.
pub(crate) const KSYNCD: &str = env!("CARGO_BIN_EXE_ksyncd");

/// The capture that is tested, as `--capture` names it; `KSYNCD_TEST_CAPTURE` makes it another, where the
/// kernel allows it.
pub(crate) fn capture() -> String {
    std::env::var("KSYNCD_TEST_CAPTURE").unwrap_or_else(|_| "fanotify".to_owned())
}

/// How long a condition may take to come true: these machines can be very busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// What the log says when somebody else has changed the target.
const SURPRISE: &str = "somebody has changed it";

/// A machine of its own, as far as a test is concerned.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    pub(crate) sshd: Sshd,
    /// The test itself changes the target behind the source's back.
    shared: bool,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with_sshd("")
    }

    /// For a test that itself changes the target behind the source's back.
    pub(crate) fn shared() -> Self {
        Self { shared: true, ..Self::new() }
    }

    /// `extra` is added to the configuration of the SSH server.
    pub(crate) fn with_sshd(extra: &str) -> Self {
        Self::with_sshd_in(|_| extra.to_owned())
    }

    /// The same, where it depends on the folder of this machine.
    pub(crate) fn with_sshd_in(extra: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::Builder::new().prefix("ksyncd-it-").tempdir().unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        let sshd = Sshd::start(directory.path(), &extra(directory.path())).unwrap();
        Self { directory, sshd, shared: false }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.path().join("target")
    }

    /// `ksyncd run` with every flag that is needed; a test may add to it.
    pub(crate) fn run(&self) -> Command {
        self.run_to(&self.target())
    }

    pub(crate) fn run_to(&self, target: &Path) -> Command {
        let state = self.path().join("state");
        let mut command = self.sshd.run_through(Path::new(KSYNCD), &self.source(), target, &state);
        command.args(["--capture", &capture()]);
        command
    }

    /// `ksyncd NAME` for the daemons of this machine.
    pub(crate) fn ask(&self, name: &str) -> Command {
        let mut command = Command::new(KSYNCD);
        command.arg(name).arg("--state-dir").arg(self.path().join("state"));
        command
    }

    /// `ksyncd state NAME` for the ledgers of this machine.
    pub(crate) fn ask_state(&self, name: &str) -> Command {
        let mut command = Command::new(KSYNCD);
        command.args(["state", name]).arg("--state-dir").arg(self.path().join("state"));
        command
    }

    /// How the first target of the running daemon is.
    pub(crate) fn target_status(&self) -> TargetStatus {
        first_target(self.ask("status"))
    }

    /// Starts the daemon, and waits until the two trees are equal.
    pub(crate) fn start(&self) -> Daemon {
        let mut daemon = Daemon::start(self.run());
        self.wait_until_equal(&mut daemon);
        daemon
    }

    /// The same, where removals are made however many they are: for writers that remove at random.
    pub(crate) fn start_unguarded(&self) -> Daemon {
        let mut command = self.run();
        command.args(["--max-delete", "100"]);
        let mut daemon = Daemon::start(command);
        self.wait_until_equal(&mut daemon);
        daemon
    }

    /// Starts the daemon, and waits until it says that all is replicated: for trees that take long to
    /// compare.
    pub(crate) fn start_without_comparing(&self) -> Daemon {
        let mut daemon = Daemon::start(self.run());
        daemon.wait_until("all is replicated", || {
            self.ask("wait").args(["--timeout", "1s"]).output().is_ok_and(|output| output.status.success())
        });
        daemon
    }

    /// Waits until the target equals the source, and stays so for a moment.
    pub(crate) fn wait_until_equal(&self, daemon: &mut Daemon) {
        let (source, target) = (self.source(), self.target());
        daemon.wait_until("the trees are equal", || {
            compare::differences(&source, &target).is_ok_and(|differences| differences.is_empty())
        });
        std::thread::sleep(Duration::from_millis(300));
        let differences = compare::differences(&source, &target).unwrap();
        assert_eq!(differences, [], "equal once, and then not any more\n{}", daemon.log());
        if !self.shared {
            // What the source believes of the target holds whatever happened to its steps.
            assert!(!daemon.log().contains(SURPRISE), "nobody else changes the target\n{}", daemon.log());
        }
    }
}

/// Bytes that nobody can guess, and that are nowhere else.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// How the first target is of the daemon that `command`, a `ksyncd status`, asks.
pub(crate) fn first_target(mut command: Command) -> TargetStatus {
    let output = command.arg("--json").output().unwrap();
    let mut status: Status = serde_json::from_slice(&output.stdout).unwrap();
    status.targets.remove(0)
}

/// A running daemon; dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<String>>,
}

impl Daemon {
    pub(crate) fn start(command: Command) -> Self {
        Self::start_logging(command, Arc::default())
    }

    fn start_logging(mut command: Command, log: Arc<Mutex<String>>) -> Self {
        let mut child = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let copy = Arc::clone(&log);
        let readers = vec![
            std::thread::spawn(move || read(stdout, |_| ())),
            std::thread::spawn(move || {
                read(stderr, |text| copy.lock().unwrap_or_else(PoisonError::into_inner).push_str(text))
            }),
        ];
        Self { child, log, readers }
    }

    /// What it has logged until now.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log as it grows.
    pub(crate) fn shared_log(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.log)
    }

    /// Where it serves metrics and the page, as it has logged.
    pub(crate) fn address(&self) -> String {
        self.log().split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&self) -> bool {
        let process = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let flags = nix::sys::wait::WaitPidFlag::WEXITED
            | nix::sys::wait::WaitPidFlag::WNOHANG
            | nix::sys::wait::WaitPidFlag::WNOWAIT;
        let state = nix::sys::wait::waitid(nix::sys::wait::Id::Pid(process), flags).unwrap();
        state != nix::sys::wait::WaitStatus::StillAlive
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let process = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(process, signal).unwrap();
    }

    /// Has it do nothing at all, and waits until that is so; `SIGCONT` has it go on.
    pub(crate) fn pause(&self) {
        self.signal(nix::sys::signal::Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: std::io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            // Its name, which may hold anything, stands in parentheses.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        let began = Instant::now();
        while !fs::read_dir(&tasks).unwrap().all(is_stopped) {
            assert!(began.elapsed() < PATIENCE, "it does not stop\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }

    /// Kills it, waits until it is gone, and starts the next one, whose log goes on where this one
    /// ends.
    pub(crate) fn kill_and_start(&mut self, command: Command) {
        self.end();
        self.start_again(command);
    }

    /// Starts the next one after this has [ended](Self::end), as above.
    pub(crate) fn start_again(&mut self, command: Command) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push_str("-- killed\n");
        *self = Self::start_logging(command, Arc::clone(&self.log));
    }

    /// Waits until `condition` holds; fails when the daemon ends by itself, or never gets there.
    pub(crate) fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("waiting until {what}: the daemon ended with {status}\n{}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let log = Arc::clone(&self.log);
        self.wait_until(&format!("the log says \"{text}\""), || {
            log.lock().unwrap_or_else(PoisonError::into_inner).contains(text)
        });
    }

    /// Waits until it has ended by itself, or by a signal.
    pub(crate) fn wait(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut texts = self.readers.drain(..).map(|reader| reader.join().unwrap());
        Ended { status, stdout: texts.next().unwrap(), stderr: texts.next().unwrap() }
    }

    /// Asks it to end as a service manager does.
    pub(crate) fn stop(self) -> Ended {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn read(mut stream: impl Read, mut each: impl FnMut(&str)) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
            Ok(count) => {
                each(&String::from_utf8_lossy(&buffer[..count]));
                all.extend_from_slice(&buffer[..count]);
            }
        }
    }
}

/// A small file system in memory, mounted in a folder of a test.
pub(crate) struct Memory {
    at: PathBuf,
}

impl Memory {
    /// `options` are those of `mount -t tmpfs`.
    pub(crate) fn mount(at: &Path, options: &str) -> Self {
        Self::mount_as("tmpfs", at, options)
    }

    /// `kind` is that of `mount -t`.
    pub(crate) fn mount_as(kind: &str, at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", kind, "-o", options, kind], at);
        Self { at: at.to_owned() }
    }

    pub(crate) fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.at);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ended = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

fn mount(words: &[&str], at: &Path) {
    let status = Command::new("mount").args(words).arg(at).status().unwrap();
    assert!(status.success(), "mount {words:?} {}: this test needs root", at.display());
}
