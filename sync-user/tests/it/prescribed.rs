//! A target that prescribes its receiver by `command=` in `authorized_keys`: the source cannot choose
//! what runs there, nor where.

use std::fs;
use std::path::{Path, PathBuf};

use sync_user::wire::{PREAMBLE, ReceiverHello, ToSource, VERSION, encode};

use crate::host::{Daemon, Host, KSYNCD};

/// Lets the key of `host` start nothing but `command`.
fn prescribe(host: &Host, command: &str) {
    let keys = host.sshd.identity().with_file_name("authorized_keys");
    let key = fs::read_to_string(host.sshd.identity().with_extension("pub")).unwrap();
    fs::write(keys, format!("restrict,command=\"{command}\" {key}")).unwrap();
}

fn receive(root: &Path) -> String {
    format!("{KSYNCD} receive --root {}", root.display())
}

/// The program of the receiver that the daemon talks with.
fn program(daemon: &Daemon) -> PathBuf {
    let log = daemon.log();
    let process = log.split("process=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    fs::read_link(format!("/proc/{process}/exe")).unwrap()
}

#[test]
fn what_the_target_prescribes_is_what_runs_there() {
    let host = Host::new();
    prescribe(&host, &receive(&host.target()));
    sync_user::demo::site::make(&host.source(), 31).unwrap();
    let mut daemon = host.start();
    assert_eq!(program(&daemon), Path::new(KSYNCD), "and not one that was brought along");
    assert!(!daemon.log().contains("installing"), "{}", daemon.log());
    fs::write(host.source().join("later"), "x").unwrap();
    host.wait_until_equal(&mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn the_directory_is_the_targets_choice_and_has_to_be_the_one_that_is_meant() {
    let host = Host::new();
    fs::write(host.source().join("page"), "x").unwrap();
    let other = host.path().join("other");
    prescribe(&host, &receive(&other));
    let ended = Daemon::start(host.run()).wait();
    assert_eq!(ended.status.code(), Some(69));
    let text = ended.stderr.replace(&host.path().display().to_string(), "[host]");
    let told: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("ksyncd:")).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    ksyncd: 127.0.0.1:[host]/target: the target prescribes the directory [host]/other, not [host]/target
      hint: name that one by --target, or change the command in authorized_keys on the target
    ");
    assert!(!other.join("page").exists());
    // By another name of the same directory.
    std::os::unix::fs::symlink(&other, host.path().join("link")).unwrap();
    prescribe(&host, &receive(&host.path().join("link")));
    for name in ["other", "link"] {
        let mut daemon = Daemon::start(host.run_to(&host.path().join(name)));
        daemon.wait_until("it is replicated", || other.join("page").exists());
        assert_eq!(daemon.stop().status.code(), Some(0), "{name}");
        fs::remove_file(other.join("page")).unwrap();
        fs::remove_dir_all(host.path().join("state")).unwrap();
    }
}

#[test]
fn a_receiver_of_another_version_is_told() {
    let host = Host::new();
    let hello = |version| ReceiverHello {
        version,
        program: "ksyncd 9.9".to_owned(),
        process: 1,
        user: 0,
        root: Vec::new(),
        place: Vec::new(),
        unlocked: None,
    };
    let mut known = PREAMBLE.to_vec();
    encode(&ToSource::Hello(hello(VERSION + 1)), &mut known);
    // One whose hello is laid out in another way.
    let mut unknown = PREAMBLE.to_vec();
    encode(&(0_u8, VERSION - 1, "ksyncd 0.0"), &mut unknown);
    let mut told = String::new();
    for said in [known, unknown] {
        let file = host.path().join("said");
        fs::write(&file, said).unwrap();
        prescribe(&host, &format!("cat {}; sleep 5", file.display()));
        let ended = Daemon::start(host.run()).wait();
        assert_eq!(ended.status.code(), Some(69), "{}", ended.stderr);
        let text = ended.stderr.replace(&host.path().display().to_string(), "[host]");
        told.extend(text.lines().filter(|line| !line.contains("INFO")).flat_map(|line| [line, "\n"]));
    }
    let told = told.replace(&format!("protocol {}", VERSION + 1), "protocol [other]");
    let told = told.replace(&format!("protocol {VERSION}"), "protocol [this]");
    insta::assert_snapshot!(told, @r"
    ksyncd: 127.0.0.1:[host]/target: the receiver that the target prescribes is ksyncd 9.9, protocol [other]; this is ksyncd 0.1.0, protocol [this]
      hint: install this very version of ksyncd on the target, or take the command out of its authorized_keys: then the receiver is brought along
    ksyncd: 127.0.0.1:[host]/target: the receiver that the target prescribes is another version; this is ksyncd 0.1.0, protocol [this]
      hint: install this very version of ksyncd on the target, or take the command out of its authorized_keys: then the receiver is brought along
    ");
}
