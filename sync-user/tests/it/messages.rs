//! Each thing that goes wrong ends in one clear message: the cause, and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

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
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: find the source [host]/source: No such file or directory (os error 2)
      hint: check --source: it must be a directory that exists and that this user may enter
    ");
}

#[test]
fn a_source_that_is_a_file() {
    let host = Host::new();
    fs::remove_dir(host.source()).unwrap();
    fs::write(host.source(), "").unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(66));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: open the source [host]/source: Not a directory (os error 20)
      hint: give the directory that holds the files, not a file
    ");
}

#[test]
fn an_unknown_host_key() {
    let host = Host::new();
    fs::write(host.sshd.known_hosts(), "").unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: 127.0.0.1:[host]/target: the host key of 127.0.0.1 port [port] is unknown: ssh-ed25519 SHA256:[key]
      hint: compare the fingerprint with the one that the server's console shows, then accept it by: ssh-keyscan -p [port] 127.0.0.1 >> [host]/sshd/known_hosts
    ");
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
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: 127.0.0.1:[host]/target: the host key of 127.0.0.1 port [port] has changed: it shows ssh-ed25519 SHA256:[key] but [host]/sshd/known_hosts line 1 says otherwise
      hint: somebody may be listening in; only if the server was set up anew: ssh-keygen -R '[127.0.0.1]:[port]' -f [host]/sshd/known_hosts, then accept the new key
    ");
}

#[test]
fn a_key_that_the_target_does_not_know() {
    let host = Host::new();
    fs::write(host.sshd.identity().with_file_name("authorized_keys"), "").unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: 127.0.0.1:[host]/target: 127.0.0.1 port [port] refused to let root in; tried the key [host]/sshd/client_key
      hint: add the public key to ~root/.ssh/authorized_keys on the target, or name another key by --identity
    ");
}

#[test]
fn a_key_that_is_none() {
    let host = Host::new();
    fs::write(host.sshd.identity(), "no key").unwrap();
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: 127.0.0.1:[host]/target: the key [host]/sshd/client_key cannot be used: Unable to extract public key from private key: Unsupported private key format
      hint: name a private key that is readable and not encrypted, or load it into the SSH agent
    ");
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
    insta::assert_snapshot!(lines.join("\n"), @r"
    WARN 127.0.0.1 port [port] cannot be reached: Connection refused (os error 111); trying again (check that the host is up, that sshd listens on that port, and that no firewall is between) target=127.0.0.1:[host]/target
    WARN ended with paths that are not replicated yet: the next start compares the trees and sends them unsent=1
    ");
}

#[test]
fn a_target_in_no_directory() {
    let host = Host::new();
    let ended = run(host.run_to(&host.path().join("no/such")));
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: 127.0.0.1:[host]/no/such: the target [host]/no/such cannot be opened: No such file or directory (os error 2)
      hint: make the directory that it is to be in, on the target
    ");
}

#[test]
fn a_target_that_cannot_be_written() {
    let host = Host::new();
    let _memory = Memory::mount(&host.target(), "ro");
    let ended = run(host.run());
    assert_eq!(ended.status.code(), Some(69));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: 127.0.0.1:[host]/target: the target [host]/target cannot be written: Read-only file system (os error 30)
      hint: mount the target's file system read-write
    ");
}

#[test]
fn a_target_of_another_source() {
    let host = Host::new();
    fs::write(host.source().join("page"), "x").unwrap();
    assert_eq!(host.start().stop().status.code(), Some(0));
    let other = host.path().join("another-source");
    fs::rename(host.source(), &other).unwrap();
    fs::write(other.join("new"), "x").unwrap();
    let run_other = |flags: &[&str]| {
        let state = host.path().join("state");
        let mut command = host.sshd.run_through(Path::new(KSYNCD), &other, &host.target(), &state);
        command.args(["--capture", "fanotify"]).args(flags);
        command
    };
    let ended = run(run_other(&[]));
    assert_eq!(ended.status.code(), Some(69));
    let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
    insta::assert_snapshot!(said(&host, &ended).replace(&format!("{name}:"), "[name]:"), @r"
    ksyncd: 127.0.0.1:[host]/target: the target is the replica of another source: [name]:[host]/source
      hint: give each source a directory of its own; if this one takes its place, or both are to write there, start it once with --shared-target
    ");
    assert!(!host.target().join("new").exists(), "nothing was done there");
    let new = host.target().join("new");
    // Asked for once, it is known from then on; and so is the first.
    for flags in [&["--shared-target"][..], &[]] {
        let mut daemon = Daemon::start(run_other(flags));
        daemon.wait_until("the other source is replicated", || new.exists());
        assert_eq!(daemon.stop().status.code(), Some(0));
        fs::remove_file(&new).unwrap();
        fs::remove_dir_all(host.path().join("state")).unwrap();
    }
    fs::rename(&other, host.source()).unwrap();
    assert_eq!(host.start().stop().status.code(), Some(0));
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
    let log = Ended { status: ExitStatus::default(), stdout: String::new(), stderr: daemon.log() };
    insta::with_settings!({ filters => [(r"[\d.]+ KiB are free", "[some] are free")] }, {
        insta::assert_snapshot!(said(&host, &log), @"WARN cannot write the file at the target: it takes 3.0 MiB there, and [some] are free; free some space there; it is tried again target=127.0.0.1:[host]/target path=large");
    });
    memory.remount("size=8M");
    host.wait_until_equal(&mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn no_privileges() {
    let host = Host::new();
    // The nobody of Debian, who may run the program from here.
    let program = host.path().join("ksyncd");
    // By another process: a descriptor of ours that is open for writing could be inherited by
    // a program that another test starts meanwhile, and then nobody could run the copy.
    assert!(Command::new("cp").arg(KSYNCD).arg(&program).status().unwrap().success());
    for path in [host.path(), &program, &host.source()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(host.source(), fs::Permissions::from_mode(0o777)).unwrap();
    let state = host.path().join("source/state");
    let mut command = host.sshd.run_through(&program, &host.source(), &host.target(), &state);
    command.args(["--capture", "fanotify"]).uid(65_534).gid(65_534);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(71));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: watch the file system of [host]/source by fanotify: EPERM: Operation not permitted
      hint: run as root, or give ksyncd CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH
    ");
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
    insta::assert_snapshot!(text, @r"
    ksyncd: [host]/source is replicated to 127.0.0.1:[host]/target already, by process [number]
      hint: stop that one first; two of them would undo each other's work
    ");
}

#[test]
fn nobody_to_ask() {
    let host = Host::new();
    for name in ["status", "wait", "latency"] {
        let ended = run(host.ask(name));
        assert_eq!(ended.status.code(), Some(75));
        insta::allow_duplicates! {
            insta::assert_snapshot!(said(&host, &ended), @r"
            ksyncd: no daemon is running: nobody listens in [host]/state
              hint: start one by ksyncd run, or say which state directory it was given: --state-dir DIR
            ");
        }
    }
    let _daemon = host.start();
    let mut command = host.ask("status");
    command.args(["--source", "/srv/other"]);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(75));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: no daemon replicates that source; running are those of [host]/source
      hint: give one of these as --source, or none to ask all
    ");
}

#[test]
fn a_wait_in_vain() {
    let mut host = Host::new();
    // A file system of its own: what other tests do elsewhere may else ask for a rescan, which counts.
    let _memory = Memory::mount(&host.source(), "size=1M");
    let mut daemon = host.start();
    host.sshd.stop();
    daemon.wait_for_log("cannot be reached");
    fs::write(host.source().join("page"), "x").unwrap();
    let mut command = host.ask("wait");
    command.args(["--timeout", "500ms"]);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(3));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: not everything is acknowledged yet
      127.0.0.1:[host]/target: down, 1 changes on their way; 127.0.0.1 port [port] cannot be reached: Connection refused (os error 111)
    ");
    let mut command = host.ask("wait");
    command.args(["--path", "/etc"]);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(1));
    insta::assert_snapshot!(said(&host, &ended), @"ksyncd: /etc is not below the source [host]/source");
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
    insta::assert_snapshot!(with(&["--source", "/srv", "--target", "web2"]), @r"
    error: invalid value 'web2' for '--target <TARGET>': there is no directory in it: write [USER@]HOST:DIR or ssh://[USER@]HOST[:PORT]/DIR

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(with(&[&rest[..], &["--batch-max-changes", "0"]].concat()), @r"
    error: invalid value '0' for '--batch-max-changes <N>': at least 1 is needed

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(with(&[&rest[..], &["--batch-delay", "5"]].concat()), @r"
    error: invalid value '5' for '--batch-delay <TIME>': time unit needed, for example 5sec or 5ms

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(with(&[&rest[..], &["--open-file-interval", "10ms"]].concat()), @r"
    error: invalid value '10ms' for '--open-file-interval <TIME>': at least 250ms is needed: writes to an open file are reported four times a second

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(with(&[&rest[..], &["--publish-last", "*.html"]].concat()), @r"
    ksyncd: --publish-last is about batches that become visible as a whole
      hint: add --publish batch, or leave it out
    ");
    insta::assert_snapshot!(with(&[&rest[..], &["--ring-size", "1KiB"]].concat()), @r"
    error: invalid value '1KiB' for '--ring-size <SIZE>': 4KiB to 1GiB can be had

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(with(&[&rest[..], &["--batch-delya", "5ms"]].concat()), @r"
    error: unexpected argument '--batch-delya' found

      tip: a similar argument exists: '--batch-delay'

    Usage: ksyncd run --source <DIR> --target <TARGET> --batch-delay <TIME>

    For more information, try '--help'.
    ");
}

/// I3: what only the target has would be removed there, and come here.
#[test]
fn flags_that_exclude_each_other() {
    let host = Host::new();
    fs::create_dir(host.target()).unwrap();
    fs::write(host.target().join("only there"), "").unwrap();
    let flags = ["--two-way", "--delete-extraneous"];
    let mut command = host.run();
    command.args(flags);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(2));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: --two-way and --delete-extraneous exclude each other: what only the target has comes here
      hint: leave one of them out
    ");
    assert!(host.target().join("only there").exists());
    let mut command = Command::new(KSYNCD);
    command.args(["config", "check", "--source"]).arg(host.source()).args(["--target", "web2:/srv"]);
    let ended = run({
        command.args(flags);
        command
    });
    assert_eq!(ended.status.code(), Some(2));
    insta::assert_snapshot!(said(&host, &ended), @r"
    ksyncd: [host]/source: --two-way and --delete-extraneous exclude each other: what only the target has comes here
      hint: leave one of them out
    ");
}

#[test]
fn an_lsyncd_conf_that_cannot_be_imported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lsyncd.conf.lua");
    let import = || {
        let mut command = Command::new(KSYNCD);
        command.arg("import-lsyncd").arg(&file);
        let ended = run(command);
        assert_eq!(ended.stdout, "");
        let text = ended.stderr.replace(&directory.path().display().to_string(), "[here]");
        format!("{text}exit {}", ended.status.code().unwrap())
    };
    insta::assert_snapshot!(import(), @r#"
ksyncd: [here]/lsyncd.conf.lua: read it: No such file or directory (os error 2)
  hint: give the file that lsyncd was started with, such as /etc/lsyncd/lsyncd.conf.lua
exit 66
"#);
    fs::write(&file, "sync {\n  default.rsync,\n  source = \"/srv\"\n  target = \"web2:/srv\"\n}\n").unwrap();
    insta::assert_snapshot!(import(), @r#"
ksyncd: [here]/lsyncd.conf.lua:4: '}' expected (to close '{' at line 1) near 'target'
  hint: mend it, if lsyncd refuses it too; else change it in a copy of the file
exit 1
"#);
    fs::write(&file, "settings { nodaemon = true }\n").unwrap();
    insta::assert_snapshot!(import(), @r#"
ksyncd: [here]/lsyncd.conf.lua: there is no sync{} in it
  hint: give the file that lsyncd was started with, and not one that it includes
exit 1
"#);
    fs::write(&file, "while true do end").unwrap();
    insta::assert_snapshot!(import(), @r#"
ksyncd: [here]/lsyncd.conf.lua: it takes more than 50000000 instructions: is there a loop that does not end?
  hint: import a copy of the file without that loop, and with the sync{} that it makes
exit 1
"#);
    fs::write(&file, "local host = io.popen('hostname'):read()").unwrap();
    insta::assert_snapshot!(import(), @r#"
ksyncd: [here]/lsyncd.conf.lua:1: io.popen is not there when the file is imported: it is run without access to the system; write what that gives into a copy of the file, and import the copy
  hint: mend it, if lsyncd refuses it too; else change it in a copy of the file
exit 1
"#);
}
