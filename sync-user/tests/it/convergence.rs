//! I1: when changes stop, the target equals the source, whatever happened before.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use sync_user::demo::{site, workload};

use crate::host::{Host, Memory};

#[test]
fn an_existing_tree_and_every_kind_of_change_arrive() {
    let host = Host::new();
    site::make(&host.source(), 7).unwrap();
    let mut daemon = host.start();
    workload::scripted(&host.source().join("empty")).unwrap();
    host.wait_until_equal(&mut daemon);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("end to end"), "the table is printed at the end");
}

#[test]
fn a_name_that_was_given_later_changes_with_the_first() {
    let host = Host::new();
    let (first, second) = (host.source().join("first"), host.source().join("second"));
    fs::write(&first, "one").unwrap();
    let mut daemon = host.start();
    fs::hard_link(&first, &second).unwrap();
    host.wait_until_equal(&mut daemon);
    workload::append(&second, b" and more").unwrap();
    host.wait_until_equal(&mut daemon);
    assert_eq!(fs::read_to_string(host.target().join("first")).unwrap(), "one and more");
    fs::set_permissions(&first, fs::Permissions::from_mode(0o600)).unwrap();
    host.wait_until_equal(&mut daemon);
}

#[test]
fn colliding_writers_end_with_equal_trees() {
    let host = Host::new();
    let mut daemon = host.start_unguarded();
    for writer in workload::collide(&host.source(), 11..15, Duration::from_secs(10)) {
        assert!(writer.done > 100);
    }
    host.wait_until_equal(&mut daemon);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn a_renamed_directory_sends_no_content() {
    let host = Host::new();
    // A file system of its own: a rescan that other tests ask for may else come before the rename.
    let _memory = Memory::mount(&host.source(), "size=64M");
    let before = host.source().join("before");
    for number in 0..5_000 {
        let directory = before.join(format!("{}", number % 50));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{number}")), [b'x'; 100]).unwrap();
    }
    let mut daemon = host.start();
    let sent = host.target().join("before/0/0");
    let inode = fs::metadata(&sent).unwrap().ino();
    fs::rename(&before, host.source().join("after")).unwrap();
    host.wait_until_equal(&mut daemon);
    assert_eq!(fs::metadata(host.target().join("after/0/0")).unwrap().ino(), inode, "the same file, moved");
    let ended = daemon.stop();
    // What the first comparison sent, and nothing since.
    assert!(ended.stdout.contains("488.3 KiB of content"), "{}", ended.stdout);
    assert!(ended.stdout.contains("  1 renames repeated"), "{}", ended.stdout);
}

#[test]
fn files_that_only_the_target_has_stay() {
    let host = Host::new();
    fs::create_dir_all(host.target().join("own/inner")).unwrap();
    fs::write(host.target().join("own/inner/file"), "mine").unwrap();
    fs::create_dir(host.source().join("own")).unwrap();
    fs::write(host.source().join("own/theirs"), "sent").unwrap();
    let mut daemon = crate::host::Daemon::start(host.run());
    let (arrived, own) = (host.target().join("own/theirs"), host.target().join("own/inner/file"));
    daemon.wait_until("the file arrives", || arrived.exists());
    fs::remove_dir_all(host.source().join("own")).unwrap();
    daemon.wait_until("the file is removed", || !arrived.exists());
    daemon.wait_for_log("it holds files of the target's own");
    assert_eq!(fs::read_to_string(own).unwrap(), "mine", "I3");
}

#[test]
fn excluded_paths_are_neither_sent_nor_removed() {
    let host = Host::new();
    fs::create_dir_all(host.target().join("cache")).unwrap();
    fs::write(host.target().join("cache/kept"), "there").unwrap();
    fs::create_dir(host.source().join("cache")).unwrap();
    fs::write(host.source().join("cache/page"), "x").unwrap();
    fs::write(host.source().join("draft.tmp"), "x").unwrap();
    let mut command = host.run();
    command.args(["--exclude", "/cache/", "--exclude", "*.tmp"]);
    let mut daemon = crate::host::Daemon::start(command);
    fs::write(host.source().join("page.html"), "x").unwrap();
    let page = host.target().join("page.html");
    daemon.wait_until("the page arrives", || page.exists());
    fs::write(host.source().join("other.tmp"), "x").unwrap();
    fs::remove_dir_all(host.source().join("cache")).unwrap();
    fs::rename(host.source().join("page.html"), host.source().join("page.tmp")).unwrap();
    daemon.wait_until("a page renamed to an excluded name goes", || !page.exists());
    let names = |directory: &std::path::Path| {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != ".ksyncd");
        names.sort();
        names
    };
    assert_eq!(names(&host.target()), ["cache"], "{}", daemon.log());
    assert_eq!(names(&host.target().join("cache")), ["kept"], "I3");
}

#[test]
fn a_reader_sees_the_old_or_the_new_content_and_never_a_gap() {
    let host = Host::new();
    let (page, copy) = (host.source().join("page"), host.target().join("page"));
    let content = |version: u32| format!("{version:08}").repeat(20_000);
    fs::write(&page, content(0)).unwrap();
    let mut daemon = host.start();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let text = fs::read_to_string(&copy).expect("I2: the name is never missing");
                let version: u32 = text[..8].parse().unwrap();
                assert_eq!(text.len(), 160_000, "I2: whole");
                assert_eq!(text, content(version), "I2: of one version");
                seen.insert(version);
            }
            seen
        });
        for version in 1..200 {
            let temporary = host.source().join(".page.new");
            fs::write(&temporary, content(version)).unwrap();
            fs::rename(&temporary, &page).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon.wait_until("the last version arrives", || {
            fs::read_to_string(&copy).is_ok_and(|text| text == content(199))
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap().len() > 2, "the reader saw versions change");
    });
}

#[test]
fn large_files_arrive_whole_through_frequent_new_keys() {
    let host = Host::with_sshd("RekeyLimit 1M");
    let mut random = fastrand::Rng::with_seed(3);
    let mut content = vec![0; 48 << 20];
    random.fill(&mut content);
    fs::write(host.source().join("large"), &content).unwrap();
    fs::set_permissions(host.source().join("large"), fs::Permissions::from_mode(0o604)).unwrap();
    let mut daemon = host.start();
    for number in 0..30 {
        content.truncate(random.usize(1 << 18..3 << 20));
        random.fill(&mut content);
        fs::write(host.source().join(format!("file-{number}")), &content).unwrap();
    }
    host.wait_until_equal(&mut daemon);
    assert!(!daemon.log().contains("connecting again"), "one connection did it all: {}", daemon.log());
}
