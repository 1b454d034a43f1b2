//! Small files do not wait for large ones that are on their way, and what builds on those does.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::host::{Daemon, Host, noise};

/// KiB per second, as it is typed: slow enough that much can happen meanwhile.
const RATE: u64 = 1_000;

/// Size of a large file in bytes that is on its way for some seconds.
const SECONDS: usize = 6 << 20;

/// And of one that is on its way for longer than anything else may take.
const MINUTES: usize = 120 << 20;

struct Slow {
    host: Host,
    daemon: Daemon,
}

impl Slow {
    /// A replica behind a slow link, to which the file `large/image` of this size is on its way.
    fn new(size: usize) -> Self {
        let host = Host::new();
        let mut command = host.run();
        command.args(["--bwlimit", &RATE.to_string()]);
        let mut daemon = Daemon::start(command);
        host.wait_until_equal(&mut daemon);
        let before = host.target_status().bytes_written;
        fs::create_dir(host.source().join("large")).unwrap();
        fs::write(host.source().join("large/image"), noise(1, size)).unwrap();
        daemon.wait_until("the large file is on its way", || {
            host.target_status().bytes_written > before + (600 << 10)
        });
        Self { host, daemon }
    }

    fn end(&mut self) {
        self.host.wait_until_equal(&mut self.daemon);
        let status = self.host.target_status();
        assert_eq!((status.unexpected_replaced, status.unexpected_kept), (0, 0), "{}", self.daemon.log());
    }
}

#[test]
fn small_files_overtake_large_ones() {
    let mut slow = Slow::new(MINUTES);
    let (source, target) = (slow.host.source(), slow.host.target());
    // Another large one does not keep them, and neither does the directory that it is in.
    fs::write(source.join("large/second"), noise(2, SECONDS)).unwrap();
    for name in ["page", "large/page"] {
        fs::write(source.join(name), name).unwrap();
        let is_there = || fs::read(target.join(name)).is_ok_and(|is| is == name.as_bytes());
        slow.daemon.wait_until("the page is there", is_there);
        assert!(!target.join("large/image").exists(), "{name} came after the large file");
    }
}

#[test]
fn what_builds_on_a_large_file_waits_for_it() {
    let mut slow = Slow::new(SECONDS);
    let source = slow.host.source();
    fs::hard_link(source.join("large/image"), source.join("link")).unwrap();
    fs::rename(source.join("large/image"), source.join("large/renamed")).unwrap();
    fs::write(source.join("large/image"), "small").unwrap();
    fs::rename(source.join("large"), source.join("moved")).unwrap();
    fs::create_dir(source.join("large")).unwrap();
    fs::write(source.join("large/renamed"), "another").unwrap();
    let target = slow.host.target();
    slow.end();
    let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
    assert_eq!(inode("link"), inode("moved/renamed"));
}

/// When its turn comes it has another name, and the rename was planned as if it were there.
#[test]
fn a_large_file_that_is_renamed_while_it_waits_for_its_turn_arrives() {
    let mut slow = Slow::new(SECONDS);
    let source = slow.host.source();
    fs::write(source.join("large/second"), noise(2, SECONDS / 8)).unwrap();
    fs::create_dir(source.join("large/below")).unwrap();
    fs::write(source.join("large/below/third"), noise(3, SECONDS / 8)).unwrap();
    let target = slow.host.target();
    slow.daemon.wait_until("what overtakes is there", || target.join("large/below").is_dir());
    fs::rename(source.join("large/second"), source.join("large/renamed")).unwrap();
    fs::rename(source.join("large"), source.join("moved")).unwrap();
    slow.end();
}

#[test]
fn a_large_file_that_changes_on_its_way_arrives_as_it_is_in_the_end() {
    let mut slow = Slow::new(SECONDS);
    let path = slow.host.source().join("large/image");
    for round in 0..20_u8 {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &[round; 1_000]).unwrap();
        drop(file);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // Removed in the end, it is not there either.
    fs::write(slow.host.source().join("gone"), noise(3, SECONDS)).unwrap();
    let target = slow.host.target();
    slow.daemon.wait_until("the first large file is there", || target.join("large/image").exists());
    fs::remove_file(slow.host.source().join("gone")).unwrap();
    slow.end();
    assert!(!target.join("gone").exists());
}
