//! I5: whatever a source sends, the receiver stays inside its root, and ends cleanly.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use sync_user::model::{
    Content, Durability, Expected, FileKind, Found, Met, Mode, Outcome, Owner, Preserve, Receipt, Refusal,
    Sequence, There, Time, Version, Xattr, XattrHash,
};
use sync_user::receiver::{self, Config};
use sync_user::wire::{
    Attributes, Body, COPY_BYTES_MAX, Decoder, PREAMBLE, Piece, SourceHello, Step, ToReceiver, ToSource,
    UNPUBLISHED_BYTES_MAX, UNPUBLISHED_MAX, VERSION, encode,
};

use crate::host::KSYNCD;

const MTIME: Time = Time { seconds: 1_000_000_000, nanoseconds: 7 };

fn attributes() -> Attributes {
    Attributes { owner: Owner::NOBODY, mode: Mode(0o644), xattrs: Vec::new(), mtime: MTIME }
}

/// Not locked in, as it runs in a thread of a test that looks outside.
fn config(root: &Path) -> Config<'_> {
    Config { root, lock_in: false }
}

fn hello(source: u8) -> ToReceiver {
    ToReceiver::Hello(source_hello(source))
}

fn source_hello(source: u8) -> SourceHello {
    SourceHello {
        version: VERSION,
        source: [source; 16],
        name: String::new(),
        shares: false,
        preserve: Preserve::ALL,
        durability: Durability::File,
        publishes: false,
        two_way: None,
        trash: None,
        lanes: 0,
    }
}

fn put(path: &str, bytes: &[u8]) -> Step {
    let body = Body::Inline { bytes: bytes.to_vec(), content: Content::of(bytes) };
    Step::PutFile {
        path: path.into(),
        expects: Expected::Anything,
        size: bytes.len() as u64,
        stored: bytes.len() as u64,
        attributes: attributes(),
        body,
    }
}

fn remove(path: &str) -> Step {
    Step::RemoveFile { path: path.into(), expects: Expected::Anything }
}

/// What a receiver answers to these messages, after the hello.
fn answers(root: &Path, messages: &[ToReceiver]) -> Vec<Receipt> {
    let mut input = Vec::new();
    encode(&hello(1), &mut input);
    for message in messages {
        encode(message, &mut input);
    }
    let mut output = Vec::new();
    // How it ended shows in what it has done.
    let _ended = receiver::serve(config(root), input.as_slice(), &mut output);
    let mut decoder = Decoder::default();
    decoder.extend(output.strip_prefix(PREAMBLE).expect("a preamble"));
    let mut receipts = Vec::new();
    while let Some(message) = decoder.take::<ToSource>().unwrap() {
        if let ToSource::Receipts(more) = message {
            receipts.extend(more);
        }
    }
    receipts
}

fn refusals(root: &Path, steps: Vec<Step>) -> Vec<Option<Refusal>> {
    let messages: Vec<_> = (1..)
        .zip(steps)
        .map(|(number, step)| ToReceiver::Step { sequence: Sequence(number), step })
        .collect();
    let refusal = |receipt: Receipt| match receipt.outcome {
        Outcome::Applied { .. } => None,
        Outcome::Refused { refusal, .. } => Some(refusal),
    };
    answers(root, &messages).into_iter().map(refusal).collect()
}

/// What a receiver has met at each of these steps.
fn outcomes(root: &Path, steps: Vec<Step>) -> Vec<Outcome> {
    let number = |(number, step)| ToReceiver::Step { sequence: Sequence(number), step };
    let messages: Vec<_> = (1..).zip(steps).map(number).collect();
    answers(root, &messages).into_iter().map(|receipt| receipt.outcome).collect()
}

/// The version of a file that [`put`] has put.
fn version_of(bytes: &[u8]) -> Version {
    let (kind, size, xattrs) = (FileKind::File, bytes.len() as u64, XattrHash::NONE);
    Version { kind, size, mtime: MTIME, mode: Mode(0o644), owner: Owner::NOBODY, xattrs }
}

/// How many receivers have a stage below `root`.
fn stages(root: &Path) -> usize {
    let names = fs::read_dir(root.join(".ksyncd")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("stage-")).count()
}

/// A root, and beside it something that nobody shall touch.
struct Place {
    directory: tempfile::TempDir,
    outside_before: Vec<(u32, u64, (i64, i64))>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("root")).unwrap();
        fs::create_dir_all(directory.path().join("outside/inner")).unwrap();
        fs::write(directory.path().join("outside/secret"), "untouched").unwrap();
        let place = Self { directory, outside_before: Vec::new() };
        Self { outside_before: place.state_outside(), ..place }
    }

    /// Mode, number of names, and time of the last change of whatever kind.
    fn state_outside(&self) -> Vec<(u32, u64, (i64, i64))> {
        let state = |name| {
            let found = fs::symlink_metadata(self.outside().join(name)).unwrap();
            (found.mode(), found.nlink(), (found.ctime(), found.ctime_nsec()))
        };
        ["", "secret", "inner"].map(state).into()
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    fn assert_outside_is_untouched(&self) {
        let mut names: Vec<_> =
            fs::read_dir(self.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["inner", "secret"], "I5");
        assert_eq!(fs::read_to_string(self.outside().join("secret")).unwrap(), "untouched", "I5");
        assert_eq!(fs::read_dir(self.outside().join("inner")).unwrap().count(), 0, "I5");
        assert_eq!(self.state_outside(), self.outside_before, "I5: mode, times or names have changed");
    }
}

#[test]
fn paths_out_of_the_root_are_refused() {
    let place = Place::new();
    let absolute = place.outside().join("new").display().to_string();
    let paths = [
        "../outside/new",
        "a/../../outside/new",
        "/etc/ksyncd-test",
        &absolute,
        "",
        ".",
        "..",
        "a//b",
        "a/./b",
    ];
    let steps = paths.iter().flat_map(|path| [put(path, b"x"), remove(path)]).collect();
    for refusal in refusals(&place.root(), steps) {
        assert_eq!(refusal, Some(Refusal::Forbidden));
    }
    place.assert_outside_is_untouched();
}

#[test]
fn links_under_the_root_lead_nowhere() {
    let place = Place::new();
    symlink(place.outside(), place.root().join("link")).unwrap();
    symlink("../outside/secret", place.root().join("file")).unwrap();
    let version = Version {
        kind: FileKind::Directory,
        size: 0,
        mtime: MTIME,
        mode: Mode(0o755),
        owner: Owner::NOBODY,
        xattrs: XattrHash::NONE,
    };
    let steps = vec![
        put("link/new", b"x"),
        remove("link/secret"),
        Step::MakeDirectory {
            path: b"link/made".into(),
            expects: Expected::Absent,
            attributes: attributes(),
        },
        Step::RemoveDirectory { path: b"link/inner".into() },
        Step::Rename {
            from: b"link/inner".into(),
            to: b"stolen".into(),
            expects: version,
            replaces: Expected::Absent,
        },
        Step::SetAttributes {
            path: b"link".into(),
            expects: Expected::Anything,
            kind: FileKind::Directory,
            size: 0,
            attributes: attributes(),
        },
        // Replaces the link, not what it leads to.
        put("file", b"mine"),
    ];
    let refused = refusals(&place.root(), steps);
    assert_eq!(refused.len(), 7);
    assert_eq!(refused[6], None);
    place.assert_outside_is_untouched();
    assert_eq!(fs::read_to_string(place.root().join("file")).unwrap(), "mine");
    assert!(!place.root().join("stolen").exists());
}

/// Every kind of step, at places that would be outside if the link `dir` were followed.
fn steps_through_a_link(number: usize) -> Vec<Step> {
    let at = |name: &str| format!("dir/{name}-{number}").into_bytes();
    let secret = || b"dir/secret".to_vec();
    let anything = Expected::Anything;
    let kind = FileKind::File;
    let attributes = || Attributes { mode: Mode(0o777), ..attributes() };
    let expects = version_of(b"untouched");
    let directory = Version { kind: FileKind::Directory, size: 0, ..expects };
    vec![
        put(&format!("dir/new-{number}"), b"x"),
        put("page", b"x"),
        remove("dir/secret"),
        Step::PutSymlink {
            path: at("link"),
            expects: anything,
            destination: b"x".into(),
            attributes: attributes(),
        },
        Step::MakeDirectory { path: at("made"), expects: anything, attributes: attributes() },
        Step::RemoveDirectory { path: b"dir/inner".into() },
        Step::SetAttributes { path: secret(), expects: anything, kind, size: 9, attributes: attributes() },
        Step::SetDirectoryTime { path: b"dir/inner".into(), mtime: MTIME },
        Step::SetDirectoryTime { path: b"dir".into(), mtime: MTIME },
        Step::Link { path: at("twin"), to: b"page".into(), expects: version_of(b"x"), replaces: anything },
        Step::Link { path: b"stolen".into(), to: secret(), expects, replaces: anything },
        Step::Rename { from: b"page".into(), to: at("page"), expects: version_of(b"x"), replaces: anything },
        Step::Rename { from: secret(), to: b"stolen".into(), expects, replaces: anything },
        Step::Rename {
            from: b"dir/inner".into(),
            to: b"taken".into(),
            expects: directory,
            replaces: anything,
        },
        Step::Exchange { one: secret(), other: b"page".into(), expects_one: expects, expects_other: expects },
    ]
}

/// One that comes in pieces.
fn a_large_file(path: &str) -> Vec<ToReceiver> {
    let bytes = vec![7; 100_000];
    let step = Step::PutFile {
        path: path.into(),
        expects: Expected::Anything,
        size: bytes.len() as u64,
        stored: bytes.len() as u64,
        attributes: attributes(),
        body: Body::Streamed,
    };
    let content = Content::of(&bytes);
    in_pieces(step, vec![Piece::Bytes(bytes), Piece::End(content)])
}

/// The first step of a connection, and its content.
fn in_pieces(step: Step, pieces: Vec<Piece>) -> Vec<ToReceiver> {
    let sequence = Sequence(1);
    let pieces = (0..).zip(pieces).map(|(place, piece)| ToReceiver::Piece { place, sequence, piece });
    std::iter::once(ToReceiver::Step { sequence, step }).chain(pieces).collect()
}

#[test]
fn a_link_to_what_became_a_directory_is_only_refused_this_once() {
    let place = Place::new();
    fs::create_dir(place.root().join("dir")).unwrap();
    let expects = Version {
        kind: FileKind::File,
        size: 1,
        mtime: MTIME,
        mode: Mode(0o644),
        owner: Owner::NOBODY,
        xattrs: XattrHash::NONE,
    };
    let link = Step::Link { path: b"link".into(), to: b"dir".into(), expects, replaces: Expected::Absent };
    assert_eq!(refusals(&place.root(), vec![link]), [Some(Refusal::Unexpected)]);
}

#[test]
fn a_directory_that_is_swapped_for_a_link_leads_nowhere_either() {
    let place = Place::new();
    let (root, outside) = (place.root(), place.outside());
    fs::create_dir(root.join("dir")).unwrap();
    symlink(&outside, root.join("trap")).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                sync_user::demo::workload::exchange(&root.join("dir"), &root.join("trap")).unwrap();
            }
        });
        for _ in 0..20 {
            let steps: Vec<Step> = (0..40).flat_map(steps_through_a_link).collect();
            let number = steps.len();
            assert_eq!(refusals(&root, steps).len(), number);
            assert_eq!(answers(&root, &a_large_file("dir/large")).len(), 1);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    place.assert_outside_is_untouched();
}

#[test]
fn a_receiver_that_was_left_behind_is_ended_by_the_next_of_the_same_source() {
    let place = Place::new();
    let mut messages = Vec::new();
    encode(&hello(7), &mut messages);
    encode(&ToReceiver::Step { sequence: Sequence(1), step: put("arrived", b"x") }, &mut messages);
    let start = || {
        let mut child = Command::new(KSYNCD)
            .args(["receive", "--root"])
            .arg(place.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Its end stays open, as if more were to come.
        child.stdin.as_mut().unwrap().write_all(&messages).unwrap();
        child
    };
    let wait_until_it_has_arrived = || {
        while !place.root().join("arrived").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(place.root().join("arrived")).unwrap();
    };
    let mut first = start();
    wait_until_it_has_arrived();
    let mut second = start();
    wait_until_it_has_arrived();
    // Landlock asks for this; nothing else here does.
    let status = fs::read_to_string(format!("/proc/{}/status", second.id())).unwrap();
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let is_old = ["5.", "6.0.", "6.1."].iter().any(|old| release.starts_with(old));
    assert!(is_old || status.contains("NoNewPrivs:\t1"), "not locked in on {release}: {status}");
    assert_eq!(first.wait().unwrap().code(), None, "it was killed");
    assert_eq!(stages(&place.root()), 1, "its stage is gone");
    drop(second.stdin.take());
    assert_eq!(second.wait().unwrap().code(), Some(0));
}

/// I6: what waits to be published is bounded, and what was never published is never seen.
#[test]
fn more_than_may_wait_ends_the_receiver_and_shows_nothing() {
    let place = Place::new();
    let ends = |publishes, messages: Vec<ToReceiver>| {
        let mut input = Vec::new();
        encode(&ToReceiver::Hello(SourceHello { publishes, ..source_hello(1) }), &mut input);
        for message in &messages {
            encode(message, &mut input);
        }
        let ended = receiver::serve(config(&place.root()), input.as_slice(), Vec::new());
        ended.map_err(|error| error.to_string())
    };
    let puts = |count: u64| -> Vec<ToReceiver> {
        let step = |number| put(&format!("page-{number}"), b"content");
        (1..=count)
            .map(|number| ToReceiver::Step { sequence: Sequence(number), step: step(number) })
            .collect()
    };
    let is_shown = |number: u64| place.root().join(format!("page-{number}")).exists();
    let too_many = ends(true, puts(UNPUBLISHED_MAX as u64 + 1));
    assert!(too_many.as_ref().is_err_and(|error| error.contains("than may wait")), "{too_many:?}");
    let attribute = Xattr { name: b"user.a".to_vec(), value: vec![1; 60_000] };
    let heavy = |number: u64| Step::MakeDirectory {
        path: number.to_string().into_bytes(),
        expects: Expected::Anything,
        attributes: Attributes { xattrs: vec![attribute.clone()], ..attributes() },
    };
    let numbers = 1..=(UNPUBLISHED_BYTES_MAX as u64 / 60_000 + 1);
    let heavy = numbers.map(|number| ToReceiver::Step { sequence: Sequence(number), step: heavy(number) });
    let too_heavy = ends(true, heavy.collect());
    assert!(too_heavy.as_ref().is_err_and(|error| error.contains("than may wait")), "{too_heavy:?}");
    assert_eq!(ends(true, puts(3)), Ok(()), "it was cut before it was published");
    assert!(!is_shown(1) && !place.root().join("1").exists());
    assert_eq!(ends(true, [puts(2), vec![ToReceiver::Publish]].concat()), Ok(()));
    assert!(is_shown(1) && is_shown(2) && !is_shown(3));
    assert!(ends(false, vec![ToReceiver::Publish]).is_err());
}

#[test]
fn steps_that_come_twice_change_nothing_more() {
    let place = Place::new();
    let link = |expects| Step::PutSymlink {
        path: b"link".into(),
        expects,
        destination: b"page".into(),
        attributes: attributes(),
    };
    let put = |expects| match put("page", b"content") {
        Step::PutFile { path, size, stored, attributes, body, .. } => {
            Step::PutFile { path, expects, size, stored, attributes, body }
        }
        step => step,
    };
    let expects = Expected::This(version_of(b"content"));
    let moved = Attributes { mtime: Time { seconds: 2_000_000_000, nanoseconds: 1 }, ..attributes() };
    let set = |expects| Step::SetAttributes {
        path: b"page".into(),
        expects,
        kind: FileKind::File,
        size: 7,
        attributes: moved.clone(),
    };
    let remove = |path: &str| Step::RemoveFile { path: path.into(), expects: Expected::Anything };
    let met = |steps: Vec<Step>| -> Vec<Met> {
        let met = |outcome| match outcome {
            Outcome::Applied { lacks, met } if lacks.is_empty() => met,
            outcome => panic!("{outcome:?}"),
        };
        outcomes(&place.root(), steps).into_iter().map(met).collect()
    };
    assert_eq!(met(vec![put(Expected::Absent), link(Expected::Absent)]), [Met::Expected; 2]);
    let inode = || fs::metadata(place.root().join("page")).unwrap().ino();
    let before = inode();
    // Even though it expects what was there before.
    assert_eq!(met(vec![put(Expected::Absent), link(Expected::Absent)]), [Met::Already; 2]);
    assert_eq!(inode(), before, "it was not written again");
    assert_eq!(met(vec![set(expects), set(expects)]), [Met::Expected, Met::Already]);
    assert_eq!(met(vec![remove("page"), remove("page")]), [Met::Expected, Met::Already]);
}

#[test]
fn what_somebody_else_has_changed_is_told_and_never_removed() {
    let place = Place::new();
    let root = place.root();
    let believed = Expected::This(version_of(b"believed"));
    fs::write(root.join("page"), "changed").unwrap();
    fs::write(root.join("own"), "mine").unwrap();
    let there = |name: &str| {
        let found = fs::symlink_metadata(root.join(name)).unwrap();
        let mtime = Time { seconds: found.mtime(), nanoseconds: found.mtime_nsec() as u32 };
        let mode = Mode((found.mode() & 0o7777) as u16);
        There::Version(Version { mtime, mode, ..version_of(&fs::read(root.join(name)).unwrap()) })
    };
    let (page, own) = (there("page"), there("own"));
    let steps = vec![
        Step::RemoveFile { path: b"page".into(), expects: believed },
        Step::SetAttributes {
            path: b"page".into(),
            expects: believed,
            kind: FileKind::File,
            size: 7,
            attributes: attributes(),
        },
        Step::Rename {
            from: b"page".into(),
            to: b"new".into(),
            expects: version_of(b"believed"),
            replaces: Expected::Absent,
        },
        Step::RemoveDirectory { path: b"page".into() },
    ];
    for outcome in outcomes(&root, steps) {
        let Outcome::Refused { refusal: Refusal::Unexpected, found, .. } = outcome else {
            panic!("I3: {outcome:?}")
        };
        assert_eq!(found, Some(Found { path: b"page".to_vec(), there: page }));
    }
    assert_eq!(fs::read_to_string(root.join("page")).unwrap(), "changed", "I3");
    let put = |path: &str, expects| match put(path, b"content") {
        Step::PutFile { path, size, stored, attributes, body, .. } => {
            Step::PutFile { path, expects, size, stored, attributes, body }
        }
        step => step,
    };
    let steps = vec![put("page", believed), put("own", Expected::Absent), put("gone", believed)];
    let met: Vec<Outcome> = [page, own, There::Nothing]
        .map(|there| Outcome::Applied { lacks: Vec::new(), met: Met::Other(there) })
        .into();
    assert_eq!(outcomes(&root, steps), met, "the source's version replaces it, and the receipt says so");
}

#[test]
fn the_stage_cannot_be_named() {
    let place = Place::new();
    let steps = vec![put(".ksyncd/x", b"x"), remove(".ksyncd"), put(".ksyncd", b"x")];
    assert_eq!(refusals(&place.root(), steps), [Some(Refusal::Forbidden); 3]);
}

/// What was removed lies beside the stage.
#[test]
fn the_trash_cannot_be_named() {
    let place = Place::new();
    let bin = place.root().join(".ksyncd/trash/1-1-0");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("1"), "kept").unwrap();
    let within = ".ksyncd/trash/1-1-0/1";
    let (version, replaces) = (version_of(b"kept"), Expected::Anything);
    let rename =
        |from: &str, to: &str| Step::Rename { from: from.into(), to: to.into(), expects: version, replaces };
    let link = Step::Link { path: b"mine".to_vec(), to: within.into(), expects: version, replaces };
    let steps = vec![
        put(within, b"x"),
        remove(within),
        remove(".ksyncd/trash"),
        Step::RemoveDirectory { path: b".ksyncd/trash/1-1-0".to_vec() },
        rename(within, "mine"),
        rename("page", within),
        link,
    ];
    fs::write(place.root().join("page"), "page").unwrap();
    assert_eq!(refusals(&place.root(), steps), [Some(Refusal::Forbidden); 7]);
    assert_eq!(fs::read_to_string(bin.join("1")).unwrap(), "kept");
    assert!(place.root().join("page").exists() && !place.root().join("mine").exists());
}

/// It may ask for any time.
#[test]
fn any_time_for_the_trash_is_taken() {
    for trash in [Duration::ZERO, Duration::MAX] {
        let place = Place::new();
        fs::write(place.root().join("page"), "page").unwrap();
        let hello = match hello(1) {
            ToReceiver::Hello(hello) => ToReceiver::Hello(SourceHello { trash: Some(trash), ..hello }),
            other => other,
        };
        let mut input = Vec::new();
        let removal = ToReceiver::Step { sequence: Sequence(1), step: remove("page") };
        for message in [hello, removal, ToReceiver::Ping { token: 1 }, ToReceiver::Goodbye] {
            encode(&message, &mut input);
        }
        receiver::serve(config(&place.root()), input.as_slice(), Vec::new()).unwrap();
        assert!(!place.root().join("page").exists());
    }
}

#[test]
fn attributes_that_no_source_sends_are_refused() {
    let place = Place::new();
    let step = |name: &[u8], value: usize| {
        let xattrs = vec![Xattr { name: name.to_vec(), value: vec![b'v'; value] }];
        let body = Body::Inline { bytes: Vec::new(), content: Content::of(b"") };
        let attributes = Attributes { xattrs, ..attributes() };
        Step::PutFile {
            path: b"page".into(),
            expects: Expected::Absent,
            size: 0,
            stored: 0,
            attributes,
            body,
        }
    };
    let steps = vec![
        step(b"security.selinux", 1),
        step(b"system.data", 1),
        step(b"user.\0", 1),
        step(&[b"user.".to_vec(), vec![0xff; 300_000]].concat(), 1),
        step(b"user.long", 65_537),
    ];
    assert_eq!(refusals(&place.root(), steps), [Some(Refusal::Forbidden); 5]);
    assert!(!place.root().join("page").exists());
}

#[test]
fn only_attributes_of_the_root_can_be_set() {
    let place = Place::new();
    let (kind, size, attributes) = (FileKind::Directory, 0, Attributes { mode: Mode(0o750), ..attributes() });
    let steps = vec![
        Step::SetAttributes {
            path: Vec::new(),
            expects: Expected::Anything,
            kind,
            size,
            attributes: attributes.clone(),
        },
        Step::SetDirectoryTime { path: Vec::new(), mtime: MTIME },
        Step::MakeDirectory { path: Vec::new(), expects: Expected::Anything, attributes },
        Step::RemoveDirectory { path: Vec::new() },
    ];
    assert_eq!(refusals(&place.root(), steps), [None, None, None, Some(Refusal::Forbidden)]);
    assert_eq!(fs::metadata(place.root()).unwrap().permissions().mode() & 0o7777, 0o750);
}

#[test]
fn content_that_is_not_what_was_promised_never_becomes_visible() {
    let place = Place::new();
    let root = place.root();
    fs::write(root.join("page"), "before").unwrap();
    let put = |size, bytes: &[u8], content| Step::PutFile {
        path: b"page".into(),
        expects: Expected::Anything,
        size,
        stored: size,
        attributes: attributes(),
        body: Body::Inline { bytes: bytes.to_vec(), content },
    };
    let steps = vec![put(5, b"after", Content::of(b"other")), put(9, b"after", Content::of(b"after"))];
    assert_eq!(refusals(&root, steps), [Some(Refusal::Damaged); 2]);
    let streamed = |size| Step::PutFile {
        path: b"page".into(),
        expects: Expected::Anything,
        size,
        stored: size,
        attributes: attributes(),
        body: Body::Streamed,
    };
    let pieces = vec![Piece::Hole { length: 1 << 20 }, Piece::End(Content::of(b"after"))];
    let messages = in_pieces(streamed(5), pieces);
    let refused = answers(&root, &messages).remove(0).outcome;
    assert!(matches!(refused, Outcome::Refused { refusal: Refusal::Damaged, .. }), "{refused:?}");
    // The stream ends in the middle of a large file.
    let step = Step::PutFile {
        path: b"page".into(),
        expects: Expected::Anything,
        size: 1 << 20,
        stored: 1 << 20,
        attributes: attributes(),
        body: Body::Streamed,
    };
    let messages = in_pieces(step, vec![Piece::Bytes(vec![1; 1000])]);
    assert_eq!(answers(&root, &messages), []);
    assert_eq!(fs::read_to_string(root.join("page")).unwrap(), "before", "I2");
    assert_eq!(stages(&root), 0, "nothing is left behind");
}

/// What a receiver makes of `path` that is to be built from `old`, by these ranges.
fn built(root: &Path, old: &str, expects: Version, size: u64, ranges: &[(u64, u64)]) -> Vec<Outcome> {
    let body = Body::Built { old: old.into(), expects };
    let step = Step::PutFile {
        path: b"page".into(),
        expects: Expected::Anything,
        size,
        stored: size,
        attributes: attributes(),
        body,
    };
    let copies = ranges.iter().map(|&(from, length)| Piece::Copy { from, length });
    let pieces = copies.chain([Piece::End(Content::of(b"5678567856785678"))]).collect();
    answers(root, &in_pieces(step, pieces)).into_iter().map(|receipt| receipt.outcome).collect()
}

#[test]
fn nothing_is_built_from_what_is_not_as_it_was_told() {
    let place = Place::new();
    let root = place.root();
    fs::write(root.join("page"), "before").unwrap();
    fs::write(root.join("old"), "12345678").unwrap();
    fs::create_dir(root.join("directory")).unwrap();
    symlink(place.outside(), root.join("link")).unwrap();
    symlink("../outside/secret", root.join("file")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let time = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::symlink_metadata(path).unwrap();
        (metadata.len(), Time { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() as u32 })
    };
    let version_of = |name: &str| {
        let (size, mtime) = time(&root.join(name));
        let (mode, owner) = (Mode(0o644), Owner::NOBODY);
        Version { kind: FileKind::File, size, mtime, mode, owner, xattrs: XattrHash::NONE }
    };
    let old = version_of("old");
    let whole = [(4, 4), (4, 4), (4, 4), (4, 4)];
    let refusal =
        |name: &str, expects, ranges: &[(u64, u64)]| match &built(&root, name, expects, 16, ranges)[..] {
            [Outcome::Refused { refusal, .. }] => *refusal,
            other => panic!("{name}: {other:?}"),
        };
    for ranges in [&[(0, 9)][..], &[(8, 1)], &[(u64::MAX, 1)], &[(u64::MAX - 2, 8)], &[(4, 4), (7, 2)]] {
        assert_eq!(refusal("old", old, ranges), Refusal::NoOldFile, "{ranges:?} is not in it");
    }
    assert_eq!(refusal("old", old, &[(0, 8), (0, 8)]), Refusal::NoOldFile, "it is another content");
    assert_eq!(refusal("old", old, &[(0, 8)]), Refusal::NoOldFile, "it is too short");
    assert_eq!(refusal("old", old, &[(0, 8); 3]), Refusal::Damaged, "it is longer than promised");
    for (name, expects) in [
        ("old", Version { size: 9, ..old }),
        ("old", Version { mtime: MTIME, ..old }),
        ("missing", old),
        ("directory", version_of("directory")),
        ("fifo", version_of("fifo")),
        ("file", version_of("file")),
    ] {
        assert_eq!(refusal(name, expects, &whole), Refusal::NoOldFile, "{name} is not what was expected");
    }
    for (name, expected) in [
        ("../outside/secret", Refusal::Forbidden),
        (".ksyncd/id", Refusal::Forbidden),
        ("link/secret", Refusal::NoOldFile),
    ] {
        let (size, mtime) = time(&place.outside().join("secret"));
        assert_eq!(refusal(name, Version { size, mtime, ..old }, &whole), expected, "I5: {name}");
    }
    for ranges in [[(0, 0)], [(0, COPY_BYTES_MAX + 1)]] {
        assert_eq!(built(&root, "old", old, 16, &ranges), [], "no source sends such a range");
    }
    assert_eq!(fs::read_to_string(root.join("page")).unwrap(), "before", "I2");
    assert_eq!(stages(&root), 0, "nothing is left behind");
    place.assert_outside_is_untouched();
    let applied = built(&root, "old", old, 16, &whole);
    assert!(matches!(&applied[..], [Outcome::Applied { .. }]), "ranges may come again: {applied:?}");
    assert_eq!(fs::read_to_string(root.join("page")).unwrap(), "5678567856785678");
}

#[test]
fn ranges_of_no_file_are_refused() {
    let place = Place::new();
    let step = Step::PutFile {
        path: b"page".into(),
        expects: Expected::Anything,
        size: 4,
        stored: 4,
        attributes: attributes(),
        body: Body::Streamed,
    };
    let pieces = vec![Piece::Copy { from: 0, length: 4 }, Piece::End(Content::of(b"1234"))];
    let outcome = answers(&place.root(), &in_pieces(step, pieces)).remove(0).outcome;
    assert!(matches!(outcome, Outcome::Refused { refusal: Refusal::NoOldFile, .. }), "{outcome:?}");
    assert!(!place.root().join("page").exists());
}

#[test]
fn garbage_on_standard_input_ends_in_one_clear_message() {
    let place = Place::new();
    let mut child = Command::new(KSYNCD)
        .args(["receive", "--root"])
        .arg(place.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    drop(input);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(76));
    insta::assert_snapshot!(String::from_utf8(ended.stderr).unwrap(), @r"
    ksyncd: the source does not keep to the protocol: a frame claims 542393671 bytes, more than the 1048576 that are allowed
      hint: this command is started by `ksyncd run` over SSH, and speaks only with it
    ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_stream_of_bytes_makes_a_receiver_panic_or_leave_its_root(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let place = Place::new();
        let mut output = Vec::new();
        let _ended = receiver::serve(config(&place.root()), bytes.as_slice(), &mut output);
        // A true beginning, cut and damaged.
        let mut stream = Vec::new();
        encode(&hello(1), &mut stream);
        encode(&ToReceiver::Step { sequence: Sequence(1), step: put("a", b"content") }, &mut stream);
        encode(&ToReceiver::Step { sequence: Sequence(2), step: remove("../outside/secret") }, &mut stream);
        let at = flip.index(stream.len());
        stream[at] ^= bytes.first().copied().unwrap_or(1);
        stream.truncate(cut.index(stream.len() + 1));
        let _ended = receiver::serve(config(&place.root()), stream.as_slice(), &mut output);
        place.assert_outside_is_untouched();
    }
}
