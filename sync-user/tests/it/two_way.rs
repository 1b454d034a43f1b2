//! Both ends change, and hold the same in the end with nothing lost (I8).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::sys::signal::Signal;

use super::host::Daemon;
use super::pair::{End, Pair};
use super::site::{age, wait_until_at_rest};

#[test]
fn changes_go_both_ways_and_do_not_come_back() {
    let pair = Pair::new();
    fs::create_dir(pair.root(End::One).join("a")).unwrap();
    pair.write(End::One, "a/one", "from one");
    pair.write(End::Other, "other", "from the other");
    let daemons = pair.start_both();
    pair.wait_until_equal(&daemons);
    assert_eq!(pair.read(End::Other, "a/one").as_deref(), Some("from one"));
    assert_eq!(pair.read(End::One, "other").as_deref(), Some("from the other"));

    pair.write(End::Other, "a/one", "edited at the other");
    fs::rename(pair.root(End::One).join("other"), pair.root(End::One).join("a/moved")).unwrap();
    fs::write(pair.root(End::One).join("large"), vec![b'x'; 3 << 20]).unwrap();
    fs::create_dir(pair.root(End::Other).join("b")).unwrap();
    fs::set_permissions(pair.root(End::Other).join("b"), fs::Permissions::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("../a/one", pair.root(End::Other).join("b/link")).unwrap();
    pair.wait_until_equal(&daemons);
    assert_eq!(pair.read(End::One, "a/one").as_deref(), Some("edited at the other"));
    assert_eq!(pair.read(End::Other, "a/moved").as_deref(), Some("from the other"));
    assert!(pair.read(End::Other, "large").is_some_and(|text| text.len() == 3 << 20));

    fs::remove_dir_all(pair.root(End::Other).join("a")).unwrap();
    pair.wait_until_equal(&daemons);
    assert!(!pair.root(End::One).join("a").exists());
    for end in End::BOTH {
        assert_eq!(pair.kept(end), Vec::<String>::new(), "nothing was in conflict");
    }
}

#[test]
fn of_two_edits_the_later_one_stays_and_the_other_is_kept() {
    let pair = Pair::new();
    for (path, text) in [("f", "agreed"), ("removed", "agreed"), ("same", "agreed")] {
        pair.write(End::One, path, text);
    }
    let daemons = pair.start_both();
    pair.wait_until_equal(&daemons);
    for daemon in daemons {
        daemon.stop();
    }
    // While nobody looks.
    pair.write(End::One, "f", "earlier, at one");
    pair.write(End::Other, "f", "later, at the other");
    age(&pair.root(End::One).join("f"), 50);
    fs::remove_file(pair.root(End::One).join("removed")).unwrap();
    pair.write(End::Other, "removed", "edited meanwhile");
    for end in End::BOTH {
        pair.write(end, "same", "the same edit");
        pair.write(end, "new", &format!("new at {end:?}"));
    }
    age(&pair.root(End::Other).join("new"), 50);
    fs::remove_file(pair.root(End::Other).join("same")).unwrap();
    pair.write(End::Other, "same", "the same edit");
    let daemons = pair.start_both();
    pair.wait_until_equal(&daemons);
    assert_eq!(pair.read(End::One, "f").as_deref(), Some("later, at the other"));
    assert_eq!(
        pair.read(End::One, "removed").as_deref(),
        Some("edited meanwhile"),
        "an edit beats a removal"
    );
    assert_eq!(pair.read(End::Other, "new").as_deref(), Some("new at One"));
    assert_eq!(pair.read(End::Other, "same").as_deref(), Some("the same edit"));
    let kept_at_one = pair.kept(End::One);
    assert_eq!(kept_at_one.len(), 1, "{kept_at_one:?}");
    assert_eq!(pair.kept_content(End::One, &kept_at_one[0]), "earlier, at one");
    let kept_at_other = pair.kept(End::Other);
    assert_eq!(kept_at_other.len(), 1, "{kept_at_other:?}");
    assert_eq!(pair.kept_content(End::Other, &kept_at_other[0]), "new at Other");
}

/// A server that was off comes back.
#[test]
fn what_was_removed_while_the_other_end_was_off_stays_removed() {
    let pair = Pair::new();
    for path in ["gone", "old", "kept"] {
        pair.write(End::One, path, "agreed");
    }
    let [one, other] = pair.start_both();
    pair.wait_until_equal(std::slice::from_ref(&one));
    pair.wait_until_stored(End::Other, &other);
    other.signal(Signal::SIGKILL);
    drop(other);
    pair.write(End::One, "old", "newer");
    fs::remove_file(pair.root(End::One).join("gone")).unwrap();
    one.stop();
    fs::remove_file(pair.root(End::Other).join("kept")).unwrap();
    let daemons = pair.start_both();
    pair.wait_until_equal(&daemons);
    for end in End::BOTH {
        assert_eq!(pair.read(end, "old").as_deref(), Some("newer"));
        assert_eq!((pair.read(end, "gone"), pair.read(end, "kept")), (None, None));
        assert_eq!(pair.kept(end), Vec::<String>::new());
    }
}

/// What was agreed on a moment ago is only in the journal.
#[test]
fn what_was_removed_while_a_killed_daemon_was_away_stays_removed() {
    let pair = Pair::new();
    pair.write(End::One, "old", "agreed");
    let [mut one, other] = pair.start_both();
    pair.wait_until_equal(std::slice::from_ref(&one));
    pair.wait_until_stored(End::One, &one);
    pair.write(End::One, "new", "just agreed");
    fs::rename(pair.root(End::One).join("old"), pair.root(End::One).join("renamed")).unwrap();
    assert!(pair.wait(End::One), "{}", one.log());
    one.end();
    for path in ["new", "renamed"] {
        fs::remove_file(pair.root(End::One).join(path)).unwrap();
    }
    let daemons = [Daemon::start(pair.run(End::One)), other];
    pair.wait_until_equal(&daemons);
    for end in End::BOTH {
        for path in ["new", "old", "renamed"] {
            assert_eq!(pair.read(end, path), None, "{path} at {end:?}");
        }
    }
}

/// I3: nothing tells what was agreed on, so nothing is removed.
#[test]
fn a_lost_ledger_removes_nothing() {
    let pair = Pair::new();
    pair.write(End::One, "both", "agreed");
    let daemons = pair.start_both();
    pair.wait_until_equal(&daemons);
    for daemon in daemons {
        daemon.stop();
    }
    fs::remove_dir_all(pair.state(End::Other)).unwrap();
    fs::remove_file(pair.root(End::Other).join("both")).unwrap();
    pair.write(End::Other, "more", "written while off");
    let daemons = pair.start_both();
    pair.wait_until_equal(&daemons);
    for end in End::BOTH {
        assert_eq!(pair.read(end, "both").as_deref(), Some("agreed"));
        assert_eq!(pair.read(end, "more").as_deref(), Some("written while off"));
    }
}

/// Half a file goes to the other end while it is written, and must not come back over the rest.
#[test]
fn what_is_still_being_written_does_not_come_back() {
    let pair = Pair::new();
    let daemons = End::BOTH.map(|end| {
        let mut command = pair.run(end);
        command.args(["--open-file-interval", "250ms"]);
        Daemon::start(command)
    });
    pair.write(End::One, "page", "x");
    pair.wait_until_equal(&daemons);
    let path = pair.root(End::One).join("upload");
    let mut upload = fs::File::create(&path).unwrap();
    let inode = upload.metadata().unwrap().ino();
    let mut daemons = daemons;
    for round in 1..=8 {
        upload.write_all(&vec![b'x'; 50_000]).unwrap();
        let has_come = || pair.read(End::Other, "upload").is_some_and(|half| half.len() == round * 50_000);
        daemons[0].wait_until("a part of it is at the other end", has_come);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it was replaced under its writer");
    }
    drop(upload);
    pair.wait_until_equal(&daemons);
    wait_until_at_rest(&End::BOTH.map(|end| pair.site(end)), &daemons);
    for end in End::BOTH {
        assert_eq!(pair.read(end, "upload").map(|whole| whole.len()), Some(400_000), "{end:?}");
        assert_eq!(pair.kept(end), Vec::<String>::new(), "nothing was in conflict");
    }
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it was replaced under its writer");
    assert_eq!(pair.target_status(End::Other).bytes_shipped, 0, "nothing is sent back");
}
