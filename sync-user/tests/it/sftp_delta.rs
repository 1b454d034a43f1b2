//! Over SFTP files are built from what the target has where it is certain what that is, and nowhere else (I4).

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use crate::host::{Daemon, Host, noise};
use crate::sftp::{start, wait_until_equal};

const MIB: usize = 1 << 20;
const DAY: Duration = Duration::from_hours(24);

/// Gives a file new content in one act, and a time.
fn replace(host: &Host, name: &str, content: &[u8], time: SystemTime) {
    let new = host.path().join("new");
    fs::write(&new, content).unwrap();
    File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
    fs::rename(&new, host.source().join(name)).unwrap();
}

/// The content that was sent until the trees are equal after `change`, in bytes.
fn shipped(host: &Host, daemon: &mut Daemon, change: impl FnOnce()) -> u64 {
    let before = host.target_status().bytes_shipped;
    change();
    wait_until_equal(host, daemon);
    host.target_status().bytes_shipped - before
}

#[test]
fn only_what_changed_in_a_large_file_travels() {
    let host = Host::with_sshd("ForceCommand internal-sftp");
    let mut content = noise(1, 16 * MIB);
    replace(&host, "large", &content, SystemTime::now() - DAY);
    let mut daemon = start(&host);
    let bytes = shipped(&host, &mut daemon, || {
        content.splice(3_000_001..3_000_001, noise(2, 1_024));
        replace(&host, "large", &content, SystemTime::now());
    });
    assert!(bytes <= 3 * 1_024, "an insertion: {bytes}");
    let bytes = shipped(&host, &mut daemon, || {
        let mut log = File::options().append(true).open(host.source().join("large")).unwrap();
        log.write_all(&noise(3, 64 << 10)).unwrap();
    });
    assert_eq!(bytes, 64 << 10, "the tail");
    content.extend(noise(3, 64 << 10));
    let bytes = shipped(&host, &mut daemon, || replace(&host, "copy", &content, SystemTime::now() - DAY));
    assert_eq!(bytes, 0, "a copy");

    let theirs = File::options().write(true).open(host.target().join("large")).unwrap();
    theirs.write_all_at(b"somebody else's", 9_000_000).unwrap();
    let bytes = shipped(&host, &mut daemon, || {
        content[1_000_000..1_000_010].copy_from_slice(b"once again");
        replace(&host, "large", &content, SystemTime::now());
    });
    assert!(bytes >= content.len() as u64, "nothing is built from what somebody has written to: {bytes}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

/// By its time a file of this second cannot be told from one that somebody has changed since.
#[test]
fn what_may_have_changed_unseen_is_sent_whole() {
    let host = Host::with_sshd("ForceCommand internal-sftp");
    let mut content = noise(1, MIB);
    replace(&host, "large", &content, SystemTime::now() + DAY);
    let mut daemon = start(&host);
    let bytes = shipped(&host, &mut daemon, || {
        content[500_000..500_010].copy_from_slice(b"once again");
        replace(&host, "large", &content, SystemTime::now() - DAY);
    });
    assert!(bytes >= MIB as u64, "it was not certain: {bytes}");
    let bytes = shipped(&host, &mut daemon, || {
        content[700_000..700_010].copy_from_slice(b"once again");
        replace(&host, "large", &content, SystemTime::now() - DAY / 2);
    });
    assert!(bytes < 20_000, "now it is certain: {bytes}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn where_the_server_cannot_copy_all_is_sent() {
    let host = Host::with_sshd("ForceCommand internal-sftp -P copy-data");
    let mut content = noise(1, MIB);
    replace(&host, "large", &content, SystemTime::now() - DAY);
    let mut daemon = start(&host);
    let bytes = shipped(&host, &mut daemon, || {
        content[500_000..500_010].copy_from_slice(b"once again");
        replace(&host, "large", &content, SystemTime::now() - DAY / 2);
    });
    assert_eq!(bytes, MIB as u64);
    assert_eq!(daemon.stop().status.code(), Some(0));
}
