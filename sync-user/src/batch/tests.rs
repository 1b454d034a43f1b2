use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Batcher, Config, PRESSING, Room};
use crate::model::{Batch, Change, Depth, Gap, Kind, Origin, Reason, Stamp, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

fn config() -> Config {
    Config {
        delay: Duration::ZERO,
        max_delay: Duration::from_millis(50),
        max_changes: 1000,
        max_bytes: 1 << 20,
        open_file_interval: Duration::from_secs(1),
        backlog_max: 100_000,
    }
}

fn change(kind: Kind, at: &str, seen: u64) -> Change {
    Change { kind, path: path(at), origin: Origin::default(), seen: Stamp(seen), read: Stamp(seen + 1) }
}

fn looks(batch: &Batch) -> Vec<String> {
    batch.looks.keys().map(ToString::to_string).collect()
}

#[test]
fn a_change_leaves_at_once_when_the_target_is_idle() {
    let mut batcher = Batcher::new(config());
    batcher.push(change(Kind::Written, "a", 10), 0, Stamp(20));
    assert_eq!(batcher.deadline(Room::Idle), Some(Stamp(20)));
    let batch = batcher.close(Room::Idle, Stamp(20)).expect("no delay was asked for");
    assert_eq!(looks(&batch), ["a"]);
    assert_eq!(batcher.close(Room::Idle, Stamp(30)), None);
}

#[test]
fn changes_gather_while_batches_are_on_their_way() {
    let mut batcher = Batcher::new(config());
    let start = Stamp(1_000_000_000);
    batcher.push(change(Kind::Written, "a", 10), 0, start);
    assert_eq!(batcher.close(Room::Full, start.plus(Duration::from_secs(9))), None);
    assert_eq!(batcher.close(Room::Busy(PRESSING), start.plus(Duration::from_millis(49))), None);
    batcher.push(change(Kind::Written, "b", 11), 0, start.plus(Duration::from_millis(40)));
    let batch =
        batcher.close(Room::Busy(PRESSING), start.plus(Duration::from_millis(50))).expect("the age limit");
    assert_eq!(looks(&batch), ["a", "b"]);
}

/// One step may be on its way for long, and is no load.
#[test]
fn changes_gather_for_as_long_as_there_are_steps_on_their_way() {
    let start = Stamp(1_000_000_000);
    for (steps, millis) in [(PRESSING / 4, 12), (PRESSING / 2, 25), (PRESSING, 50), (u8::MAX, 50)] {
        let mut batcher = Batcher::new(config());
        batcher.push(change(Kind::Written, "a", 10), 0, start);
        let due = batcher.deadline(Room::Busy(steps)).expect("it waits");
        assert_eq!(due.since(start).as_millis(), millis, "{steps} steps");
        assert!(batcher.close(Room::Busy(steps), due).is_some());
    }
}

/// What was below a directory goes with it in silence when it is moved out of the root, and by
/// the time of the look there may be another directory with its name.
#[test]
fn below_a_removed_name_everything_is_looked_at() {
    let mut batcher = Batcher::new(config());
    batcher.push(change(Kind::Removed, "a", 10), 0, Stamp(20));
    batcher.push(change(Kind::Named, "a", 11), 0, Stamp(21));
    let batch = batcher.close(Room::Idle, Stamp(21)).expect("no delay was asked for");
    assert_eq!(batch.looks[&path("a")].depth, Depth::Below);
}

#[test]
fn enough_changes_close_a_batch_before_its_time() {
    let mut batcher = Batcher::new(Config { max_changes: 3, ..config() });
    for name in ["a", "b", "c"] {
        batcher.push(change(Kind::Written, name, 10), 0, Stamp(20));
    }
    assert!(batcher.close(Room::Busy(PRESSING), Stamp(20)).is_some());
}

#[test]
fn enough_content_closes_a_batch_before_its_time() {
    let mut batcher = Batcher::new(config());
    batcher.push(change(Kind::Written, "a", 10), 1 << 19, Stamp(20));
    assert_eq!(batcher.close(Room::Busy(PRESSING), Stamp(20)), None);
    batcher.push(change(Kind::Written, "b", 10), 1 << 19, Stamp(20));
    assert!(batcher.close(Room::Busy(PRESSING), Stamp(20)).is_some());
}

#[test]
fn a_file_that_is_being_written_waits_for_its_close() {
    let mut batcher = Batcher::new(config());
    batcher.push(change(Kind::Created, "a", 10), 0, Stamp(20));
    batcher.push(change(Kind::Writing, "a", 11), 0, Stamp(21));
    batcher.push(change(Kind::Attributes, "a", 12), 0, Stamp(22));
    assert_eq!(batcher.close(Room::Idle, Stamp(30)), None);
    batcher.push(change(Kind::Written, "a", 40), 0, Stamp(41));
    let batch = batcher.close(Room::Idle, Stamp(41)).expect("closed files leave");
    let stamps = batch.looks[&path("a")].stamps.expect("a change asked for it");
    assert_eq!(stamps.seen, Stamp(40), "waiting for the close is not latency");
    assert_eq!(batcher.deadline(Room::Idle), None);
}

#[test]
fn a_file_that_stays_open_is_sent_once_an_interval() {
    let mut batcher = Batcher::new(config());
    batcher.push(change(Kind::Writing, "log", 10), 0, Stamp(0));
    batcher.push(change(Kind::Writing, "log", 11), 0, Stamp(900_000_000));
    assert_eq!(
        batcher.deadline(Room::Idle),
        Some(Stamp(1_000_000_000)),
        "steady writing does not put it off"
    );
    let batch = batcher.close(Room::Idle, Stamp(1_000_000_000)).expect("the interval is over");
    assert!(batch.looks[&path("log")].content, "times may not tell");
}

#[test]
fn the_oldest_stamp_of_merged_changes_stays() {
    let mut batcher = Batcher::new(config());
    for seen in [30, 10, 20] {
        batcher.push(change(Kind::Written, "a", seen), 0, Stamp(50));
    }
    let batch = batcher.close(Room::Idle, Stamp(60)).unwrap();
    assert_eq!(batch.looks[&path("a")].stamps.map(|stamps| stamps.seen), Some(Stamp(10)));
}

#[test]
fn what_waits_below_a_renamed_directory_is_looked_at_under_its_new_name() {
    let mut batcher = Batcher::new(config());
    batcher.push(change(Kind::Written, "d/f", 10), 0, Stamp(20));
    batcher.push(change(Kind::Writing, "d/log", 10), 0, Stamp(20));
    batcher.push(change(Kind::Moved { from: path("d"), directory: true }, "e", 11), 0, Stamp(21));
    let batch = batcher.close(Room::Idle, Stamp(22)).unwrap();
    assert_eq!(looks(&batch), ["d", "d/f", "e", "e/f"]);
    assert_eq!(batch.looks[&path("e")].depth, Depth::Below);
    assert_eq!(batch.moves.len(), 1);
    let later = batcher.flush(Stamp(30)).expect("the open file is still known");
    assert_eq!(looks(&later), ["e/log"]);
}

#[test]
fn directories_that_are_renamed_into_each_other_do_not_multiply_what_waits() {
    let mut batcher = Batcher::new(Config { backlog_max: 100_000, ..config() });
    for number in 0..2_000 {
        batcher.push(change(Kind::Written, &format!("a/{number}"), 10), 0, Stamp(20));
    }
    for round in 0..20 {
        for (from, to) in [("a", "b/a"), ("b", "c/b"), ("c/b/a", "a"), ("c", "b")] {
            let moved = Kind::Moved { from: path(from), directory: true };
            batcher.push(change(moved, to, 30 + round), 0, Stamp(40 + round));
        }
    }
    assert!(batcher.waiting() < 2_100, "{} paths wait", batcher.waiting());
    let batch = batcher.close(Room::Idle, Stamp(100)).unwrap();
    assert_eq!(batch.looks[&path("a")].depth, Depth::Content, "a write that left the time as it was counts");
}

#[test]
fn an_event_that_a_rename_overtook_makes_the_renamed_directory_be_looked_at_again() {
    let mut batcher = Batcher::new(config());
    batcher.push(change(Kind::Moved { from: path("d"), directory: true }, "e", 100), 0, Stamp(110));
    assert!(batcher.close(Room::Idle, Stamp(111)).is_some());
    batcher.push(change(Kind::Written, "d/f", 99), 0, Stamp(112));
    let batch = batcher.close(Room::Idle, Stamp(113)).unwrap();
    assert_eq!(batch.looks[&path("e")].depth, Depth::Below);
}

#[test]
fn a_backlog_past_its_bound_becomes_a_look_at_everything() {
    let mut batcher = Batcher::new(Config { backlog_max: 10, ..config() });
    for number in 0..11 {
        batcher.push(change(Kind::Written, &format!("f{number}"), 10), 0, Stamp(20));
    }
    assert_eq!(batcher.overflows(), 1);
    let batch = batcher.close(Room::Idle, Stamp(21)).unwrap();
    assert_eq!(batch.looks.len(), 1);
    assert_eq!(batch.looks[&TreePath::root()].depth, Depth::Below);
    assert!(batcher.flush(Stamp(22)).is_some(), "files that were open are looked at once more");
}

#[test]
fn a_gap_is_rescanned() {
    let mut batcher = Batcher::new(config());
    batcher.push_gap(Gap { place: path("d"), reason: Reason::RingFull, lost: 3, seen: Stamp(1) }, Stamp(2));
    let batch = batcher.close(Room::Idle, Stamp(3)).unwrap();
    assert_eq!(batch.looks[&path("d")].depth, Depth::Below);
}

/// A tree as far as folding needs it: path to content, `None` for a directory.
type Model = BTreeMap<TreePath, Option<u32>>;

#[derive(Debug, Clone)]
enum Operation {
    Write(usize, u32),
    MakeDirectory(usize),
    Remove(usize),
    Rename(usize, usize),
    Exchange(usize, usize),
    CloseBatch,
}

const NAMES: [&str; 9] = ["a", "b", "c", "a/a", "a/b", "b/a", "b/b", "a/a/c", "b/b/c"];

fn operation() -> impl Strategy<Value = Operation> {
    let name = 0..NAMES.len();
    prop_oneof![
        3 => (name.clone(), any::<u32>()).prop_map(|(at, content)| Operation::Write(at, content)),
        2 => name.clone().prop_map(Operation::MakeDirectory),
        2 => name.clone().prop_map(Operation::Remove),
        3 => (name.clone(), name.clone()).prop_map(|(from, to)| Operation::Rename(from, to)),
        1 => (name.clone(), name).prop_map(|(one, other)| Operation::Exchange(one, other)),
        1 => Just(Operation::CloseBatch),
    ]
}

fn take_below(tree: &mut Model, top: &TreePath) -> Model {
    let (taken, kept) = std::mem::take(tree).into_iter().partition(|(path, _)| path.is_at_or_below(top));
    *tree = kept;
    taken
}

fn put_below(tree: &mut Model, taken: Model, from: &TreePath, to: &TreePath) {
    tree.extend(taken.into_iter().map(|(path, content)| (path.moved(from, to).unwrap(), content)));
}

fn parent_is_directory(tree: &Model, at: &TreePath) -> bool {
    at.parent().is_some_and(|parent| parent.is_root() || tree.get(&parent) == Some(&None))
}

/// Does to the tree what the kernel would do, and tells the batcher what the kernel would tell.
fn operate(operation: &Operation, tree: &mut Model, batcher: &mut Batcher, now: u64) {
    match *operation {
        Operation::Write(at, content) => {
            let at = path(NAMES[at]);
            if parent_is_directory(tree, &at) && tree.get(&at) != Some(&None) {
                tree.insert(at.clone(), Some(content));
                batcher.push(change(Kind::Writing, &at.to_string(), now), 0, Stamp(now));
                if content % 2 == 0 {
                    batcher.push(change(Kind::Written, &at.to_string(), now), 0, Stamp(now));
                }
            }
        }
        Operation::MakeDirectory(at) => {
            let at = path(NAMES[at]);
            if parent_is_directory(tree, &at) && !tree.contains_key(&at) {
                tree.insert(at.clone(), None);
                batcher.push(change(Kind::Named, &at.to_string(), now), 0, Stamp(now));
            }
        }
        Operation::Remove(at) => {
            for removed in take_below(tree, &path(NAMES[at])).into_keys().rev() {
                batcher.push(change(Kind::Removed, &removed.to_string(), now), 0, Stamp(now));
            }
        }
        Operation::Rename(from, to) => {
            let (from, to) = (path(NAMES[from]), path(NAMES[to]));
            if !tree.contains_key(&from) || !parent_is_directory(tree, &to) || to.is_at_or_below(&from) {
                return;
            }
            let directory = tree[&from].is_none();
            let replaceable = match tree.get(&to) {
                None => true,
                Some(None) => directory && tree.keys().all(|path| !path.is_below(&to)),
                Some(Some(_)) => !directory,
            };
            if replaceable {
                let taken = take_below(tree, &from);
                put_below(tree, taken, &from, &to);
                batcher.push(change(Kind::Moved { from, directory }, &to.to_string(), now), 0, Stamp(now));
            }
        }
        Operation::Exchange(one, other) => {
            let (one, other) = (path(NAMES[one]), path(NAMES[other]));
            if one.is_at_or_below(&other) || other.is_at_or_below(&one) {
                return;
            }
            if let (Some(first), Some(second)) = (tree.get(&one).copied(), tree.get(&other).copied()) {
                let (taken_one, taken_other) = (take_below(tree, &one), take_below(tree, &other));
                put_below(tree, taken_one, &one, &other);
                put_below(tree, taken_other, &other, &one);
                let moved = |from: &TreePath, directory| Kind::Moved { from: from.clone(), directory };
                batcher.push(change(moved(&one, first.is_none()), &other.to_string(), now), 0, Stamp(now));
                batcher.push(change(moved(&other, second.is_none()), &one.to_string(), now), 0, Stamp(now));
            }
        }
        Operation::CloseBatch => {}
    }
}

/// Makes `target` equal to `source` at the places that the batch names, and only there.
fn apply(batch: &Batch, source: &Model, target: &mut Model) {
    for (at, look) in &batch.looks {
        let new_directory = source.get(at) == Some(&None) && target.get(at) != Some(&None);
        if look.depth >= Depth::Below || new_directory || !source.contains_key(at) {
            take_below(target, at);
            target.extend(
                source
                    .iter()
                    .filter(|(path, _)| path.is_at_or_below(at))
                    .map(|(path, content)| (path.clone(), *content)),
            );
        } else {
            if source[at].is_some() {
                take_below(target, at);
            }
            target.insert(at.clone(), source[at]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// I1: whatever is folded and wherever batches end, looking at the paths of the batches, and
    /// at nothing else, makes the target equal.
    #[test]
    fn the_looks_of_all_batches_cover_every_change(
        operations in prop::collection::vec(operation(), 1..60),
        // Of the smaller one hardly a path may be repeated under a new name.
        backlog_max in prop::sample::select(vec![200, config().backlog_max]),
    ) {
        let (mut source, mut target) = (Model::new(), Model::new());
        let mut batcher = Batcher::new(Config { backlog_max, ..config() });
        for (now, operation) in operations.iter().enumerate() {
            operate(operation, &mut source, &mut batcher, now as u64);
            if matches!(operation, Operation::CloseBatch)
                && let Some(batch) = batcher.close(Room::Idle, Stamp(now as u64))
            {
                apply(&batch, &source, &mut target);
            }
        }
        if let Some(batch) = batcher.flush(Stamp(1_000)) {
            apply(&batch, &source, &mut target);
        }
        prop_assert_eq!(source, target);
    }
}

#[test]
fn an_end_is_passed_once_all_before_it_was_handed_over() {
    let mut batcher = Batcher::new(config());
    assert!(batcher.is_past(batcher.end()), "nothing waits");
    let (start, interval) = (Stamp(1_000_000_000), Duration::from_secs(1));
    batcher.push(change(Kind::Writing, "open", 10), 0, start);
    batcher.push(change(Kind::Written, "a", 11), 0, start);
    let end = batcher.end();
    assert!(batcher.close(Room::Idle, start).is_some());
    assert!(!batcher.is_past(end), "a file is open");
    batcher.push(change(Kind::Writing, "later", 12), 0, start.plus(Duration::from_millis(1)));
    assert!(batcher.close(Room::Idle, start.plus(interval)).is_some());
    assert!(batcher.is_past(end), "what came later need not be waited for");
    batcher.push(change(Kind::Writing, "moved", 13), 0, start.plus(interval));
    let end = batcher.end();
    let moved = Kind::Moved { from: path("moved"), directory: false };
    batcher.push(change(moved, "b", 14), 0, start.plus(interval));
    assert!(batcher.close(Room::Idle, start.plus(interval)).is_some());
    assert!(!batcher.is_past(end), "it is open by its new name");
    assert!(batcher.close(Room::Idle, start.plus(interval * 2)).is_some());
    assert!(batcher.is_past(end));
}
