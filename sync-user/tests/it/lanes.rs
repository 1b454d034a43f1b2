//! Large files go by connections of their own, in the same order as ever, and whatever becomes of these.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sync_user::demo::compare;

use crate::cuts::{Control, End, Order};
use crate::host::{Daemon, Host, noise};

/// With the first one.
const CONNECTIONS: u64 = 3;

/// Bytes of a large file. One is enough for lanes to be worth while.
const LARGE: usize = 5 << 20;

/// Large files of a release: more than may be on their way at once where each is shown by itself.
const ASSETS: u64 = 40;

fn with_lanes(host: &Host) -> Command {
    let mut command = host.run();
    command.args(["--lanes", &CONNECTIONS.to_string()]);
    command
}

/// Writes large files until all lanes are open, and waits until all is replicated.
fn open_lanes(host: &Host, daemon: &mut Daemon) {
    let mut seed = 0;
    daemon.wait_until("all lanes are open", || {
        seed += 1;
        fs::write(host.source().join("opening"), noise(seed, LARGE)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        host.target_status().connections == CONNECTIONS
    });
    host.wait_until_equal(daemon);
}

#[test]
fn what_depends_on_a_large_file_comes_after_it_by_whichever_lane_it_goes() {
    let host = Host::new();
    let mut daemon = Daemon::start(with_lanes(&host));
    host.wait_until_equal(&mut daemon);
    open_lanes(&host, &mut daemon);
    let source = host.source();
    for round in 0..4 {
        let place = source.join(format!("place-{round}"));
        fs::create_dir(&place).unwrap();
        for number in 0..6 {
            // Some are no larger than a piece or two, and some change but little.
            let size = if number % 2 == 0 { LARGE } else { 300 << 10 };
            fs::write(place.join(format!("large-{number}")), noise(round * 10 + number, size)).unwrap();
            fs::write(place.join(format!("small-{number}")), number.to_string()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        fs::hard_link(place.join("large-0"), place.join("link")).unwrap();
        fs::rename(place.join("large-1"), place.join("renamed")).unwrap();
        fs::write(place.join("large-1"), "small").unwrap();
        fs::remove_file(place.join("large-2")).unwrap();
        let file = fs::OpenOptions::new().append(true).open(place.join("large-3")).unwrap();
        std::io::Write::write_all(&mut &file, b"more").unwrap();
        fs::copy(place.join("large-4"), place.join("copy")).unwrap();
        let moved = source.join(format!("moved-{round}"));
        fs::rename(&place, moved).unwrap();
    }
    host.wait_until_equal(&mut daemon);
    let status = host.target_status();
    assert_eq!((status.unexpected_replaced, status.unexpected_kept), (0, 0), "{}", daemon.log());
    assert_eq!(status.error, None, "no connection was lost");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn what_is_published_as_a_whole_waits_for_all_lanes() {
    let host = Host::new();
    let mut command = with_lanes(&host);
    command.args(["--publish", "batch", "--publish-last", "*.html", "--batch-delay", "300ms"]);
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    open_lanes(&host, &mut daemon);
    let (source, target) = (host.source(), host.target());
    let asset = |release: u64, number: u64| noise(release * 1000 + number, 300 << 10);
    for release in 1..=3_u64 {
        for number in 0..ASSETS {
            fs::write(source.join(format!("asset-{number}")), asset(release, number)).unwrap();
        }
        fs::write(source.join("page.html"), release.to_string()).unwrap();
        let is_shown =
            || fs::read_to_string(target.join("page.html")).is_ok_and(|page| page == release.to_string());
        daemon.wait_until("the release is shown", is_shown);
        for number in 0..ASSETS {
            let there = fs::read(target.join(format!("asset-{number}"))).unwrap();
            assert!(there == asset(release, number), "I2: the page names asset {number}");
        }
    }
    host.wait_until_equal(&mut daemon);
}

#[test]
fn where_no_lane_can_be_opened_the_first_connection_carries_all() {
    let host = Host::with_sshd_in(|directory| {
        format!(
            "ForceCommand case \"$SSH_ORIGINAL_COMMAND\" in *\"receive --root\"*) \
             mkdir {}/first || exit 1;; esac; exec sh -c \"$SSH_ORIGINAL_COMMAND\"",
            directory.display()
        )
    });
    let mut daemon = Daemon::start(with_lanes(&host));
    host.wait_until_equal(&mut daemon);
    fs::write(host.source().join("large"), noise(1, LARGE)).unwrap();
    let log = daemon.shared_log();
    daemon.wait_until("it is told", || log.lock().unwrap().contains("no more lanes can be opened"));
    fs::write(host.source().join("another"), noise(2, LARGE)).unwrap();
    host.wait_until_equal(&mut daemon);
    assert_eq!(host.target_status().connections, 1);
}

/// A lane, or the connection that it belongs to, ends after so many of its frames: nothing is lost, and
/// nothing half done is left.
#[test]
fn lanes_may_end_after_any_frame() {
    let (control, host) = Control::new();
    let mut daemon = Daemon::start(with_lanes(&host));
    host.wait_until_equal(&mut daemon);
    let (source, target) = (host.source(), host.target());
    let is_equal = || compare::differences(&source, &target).is_ok_and(|differences| differences.is_empty());
    for frames in 0..8 {
        open_lanes(&host, &mut daemon);
        let end = if frames % 2 == 0 { End::Kill } else { End::Cut };
        let number = frames + 1;
        control.give(Order { number, frames, end });
        for name in 0..4_u64 {
            let content = noise(u64::from(number) * 100 + name, LARGE);
            fs::write(source.join(format!("large-{name}")), content).unwrap();
            fs::write(source.join(format!("small-{name}")), number.to_string()).unwrap();
        }
        daemon.wait_until("a connection ends", || control.is_done(number));
        daemon.wait_until(&format!("the trees are equal after {frames} frames"), is_equal);
    }
    host.wait_until_equal(&mut daemon);
    assert!(!stages_are_left(&target), "what was staged is gone");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

/// Whether anything is left of receivers that died: each that lives has one stage.
fn stages_are_left(target: &Path) -> bool {
    let stages = fs::read_dir(target.join(".ksyncd")).unwrap().filter_map(Result::ok);
    let stages = stages.filter(|entry| entry.file_name().to_string_lossy().starts_with("stage-"));
    stages.count() as u64 > CONNECTIONS
}
