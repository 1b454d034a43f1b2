//! Starts the programs that are compared, each with settings that its users would choose.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::place::Place;

/// A program that keeps the target equal, or makes it so when it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contender {
    Ksyncd,
    /// `default.rsyncssh` with `delay = 1`, the shortest that its users set; it repeats renames
    /// by `mv` over SSH.
    Lsyncd,
    /// `rsync --archive --delete` over SSH, started once after the changes.
    Rsync,
    /// The same with `--whole-file`: without looking for what the target has already.
    RsyncWhole,
    /// `tar -c | ssh tar -x`, once after the changes: all of the source, and no removals. In the one format
    /// that keeps times as they are; scp keeps whole seconds, and would never be equal.
    Tar,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ksyncd => "ksyncd",
            Self::Lsyncd => "lsyncd",
            Self::Rsync => "rsync",
            Self::RsyncWhole => "rsync --whole-file",
            Self::Tar => "tar over ssh",
        }
    }

    /// Whether it follows changes by itself.
    pub(crate) fn is_daemon(self) -> bool {
        matches!(self, Self::Ksyncd | Self::Lsyncd)
    }
}

/// A daemon that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let process = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // lsyncd ends its children by itself when asked politely.
        let _gone = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM);
        let _ended = self.0.wait();
    }
}

/// Starts a daemon, and waits until it has made the target equal once.
pub(crate) fn start(contender: Contender, ksyncd: &Path, place: &Place) -> Result<Running> {
    let mut running = spawn(contender, ksyncd, place)?;
    // One that cannot start says so at once, and would be waited for in vain.
    std::thread::sleep(std::time::Duration::from_secs(1));
    if let Some(status) = running.0.try_wait().context("look after the program")? {
        bail!("it ended with {status}");
    }
    fs::write(place.source().join("ready"), "x")?;
    place.wait_until_equal()?;
    // lsyncd ends its first rsync before it looks for more.
    std::thread::sleep(std::time::Duration::from_secs(2));
    place.wait_until_equal()?;
    Ok(running)
}

/// Starts a daemon.
pub(crate) fn spawn(contender: Contender, ksyncd: &Path, place: &Place) -> Result<Running> {
    let mut command = match contender {
        Contender::Ksyncd => {
            place.sshd.run_through(ksyncd, &place.source(), &place.target(), &place.path().join("state"))
        }
        Contender::Lsyncd => command_of_lsyncd(place)?,
        Contender::Rsync | Contender::RsyncWhole | Contender::Tar => {
            bail!("{} is no daemon", contender.name())
        }
    };
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", contender.name()))?;
    Ok(Running(child))
}

fn command_of_lsyncd(place: &Place) -> Result<Command> {
    let configuration = format!(
        "settings {{ nodaemon = true, logfile = \"{at}/lsyncd.log\", statusFile = \"{at}/lsyncd.status\" }}\n\
         sync {{ default.rsyncssh, source = \"{source}\", host = \"127.0.0.1\", targetdir = \"{target}\", delay = 1,\n\
         delete = true, rsync = {{ archive = true }},\n\
         ssh = {{ port = {port}, identityFile = \"{key}\", options = {{ UserKnownHostsFile = \"{hosts}\" }} }} }}\n",
        at = place.path().display(),
        source = place.source().display(),
        target = place.target().display(),
        port = place.sshd.port(),
        key = place.sshd.identity().display(),
        hosts = place.sshd.known_hosts().display(),
    );
    let file = place.path().join("lsyncd.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new("lsyncd");
    command.arg(file);
    Ok(command)
}

/// Has the target made equal for the first time: a daemon goes on from there, and others are run anew.
pub(crate) fn begin(contender: Contender, ksyncd: &Path, place: &Place) -> Result<Option<Running>> {
    if contender.is_daemon() {
        return start(contender, ksyncd, place).map(Some);
    }
    copy(contender, place)?;
    Ok(None)
}

/// Runs a program once that makes the target equal.
pub(crate) fn copy(contender: Contender, place: &Place) -> Result<()> {
    let (port, key, hosts) = (place.sshd.port(), place.sshd.identity(), place.sshd.known_hosts());
    let options = format!("-i {} -o UserKnownHostsFile={}", key.display(), hosts.display());
    let shell = format!("ssh -p {port} {options}");
    let (source, target) = (place.source(), place.target());
    let (source, target) = (source.display(), target.display());
    let mut command = if contender == Contender::Tar {
        let line =
            format!("tar -C {source} --format=posix -cf - . | {shell} 127.0.0.1 tar -C {target} -xpf -");
        let mut command = Command::new("sh");
        command.args(["-c", &line]);
        command
    } else {
        let mut command = Command::new("rsync");
        command.args(["--archive", "--delete", "--exclude", "/.ksyncd", "--rsh", &shell]);
        if contender == Contender::RsyncWhole {
            command.arg("--whole-file");
        }
        command.arg(format!("{source}/")).arg(format!("127.0.0.1:{target}/"));
        command
    };
    let status = command.status().with_context(|| format!("start {}", contender.name()))?;
    if !status.success() {
        bail!("{} ended with {status}", contender.name());
    }
    Ok(())
}
