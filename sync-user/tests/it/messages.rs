//! Each thing that goes wrong ends in one clear message: the cause, and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::host::{Daemon, Ended, Host, KSYNCD, Memory};

/// What a program said, without what differs from run to run.
fn said(host: &Host, ended: &Ended) -> String {
    let mut text = ended.stderr.replace(&host.path().display().to_string(), "[host]");
    text = text.replace(&host.sshd.port().to_string(), "[port]");
    let fingerprint = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let shown = words.iter().map(|word| if word.starts_with("SHA256:") { "SHA256:[key]" } else { word });
        shown.collect::<Vec<_>>().join(" ")
    };
    // Lines of the log begin with the time.
    let line = |line: &str| match line.split_once("Z ") {
        Some((time, rest)) if time.len() > 20 && time.starts_with("20") => fingerprint(rest.trim_start()),
        _ => fingerprint(line),
    };
    text.lines().map(line).filter(|line| !line.starts_with("INFO")).collect::<Vec<_>>().join("\n")
}

fn run(command: Command) -> Ended {
    Daemon::start(command).wait()
}

#[test]
fn a_missing_source() {
    let host = Host::new();
    fs::remove_dir(host.source()).unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(66));
    insta::assert_snapshot!(said(&host, &ended), @"");
}

#[test]
fn a_source_that_is_a_file() {
    let host = Host::new();
    fs::remove_dir(host.source()).unwrap();
    fs::write(host.source(), "").unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(66));
    insta::assert_snapshot!(said(&host, &ended), @"");
}

#[test]
fn an_unknown_host_key() {
    let host = Host::new();
    fs::write(host.sshd.known_hosts(), "").unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @"");
    assert!(!host.target().exists(), "nothing was done there");
}

#[test]
fn a_changed_host_key() {
    let host = Host::new();
    let known = fs::read_to_string(host.sshd.known_hosts()).unwrap();
    let other = fs::read_to_string(host.sshd.identity().with_extension("pub")).unwrap();
    let name = known.split(' ').next().unwrap();
    fs::write(host.sshd.known_hosts(), format!("{name} {other}")).unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @"");
}

#[test]
fn a_key_that_the_target_does_not_know() {
    let host = Host::new();
    fs::write(host.sshd.identity().with_file_name("authorized_keys"), "").unwrap();
    let mut command = host.run();
    command.arg("--target").arg(format!("web@127.0.0.1:{}", host.target().display()));
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(69));
    let text = said(&host, &ended);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("web@")).collect();
    insta::assert_snapshot!(lines.join("\n"), @"");
}

#[test]
fn a_key_that_is_none() {
    let host = Host::new();
    fs::write(host.sshd.identity(), "no key").unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @"");
}

#[test]
fn a_host_that_cannot_be_reached_is_tried_again() {
    let mut host = Host::new();
    host.sshd.stop();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("trying again");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(3), "not everything reached the target");
    let text = said(&host, &ended);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.dedup();
    insta::assert_snapshot!(lines.join("\n"), @"");
}

#[test]
fn a_target_in_no_directory() {
    let host = Host::new();
    let ended = run(host.run_to(&host.path().join("no/such")));
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @"");
}

#[test]
fn a_target_that_cannot_be_written() {
    let host = Host::new();
    let _memory = Memory::mount(&host.target(), "ro");
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @"");
}

#[test]
fn a_full_target_is_told_and_loses_nothing() {
    let host = Host::new();
    let memory = Memory::mount(&host.target(), "size=1M");
    fs::write(host.source().join("a-small"), "fits").unwrap();
    fs::write(host.source().join("large"), vec![5; 3 << 20]).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("cannot write");
    assert!(!host.target().join("large").exists(), "I2: nothing half-written");
    let small = host.target().join("a-small");
    daemon.wait_until("what fits arrives", || small.exists());
    let log = Ended { status: Default::default(), stdout: String::new(), stderr: daemon.log() };
    insta::assert_snapshot!(said(&host, &log), @"");
    memory.remount("size=8M");
    host.wait_until_equal(&mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn no_privileges() {
    let host = Host::new();
    // The nobody of Debian, who may run the program from here.
    let program = host.path().join("ksyncd");
    fs::copy(KSYNCD, &program).unwrap();
    for path in [host.path(), &program, &host.source()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(host.source(), fs::Permissions::from_mode(0o777)).unwrap();
    let arguments: Vec<_> = host.run().get_args().map(ToOwned::to_owned).collect();
    let mut command = Command::new(&program);
    let state = host.path().join("source/state");
    command.args(arguments.iter().take(arguments.len() - 1)).arg(state).uid(65_534).gid(65_534);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(71));
    insta::assert_snapshot!(said(&host, &ended), @"");
    let mut command = Command::new(&program);
    command.args(["check", "/"]).uid(65_534).gid(65_534);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(71));
    assert!(
        ended.stdout.contains("this process has not CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_second_daemon_for_the_same_target() {
    let host = Host::new();
    let daemon = host.start();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(1));
    let text = said(&host, &ended).replace(&daemon.id().to_string(), "[number]");
    insta::assert_snapshot!(text, @"");
}

#[test]
fn bad_flags() {
    let host = Host::new();
    let with = |words: &[&str]| {
        let mut command = Command::new(KSYNCD);
        command.arg("run").args(words);
        let ended = run(command);
        assert_eq!(ended.status.code(), Some(2));
        said(&host, &ended)
    };
    let rest = ["--source", "/srv", "--target", "web2:/srv"];
    insta::assert_snapshot!(with(&["--source", "/srv", "--target", "web2"]), @"");
    insta::assert_snapshot!(with(&[&rest[..], &["--batch-max-changes", "0"]].concat()), @"");
    insta::assert_snapshot!(with(&[&rest[..], &["--batch-delay", "5"]].concat()), @"");
    insta::assert_snapshot!(with(&[&rest[..], &["--open-file-interval", "10ms"]].concat()), @"");
    insta::assert_snapshot!(with(&[&rest[..], &["--batch-delya", "5ms"]].concat()), @"");
}
