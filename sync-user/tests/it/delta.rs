//! Of a large file only what changed travels, and what the target builds of it is right, whatever
//! it had (I2, I4).

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use sync_user::control::TargetStatus;

use crate::host::{Daemon, Host, noise};

const MIB: usize = 1 << 20;

/// Gives the file new content in one act, as editors do: no other content is ever seen.
fn replace(host: &Host, name: &str, content: &[u8]) {
    let new = host.path().join("new");
    fs::write(&new, content).unwrap();
    fs::rename(&new, host.source().join(name)).unwrap();
}

/// What `change` costs until the trees are equal: content, and all bytes on the connection.
fn cost(host: &Host, daemon: &mut Daemon, change: impl FnOnce()) -> (u64, u64) {
    let before = host.target_status();
    change();
    host.wait_until_equal(daemon);
    let after = host.target_status();
    (after.bytes_shipped - before.bytes_shipped, after.bytes_written - before.bytes_written)
}

#[test]
fn only_what_changed_in_a_large_file_travels() {
    let host = Host::new();
    let mut content = noise(1, 8 * MIB);
    fs::write(host.source().join("large"), &content).unwrap();
    let mut daemon = host.start();
    let (shipped, written) = cost(&host, &mut daemon, || {
        content.splice(3_000_001..3_000_001, noise(2, 1_024));
        replace(&host, "large", &content);
    });
    assert!(shipped <= 3 * 1_024 && written < 8_192, "an insertion: {shipped}, {written}");
    let (shipped, written) = cost(&host, &mut daemon, || {
        let mut log = File::options().append(true).open(host.source().join("large")).unwrap();
        log.write_all(&noise(3, 64 << 10)).unwrap();
    });
    assert!(shipped == 64 << 10 && written < 70 << 10, "the tail: {shipped}, {written}");
    let (shipped, written) = cost(&host, &mut daemon, || {
        content.extend(noise(3, 64 << 10));
        for number in 0..20 {
            let at = number * 400_000;
            content[at..at + 4_096].copy_from_slice(&noise(at as u64, 4_096));
        }
        replace(&host, "large", &content);
    });
    assert!(shipped <= 20 * (4_096 + 2_048) && written < 150 << 10, "scattered: {shipped}, {written}");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);

    // The next run knows what the target has, without a second look at it.
    content.splice(5_000_000..5_000_007, noise(4, 1_024));
    fs::write(host.source().join("large"), &content).unwrap();
    let mut daemon = host.start();
    let TargetStatus { bytes_shipped: shipped, bytes_written: written, .. } = host.target_status();
    assert!(shipped <= 3 * 1_024 && written < 8_192, "after a restart: {shipped}, {written}");
    let (shipped, _) = cost(&host, &mut daemon, || replace(&host, "large", &noise(5, 2 * MIB)));
    assert_eq!(shipped, 2 * MIB as u64, "all of it is new");
}

#[test]
fn what_the_target_has_elsewhere_is_copied_there() {
    let host = Host::new();
    let content = noise(1, 3 * MIB);
    fs::write(host.source().join("one"), &content).unwrap();
    fs::write(host.source().join("alike"), noise(2, 3 * MIB)).unwrap();
    let mut daemon = host.start();
    let (shipped, written) = cost(&host, &mut daemon, || replace(&host, "copy", &content));
    assert!(shipped == 0 && written < 4_096, "a copy: {shipped}, {written}");
    let (shipped, written) = cost(&host, &mut daemon, || replace(&host, "alike", &content));
    assert!(shipped == 0 && written < 4_096, "over another file: {shipped}, {written}");
    assert_eq!(daemon.stop().status.code(), Some(0));
    // Nobody saw the renames.
    fs::create_dir(host.source().join("moved")).unwrap();
    for name in ["one", "copy", "alike"] {
        fs::rename(host.source().join(name), host.source().join("moved").join(name)).unwrap();
    }
    let mut daemon = host.start();
    assert_eq!(host.target_status().bytes_shipped, 0);
    let (shipped, _) = cost(&host, &mut daemon, || {
        fs::remove_dir_all(host.source().join("moved")).unwrap();
    });
    assert_eq!(shipped, 0);
    let (shipped, _) = cost(&host, &mut daemon, || replace(&host, "again", &content));
    assert_eq!(shipped, 3 * MIB as u64, "the target has it nowhere any more");
}

#[test]
fn a_target_that_has_something_else_gets_all_of_it() {
    let host = Host::shared();
    let mut content = noise(1, 2 * MIB);
    fs::write(host.source().join("page"), &content).unwrap();
    fs::write(host.source().join("gone"), &content).unwrap();
    let mut daemon = host.start();
    // Of the same size and time, which nothing but its hash tells.
    let page = File::options().write(true).open(host.target().join("page")).unwrap();
    let time = page.metadata().unwrap().modified().unwrap();
    page.write_all_at(b"somebody was here", 1_000).unwrap();
    page.set_modified(time).unwrap();
    fs::remove_file(host.target().join("gone")).unwrap();
    let (shipped, _) = cost(&host, &mut daemon, || {
        content.extend(b"more");
        replace(&host, "page", &content);
        replace(&host, "gone", &content);
    });
    assert!(shipped >= 2 * MIB as u64, "{shipped}");
    assert!(!daemon.log().contains("cannot"), "it is replaced, and no problem\n{}", daemon.log());
    let (shipped, _) = cost(&host, &mut daemon, || {
        content.extend(b"and more");
        replace(&host, "page", &content);
    });
    assert_eq!(shipped, 8, "and is known again");
}

#[test]
fn wrong_outlines_cost_bytes_and_no_content() {
    let host = Host::new();
    let (one, mut other) = (noise(1, 2 * MIB), noise(2, 2 * MIB));
    fs::write(host.source().join("page"), &one).unwrap();
    fs::write(host.source().join("other"), &other).unwrap();
    assert_eq!(host.start().stop().status.code(), Some(0));
    let mut state = fs::read_dir(host.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let outlines = state.find(|path| path.extension().is_some_and(|extension| extension == "outlines"));
    let outlines: Vec<_> =
        fs::read_dir(outlines.unwrap()).unwrap().map(|outline| outline.unwrap().path()).collect();
    assert_eq!(outlines.len(), 2);
    // Each is told to be that of the other: from "page", "other" could be built.
    sync_user::demo::workload::exchange(&outlines[0], &outlines[1]).unwrap();
    other.extend(b"more");
    fs::write(host.source().join("page"), &other).unwrap();
    let mut daemon = host.start();
    assert_eq!(host.target_status().bytes_shipped, other.len() as u64 + 4, "it is sent once more, and whole");
    let (shipped, _) = cost(&host, &mut daemon, || {
        other.extend(b"and more");
        replace(&host, "page", &other);
    });
    assert_eq!(shipped, 8);
    assert_eq!(host.target_status().problems_total, 0);
}

#[test]
fn a_large_file_with_holes_keeps_them() {
    use std::os::unix::fs::MetadataExt as _;
    let host = Host::new();
    let path = host.source().join("image");
    let file = File::create(&path).unwrap();
    file.set_len(32 * MIB as u64).unwrap();
    file.write_all_at(&noise(1, MIB), 16 * MIB as u64).unwrap();
    drop(file);
    let mut daemon = host.start();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&noise(2, MIB), 8 * MIB as u64).unwrap();
    drop(file);
    host.wait_until_equal(&mut daemon);
    let blocks = |path| fs::metadata(path).unwrap().blocks() * 512;
    assert!(blocks(host.target().join("image")) <= 4 * MIB as u64);
}

/// The most memory that the daemon ever had, in bytes.
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_large_file_takes_little_memory() {
    let host = Host::new();
    let mut content = noise(1, 64 * MIB);
    fs::write(host.source().join("small"), &content[..2 * MIB]).unwrap();
    let mut daemon = host.start();
    let before = peak(&daemon);
    replace(&host, "large", &content);
    host.wait_until_equal(&mut daemon);
    let (shipped, _) = cost(&host, &mut daemon, || {
        content.splice(30_000_000..30_000_000, noise(2, 1_024));
        replace(&host, "large", &content);
    });
    let grown = peak(&daemon) - before;
    assert!(shipped <= 3 * 1_024 && grown < 16 * MIB as u64, "I6: {shipped}, {grown}");
}

#[test]
fn what_shrinks_is_compressed_unless_that_is_not_wanted() {
    let page = "<li>a line as pages have many</li>\n".repeat(30_000).into_bytes();
    let mut costs = Vec::new();
    for when in ["auto", "always", "never"] {
        let host = Host::new();
        let mut command = host.run();
        command.args(["--compress", when]);
        let mut daemon = Daemon::start(command);
        host.wait_until_equal(&mut daemon);
        costs.push(cost(&host, &mut daemon, || {
            replace(&host, "page", &page);
            fs::write(host.source().join("small"), &page[..4_000]).unwrap();
        }));
    }
    let length = page.len() as u64 + 4_000;
    assert!(costs.iter().all(|(shipped, _)| *shipped == length), "{costs:?}");
    assert!(costs[..2].iter().all(|(_, written)| written * 10 < length), "{costs:?}");
    assert!(costs[2].1 > length, "{costs:?}");
}
