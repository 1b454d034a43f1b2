//! Starts those who watch: ksyncd's backends, and inotify on every directory.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags as FanotifyFlags, MarkFlags, MaskFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Watcher {
    Ebpf,
    /// What eBPF asks of the kernel, and nobody who hears it: the kernel's own part of the cost.
    Mark,
    Fanotify,
    /// A watch on every directory, for what lsyncd asks for.
    Inotify,
    /// The same, and each write: what fanotify is asked for, so that files that stay open are seen.
    InotifyWrites,
}

/// What the contender prints once it watches.
const READY: &str = "perf: watching";

/// As lsyncd 2.2 has it, without `IN_MODIFY`: it waits for closes.
const MASK: AddWatchFlags = AddWatchFlags::IN_ATTRIB
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DONT_FOLLOW)
    .union(AddWatchFlags::IN_ONLYDIR);

/// A watcher that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Watcher {
    pub(crate) const ALL: [Self; 5] =
        [Self::Ebpf, Self::Mark, Self::Fanotify, Self::Inotify, Self::InotifyWrites];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "eBPF",
            Self::Mark => "mark",
            Self::Fanotify => "fanotify",
            Self::Inotify => "inotify",
            Self::InotifyWrites => "inotify, writes too",
        }
    }

    /// Starts it, and waits until it watches.
    pub(crate) fn start(self, ksyncd: &Path, root: &Path) -> Result<Running> {
        let mut command = match self {
            Self::Ebpf | Self::Fanotify => {
                let mut command = Command::new(ksyncd);
                command.args(["tail", "--capture", &self.name().to_lowercase()]).arg(root);
                command
            }
            Self::Mark | Self::Inotify | Self::InotifyWrites => {
                let mut command = Command::new(std::env::current_exe().context("find this program")?);
                command.arg(if self == Self::Mark { "mark" } else { "inotify" }).arg(root);
                if self == Self::InotifyWrites {
                    command.arg("--writes");
                }
                command
            }
        };
        self.wait_until_it_watches(command.stdout(Stdio::null()))
    }

    /// Starts one of ksyncd's, whose changes come out of its standard output.
    pub(super) fn start_telling(self, ksyncd: &Path, root: &Path) -> Result<Running> {
        let mut command = Command::new(ksyncd);
        command.args(["tail", "--json", "--capture", &self.name().to_lowercase()]).arg(root);
        self.wait_until_it_watches(command.stdout(Stdio::piped()))
    }

    fn wait_until_it_watches(self, command: &mut Command) -> Result<Running> {
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut running = Running(child.with_context(|| format!("start {}", self.name()))?);
        let errors = running.0.stderr.take().context("read what it says")?;
        let mut first = String::new();
        BufReader::new(errors).read_line(&mut first).context("read what it says")?;
        if first.contains("capturing") || first.starts_with(READY) {
            eprintln!("perf: {}", first.trim());
            return Ok(running);
        }
        bail!("{} does not watch: {}", self.name(), first.trim())
    }
}

/// Asks for changes of the file system of `root`, and for all of them to be ignored, until it is
/// killed.
pub(crate) fn mark(root: &Path) -> Result<()> {
    let flags = FanotifyFlags::FAN_CLASS_NOTIF | FanotifyFlags::from_bits_retain(libc::FAN_REPORT_FID);
    let group = Fanotify::init(flags, EventFFlags::O_RDONLY).context("start fanotify")?;
    let changes = MaskFlags::FAN_MODIFY | MaskFlags::FAN_CLOSE_WRITE | MaskFlags::FAN_ATTRIB;
    let added = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
    let ignored = MarkFlags::FAN_MARK_IGNORED_MASK | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
    for flags in [added | ignored, added] {
        group.mark(flags, changes, AT_FDCWD, Some(root)).context("mark the file system")?;
    }
    eprintln!("{READY}");
    loop {
        std::thread::park();
    }
}

/// Watches every directory below `root`, for each write if `writes`, and reads what is told, until
/// it is killed.
pub(crate) fn watch_by_inotify(root: &Path, writes: bool) -> Result<()> {
    let mask = if writes { MASK | AddWatchFlags::IN_MODIFY } else { MASK };
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).context("start inotify")?;
    let mut waiting: Vec<PathBuf> = vec![root.to_owned()];
    let mut watches = std::collections::HashMap::new();
    let add_all = |waiting: &mut Vec<PathBuf>, watches: &mut std::collections::HashMap<_, _>| {
        while let Some(directory) = waiting.pop() {
            // It may be gone again.
            let Ok(watch) = inotify.add_watch(&directory, mask) else { continue };
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    waiting.push(entry.path());
                }
            }
            watches.insert(watch, directory);
        }
    };
    add_all(&mut waiting, &mut watches);
    eprintln!("{READY}");
    loop {
        for event in inotify.read_events().context("read inotify events")? {
            let is_new_directory = event.mask.contains(AddWatchFlags::IN_ISDIR)
                && event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
            if let (true, Some(directory), Some(name)) =
                (is_new_directory, watches.get(&event.wd), &event.name)
            {
                waiting.push(directory.join(name));
                add_all(&mut waiting, &mut watches);
            }
        }
    }
}
