//! I5: whatever a source sends, the receiver stays inside its root, and ends cleanly.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use sync_user::model::{
    Content, Durability, FileKind, Mode, Outcome, Owner, Preserve, Receipt, Refusal, Sequence, Time, Version,
    Xattr, XattrHash,
};
use sync_user::receiver;
use sync_user::wire::{
    Attributes, Body, Decoder, PREAMBLE, SourceHello, Step, ToReceiver, ToSource, VERSION, encode,
};

use crate::host::KSYNCD;

const MTIME: Time = Time { seconds: 1_000_000_000, nanoseconds: 7 };

fn attributes() -> Attributes {
    Attributes { owner: Owner::NOBODY, mode: Mode(0o644), xattrs: Vec::new(), mtime: MTIME }
}

fn hello(source: u8) -> ToReceiver {
    ToReceiver::Hello(SourceHello {
        version: VERSION,
        source: [source; 16],
        preserve: Preserve::ALL,
        durability: Durability::File,
    })
}

fn put(path: &str, bytes: &[u8]) -> Step {
    let body = Body::Inline { bytes: bytes.to_vec(), content: Content::of(bytes) };
    Step::PutFile { path: path.into(), size: bytes.len() as u64, attributes: attributes(), body }
}

fn remove(path: &str) -> Step {
    Step::RemoveFile { path: path.into() }
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
    let _ended = receiver::serve(root, input.as_slice(), &mut output);
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

/// How many receivers have a stage below `root`.
fn stages(root: &Path) -> usize {
    let names = fs::read_dir(root.join(".ksyncd")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("stage-")).count()
}

/// A root, and beside it something that nobody shall touch.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("root")).unwrap();
        fs::create_dir_all(directory.path().join("outside/inner")).unwrap();
        fs::write(directory.path().join("outside/secret"), "untouched").unwrap();
        Self { directory }
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
        Step::MakeDirectory { path: b"link/made".into(), attributes: attributes() },
        Step::RemoveDirectory { path: b"link/inner".into() },
        Step::Rename { from: b"link/inner".into(), to: b"stolen".into(), expects: version },
        Step::SetAttributes {
            path: b"link".into(),
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
    let link = Step::Link { path: b"link".into(), to: b"dir".into(), expects };
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
            let steps =
                (0..200).flat_map(|n| [put(&format!("dir/new-{n}"), b"x"), remove("dir/secret")]).collect();
            assert_eq!(refusals(&root, steps).len(), 400);
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
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        fs::remove_file(place.root().join("arrived")).unwrap();
    };
    let mut first = start();
    wait_until_it_has_arrived();
    let mut second = start();
    wait_until_it_has_arrived();
    assert_eq!(first.wait().unwrap().code(), None, "it was killed");
    assert_eq!(stages(&place.root()), 1, "its stage is gone");
    drop(second.stdin.take());
    assert_eq!(second.wait().unwrap().code(), Some(0));
}

#[test]
fn the_stage_cannot_be_named() {
    let place = Place::new();
    let steps = vec![put(".ksyncd/x", b"x"), remove(".ksyncd"), put(".ksyncd", b"x")];
    assert_eq!(refusals(&place.root(), steps), [Some(Refusal::Forbidden); 3]);
}

#[test]
fn attributes_that_no_source_sends_are_refused() {
    let place = Place::new();
    let step = |name: &[u8], value: usize| {
        let xattrs = vec![Xattr { name: name.to_vec(), value: vec![b'v'; value] }];
        let body = Body::Inline { bytes: Vec::new(), content: Content::of(b"") };
        let attributes = Attributes { xattrs, ..attributes() };
        Step::PutFile { path: b"page".into(), size: 0, attributes, body }
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
        Step::SetAttributes { path: Vec::new(), kind, size, attributes: attributes.clone() },
        Step::SetDirectoryTime { path: Vec::new(), mtime: MTIME },
        Step::MakeDirectory { path: Vec::new(), attributes },
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
        size,
        attributes: attributes(),
        body: Body::Inline { bytes: bytes.to_vec(), content },
    };
    let steps = vec![put(5, b"after", Content::of(b"other")), put(9, b"after", Content::of(b"after"))];
    assert_eq!(refusals(&root, steps), [Some(Refusal::Damaged); 2]);
    let streamed =
        |size| Step::PutFile { path: b"page".into(), size, attributes: attributes(), body: Body::Streamed };
    let sequence = Sequence(1);
    let messages = [
        ToReceiver::Step { sequence, step: streamed(5) },
        ToReceiver::Hole { sequence, length: 1 << 20 },
        ToReceiver::ContentEnd { sequence, content: Content::of(b"after") },
    ];
    let refused = answers(&root, &messages).remove(0).outcome;
    assert!(matches!(refused, Outcome::Refused { refusal: Refusal::Damaged, .. }), "{refused:?}");
    // The stream ends in the middle of a large file.
    let step =
        Step::PutFile { path: b"page".into(), size: 1 << 20, attributes: attributes(), body: Body::Streamed };
    let messages = [
        ToReceiver::Step { sequence: Sequence(1), step },
        ToReceiver::Content { sequence: Sequence(1), bytes: vec![1; 1000] },
    ];
    assert_eq!(answers(&root, &messages), []);
    assert_eq!(fs::read_to_string(root.join("page")).unwrap(), "before", "I2");
    assert_eq!(stages(&root), 0, "nothing is left behind");
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
        let _ended = receiver::serve(&place.root(), bytes.as_slice(), &mut output);
        // A true beginning, cut and damaged.
        let mut stream = Vec::new();
        encode(&hello(1), &mut stream);
        encode(&ToReceiver::Step { sequence: Sequence(1), step: put("a", b"content") }, &mut stream);
        encode(&ToReceiver::Step { sequence: Sequence(2), step: remove("../outside/secret") }, &mut stream);
        let at = flip.index(stream.len());
        stream[at] ^= bytes.first().copied().unwrap_or(1);
        stream.truncate(cut.index(stream.len() + 1));
        let _ended = receiver::serve(&place.root(), stream.as_slice(), &mut output);
        place.assert_outside_is_untouched();
    }
}
