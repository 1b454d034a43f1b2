//! Disks as they are: one whose machine loses its power, and one that cannot be read any more (I3, I4).
//!
//! Each is a file that is mounted. What the kernel has not written yet is not in that file, so a copy of it is
//! what a machine finds after its power was cut.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{Daemon, Host};

/// Enough for ext4 with a journal.
const DISK_BYTES: u64 = 64 << 20;

/// ext4's usual one, given to `mkfs.ext4`.
const BLOCK_BYTES: u64 = 4096;

/// A file that is a block device until it is dropped: always the same one, so that what is mounted from it is
/// known again.
struct Image {
    file: PathBuf,
    device: PathBuf,
}

impl Image {
    /// With an empty file system.
    fn make(file: PathBuf) -> Self {
        File::create(&file).unwrap().set_len(DISK_BYTES).unwrap();
        run("mkfs.ext4", &["-q", "-b", &BLOCK_BYTES.to_string(), "-O", "metadata_csum,^inline_data"], &file);
        Self::of(file)
    }

    fn of(file: PathBuf) -> Self {
        let device = run("losetup", &["--find", "--show"], &file);
        Self { file, device: device.trim().into() }
    }

    fn mount(&self, at: &Path) -> Mounted {
        fs::create_dir_all(at).unwrap();
        // The kernel writes by itself what waits for long: not before this test is over.
        run("mount", &["-o", "commit=600", &self.device.display().to_string()], at);
        let _only_at_first = fs::remove_dir(at.join("lost+found"));
        Mounted { at: at.to_owned() }
    }

    /// What is left of it when the power is cut now.
    fn cut_power(&self, copy: PathBuf) -> Self {
        fs::copy(&self.file, &copy).unwrap();
        Self::of(copy)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ended = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// A file system that is mounted until this is dropped.
struct Mounted {
    at: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ended = Command::new("umount").arg(&self.at).status();
    }
}

/// Makes the names in a directory of an image unreadable.
fn spoil(image: &Path, directory: &str) {
    let blocks =
        Command::new("debugfs").args(["-R", &format!("blocks {directory}")]).arg(image).output().unwrap();
    let blocks = String::from_utf8(blocks.stdout).unwrap();
    let image = File::options().write(true).open(image).unwrap();
    for block in blocks.split_whitespace() {
        let block: u64 = block.parse().unwrap();
        image.write_all_at(&[0xff; BLOCK_BYTES as usize], block * BLOCK_BYTES).unwrap();
    }
    image.sync_all().unwrap();
}

fn run(program: &str, words: &[&str], last: &Path) -> String {
    let output = Command::new(program).args(words).arg(last).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: this test needs root: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// I4: what is acknowledged is on the target's disk, and whole.
#[test]
fn what_is_acknowledged_is_there_after_the_target_has_lost_its_power() {
    let host = Host::new();
    let image = Image::make(host.path().join("disk"));
    let _mounted = image.mount(&host.target());
    fs::write(host.source().join("page"), "before").unwrap();
    let mut daemon = host.start();
    fs::write(host.source().join("page"), "after").unwrap();
    fs::create_dir(host.source().join("news")).unwrap();
    fs::write(host.source().join("news/today"), "a new page").unwrap();
    fs::write(host.source().join("large"), vec![b'x'; 3 << 20]).unwrap();
    daemon.wait_until("all is acknowledged", || host.ask("wait").status().unwrap().success());
    let at = host.path().join("after");
    let copy = image.cut_power(host.path().join("copy"));
    let _after = copy.mount(&at);
    let read = |path: &str| fs::read_to_string(at.join(path)).unwrap_or_else(|error| error.to_string());
    assert_eq!([read("page"), read("news/today")], ["after", "a new page"], "I4: it was acknowledged");
    assert!(fs::read(at.join("large")).is_ok_and(|content| content == vec![b'x'; 3 << 20]), "I4: whole");
}

/// I3: an error is no removal.
#[test]
fn a_directory_that_cannot_be_read_removes_nothing() {
    let host = Host::new();
    let (image, source) = (Image::make(host.path().join("disk")), host.source());
    let mounted = image.mount(&source);
    fs::create_dir(source.join("news")).unwrap();
    for number in 0..20 {
        fs::write(source.join(format!("news/{number}")), "x").unwrap();
    }
    fs::write(source.join("gone"), "x").unwrap();
    let daemon = host.start();
    assert_eq!(daemon.stop().status.code(), Some(0));
    drop(mounted);
    spoil(&image.file, "/news");
    let _mounted = image.mount(&source);
    assert!(fs::read_dir(source.join("news")).unwrap().any(|entry| entry.is_err()), "it can be read");
    fs::remove_file(source.join("gone")).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_until("what was removed is", || !host.target().join("gone").exists());
    fs::write(source.join("page"), "x").unwrap();
    daemon.wait_until("a later page arrives", || host.target().join("page").exists());
    for number in 0..20 {
        assert!(host.target().join(format!("news/{number}")).exists(), "I3: {}", daemon.log());
    }
    daemon.wait_for_log("cannot read it");
}
