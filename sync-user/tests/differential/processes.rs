//! Runs operations in processes of their own; the last of them sees the tree through a bind
//! mount, in a mount namespace that nobody else is in.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::operation::{Operation, PROCESSES};
use crate::perform::Performer;

/// What a process is told; it answers each with one line.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Perform { operation: Operation, stamp: u32 },
    ReleaseAll,
}

/// What became of an order: nothing, or the number of the error that made it impossible.
pub(crate) type Answer = Result<(), i32>;

/// The processes that change the tree.
pub(crate) struct Processes(Vec<Process>);

struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Processes {
    pub(crate) fn start(root: &Path, outside: &Path, bind: &Path) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let start = |number| {
            let mut command = Command::new(&program);
            command.arg("--serve").arg(root).arg("--outside").arg(outside);
            if number == PROCESSES - 1 {
                command.arg("--bind").arg(bind);
            }
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let orders = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let answers = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
            Ok(Process { child, orders, answers })
        };
        (0..PROCESSES).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Carries a step out, and says what became of it.
    pub(crate) fn perform(&mut self, process: u8, operation: &Operation, stamp: u32) -> io::Result<Answer> {
        let process = &mut self.0[usize::from(process)];
        process.order(&Order::Perform { operation: operation.clone(), stamp })?;
        process.answer()
    }

    /// Has all processes carry out their steps at the same time; says what became of each.
    pub(crate) fn perform_together(
        &mut self,
        steps: &[(u8, Operation)],
        first: u32,
    ) -> io::Result<Vec<Answer>> {
        for ((process, operation), stamp) in steps.iter().zip(first..) {
            self.0[usize::from(*process)].order(&Order::Perform { operation: operation.clone(), stamp })?;
        }
        steps.iter().map(|(process, _)| self.0[usize::from(*process)].answer()).collect()
    }

    pub(crate) fn release_all(&mut self) -> io::Result<()> {
        for process in &mut self.0 {
            process.order(&Order::ReleaseAll)?;
            process.answer()?.map_err(io::Error::from_raw_os_error)?;
        }
        Ok(())
    }

    /// The inodes of all files that are mapped shared at the moment.
    pub(crate) fn mapped(&self) -> io::Result<BTreeSet<u64>> {
        let mut inodes = BTreeSet::new();
        for process in &self.0 {
            let maps = std::fs::read(format!("/proc/{}/maps", process.child.id()))?;
            inodes.extend(maps.split(|byte| *byte == b'\n').filter_map(shared));
        }
        Ok(inodes)
    }
}

/// The inode of a line of `/proc/PID/maps`, if what it maps is written back:
/// `address rw-s offset device inode path`.
fn shared(line: &[u8]) -> Option<u64> {
    let line = String::from_utf8_lossy(line);
    let mut fields = line.split_ascii_whitespace();
    fields.nth(1).filter(|access| *access == "rw-s")?;
    fields.nth(2)?.parse().ok()
}

impl Process {
    fn order(&mut self, order: &Order) -> io::Result<()> {
        serde_json::to_writer(&mut self.orders, order)?;
        self.orders.write_all(b"\n")
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The other end: serves orders from standard input until it is closed.
pub(crate) fn serve(root: &Path, outside: PathBuf, bind: Option<&Path>) -> io::Result<()> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if let Some(bind) = bind {
        bind_in_own_namespace(root, bind)?;
    }
    let mut performer = Performer::new(bind.unwrap_or(root).to_owned(), outside);
    for line in io::stdin().lock().lines() {
        let answer: Answer = match serde_json::from_str(&line?)? {
            Order::Perform { operation, stamp } => performer
                .perform(&operation, stamp)
                .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)),
            Order::ReleaseAll => {
                performer.release_all();
                Ok(())
            }
        };
        println!("{}", serde_json::to_string(&answer)?);
    }
    Ok(())
}

fn bind_in_own_namespace(root: &Path, bind: &Path) -> io::Result<()> {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    Ok(mount(Some(root), bind, NONE, MsFlags::MS_BIND, NONE)?)
}
