//! Connections are cut, processes are killed: nothing is lost, and nothing is half done.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sync_user::demo::{site, workload};

use crate::host::{Daemon, Host, Memory, PATIENCE};

#[test]
fn cut_connections_lose_nothing() {
    let mut host = Host::new();
    site::make(&host.source(), 5).unwrap();
    let mut daemon = host.start_unguarded();
    let source = host.source();
    let writer = std::thread::spawn(move || {
        for writer in workload::collide(&source, 0..2, Duration::from_secs(6)) {
            assert!(writer.done > 0);
        }
    });
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1_500));
        host.sshd.restart().unwrap();
    }
    writer.join().unwrap();
    host.wait_until_equal(&mut daemon);
    assert!(daemon.log().contains("connecting again"), "the connections were cut: {}", daemon.log());
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn changes_while_the_target_is_away_arrive_when_it_is_back() {
    let mut host = Host::new();
    site::make(&host.source(), 6).unwrap();
    let mut daemon = host.start();
    host.sshd.stop();
    fs::rename(host.source().join("blog"), host.source().join("news")).unwrap();
    fs::remove_dir_all(host.source().join("img")).unwrap();
    fs::write(host.source().join("index.html"), "new").unwrap();
    daemon.wait_for_log("connecting again");
    host.sshd.restart().unwrap();
    host.wait_until_equal(&mut daemon);
}

/// How many receivers have a stage in `.ksyncd`.
fn stages(home: &Path) -> usize {
    let is_stage = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().starts_with("stage-")
    };
    fs::read_dir(home).map_or(0, |entries| entries.filter_map(|entry| is_stage(entry).then_some(())).count())
}

#[test]
fn a_killed_daemon_is_made_good_by_the_next() {
    let host = Host::new();
    site::make(&host.source(), 8).unwrap();
    let mut large = vec![7; 20 << 20];
    fs::write(host.source().join("large"), &large).unwrap();
    let mut daemon = Daemon::start(host.run());
    let stage = host.target().join(".ksyncd");
    daemon.wait_until("files are on their way", || stage.exists());
    daemon.signal(Signal::SIGKILL);
    assert!(daemon.wait().status.code().is_none());
    large[0] = 8;
    fs::write(host.source().join("large"), &large).unwrap();
    let mut daemon = host.start();
    // The stages of receivers that lost their source are cleared, by themselves or by the next.
    daemon.wait_until("each stage that is left is in use", || {
        stages(&stage) as u64 <= host.target_status().connections
    });
    assert_eq!(daemon.stop().status.code(), Some(0));
    let began = Instant::now();
    while stages(&stage) > 0 {
        assert!(began.elapsed() < PATIENCE, "something is left behind");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_receiver_is_replaced() {
    let host = Host::new();
    site::make(&host.source(), 9).unwrap();
    let mut daemon = host.start();
    let log = daemon.log();
    let process = log.split("process=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let process = nix::unistd::Pid::from_raw(process.parse().unwrap());
    nix::sys::signal::kill(process, Signal::SIGKILL).unwrap();
    fs::write(host.source().join("after"), "x").unwrap();
    host.wait_until_equal(&mut daemon);
    daemon.wait_for_log("connecting again");
}

#[test]
fn an_emptied_mount_point_removes_nothing() {
    let host = Host::new();
    let source = host.source();
    fs::create_dir(source.join("www")).unwrap();
    fs::write(source.join("www/index.html"), "x").unwrap();
    // The root is moved away, as when a volume is unmounted, and an empty one takes its place.
    let mut daemon = host.start();
    fs::rename(&source, host.path().join("elsewhere")).unwrap();
    fs::create_dir(&source).unwrap();
    fs::remove_file(host.path().join("elsewhere/www/index.html")).unwrap();
    daemon.wait_for_log("nothing removed");
    std::thread::sleep(Duration::from_millis(500));
    assert!(host.target().join("www/index.html").exists(), "I3");
    fs::remove_dir(&source).unwrap();
    fs::rename(host.path().join("elsewhere"), &source).unwrap();
    host.wait_until_equal(&mut daemon);
}

#[test]
fn a_stop_sends_what_is_still_open() {
    let host = Host::new();
    let mut command = host.run();
    command.args(["--open-file-interval", "1h"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log("compared the trees");
    let mut open = fs::File::create(host.source().join("log")).unwrap();
    open.write_all(b"a line\n").unwrap();
    let directory = host.source().join("flag");
    fs::create_dir(&directory).unwrap();
    let flag = host.target().join("flag");
    daemon.wait_until("a later change has arrived", || flag.exists());
    assert!(!host.target().join("log").exists(), "nobody has closed it");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(host.target().join("log")).unwrap(), "a line\n");
    drop(open);
}

#[test]
fn events_that_the_kernel_could_not_keep_are_made_good() {
    let host = Host::new();
    // A file system of its own: the flood would fill the queues of other tests' daemons, too.
    let _memory = Memory::mount(&host.source(), "size=64M");
    site::make(&host.source(), 4).unwrap();
    fs::create_dir(host.source().join("flood")).unwrap();
    let mut daemon = host.start();
    daemon.signal(Signal::SIGSTOP);
    let room = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap();
    for number in 0..room.trim().parse::<usize>().unwrap() + 1_000 {
        let file = host.source().join(format!("flood/{number}"));
        fs::File::create(&file).unwrap();
        fs::remove_file(&file).unwrap();
    }
    // Nobody tells of these.
    fs::rename(host.source().join("blog"), host.source().join("news")).unwrap();
    fs::remove_dir_all(host.source().join("img")).unwrap();
    fs::write(host.source().join("index.html"), "new").unwrap();
    daemon.signal(Signal::SIGCONT);
    host.wait_until_equal(&mut daemon);
    assert!(daemon.log().contains("the kernel's fanotify queue was full"), "I7: {}", daemon.log());
    let ended = daemon.stop();
    assert!(!ended.stdout.contains("gaps 0"), "I7: {}", ended.stdout);
}

#[test]
fn what_is_mounted_over_a_directory_removes_nothing_below_it() {
    let host = Host::new();
    let uploads = host.source().join("uploads");
    fs::create_dir(&uploads).unwrap();
    fs::write(uploads.join("kept"), "x").unwrap();
    let mut daemon = host.start();
    let memory = Memory::mount(&uploads, "size=1M");
    daemon.wait_for_log("mounts changed below the root");
    fs::write(uploads.join("on-the-mount"), "x").unwrap();
    fs::write(host.source().join("page"), "x").unwrap();
    let page = host.target().join("page");
    daemon.wait_until("a page beside it arrives", || page.exists());
    assert!(host.target().join("uploads/kept").exists(), "I3");
    assert!(!host.target().join("uploads/on-the-mount").exists(), "what is mounted is another tree");
    drop(memory);
    fs::write(uploads.join("later"), "x").unwrap();
    host.wait_until_equal(&mut daemon);
}

#[test]
fn every_durability_replicates_the_same() {
    for durability in ["none", "batch", "file"] {
        let host = Host::new();
        site::make(&host.source(), 17).unwrap();
        fs::write(host.source().join("large"), vec![7; 3 << 20]).unwrap();
        let mut command = host.run();
        command.args(["--durability", durability]);
        let mut daemon = Daemon::start(command);
        host.wait_until_equal(&mut daemon);
        fs::write(host.source().join("later"), "x").unwrap();
        host.wait_until_equal(&mut daemon);
        assert_eq!(daemon.stop().status.code(), Some(0), "{durability}");
    }
}
