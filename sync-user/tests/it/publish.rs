//! `--publish batch`: what belongs together becomes visible together, and pages last.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sync_user::demo::workload;

use crate::host::{Daemon, Host, Memory};
use crate::pair::{End, Pair};
use crate::site::{age, wait_until_at_rest};

/// KiB per second, as it is typed: slow enough that a batch is on its way for seconds.
const RATE: &str = "1000";

const ASSETS: u8 = 4;

/// Bytes of an asset: more than what travels inside of a step.
const ASSET_BYTES: usize = 1 << 20;

fn publishing(host: &Host) -> Command {
    in_batches(host.run())
}

fn in_batches(mut command: Command) -> Command {
    command.args(["--publish", "batch", "--publish-last", "*.html", "--publish-last", "*.php"]);
    command.args(["--batch-delay", "500ms"]);
    command
}

/// Content of an asset of this release, which does not compress.
fn asset(release: u64, number: u8) -> Vec<u8> {
    let mut content = vec![0; ASSET_BYTES];
    blake3::Hasher::new().update(&release.to_le_bytes()).update(&[number]).finalize_xof().fill(&mut content);
    content
}

/// The page comes first by name, time and size, and names all the rest.
fn release(root: &Path, release: u64) {
    fs::write(root.join("a.html"), format!("release {release}")).unwrap();
    for number in 0..ASSETS {
        fs::write(root.join(format!("asset-{number}")), asset(release, number)).unwrap();
    }
}

/// A daemon behind a slow link that has published the first release, and what it has written for that.
fn with_first_release(host: &Host) -> (Daemon, u64) {
    release(&host.source(), 1);
    let mut command = publishing(host);
    command.args(["--bwlimit", RATE]);
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    (daemon, host.target_status().bytes_written)
}

/// Which of the release's files are at the target: the page, and how many assets.
fn shown(target: &Path, release: u64) -> (bool, usize) {
    let page =
        fs::read_to_string(target.join("a.html")).is_ok_and(|page| page == format!("release {release}"));
    let has = |number: &u8| {
        fs::read(target.join(format!("asset-{number}"))).is_ok_and(|there| there == asset(release, *number))
    };
    (page, (0..ASSETS).filter(has).count())
}

#[test]
fn a_batch_becomes_visible_once_all_of_it_is_there_and_its_pages_last() {
    let host = Host::new();
    let (mut daemon, before) = with_first_release(&host);
    fs::write(host.source().join("old"), "goes with the next release").unwrap();
    daemon.wait_until("what is to go is there", || host.target().join("old").exists());
    release(&host.source(), 2);
    fs::remove_file(host.source().join("old")).unwrap();
    let target = host.target();
    let mut seen = Vec::new();
    daemon.wait_until("the release is there", || {
        // In this order: what is read later can only be newer.
        let is_old_gone = !target.join("old").exists();
        let (page, assets) = shown(&target, 2);
        if page {
            assert_eq!(shown(&target, 2).1, usize::from(ASSETS), "the page is there, and not what it names");
        }
        assert!(!is_old_gone || page, "it goes when the page that named it has");
        seen.push(assets);
        if assets > 0 {
            let written = host.target_status().bytes_written - before;
            let all = u64::from(ASSETS) * ASSET_BYTES as u64;
            assert!(written >= all, "{assets} assets are shown after {written} of {all} bytes");
        }
        page
    });
    assert_eq!(seen.first(), Some(&0), "it took its time");
    host.wait_until_equal(&mut daemon);
}

#[test]
fn nothing_of_an_unfinished_batch_is_ever_shown() {
    let host = Host::new();
    let (mut daemon, before) = with_first_release(&host);
    release(&host.source(), 2);
    daemon.wait_until("half of it is on its way", || {
        host.target_status().bytes_written > before + u64::from(ASSETS) * ASSET_BYTES as u64 / 2
    });
    drop(daemon);
    assert_eq!(shown(&host.target(), 2), (false, 0), "the daemon was killed in the middle");
    assert_eq!(shown(&host.target(), 1), (true, ASSETS.into()));
    let mut daemon = Daemon::start(publishing(&host));
    host.wait_until_equal(&mut daemon);
}

#[test]
fn a_batch_that_does_not_fit_changes_nothing_and_comes_when_there_is_room() {
    let host = Host::new();
    // Not for both releases, and one beside the other is needed.
    let _memory = Memory::mount(&host.target(), "size=7M");
    release(&host.source(), 1);
    let mut daemon = Daemon::start(publishing(&host));
    host.wait_until_equal(&mut daemon);
    let filler = host.target().join(".ksyncd/filler");
    fs::write(&filler, vec![1; 2 << 20]).unwrap();
    release(&host.source(), 2);
    daemon.wait_for_log("free some space there");
    assert_eq!(shown(&host.target(), 2), (false, 0), "{}", daemon.log());
    assert_eq!(shown(&host.target(), 1), (true, ASSETS.into()));
    fs::remove_file(filler).unwrap();
    rustix::fs::syncfs(fs::File::open(host.target()).unwrap()).unwrap();
    // One release at a time fits, if what it replaces goes asset by asset.
    for number in 0..ASSETS - 1 {
        fs::remove_file(host.source().join(format!("asset-{number}"))).unwrap();
    }
    host.wait_until_equal(&mut daemon);
}

#[test]
fn whatever_happens_ends_equal() {
    let host = Host::new();
    let mut daemon = Daemon::start(publishing(&host));
    workload::scripted(&host.source().join("site")).unwrap();
    host.wait_until_equal(&mut daemon);
    for writer in workload::collide(&host.source(), 21..24, Duration::from_secs(4)) {
        assert!(writer.done > 100);
    }
    host.wait_until_equal(&mut daemon);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn more_than_one_batch_can_hold_comes_in_parts() {
    let host = Host::new();
    let _memory = Memory::mount(&host.source(), "size=256M,nr_inodes=100k");
    for number in 0..17_000 {
        let directory = host.source().join(format!("{}", number % 100));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{number}.html")), "page").unwrap();
    }
    let mut daemon = Daemon::start(publishing(&host));
    host.wait_until_equal(&mut daemon);
}

/// I2, I8: what either end releases is seen as a whole at the other.
#[test]
fn with_two_ways_a_batch_becomes_visible_as_a_whole_at_either_end() {
    let pair = Pair::new();
    let mut daemons = End::BOTH.map(|end| {
        let mut command = in_batches(pair.run(end));
        command.args(["--bwlimit", RATE]);
        Daemon::start(command)
    });
    let sites = End::BOTH.map(|end| pair.site(end));
    release(&pair.root(End::One), 1);
    pair.wait_until_equal(&daemons);
    for (number, end) in (2..).zip([End::Other, End::One]) {
        wait_until_at_rest(&sites, &daemons);
        release(&pair.root(end), number);
        let there = pair.root(end.opposite());
        let mut seen = Vec::new();
        daemons[0].wait_until("the release is there", || {
            let (page, assets) = shown(&there, number);
            let is_whole = !page || shown(&there, number).1 == usize::from(ASSETS);
            assert!(is_whole, "the page is there, and not what it names");
            seen.push(assets);
            page
        });
        assert_eq!(seen.first(), Some(&0), "it took its time");
        pair.wait_until_equal(&daemons);
    }
    // Both edit the same, and one removes what was released.
    for daemon in &daemons {
        daemon.pause();
    }
    for end in End::BOTH {
        pair.write(end, "a.html", &format!("edited at {end:?}"));
    }
    age(&pair.root(End::One).join("a.html"), 50);
    fs::remove_file(pair.root(End::Other).join("asset-0")).unwrap();
    for daemon in &daemons {
        daemon.signal(nix::sys::signal::Signal::SIGCONT);
    }
    pair.wait_until_equal(&daemons);
    wait_until_at_rest(&sites, &daemons);
    pair.wait_until_equal(&daemons);
    assert_eq!(pair.read(End::One, "a.html").as_deref(), Some("edited at Other"));
    assert!(!pair.root(End::One).join("asset-0").exists());
    let kept = End::BOTH.map(|end| pair.kept(end));
    assert_eq!(kept[1], Vec::<String>::new());
    assert_eq!(kept[0].len(), 1, "{kept:?}");
    assert_eq!(pair.kept_content(End::One, &kept[0][0]), "edited at One");
}
