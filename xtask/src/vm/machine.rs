//! Starts QEMU, shows the console, and reads there how the command ended.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::image::Image;
use super::kernel::Kernel;

/// A machine whose console says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_mins(5);

/// Boots that are tried before giving up: without acceleration, QEMU 7.2 fails one boot in
/// sixty by itself, before `init` is reached.
const BOOTS_MAX: usize = 3;

/// What time is in a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// As outside: two processors, each as fast as it can be.
    Real,
    /// A nanosecond for each instruction of one processor: a time is the same in every run,
    /// whatever else this machine does.
    Instructions,
}

/// What a machine has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hardware {
    pub(super) clock: Clock,
    /// In MiB. The archive that is its root takes some of it.
    pub(super) memory: u32,
}

/// Memory that is enough for most, in MiB.
pub(super) const MEMORY: u32 = 2048;

/// What the tests run on.
pub(super) const USUAL: Hardware = Hardware { clock: Clock::Real, memory: MEMORY };

/// How a boot went.
enum Ended {
    /// The command has run, and ended with this status.
    Command(i32),
    /// The kernel never reached the command.
    Early,
}

/// Runs the machine until its command has ended; each line of its console goes to `console`.
pub(super) fn run(
    kernel: &Kernel,
    image: &Image,
    hardware: Hardware,
    append: &str,
    console: &mut dyn FnMut(&str),
) -> Result<()> {
    for _ in 0..BOOTS_MAX {
        match boot(kernel, image, hardware, append, console)? {
            Ended::Command(0) => return Ok(()),
            Ended::Command(status) => bail!("the command in the machine ended with {status}"),
            Ended::Early => eprintln!("xtask: the machine did not come up"),
        }
    }
    bail!("the machine did not come up in {BOOTS_MAX} boots");
}

fn boot(
    kernel: &Kernel,
    image: &Image,
    hardware: Hardware,
    append: &str,
    console: &mut dyn FnMut(&str),
) -> Result<Ended> {
    let mut qemu = Command::new("qemu-system-x86_64");
    match hardware.clock {
        Clock::Real => qemu.args(["-accel", "tcg,thread=multi", "-smp", "2"]),
        Clock::Instructions => {
            qemu.args(["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"])
        }
    };
    qemu.args(["-m", &hardware.memory.to_string(), "-M", "q35", "-nic", "none"])
        // With cmpxchg16b, QEMU 7.2 makes Linux 6.12 fault in one boot of five.
        .args([
            "-cpu",
            "max,cx16=off",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&image.archive)
        .arg("-append")
        .arg(format!("console=ttyS0 quiet panic=-1 {append}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    for disk in &image.disks {
        qemu.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe", disk.display()));
    }
    let mut machine = Machine(qemu.spawn().context("start qemu-system-x86_64")?);
    let output = machine.0.stdout.take().context("read the machine's console")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let (mut ready, mut status) = (false, None);
    loop {
        let line = match lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned(),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if ready => {
                bail!("the machine was silent for {} s", SILENCE_MAX.as_secs())
            }
            Err(RecvTimeoutError::Timeout) => return Ok(Ended::Early),
        };
        if let Some(number) = line.strip_prefix("init: status ") {
            status = number.trim().parse().ok();
        } else if line == "init: ready" {
            ready = true;
        } else {
            console(&line);
        }
    }
    machine.0.wait().context("wait for qemu-system-x86_64")?;
    match (ready, status) {
        (_, Some(status)) => Ok(Ended::Command(status)),
        (true, None) => bail!("the machine stopped in the middle of the command"),
        (false, None) => Ok(Ended::Early),
    }
}

/// A machine that does not outlive us.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}
