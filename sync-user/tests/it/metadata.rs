//! I1 with all that an entry is besides its content, as rsync sees it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{Daemon, Host};

/// A user and a group that have a name on every Debian, and one of each that has none.
const WWW_DATA: u32 = 33;
const NOBODY: u32 = 4_242;

fn run(program: &str, words: &[&str], path: &Path) {
    let status = Command::new(program).args(words).arg(path).status().unwrap();
    assert!(status.success(), "{program} {words:?} {}", path.display());
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// All kinds of entry that trouble replicas.
fn make_hostile_tree(root: &Path) {
    let file = |name: &str, content: &[u8]| -> PathBuf {
        let path = root.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    mode(&file("setuid", b"#!/bin/sh\n"), 0o4755);
    mode(&file("setgid", b"x"), 0o2755);
    let given = file("given-away", b"setuid of another owner");
    chown(&given, Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    mode(&given, 0o6755);
    chown(file("nameless-owner", b"x"), Some(NOBODY), Some(NOBODY + 1)).unwrap();
    mode(&file("unreadable", b"secret"), 0o000);
    file("empty", b"");
    file("huge-ish", &vec![b'h'; 5 << 20]);
    fs::write(root.join(OsStr::from_bytes(b"not-utf8-\xff\xfe")), "x").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"control-\n\x1b[0m")), "x").unwrap();
    file(&"n".repeat(255), b"the longest name");
    let deep = root.join(vec!["deep-directory"; 60].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "x").unwrap();
    fs::create_dir(root.join("sticky")).unwrap();
    mode(&root.join("sticky"), 0o1777);
    fs::create_dir(root.join("inheriting")).unwrap();
    mode(&root.join("inheriting"), 0o2775);
    run("setfacl", &["-d", "-m", "u:www-data:rwx,g:4242:r"], &root.join("inheriting"));
    fs::write(root.join("inheriting/child"), "has the directory's list").unwrap();
    fs::create_dir(root.join("read-only")).unwrap();
    fs::write(root.join("read-only/inside"), "x").unwrap();
    mode(&root.join("read-only"), 0o555);
    let listed = file("listed", b"x");
    run("setfacl", &["-m", "u:www-data:rw,u:4242:r,g:www-data:r"], &listed);
    let noted = file("noted", b"x");
    run("setfattr", &["-n", "user.comment", "-v", "a comment"], &noted);
    run("setfattr", &["-n", "trusted.note", "-v", "0x00ff0a"], &noted);
    run("setfattr", &["-n", "user.empty"], &noted);
    run("setfattr", &["-n", "user.long", "-v", &"v".repeat(2_000)], &noted);
    run("setfattr", &["-n", "user.of-a-directory", "-v", "1"], &root.join("sticky"));
    for name in ["linked-a", "sticky/linked-b", "zz-linked"] {
        fs::hard_link(root.join("setgid"), root.join(name)).unwrap();
    }
    symlink("no/such/place", root.join("dangling")).unwrap();
    symlink("empty", root.join("link")).unwrap();
    lchown(root.join("link"), Some(WWW_DATA), Some(NOBODY)).unwrap();
    symlink(OsStr::from_bytes(&[b'l'; 4_000]), root.join("long-link")).unwrap();
    fs::hard_link(root.join("dangling"), root.join("dangling-too")).unwrap();
    mode(root, 0o751);
    chown(root, Some(WWW_DATA), Some(NOBODY)).unwrap();
}

/// What rsync would do to make the replica equal, in its own notation.
fn left_to_rsync(host: &Host) -> String {
    let slashed = |path: PathBuf| format!("{}/", path.display());
    let output = Command::new("rsync")
        .args(["-aHAXn", "--delete", "--itemize-changes", "--exclude=/.ksyncd"])
        .arg(slashed(host.source()))
        .arg(slashed(host.target()))
        .output()
        .expect("start rsync (package rsync)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wait_until_rsync_is_content(host: &Host, daemon: &mut Daemon) {
    let mut left = String::new();
    let began = std::time::Instant::now();
    daemon.wait_until("rsync has nothing to do", || {
        left = left_to_rsync(host);
        assert!(left.is_empty() || began.elapsed().as_secs() < 60, "rsync would do:\n{left}");
        left.is_empty()
    });
}

#[test]
fn a_hostile_tree_is_equal_in_all_that_rsync_compares() {
    let host = Host::new();
    let source = host.source();
    make_hostile_tree(&source);
    let mut daemon = Daemon::start(host.run());
    wait_until_rsync_is_content(&host, &mut daemon);

    fs::hard_link(source.join("huge-ish"), source.join("new-link")).unwrap();
    fs::write(source.join("replacement"), "a file of its own").unwrap();
    wait_until_rsync_is_content(&host, &mut daemon);

    mode(&source.join("setgid"), 0o600);
    chown(source.join("empty"), Some(WWW_DATA), None).unwrap();
    chown(source.join("setuid"), None, Some(NOBODY)).unwrap();
    mode(&source.join("setuid"), 0o4755);
    lchown(source.join("dangling"), Some(NOBODY), None).unwrap();
    run("setfattr", &["-n", "user.comment", "-v", "another"], &source.join("noted"));
    run("setfattr", &["-x", "user.empty"], &source.join("noted"));
    run("setfacl", &["-b"], &source.join("listed"));
    run("setfacl", &["-m", "g:4242:rwx"], &source.join("huge-ish"));
    run("setfacl", &["-k"], &source.join("inheriting"));
    fs::hard_link(source.join("new-link"), source.join("read-only/newer-link")).unwrap();
    fs::remove_file(source.join("linked-a")).unwrap();
    fs::rename(source.join("replacement"), source.join("zz-linked")).unwrap();
    fs::rename(source.join("noted"), source.join("sticky/renamed")).unwrap();
    fs::write(source.join("read-only/new"), "x").unwrap();
    fs::write(source.join("new"), "x").unwrap();
    run("setfattr", &["-n", "user.x", "-v", "y"], &source.join("new"));
    mode(&source, 0o755);
    wait_until_rsync_is_content(&host, &mut daemon);
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn sparse_files_stay_sparse() {
    const SIZE: u64 = 1 << 30;
    let host = Host::new();
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks();
    let write = |path: &Path, at: u64| {
        let file = fs::File::options().write(true).create(true).truncate(false).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"here", at).unwrap();
    };
    let (image, small) = (host.source().join("image"), host.source().join("small"));
    write(&image, 1 << 29);
    fs::File::options().write(true).open(&image).unwrap().set_len(SIZE).unwrap();
    write(&small, 100_000);
    fs::File::create(host.source().join("only-a-hole")).unwrap().set_len(50_000).unwrap();
    let mut daemon = Daemon::start(host.run());
    wait_until_rsync_is_content(&host, &mut daemon);
    write(&image, SIZE - 4);
    wait_until_rsync_is_content(&host, &mut daemon);
    for name in ["image", "small", "only-a-hole"] {
        let copy = host.target().join(name);
        assert!(blocks(&copy) <= blocks(&host.source().join(name)) + 64, "{name}: {}", blocks(&copy));
    }
    let status = Command::new("cmp").arg(small).arg(host.target().join("small")).status().unwrap();
    assert!(status.success());
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn fifos_and_sockets_are_told_of_once_and_left_out() {
    let host = Host::new();
    run("mkfifo", &[], &host.source().join("fifo"));
    fs::write(host.source().join("page"), "x").unwrap();
    let mut daemon = host.start();
    let _socket = std::os::unix::net::UnixListener::bind(host.source().join("socket")).unwrap();
    daemon.wait_for_log("path=socket");
    // It is looked at once more.
    mode(&host.source().join("fifo"), 0o600);
    fs::remove_file(host.source().join("page")).unwrap();
    run("mkfifo", &[], &host.source().join("page"));
    daemon.wait_for_log("path=page");
    let page = host.target().join("page");
    daemon.wait_until("what was there is gone", || !page.exists());
    host.wait_until_equal(&mut daemon);
    assert_eq!(daemon.log().matches("is not replicated").count(), 3, "{}", daemon.log());
    assert!(!host.target().join("fifo").exists() && !host.target().join("socket").exists());
}

#[test]
fn what_is_not_preserved_is_left_as_it_is() {
    let host = Host::new();
    let page = host.source().join("page");
    fs::write(&page, "x").unwrap();
    chown(&page, Some(WWW_DATA), Some(NOBODY)).unwrap();
    run("setfattr", &["-n", "user.comment", "-v", "x"], &page);
    run("setfacl", &["-m", "u:4242:r"], &page);
    let mut command = host.run();
    command.args(["--preserve", "group,acls"]);
    let mut daemon = Daemon::start(command);
    let copy = host.target().join("page");
    daemon.wait_until("the page arrives", || copy.exists());
    let metadata = fs::metadata(&copy).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (0, NOBODY));
    let shown = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).arg(&copy).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(shown("getfattr", &["-d", "-m", "user"]), "");
    assert!(shown("getfacl", &["-n", "--absolute-names"]).contains("user:4242:r--"));
}

#[test]
fn what_the_target_cannot_keep_is_one_problem_and_no_failure() {
    let host = Host::new();
    for number in 0..50 {
        let file = host.source().join(format!("{number}"));
        fs::write(&file, "x").unwrap();
        run("setfattr", &["-n", "user.comment", "-v", "x"], &file);
    }
    // Of old kernels `tmpfs` keeps no attributes of users; of all, `ramfs` keeps none.
    fs::create_dir(host.target()).unwrap();
    let _mounted = crate::host::Memory::mount_as("ramfs", &host.target(), "mode=755");
    let mut daemon = host.start();
    daemon.wait_for_log("cannot set user.comment");
    assert_eq!(daemon.log().matches("cannot").count(), 1, "{}", daemon.log());
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn hard_links_follow_those_of_the_source() {
    let host = Host::new();
    let (source, target) = (host.source(), host.target());
    fs::create_dir(&target).unwrap();
    // Two files at the source that are one at the target, and one that is two.
    let same = |path: &Path| {
        fs::write(path, "the same content").unwrap();
        run("touch", &["-d", "2020-01-01"], path);
    };
    for name in ["apart-1", "apart-2", "one-1"] {
        same(&source.join(name));
    }
    fs::hard_link(source.join("one-1"), source.join("one-2")).unwrap();
    for name in ["apart-1", "one-1", "one-2"] {
        same(&target.join(name));
    }
    fs::hard_link(target.join("apart-1"), target.join("apart-2")).unwrap();
    let mut daemon = Daemon::start(host.run());
    wait_until_rsync_is_content(&host, &mut daemon);
    mode(&source.join("apart-1"), 0o600);
    // In place, under one of the names.
    fs::write(source.join("one-2"), "other content").unwrap();
    wait_until_rsync_is_content(&host, &mut daemon);
    assert_eq!(fs::metadata(target.join("apart-2")).unwrap().permissions().mode() & 0o777, 0o644);
    // Not through the name: editors write anew, and the others keep what they had.
    fs::write(source.join("edited"), "edited").unwrap();
    fs::rename(source.join("edited"), source.join("one-1")).unwrap();
    fs::hard_link(source.join("apart-2"), source.join("apart-3")).unwrap();
    wait_until_rsync_is_content(&host, &mut daemon);
    fs::remove_file(source.join("apart-2")).unwrap();
    mode(&source.join("apart-3"), 0o640);
    wait_until_rsync_is_content(&host, &mut daemon);
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn what_cannot_be_linked_is_a_file_of_its_own() {
    let host = Host::new();
    fs::create_dir_all(host.source().join("mounted")).unwrap();
    fs::create_dir_all(host.target().join("mounted")).unwrap();
    let _other = crate::host::Memory::mount(&host.target().join("mounted"), "size=1M");
    fs::write(host.source().join("one"), "x").unwrap();
    fs::hard_link(host.source().join("one"), host.source().join("mounted/two")).unwrap();
    let mut daemon = Daemon::start(host.run());
    let copy = host.target().join("mounted/two");
    daemon.wait_until("the file arrives", || fs::read_to_string(&copy).is_ok_and(|text| text == "x"));
    daemon.wait_for_log("cannot link it");
    fs::write(host.source().join("one"), "y").unwrap();
    daemon.wait_until("a change arrives", || fs::read_to_string(&copy).is_ok_and(|text| text == "y"));
}
