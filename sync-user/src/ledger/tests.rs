use proptest::prelude::*;

use super::{Held, Known, Ledger, Listed, Twin};
use crate::model::{Content, Expected, FileKind, Mode, Owner, Step, Time, TreePath, Version, XattrHash};

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

fn held(kind: FileKind, size: u64) -> Held {
    let mtime = Time { seconds: 1, nanoseconds: 2 };
    let version =
        Version { kind, size, mtime, mode: Mode(0o644), owner: Owner::NOBODY, xattrs: XattrHash::NONE };
    Held { version, content: None, settled: true, twin: None }
}

fn ledger(paths: &[(&str, FileKind)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (at, kind) in paths {
        ledger.set(path(at), Known::Holds(held(*kind, at.len() as u64)));
    }
    ledger
}

fn names(ledger: &Ledger) -> Vec<String> {
    ledger.below(&TreePath::root()).map(|(path, _)| path.to_string()).collect()
}

use FileKind::{Directory, File};

fn rename(from: &str, to: &str) -> Step {
    let (expects, replaces) = (held(Directory, 1).version, Expected::Anything);
    Step::Rename { from: path(from), to: path(to), expects, replaces }
}

fn exchange(one: &str, other: &str) -> Step {
    let expected = held(Directory, 1).version;
    Step::Exchange { one: path(one), other: path(other), expects_one: expected, expects_other: expected }
}

#[test]
fn a_rename_carries_everything_below_and_replaces_what_was_there() {
    let mut ledger =
        ledger(&[("a", Directory), ("a/f", File), ("ab", File), ("b", Directory), ("b/old", File)]);
    ledger.follow(&rename("a", "b"), None);
    assert_eq!(names(&ledger), ["ab", "b", "b/f"]);
}

#[test]
fn an_exchange_swaps_two_subtrees() {
    let mut ledger = ledger(&[("a", Directory), ("a/f", File), ("b", File)]);
    ledger.follow(&exchange("a", "b"), None);
    assert_eq!(names(&ledger), ["a", "b", "b/f"]);
    assert!(ledger.is_directory(&path("b")) && !ledger.is_directory(&path("a")));
}

fn steps() -> impl Strategy<Value = Vec<(Step, Option<Held>)>> {
    let name = || prop::sample::select(vec!["a", "b", "a/a", "a/b", "b/a", "a/a/c"]);
    let put = (name(), 1..9_u64).prop_map(|(at, size)| {
        let becomes = held(File, size);
        let expects = Expected::Anything;
        (Step::SetAttributes { path: path(at), version: becomes.version, expects }, Some(becomes))
    });
    let remove =
        name().prop_map(|at| (Step::RemoveFile { path: path(at), expects: Expected::Anything }, None));
    let apart = |(one, other): &(&str, &str)| {
        !path(one).is_at_or_below(&path(other)) && !path(other).is_at_or_below(&path(one))
    };
    let rename =
        (name(), name()).prop_filter("apart", apart).prop_map(|(one, other)| (rename(one, other), None));
    let swap =
        (name(), name()).prop_filter("apart", apart).prop_map(|(one, other)| (exchange(one, other), None));
    prop::collection::vec(prop_oneof![put, remove, rename, swap], 0..12)
}

proptest! {
    /// I4: once all steps are taken back, nothing is left of them.
    #[test]
    fn steps_are_taken_back_without_a_trace(steps in steps()) {
        let mut ledger = ledger(&[("a", Directory), ("a/a", Directory), ("a/a/c", File), ("b", File)]);
        let before: Vec<_> = ledger.at_or_below(&TreePath::root());
        let undos: Vec<_> = steps.iter().map(|(step, becomes)| ledger.follow(step, *becomes)).collect();
        for undo in undos.iter().rev() {
            ledger.take_back(undo);
        }
        prop_assert_eq!(ledger.at_or_below(&TreePath::root()), before);
    }
}

#[test]
fn a_new_listing_never_makes_foreign_files_ours() {
    let mut ledger = ledger(&[("gone", File), ("kept", File)]);
    ledger.set(path("unsure"), Known::Unsure);
    let listing = ["foreign", "kept", "shared", "unsure"].map(|at| Listed {
        path: path(at),
        held: held(File, 7),
        inode: None,
    });
    ledger.relist(listing, false, |at| (*at == path("shared")).then_some(Owner::NOBODY));
    assert_eq!(names(&ledger), ["kept", "shared", "unsure"]);
    assert_eq!(ledger.held(&path("unsure")), Some(held(File, 7)), "a listing ends the doubt");
}

/// What the next step expects under one name is what a change under another has made of it.
#[test]
fn a_change_shows_under_all_names_of_an_inode_until_it_is_taken_back() {
    let mut ledger = Ledger::default();
    let (twin, before) = (Some(ledger.new_twin()), held(File, 3));
    for at in ["one", "other", "apart"] {
        let twin = twin.filter(|_| at != "apart");
        ledger.set(path(at), Known::Holds(Held { twin, ..before }));
    }
    let mtime = Time { seconds: 9, nanoseconds: 9 };
    let becomes = Held { version: Version { mtime, ..before.version }, twin, ..before };
    let (version, expects) = (becomes.version, ledger.expected(&path("one")));
    let undo = ledger.follow(&Step::SetAttributes { path: path("one"), version, expects }, Some(becomes));
    assert_eq!(ledger.expected(&path("other")), Expected::This(becomes.version));
    assert_eq!(ledger.expected(&path("apart")), Expected::This(before.version));
    assert_eq!(undo.before(&path("other")), Some(Known::Holds(Held { twin, ..before })));
    ledger.take_back(&undo);
    assert_eq!(ledger.expected(&path("other")), Expected::This(before.version));
}

/// I3: between two connections somebody may change at the target what the source removes meanwhile.
#[test]
fn what_is_listed_otherwise_than_it_was_known_for_sure_is_not_ours_any_more() {
    let mut ledger = ledger(&[("changed", File), ("kept", File), ("d", Directory)]);
    ledger.set(path("unsure"), Known::Unsure);
    let listing = [("changed", 99), ("kept", 4), ("d", 0), ("unsure", 99)].map(|(at, size)| {
        let kind = if at == "d" { Directory } else { File };
        Listed { path: path(at), held: held(kind, size), inode: None }
    });
    assert_eq!(ledger.relist(listing, true, |_| None), [path("changed")]);
    assert_eq!(names(&ledger), ["d", "kept", "unsure"]);
}

/// A target that shows whole seconds still holds what was put there, by the time that the source knows.
#[test]
fn a_coarser_time_of_what_is_known_is_no_difference() {
    let fine = |seconds, nanoseconds| {
        let before = held(File, 3);
        let mtime = Time { seconds, nanoseconds };
        let content = Some(Content::of(b"abc"));
        Held { version: Version { mtime, ..before.version }, content, ..before }
    };
    let coarse = |seconds| Held { content: None, ..fine(seconds, 0) };
    for is_exact in [false, true] {
        let mut ledger = Ledger::default();
        ledger.set(path("same"), Known::Holds(fine(9, 123_456_789)));
        ledger.set(path("other"), Known::Holds(fine(9, 123_456_789)));
        let listing = [("same", coarse(9)), ("other", coarse(12))].map(|(at, held)| Listed {
            path: path(at),
            held,
            inode: None,
        });
        let changed = ledger.relist(listing, is_exact, |_| None);
        assert_eq!(ledger.held(&path("same")), Some(fine(9, 123_456_789)));
        assert_eq!(ledger.held(&path("other")), (!is_exact).then(|| coarse(12)));
        assert_eq!(changed.len(), usize::from(is_exact));
    }
}

#[test]
fn what_was_stored_is_known_again_and_stored_only_where_it_changes() {
    let twins = Held { twin: Some(Twin(7)), ..held(File, 3) };
    let entries = vec![
        (path("a"), Known::Holds(twins)),
        (path("b"), Known::Holds(twins)),
        (path("c"), Known::Holds(held(File, 1))),
        (path("left out"), Known::Holds(held(File, 1))),
        // What a journal tells comes behind, and counts.
        (path("b"), Known::Unsure),
    ];
    let mut ledger = Ledger::saved(entries, |path, _| path.as_bytes() != b"left out");
    assert_eq!(names(&ledger), ["a", "b", "c"]);
    assert_eq!(ledger.get(&path("b")), Some(Known::Unsure));
    assert_eq!(ledger.twins(Twin(7)).collect::<Vec<_>>(), [&path("a")]);
    assert!(ledger.new_twin() > Twin(7), "a mark is not given twice");
    let touched = |ledger: &mut Ledger| -> Vec<TreePath> {
        ledger.take_touched(|_| false).into_iter().map(|(path, _)| path).collect()
    };
    assert_eq!(touched(&mut ledger), [path("b"), path("left out")]);
    ledger.set(path("c"), Known::Holds(held(File, 1)));
    assert_eq!(touched(&mut ledger), []);
    ledger.set(path("c"), Known::Holds(held(File, 2)));
    assert_eq!(touched(&mut ledger), [path("c")]);
}
