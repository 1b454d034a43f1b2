use super::{Held, Known, Ledger};
use crate::model::{FileKind, Mode, Time, TreePath, Version};

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

fn held(kind: FileKind, size: u64) -> Held {
    let version = Version { kind, size, mtime: Time { seconds: 1, nanoseconds: 2 }, mode: Mode(0o644) };
    Held { version, content: None, settled: true }
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

#[test]
fn a_rename_carries_everything_below_and_replaces_what_was_there() {
    let mut ledger =
        ledger(&[("a", Directory), ("a/f", File), ("ab", File), ("b", Directory), ("b/old", File)]);
    ledger.rename(&path("a"), &path("b"));
    assert_eq!(names(&ledger), ["ab", "b", "b/f"]);
}

#[test]
fn an_exchange_swaps_two_subtrees() {
    let mut ledger = ledger(&[("a", Directory), ("a/f", File), ("b", File)]);
    ledger.exchange(&path("a"), &path("b"));
    assert_eq!(names(&ledger), ["a", "b", "b/f"]);
    assert!(ledger.is_directory(&path("b")) && !ledger.is_directory(&path("a")));
}

#[test]
fn a_rename_that_may_not_have_happened_leaves_both_names_in_doubt() {
    let mut ledger = ledger(&[("a", Directory), ("a/f", File)]);
    ledger.rename(&path("a"), &path("b"));
    ledger.doubt_rename(&path("a"), &path("b"));
    assert_eq!(names(&ledger), ["a", "a/f", "b", "b/f"]);
    assert!(ledger.below(&TreePath::root()).all(|(_, known)| *known == Known::Unsure));
}

#[test]
fn a_new_listing_never_makes_foreign_files_ours() {
    let mut ledger = ledger(&[("gone", File), ("kept", File)]);
    ledger.set(path("unsure"), Known::Unsure);
    let listing = ["foreign", "kept", "shared", "unsure"].map(|at| (path(at), held(File, 7)));
    ledger.relist(listing, |at| *at == path("shared"));
    assert_eq!(names(&ledger), ["kept", "shared", "unsure"]);
    assert_eq!(ledger.held(&path("unsure")), Some(held(File, 7)), "a listing ends the doubt");
}
