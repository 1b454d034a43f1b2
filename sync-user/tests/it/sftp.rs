//! Targets on which no receiver can run are replicated to by their SFTP server alone, with the same
//! promises as far as SFTP allows: whole seconds, and what docs/security.md says.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use sync_user::demo::workload;
use sync_user::home;

use crate::host::{Daemon, Host, Memory};
use crate::pump::Pump;

/// All that the SSH server does for anybody.
const SFTP_ONLY: &str = "ForceCommand internal-sftp";

fn host() -> Host {
    Host::with_sshd(SFTP_ONLY)
}

fn run(host: &Host) -> Command {
    let mut command = host.run();
    command.args(["--transport", "sftp", "--max-delete", "100"]);
    command
}

fn start(host: &Host) -> Daemon {
    let mut daemon = Daemon::start(run(host));
    wait_until_equal(host, &mut daemon);
    daemon
}

/// What an entry is: kind and mode, owner, time in whole seconds, and content or destination.
type Entry = (u32, (u32, u32), i64, Vec<u8>);

fn tree(root: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let (mut tree, mut waiting) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let path = directory.join(entry?.file_name());
            if path == Path::new(home::NAME) {
                continue;
            }
            let at = root.join(&path);
            let metadata = fs::symlink_metadata(&at)?;
            let kind = metadata.file_type();
            let content = if kind.is_dir() {
                waiting.push(path.clone());
                Vec::new()
            } else if kind.is_symlink() {
                fs::read_link(&at)?.into_os_string().into_encoded_bytes()
            } else if kind.is_file() {
                blake3::hash(&fs::read(&at)?).as_bytes().to_vec()
            } else {
                continue;
            };
            let owner = (metadata.uid(), metadata.gid());
            tree.insert(path, (metadata.mode(), owner, metadata.mtime(), content));
        }
    }
    Ok(tree)
}

fn is_equal(host: &Host) -> bool {
    match (tree(&host.source()), tree(&host.target())) {
        (Ok(source), Ok(target)) => source == target,
        _ => false,
    }
}

fn wait_until_equal(host: &Host, daemon: &mut Daemon) {
    daemon.wait_until("the trees are equal up to whole seconds", || is_equal(host));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(is_equal(host), "equal once, and then not any more\n{}", daemon.log());
}

/// I1
#[test]
fn a_tree_of_every_kind_arrives_and_follows_all_changes() {
    let host = host();
    let source = host.source();
    fs::create_dir_all(source.join("deep/er/still")).unwrap();
    fs::write(source.join("deep/er/still/page"), "page").unwrap();
    fs::write(source.join("empty"), "").unwrap();
    fs::write(source.join("name with \u{e9} and \n"), "odd").unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(3_000_000).collect();
    fs::write(source.join("large"), &large).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.write_all_at(b"in the middle", 5 << 20).unwrap();
    sparse.set_len(9 << 20).unwrap();
    symlink("deep/er", source.join("link")).unwrap();
    symlink("/nowhere", source.join("dangling")).unwrap();
    fs::hard_link(source.join("empty"), source.join("deep/twin")).unwrap();
    fs::set_permissions(source.join("empty"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(source.join("deep/er"), fs::Permissions::from_mode(0o2775)).unwrap();
    std::os::unix::fs::chown(source.join("large"), Some(12_345), Some(54_321)).unwrap();
    std::os::unix::fs::lchown(source.join("dangling"), Some(12_345), Some(54_321)).unwrap();
    let mut daemon = start(&host);
    let inode = |path: &str| fs::symlink_metadata(host.target().join(path)).unwrap().ino();
    daemon.wait_until("the names are linked", || inode("empty") == inode("deep/twin"));

    fs::write(source.join("deep/er/still/page"), "another page").unwrap();
    fs::write(source.join("new"), "new").unwrap();
    fs::rename(source.join("large"), source.join("deep/moved")).unwrap();
    fs::rename(source.join("deep/er"), source.join("elsewhere")).unwrap();
    fs::remove_file(source.join("link")).unwrap();
    symlink("elsewhere", source.join("link")).unwrap();
    fs::remove_file(source.join("sparse")).unwrap();
    fs::create_dir(source.join("sparse")).unwrap();
    fs::write(source.join("sparse/inside"), "now a directory").unwrap();
    fs::set_permissions(source.join("new"), fs::Permissions::from_mode(0o600)).unwrap();
    wait_until_equal(&host, &mut daemon);

    fs::remove_dir_all(source.join("sparse")).unwrap();
    fs::write(source.join("sparse"), "a file again").unwrap();
    fs::hard_link(source.join("new"), source.join("newer")).unwrap();
    workload::exchange(&source.join("new"), &source.join("deep/moved")).unwrap();
    fs::remove_dir_all(source.join("elsewhere")).unwrap();
    let appended = fs::OpenOptions::new().write(true).open(source.join("new")).unwrap();
    appended.write_all_at(b"at the end", 3_000_000).unwrap();
    drop(appended);
    wait_until_equal(&host, &mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
    let left: Vec<_> =
        fs::read_dir(host.target().join(home::NAME)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(home::SFTP_STAGE)), "{left:?}");
}

/// One after the other, these files would take longer than any condition may.
#[test]
fn many_small_files_cross_a_long_distance_together() {
    let mut host = host();
    let to = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, host.sshd.port());
    let pump = Pump::start(None, to, std::time::Duration::from_micros(22_500));
    host.sshd.reach_through(pump.port()).unwrap();
    for directory in 0..50 {
        let directory = host.source().join(directory.to_string());
        fs::create_dir(&directory).unwrap();
        for file in 0..100 {
            fs::write(directory.join(file.to_string()), "small").unwrap();
        }
    }
    let mut daemon = start(&host);
    fs::remove_dir_all(host.source().join("7")).unwrap();
    wait_until_equal(&host, &mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

/// I2
#[test]
fn a_reader_never_sees_half_a_file_or_none() {
    let host = host();
    let (source, target) = (host.source(), host.target());
    let content = |round: u32| format!("{round:08}").repeat(20_000);
    let put = |round: u32| {
        fs::write(source.join(".new"), content(round)).unwrap();
        fs::rename(source.join(".new"), source.join("page")).unwrap();
    };
    put(0);
    let mut daemon = start(&host);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let text = fs::read_to_string(target.join("page")).expect("I2: the name is never missing");
                let round = text.get(..8).expect("I2: never a part").parse().unwrap();
                assert!(text == content(round), "I2: it is not whole");
            }
        });
        for round in 1..=30 {
            put(round);
            let wanted = content(round);
            daemon
                .wait_until("it has arrived", || fs::read_to_string(target.join("page")).unwrap() == wanted);
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    wait_until_equal(&host, &mut daemon);
}

#[test]
fn where_no_program_runs_it_falls_back_and_says_so() {
    let host = host();
    fs::write(host.source().join("page"), "page").unwrap();
    let mut daemon = Daemon::start(host.run());
    wait_until_equal(&host, &mut daemon);
    let log = daemon.log();
    assert_eq!(log.matches("replicating by SFTP instead").count(), 1, "{log}");
    assert!(log.contains("times are whole seconds"), "{log}");
    assert!(log.contains("did not start"), "{log}");
    assert_eq!(host.target_status().connections, 1, "no lanes");
    let verified = host.ask("verify").output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout) + String::from_utf8_lossy(&verified.stderr);
    assert!(!verified.status.success() && said.contains("no content can be hashed"), "{said}");
}

#[test]
fn with_the_agent_alone_it_does_not_fall_back() {
    let host = host();
    let mut command = host.run();
    command.args(["--transport", "agent"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log("did not start");
    assert!(!host.target().exists() && !daemon.log().contains("SFTP"), "{}", daemon.log());
}

#[test]
fn what_needs_a_receiver_is_refused() {
    let host = host();
    for flags in [&["--two-way"][..], &["--trash", "1d"], &["--publish", "batch"]] {
        let mut command = host.run();
        command.args(["--transport", "sftp"]).args(flags);
        let ended = Daemon::start(command).wait();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(&format!("--transport sftp and {}", flags[0])), "{}", ended.stderr);
        let mut command = host.run();
        command.args(flags);
        let ended = Daemon::start(command).wait();
        assert_ne!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stderr.contains("cannot run the receiver"), "{}", ended.stderr);
    }
    assert!(!host.target().join("page").exists());
}

/// I1, I4
#[test]
fn a_connection_that_is_cut_again_and_again_converges() {
    let mut host = host();
    let source = host.source();
    let mut daemon = start(&host);
    for round in 0..4 {
        let directory = source.join(format!("d{round}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..150 {
            fs::write(directory.join(file.to_string()), format!("{round} {file}").repeat(500)).unwrap();
        }
        if round > 0 {
            fs::remove_dir_all(source.join(format!("d{}", round - 1))).unwrap();
        }
        fs::write(source.join("large"), vec![round; 4 << 20]).unwrap();
        let target = host.target();
        daemon.wait_until("something arrives", || target.join(format!("d{round}")).exists());
        host.sshd.restart().unwrap();
        daemon.wait_for_log("connecting again");
    }
    wait_until_equal(&host, &mut daemon);
    let log = daemon.log();
    assert!(!log.contains("somebody has changed it"), "nobody else changes the target\n{log}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

/// What was there before a restart is not sent again, and what is gone by then is removed.
#[test]
fn a_restart_sends_the_differences() {
    let host = host();
    let source = host.source();
    fs::create_dir(source.join("d")).unwrap();
    for file in 0..20 {
        fs::write(source.join(format!("d/{file}")), "content").unwrap();
    }
    let daemon = start(&host);
    assert_eq!(daemon.stop().status.code(), Some(0));
    let inode = |path: &str| fs::symlink_metadata(host.target().join(path)).unwrap().ino();
    let before = inode("d/1");
    fs::remove_file(source.join("d/0")).unwrap();
    fs::write(source.join("d/2"), "other content").unwrap();
    fs::write(host.target().join("d/3"), "somebody else's").unwrap();
    let mut daemon = start(&host);
    assert_eq!(inode("d/1"), before, "it was not written again");
    fs::remove_dir_all(source.join("d")).unwrap();
    wait_until_equal(&host, &mut daemon);
}

/// I3
#[test]
fn what_somebody_has_changed_at_the_target_is_not_removed() {
    let host = host();
    let (source, target) = (host.source(), host.target());
    for name in ["theirs", "ours"] {
        fs::write(source.join(name), name).unwrap();
    }
    fs::create_dir(source.join("d")).unwrap();
    let mut daemon = start(&host);
    fs::write(target.join("theirs"), "changed by somebody").unwrap();
    fs::write(target.join("d/own"), "only here").unwrap();
    for name in ["theirs", "ours"] {
        fs::remove_file(source.join(name)).unwrap();
    }
    fs::remove_dir(source.join("d")).unwrap();
    daemon.wait_until("ours is gone", || !target.join("ours").exists());
    daemon.wait_for_log("somebody has changed it there");
    daemon.wait_for_log("it holds files of the target's own");
    assert_eq!(fs::read_to_string(target.join("theirs")).unwrap(), "changed by somebody");
    assert_eq!(fs::read_to_string(target.join("d/own")).unwrap(), "only here");
}

/// I5
#[test]
fn nothing_goes_through_a_link_that_took_a_directorys_place() {
    let host = host();
    let (source, target) = (host.source(), host.target());
    fs::create_dir(source.join("d")).unwrap();
    fs::write(source.join("d/page"), "page").unwrap();
    let mut daemon = start(&host);
    let outside = host.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("page"), "not ours").unwrap();
    fs::rename(target.join("d"), host.path().join("was-d")).unwrap();
    symlink(&outside, target.join("d")).unwrap();
    fs::write(source.join("d/page"), "changed").unwrap();
    fs::write(source.join("d/new"), "new").unwrap();
    wait_until_equal(&host, &mut daemon);
    assert_eq!(fs::read_to_string(outside.join("page")).unwrap(), "not ours");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_directory_of_another_source_is_refused() {
    let host = host();
    fs::write(host.source().join("page"), "page").unwrap();
    drop(start(&host));
    let other = host.path().join("other");
    fs::create_dir(&other).unwrap();
    let state = host.path().join("other-state");
    let program = Path::new(crate::host::KSYNCD);
    let mut command = host.sshd.run_through(program, &other, &host.target(), &state);
    command.args(["--capture", "fanotify", "--transport", "sftp"]);
    let ended = Daemon::start(command).wait();
    assert!(ended.stderr.contains("the replica of another source"), "{}", ended.stderr);
}

/// A machine that lets programs run again, or not any more, is the same target, and nothing is removed
/// because of the change.
#[test]
fn each_way_finds_what_the_other_has_left() {
    let host = Host::new();
    let source = host.source();
    fs::write(source.join("page"), "page").unwrap();
    let mut daemon = start(&host);
    daemon.end();
    let stage = host.target().join(home::NAME);
    let has_stage = || {
        let names = fs::read_dir(&stage).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(home::SFTP_STAGE)).count()
    };
    assert_eq!(has_stage(), 1, "it was killed");
    fs::write(source.join("more"), "more").unwrap();
    let daemon = host.start();
    assert_eq!(has_stage(), 0);
    assert_eq!(daemon.stop().status.code(), Some(0));
    fs::write(source.join("even more"), "even more").unwrap();
    drop(start(&host));
}

#[test]
fn where_programs_may_not_run_it_falls_back() {
    let host = Host::with_sshd_in(|directory| {
        format!(
            "ForceCommand export XDG_CACHE_HOME={}/cache; if [ \"$SSH_ORIGINAL_COMMAND\" = internal-sftp ]; \
             then exec /usr/lib/openssh/sftp-server; else exec sh -c \"$SSH_ORIGINAL_COMMAND\"; fi",
            directory.display()
        )
    });
    let _cache = Memory::mount(&host.path().join("cache"), "noexec,size=64m");
    fs::write(host.source().join("page"), "page").unwrap();
    let mut daemon = Daemon::start(host.run());
    wait_until_equal(&host, &mut daemon);
    let log = daemon.log();
    assert!(log.contains("could not be installed") && log.contains("replicating by SFTP instead"), "{log}");
}

/// As somebody without a shell, who owns nothing but the target.
#[test]
fn an_unprivileged_user_without_a_shell_gets_all_but_owners() {
    let host = host();
    let (source, target) = (host.source(), host.target());
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("every system has nobody");
    // Where the server reads the user's key, as that user.
    for directory in [host.path().to_owned(), host.path().join("sshd")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::chown(&target, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    fs::create_dir(source.join("d")).unwrap();
    fs::write(source.join("d/page"), "page").unwrap();
    fs::set_permissions(source.join("d/page"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("d", source.join("link")).unwrap();
    let mut command = Command::new(crate::host::KSYNCD);
    command.args(["run", "--transport", "sftp", "--capture", "fanotify", "--ssh-config", "none"]);
    command.args(["--preserve", "links,directory-times", "--port", &host.sshd.port().to_string()]);
    command.arg("--source").arg(&source).arg("--state-dir").arg(host.path().join("state"));
    command.arg("--target").arg(format!("nobody@127.0.0.1:{}", target.display()));
    command.arg("--identity").arg(host.sshd.identity()).arg("--known-hosts").arg(host.sshd.known_hosts());
    let mut daemon = Daemon::start(command);
    let without_owners = |root: &Path| {
        let entries = tree(root).ok()?.into_iter();
        Some(
            entries.map(|(path, (mode, _, mtime, content))| (path, mode, mtime, content)).collect::<Vec<_>>(),
        )
    };
    let is_equal = || without_owners(&source).is_some_and(|source| Some(source) == without_owners(&target));
    daemon.wait_until("the trees are equal but for owners", is_equal);
    fs::write(source.join("d/page"), "another").unwrap();
    fs::remove_file(source.join("link")).unwrap();
    fs::rename(source.join("d"), source.join("e")).unwrap();
    daemon.wait_until("they are equal again", is_equal);
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}
