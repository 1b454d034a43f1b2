//! Looks over the shoulder of `ksyncd tail`, by fanotify.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::{KSYNCD, PATIENCE};

/// Waits until `file` has `text` in it; gives all of it.
fn wait_for(text: &str, file: &Path) -> String {
    let began = Instant::now();
    loop {
        let all = fs::read_to_string(file).unwrap();
        if all.contains(text) {
            return all;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for \"{text}\" in\n{all}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A tail of a root, whose lines go to a file.
struct Tail {
    directory: tempfile::TempDir,
    child: Child,
    out: PathBuf,
}

impl Tail {
    /// `out` is relative to the folder in which the root is called `root`.
    fn start(out: &str, flags: &[&str], furnish: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::Builder::new().prefix("ksyncd-tail-").tempdir().unwrap();
        let (root, out) = (directory.path().join("root"), directory.path().join(out));
        fs::create_dir(&root).unwrap();
        furnish(&root);
        let said = directory.path().join("said");
        let child = Command::new(KSYNCD)
            .args(["tail", "--capture", "fanotify"])
            .args(flags)
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        wait_for("capturing", &said);
        Self { directory, child, out }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Waits until a change of `name` is told; gives all lines so far.
    fn wait_for(&self, name: &str) -> String {
        wait_for(name, &self.out)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn what_tail_prints_below_the_root_is_not_told() {
    let tail = Tail::start("root/out", &[], |_| ());
    fs::write(tail.root().join("first"), "x").unwrap();
    tail.wait_for("first");
    fs::write(tail.root().join("second"), "x").unwrap();
    let told = tail.wait_for("second");
    assert!(!told.lines().any(|line| line.contains(" out ")), "{told}");
}

#[test]
fn what_an_ignored_process_does_is_not_told() {
    let mut ignored = Command::new("sh");
    // It waits to be told the name of the file that it is to make.
    ignored.args(["-c", "read name && echo x > \"$name\""]).stdin(Stdio::piped());
    let mut ignored = ignored.spawn().unwrap();
    let pid = ignored.id().to_string();
    let tail = Tail::start("out", &["--ignore-process", &pid], |_| ());
    let path = tail.root().join("made-by-the-ignored");
    writeln!(ignored.stdin.take().unwrap(), "{}", path.display()).unwrap();
    assert!(ignored.wait().unwrap().success() && path.exists());
    fs::write(tail.root().join("last"), "x").unwrap();
    let told = tail.wait_for("last");
    assert!(!told.contains("made-by-the-ignored"), "{told}");
}

/// A mark for each directory is what other watchers die of.
#[test]
fn one_mark_is_enough_for_any_number_of_directories() {
    let tail = Tail::start("out", &[], |root| {
        for number in 0..2_000 {
            fs::create_dir(root.join(number.to_string())).unwrap();
        }
    });
    let mut marks = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", tail.child.id())).unwrap() {
        let facts = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let is_mark = |line: &&str| line.starts_with("inotify wd:") || line.starts_with("fanotify sdev:");
        marks.extend(facts.lines().filter(is_mark).map(str::to_owned));
    }
    assert_eq!(marks.len(), 1, "{marks:?}");
    fs::write(tail.root().join("1999/deep"), "x").unwrap();
    tail.wait_for("1999/deep");
}
