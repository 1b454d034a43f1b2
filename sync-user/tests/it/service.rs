//! A service manager is told how it goes, and the unit that we bring for it works.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::host::{Daemon, Host, KSYNCD, PATIENCE};

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging/ksyncd.service")
}

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    /// Waits for a message that has this line, and gives it.
    fn wait_for(&self, line: &str) -> String {
        let (began, mut buffer, mut heard) = (Instant::now(), [0; 4096], String::new());
        while began.elapsed() < PATIENCE {
            if let Ok(length) = self.0.recv(&mut buffer) {
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                if message.lines().any(|told| told.starts_with(line)) {
                    return message;
                }
                heard.push_str(&message);
            }
        }
        panic!("{line} was never told, but\n{heard}");
    }
}

#[test]
fn the_service_manager_is_told() {
    let host = Host::new();
    let socket = host.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&socket).unwrap());
    manager.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut command = host.run();
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "3000000").env_remove("WATCHDOG_PID");
    let daemon = Daemon::start(command);
    manager.wait_for("READY=1");
    manager.wait_for("STATUS=1 of 1 targets connected, 0 changes on their way");
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    assert!(Daemon::start(host.ask("reload")).wait().status.success());
    assert!(manager.wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.wait_for("READY=1");
    daemon.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(daemon.wait().status.code(), Some(0));
}

#[test]
fn the_journal_is_told_priorities() {
    let host = Host::new();
    let log = host.path().join("journal");
    let file = fs::File::create(&log).unwrap();
    let stream = file.metadata().map(|file| format!("{}:{}", file.dev(), file.ino())).unwrap();
    let run = |target: &Path| {
        let mut command = host.run_to(target);
        command.env("JOURNAL_STREAM", &stream).stdout(Stdio::null()).stderr(file.try_clone().unwrap());
        command.spawn().unwrap().wait().unwrap()
    };
    assert_eq!(run(&host.path().join("no/such")).code(), Some(69));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().any(|line| line.starts_with("<6>capturing by fanotify")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<3>ksyncd: ")), "{text}");
    assert!(!text.contains("INFO") && !text.contains('\u{1b}'), "the journal knows that: {text}");
}

#[test]
fn the_unit_can_be_read_by_systemd() {
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("ksyncd.service");
    fs::write(&copy, fs::read_to_string(unit()).unwrap().replace("/usr/bin/ksyncd", KSYNCD)).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // What other units of this machine are wrong about is not ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("ksyncd")).collect();
    assert!(ours.is_empty(), "{said}");
    let text = fs::read_to_string(&copy).unwrap();
    fs::write(&copy, text.replace("WatchdogSec=30", "WatchdogSecs=30")).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("WatchdogSecs"), "it is able to complain: {said}");
}

/// Runs the rest of its arguments with all read-only but for the folder named first, in a mount
/// namespace of its own, as `ProtectSystem=strict` has it.
const STRICT: &str = r#"
set -e
mkdir -p "$1"
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro /
shift
exec "$@"
"#;

#[test]
fn what_the_unit_allows_is_enough() {
    let text = fs::read_to_string(unit()).unwrap();
    assert!(text.contains("\nProtectSystem=strict\n") && text.contains("\nNoNewPrivileges=yes\n"));
    let line = text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let names = line.split(' ').map(|name| name.trim_start_matches("CAP_").to_lowercase());
    let set = names.fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
    let host = Host::new();
    fs::write(host.source().join("page"), "1").unwrap();
    let run = host.run();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", STRICT, "sh"]).arg(host.path().join("state"));
    command.args(["setpriv", &format!("--bounding-set={set}"), "--no-new-privs"]).arg(run.get_program());
    command.args(run.get_args());
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    // Written outside of the daemon's namespace.
    fs::write(host.source().join("page"), "22").unwrap();
    host.wait_until_equal(&mut daemon);
    assert!(Daemon::start(host.ask("status")).wait().status.success());
    assert_eq!(daemon.stop().status.code(), Some(0));
}
