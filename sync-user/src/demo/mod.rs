//! Demonstrates ksyncd on this machine alone, over real SSH on loopback.
//!
//! Nothing is pretended: a real SSH server with keys of its own, a second process that runs as
//! it would on a server, and files that are changed as users change them. The parts are those
//! that the tests and the benchmarks use.

pub mod compare;
pub mod site;
pub mod sshd;
pub mod workload;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock;
use sshd::Sshd;

/// How long the replica may take to become equal: a noisy machine takes long.
const EQUAL_MAX: Duration = Duration::from_mins(2);

/// Small files of the burst.
const BURST_FILES: usize = 2_000;

/// Writers that collide, of their own or with each other.
const WRITERS: u64 = 4;

/// What the demonstration shows.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How changes are seen: a value of `--capture`.
    pub capture: &'static str,
    /// How long four writers shall change the same names at random.
    pub writers: Duration,
    /// Whether it goes on after the changes until Ctrl-C.
    pub interactive: bool,
}

/// Runs the demonstration.
pub fn run(options: Options) -> Result<()> {
    let place = Place::new()?;
    let (source, target) = (place.source(), place.target());
    say("1. a sample web root, and an SSH server with throw-away keys on loopback");
    fs::create_dir(&source)?;
    site::make(&source, 1)?;
    let server = Sshd::start(place.path(), "")?;
    say(&format!(
        "   source {}\n   target 127.0.0.1:{} (port {})",
        source.display(),
        target.display(),
        server.port()
    ));

    say("2. ksyncd run: the existing tree is compared, and sent");
    let mut daemon = Daemon::start(&place, &server, options.capture)?;
    wait_until_equal(&source, &target, &mut daemon)?;
    say(&format!("   equal: {} files and directories", compare::count(&target)?));

    say(&format!("3. changes: {BURST_FILES} new files, edits, renames, removals, links, attributes"));
    let began = clock::now();
    change(&source)?;
    let written = clock::now();
    wait_until_equal(&source, &target, &mut daemon)?;
    let (writing, rest) = (written.since(began), clock::now().since(written));
    say(&format!(
        "   equal again: {} files and directories; the changes took {:.2} s, the replica was equal {:.2} s later",
        compare::count(&target)?,
        writing.as_secs_f64(),
        rest.as_secs_f64(),
    ));
    if !options.writers.is_zero() {
        collide(&source, options.writers)?;
        wait_until_equal(&source, &target, &mut daemon)?;
        say(&format!("   equal again: {} files and directories", compare::count(&target)?));
    }
    if options.interactive {
        say(&format!(
            "it goes on: change something in\n     {}\n   and see it in\n     {}\n   Ctrl-C ends it",
            source.display(),
            target.display()
        ));
        daemon.wait_for_interrupt()?;
    }
    daemon.stop()?;
    say("ksyncd has ended in order");
    Ok(())
}

/// What users do to a web root.
fn change(source: &Path) -> Result<()> {
    let burst = source.join("shop");
    fs::create_dir(&burst)?;
    for number in 0..BURST_FILES {
        let directory = burst.join(format!("{}", number % 20));
        if number < 20 {
            fs::create_dir(&directory)?;
        }
        fs::write(
            directory.join(format!("item-{number}.html")),
            format!("<p>item {number}</p>").repeat(150),
        )?;
    }
    fs::rename(source.join("blog/2025"), source.join("blog/archive"))?;
    fs::rename(source.join("img"), source.join("media"))?;
    fs::remove_dir_all(source.join("js"))?;
    workload::append(&source.join("index.html"), b"<p>edited</p>\n")?;
    let everything = source.join("everything");
    fs::create_dir(&everything)?;
    workload::scripted(&everything)?;
    Ok(())
}

/// Lets several writers change the same names at once.
fn collide(source: &Path, span: Duration) -> Result<()> {
    say(&format!("4. {WRITERS} writers that collide, for {} s", span.as_secs_f64()));
    let place = source.join("contested");
    fs::create_dir(&place)?;
    let done = workload::collide(&place, 0..WRITERS, span);
    let (done, refused) = done.iter().fold((0, 0), |sum, one| (sum.0 + one.done, sum.1 + one.refused));
    say(&format!("   {done} operations, and {refused} that another writer had made impossible"));
    Ok(())
}

fn wait_until_equal(source: &Path, target: &Path, daemon: &mut Daemon) -> Result<()> {
    let deadline = clock::now().plus(EQUAL_MAX);
    let mut pause = Duration::from_millis(20);
    loop {
        let differences = match compare::differences(source, target) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            differences => Some(differences?),
        };
        if differences.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        daemon.check()?;
        if clock::now() > deadline {
            let first: Vec<String> =
                differences.unwrap_or_default().iter().take(5).map(ToString::to_string).collect();
            bail!("the replica is not equal after {} s:\n  {}", EQUAL_MAX.as_secs(), first.join("\n  "));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

fn say(text: &str) {
    // Nobody reads it when standard output is closed.
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

/// A folder of our own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let name = format!("ksyncd-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn source(&self) -> PathBuf {
        self.0.join("www")
    }

    fn target(&self) -> PathBuf {
        self.0.join("replica")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The system clears the folder for temporary files some day.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// `ksyncd run` as a process of its own.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(place: &Place, server: &Sshd, capture: &str) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let state = place.path().join("state");
        let child = server
            .run_through(&program, &place.source(), &place.target(), &state)
            // The writers remove what they meet, which looks like an accident.
            .args(["--capture", capture, "--max-delete", "100"])
            .stdin(Stdio::null())
            .spawn()
            .context("start ksyncd run")?;
        Ok(Self { child })
    }

    /// Fails when the daemon has ended by itself.
    fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("ksyncd run ended with {status}"),
        }
    }

    /// The terminal sends Ctrl-C to both processes; the daemon ends by it, and this one waits.
    fn wait_for_interrupt(&mut self) -> Result<()> {
        let blocked: nix::sys::signal::SigSet = [nix::sys::signal::Signal::SIGINT].into_iter().collect();
        blocked.thread_block()?;
        while self.child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Asks the daemon to end, and waits until it has: it prints its table.
    fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            let process = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
            nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("ksyncd run ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
