//! The connection is cut, or the receiver killed, after every single frame of a script: it always
//! converges (I1), and a reader of the target never meets a half file, a gap, or anything older than
//! what it has met before (I2, I4).
//!
//! The SSH server runs this very program between the source and the receiver ([`proxy`]): it passes
//! frames on, and ends at the one that it was told.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sync_user::demo::{compare, workload};

use crate::host::{Daemon, Host};

/// The folder in which a test and its proxies talk, as an environment variable.
const CONTROL: &str = "KSYNCD_TEST_CUTS";

/// Length and checksum of a frame.
const HEADER_BYTES: usize = 8;

/// Beside the length: the payload is compressed.
const COMPRESSED: u32 = 1 << 31;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The source and the receiver lose each other.
    Cut,
    /// The receiver dies.
    Kill,
}

/// What a proxy is told, and whether it was done.
pub(crate) struct Control {
    directory: PathBuf,
}

/// "In order number `number`, end after `frames` more frames."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) number: u32,
    pub(crate) frames: u32,
    pub(crate) end: End,
}

impl Control {
    /// A host whose SSH server runs proxies, and what these are told by.
    pub(crate) fn new() -> (Self, Host) {
        let host = Host::with_sshd_in(|directory| {
            let program = std::env::current_exe().unwrap();
            format!(
                "ForceCommand /usr/bin/env {CONTROL}={} {} --ignored --exact cuts::proxy --nocapture",
                directory.display(),
                program.display()
            )
        });
        (Self { directory: host.path().to_owned() }, host)
    }

    pub(crate) fn give(&self, order: Order) {
        let Order { number, frames, end } = order;
        let new = self.directory.join("new");
        fs::write(&new, format!("{number} {frames} {end:?}")).unwrap();
        fs::rename(new, self.directory.join("order")).unwrap();
    }

    fn order(&self) -> Option<Order> {
        let text = fs::read_to_string(self.directory.join("order")).ok()?;
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap();
        let (number, frames) = (word().parse().unwrap(), word().parse().unwrap());
        let end = if word() == "Cut" { End::Cut } else { End::Kill };
        Some(Order { number, frames, end }).filter(|order| !self.is_done(order.number))
    }

    fn done(&self, number: u32) {
        fs::write(self.directory.join(format!("done-{number}")), "").unwrap();
    }

    pub(crate) fn is_done(&self, number: u32) -> bool {
        self.directory.join(format!("done-{number}")).exists()
    }
}

/// Runs the command that the source wants to run, and stands between when that is the receiver.
#[test]
#[ignore = "it is started by the SSH server of the tests here"]
fn proxy() {
    let control = Control { directory: std::env::var_os(CONTROL).unwrap().into() };
    let command = std::env::var("SSH_ORIGINAL_COMMAND").unwrap();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(&command);
    if !command.contains("receive --root") {
        let error = shell.exec();
        panic!("it was not started: {error}");
    }
    // The shell becomes the receiver, so that is what a signal reaches.
    let mut receiver = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (receiver.stdin.take().unwrap(), receiver.stdout.take().unwrap());
    std::thread::spawn(move || {
        let _gone = copy(&mut output);
        std::process::exit(0);
    });
    let mut current = None;
    while let Ok(frame) = frame() {
        let order = control.order();
        if current.is_none_or(|(number, _)| order.is_some_and(|order| order.number != number)) {
            current = order.map(|order| (order.number, 0));
        }
        let is_last = |passed| order.is_some_and(|order| passed == order.frames);
        if !current.is_some_and(|(_, passed)| is_last(passed)) && input.write_all(&frame).is_err() {
            break;
        }
        let Some((number, passed)) = &mut current else { continue };
        *passed += 1;
        if is_last(*passed) || is_last(*passed - 1) {
            if order.is_some_and(|order| order.end == End::Kill) {
                // Now and then it has begun.
                std::thread::sleep(Duration::from_millis(u64::from(*number % 4)));
                receiver.kill().unwrap();
            }
            control.done(*number);
            std::process::exit(0);
        }
    }
    drop(input);
    let _ended = receiver.wait();
    std::process::exit(0);
}

/// Passes on what the receiver says, at once.
fn copy(output: &mut impl io::Read) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = output.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&buffer[..count])?;
        stdout.flush()?;
    }
}

/// The next frame that the source sends.
fn frame() -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    let mut stdin = io::stdin().lock();
    stdin.read_exact(&mut frame)?;
    let length = (u32::from_le_bytes(*frame.first_chunk().unwrap()) & !COMPRESSED) as usize;
    frame.resize(HEADER_BYTES + length, 0);
    stdin.read_exact(&mut frame[HEADER_BYTES..])?;
    Ok(frame)
}

/// What the reader looks at: each is replaced by a rename at the source, so it is whole there too.
const PAGES: [(&str, usize); 3] = [("page", 100), ("dir/inner", 5_000), ("large", 40_000)];

fn content(round: u32, times: usize) -> String {
    format!("{round:08}").repeat(times)
}

/// Changes the source in all ways that there is a step for; each round is told from all others.
fn script(source: &Path, round: u32) {
    for (name, times) in PAGES {
        let new = source.join(".new");
        fs::write(&new, content(round, times)).unwrap();
        fs::create_dir_all(source.join("dir")).unwrap();
        fs::rename(new, source.join(name)).unwrap();
    }
    let link = source.join(".link");
    symlink(format!("to-{round}"), &link).unwrap();
    fs::rename(link, source.join("link")).unwrap();
    let names = ["even", "odd"];
    let (now, before) =
        (source.join(names[round as usize % 2]), source.join(names[(round as usize + 1) % 2]));
    if round == 0 {
        fs::create_dir(&now).unwrap();
        for file in ["kept", "one", "other"] {
            fs::write(now.join(file), file).unwrap();
        }
    } else {
        fs::rename(before, &now).unwrap();
        workload::exchange(&now.join("one"), &now.join("other")).unwrap();
    }
    let mode = if round.is_multiple_of(2) { 0o640 } else { 0o600 };
    fs::set_permissions(now.join("kept"), fs::Permissions::from_mode(mode)).unwrap();
    let (twin, empty) = (source.join("twin"), source.join("empty"));
    if round.is_multiple_of(2) {
        fs::hard_link(source.join("page"), twin).unwrap();
        fs::create_dir(empty).unwrap();
    } else {
        fs::remove_file(twin).unwrap();
        fs::remove_dir(empty).unwrap();
    }
}

/// Reads until `done`; says how many versions it has met.
fn read(target: &Path, done: &AtomicBool) -> usize {
    let (mut newest, mut met) = (BTreeMap::new(), 0);
    while !done.load(Ordering::Relaxed) {
        for (name, times) in PAGES {
            let text = fs::read_to_string(target.join(name)).expect("I2: the name is never missing");
            let round: u32 = text.get(..8).expect("I2: never a part").parse().unwrap();
            assert!(text == content(round, times), "I2: {name} is not whole");
            let before = newest.insert(name, round);
            assert!(before.is_none_or(|before| before <= round), "I4: {name} was {before:?}, and is {round}");
            met += usize::from(before != Some(round));
        }
        let link = fs::read_link(target.join("link")).expect("I2: the link is never missing");
        assert!(link.to_string_lossy().starts_with("to-"));
    }
    met
}

fn after_every_frame(end: End) {
    let (control, host) = Control::new();
    let (source, target) = (host.source(), host.target());
    script(&source, 0);
    let mut daemon = host.start();
    let is_equal = || compare::differences(&source, &target).is_ok_and(|differences| differences.is_empty());
    let done = AtomicBool::new(false);
    let mut frames = 0;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&target, &done));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Once in the midst of steps as they come, and once from the hello on.
            // How many frames there are differs a little, as changes gather.
            let mut in_vain = 0;
            while in_vain < 2 {
                let ended = round(&mut daemon, &control, end, frames, &source, &is_equal);
                in_vain = if ended { 0 } else { in_vain + 1 };
                frames += 1;
            }
        }));
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > PAGES.len());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(frames > 15, "the script is longer than {frames} frames");
    host.wait_until_equal(&mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

/// Ends the connection after so many frames, and the next after as many; then waits until the trees
/// are equal. `false` when there are not so many.
fn round(
    daemon: &mut Daemon,
    control: &Control,
    end: End,
    frames: u32,
    source: &Path,
    is_equal: &impl Fn() -> bool,
) -> bool {
    let [first, second] = [2 * frames + 1, 2 * frames + 2];
    control.give(Order { number: first, frames, end });
    script(source, frames + 1);
    daemon.wait_until("the connection ends", || control.is_done(first) || is_equal());
    let since = Instant::now();
    // Times of directories may follow when all else is equal.
    while !control.is_done(first) && since.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended = control.is_done(first);
    control.give(Order { number: second, frames, end });
    daemon.wait_until(&format!("the trees are equal after {frames} frames"), is_equal);
    ended
}

#[test]
fn a_connection_that_is_cut_after_any_frame_leaves_nothing_half_done() {
    after_every_frame(End::Cut);
}

#[test]
fn a_receiver_that_is_killed_after_any_frame_leaves_nothing_half_done() {
    after_every_frame(End::Kill);
}
