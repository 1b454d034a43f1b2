//! Decides which removals are made, which wait for more of their kind, and which a person has to
//! approve: pure, with moments given.
//!
//! Removals come in ones and twos, or as a flood. The first are made at once. A flood is kept back until
//! it is over, so that it is known how much it takes before any of it is gone; if that is more than is
//! allowed it is held. Whoever removes a directory to fill it again in a moment has filled it by then,
//! and what has come back is no removal any more. Paths that are made at the same time as others are
//! removed make up for these: a cache comes and goes all the time, and a new release replaces an old one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::{Batch, Depth, Look, Stamp, Stamps, TreePath};

/// Fewer removals than this, within [`BURST`], are no flood: pages that are taken down, caches that are
/// cleaned, and trees so small that any share of them is a handful of paths.
const FLOOD_MIN: usize = 100;

/// What is removed and made within this time belongs together. `rm` removes thousands of paths in it.
const BURST: Duration = Duration::from_secs(2);

/// All removals within this time are counted: removing a large tree takes long, with pauses, and a
/// program that has gone wrong may remove one path after the other.
const WINDOW: Duration = Duration::from_mins(5);

/// After a flood was held what is removed at once is taken for the rest of it.
const AFTERMATH: Duration = Duration::from_secs(10);

/// A flood is over when nothing was removed for so long.
const QUIET: Duration = Duration::from_secs(1);

/// The same for one that is more than is allowed: time to put back what a deployment has removed only
/// to write it anew.
const QUIET_IF_TOO_MANY: Duration = Duration::from_secs(5);

/// However it goes on, it is judged after this time.
const GATHERING_MAX: Duration = Duration::from_mins(1);

/// Removals of one target.
#[derive(Debug)]
pub(super) struct Guard {
    /// How much of what the target holds may go, in per cent. If that is all, nothing waits.
    percent_max: usize,
    /// A flood that may not be over, each path with the change that asked for it. The number of paths
    /// here and below is bounded by that of the ledger.
    gathered: BTreeMap<TreePath, Option<Stamps>>,
    gathering: Option<Gathering>,
    /// What waits for a person.
    held: BTreeSet<TreePath>,
    /// Since when anything does.
    held_since: Option<Stamp>,
    /// What a person has approved, and is about to be looked at.
    approved: BTreeSet<TreePath>,
    recent: Recent,
    /// The next plan is that of a flood that is over, and that began then.
    judging: Option<Stamp>,
    /// Whether `held` has changed since it was last shown.
    is_changed: bool,
    /// Whether the next run would go wrong by what is stored of it. That it holds what has come back
    /// meanwhile does no harm.
    is_outdated: bool,
}

#[derive(Debug, Clone, Copy)]
struct Gathering {
    first: Stamp,
    last: Stamp,
    is_too_many: bool,
    /// The oldest batch that is owed by it.
    owed_since: u64,
}

/// What becomes of the removals of a plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// These are not to be made now.
    pub(super) kept: BTreeSet<TreePath>,
    /// How many are held from now on, and of how many paths.
    pub(super) held: Option<(usize, usize)>,
}

impl Guard {
    pub(super) fn new(percent_max: u8) -> Self {
        Self {
            percent_max: percent_max.into(),
            gathered: BTreeMap::new(),
            gathering: None,
            held: BTreeSet::new(),
            held_since: None,
            approved: BTreeSet::new(),
            recent: Recent::default(),
            judging: None,
            is_changed: false,
            is_outdated: false,
        }
    }

    /// Judges a plan for `looks` that would remove `removals`, and makes as many paths as `added` says. The
    /// target holds `holds` paths, and `owed_since` is the oldest batch that owes the plan.
    pub(super) fn judge(
        &mut self,
        (removals, added): (&BTreeSet<TreePath>, usize),
        looks: &BTreeMap<TreePath, Look>,
        holds: usize,
        owed_since: u64,
        now: Stamp,
    ) -> Verdict {
        self.recent.note(now, Fate::Added, added);
        let mut verdict = Verdict::default();
        let mut open = Vec::new();
        for path in removals {
            if self.approved.remove(path) {
                continue;
            }
            if self.held.contains(path) {
                verdict.kept.insert(path.clone());
            } else {
                open.push(path);
            }
        }
        if open.is_empty() {
            return verdict;
        }
        if let Some(began) = self.judging {
            if self.is_too_many(open.len(), holds, began, true) {
                self.recent.note(now, Fate::Held, open.len());
                verdict.held = Some((open.len(), holds));
                self.held.extend(open.iter().copied().cloned());
                self.held_since.get_or_insert(now);
                (self.is_changed, self.is_outdated) = (true, true);
                verdict.kept.extend(open.into_iter().cloned());
            } else {
                self.recent.note(now, Fate::Gone, open.len());
            }
        } else if self.percent_max >= 100
            || (self.gathered.is_empty() && self.is_ordinary(open.len(), holds, now))
        {
            self.recent.note(now, Fate::Gone, open.len());
        } else {
            self.gather(&open, looks, holds, owed_since, now);
            verdict.kept.extend(open.into_iter().cloned());
        }
        verdict
    }

    /// Whether so many removals are no flood, nor the rest of one, and with all of late not too many.
    fn is_ordinary(&self, count: usize, holds: usize, now: Stamp) -> bool {
        let burst = Stamp(now.0.saturating_sub(BURST.as_nanos() as u64));
        let lost =
            (count + self.recent.sum(Fate::Gone, burst)).saturating_sub(self.recent.sum(Fate::Added, burst));
        let aftermath = Stamp(now.0.saturating_sub(AFTERMATH.as_nanos() as u64));
        lost < FLOOD_MIN
            && self.recent.sum(Fate::Held, aftermath) == 0
            && !self.is_too_many(count, holds, now, false)
    }

    fn gather(
        &mut self,
        open: &[&TreePath],
        looks: &BTreeMap<TreePath, Look>,
        holds: usize,
        owed_since: u64,
        now: Stamp,
    ) {
        let before = self.gathered.len();
        for path in open {
            let asked = looks.get(*path).and_then(|look| look.stamps);
            let stamps = self.gathered.entry((*path).clone()).or_default();
            *stamps = (*stamps).or(asked);
        }
        let is_more = self.gathered.len() > before;
        let began = self.gathering.map_or(now, |gathering| gathering.first);
        self.recent.forget(now);
        let is_too_many = self.is_too_many(self.gathered.len(), holds, began, true);
        let gathering =
            self.gathering.get_or_insert(Gathering { first: now, last: now, is_too_many, owed_since });
        gathering.is_too_many = is_too_many;
        gathering.owed_since = gathering.owed_since.min(owed_since);
        if is_more {
            gathering.last = now;
        }
    }

    /// Whether so many removals, of a flood that `began` then, are with all others of late more than is
    /// allowed of a target that holds `holds` paths still. What is held counts if `with_held` says so.
    fn is_too_many(&self, count: usize, holds: usize, began: Stamp, with_held: bool) -> bool {
        let start = Stamp(began.0.saturating_sub(BURST.as_nanos() as u64));
        let [gone, added] = [Fate::Gone, Fate::Added].map(|fate| self.recent.sum(fate, start));
        let [gone_in_all, added_in_all] =
            [Fate::Gone, Fate::Added].map(|fate| self.recent.sum(fate, Stamp(0)));
        // What was made long before makes up for nothing now.
        let before = (gone_in_all - gone).saturating_sub(added_in_all - added);
        let held = if with_held { self.recent.sum(Fate::Held, Stamp(0)) } else { 0 };
        let lost = (count + gone).saturating_sub(added) + before + held;
        lost >= FLOOD_MIN && lost * 100 > (holds + gone + before) * self.percent_max
    }

    /// What was removed is there again.
    pub(super) fn came_back(&mut self, path: &TreePath, now: Stamp) {
        self.approved.remove(path);
        if self.gathered.remove(path).is_some()
            && let Some(gathering) = &mut self.gathering
        {
            gathering.last = now;
        }
        self.forget(path);
    }

    /// The target does not hold it any more, or it is not ours.
    pub(super) fn forget(&mut self, path: &TreePath) {
        if self.held.remove(path) {
            self.is_changed = true;
            if self.held.is_empty() {
                (self.held_since, self.is_outdated) = (None, true);
            }
        }
    }

    /// Leaves only what `is_there`.
    pub(super) fn retain(&mut self, is_there: impl Fn(&TreePath) -> bool) {
        let gone: Vec<TreePath> = self.held.iter().filter(|path| !is_there(path)).cloned().collect();
        for path in &gone {
            self.forget(path);
        }
        self.approved.retain(is_there);
    }

    /// Follows a rename at the target.
    pub(super) fn renamed(&mut self, from: &TreePath, to: &TreePath) {
        let moved = self.take_below(from);
        self.put_below(&moved, from, to);
    }

    /// Follows an exchange of two names at the target.
    pub(super) fn exchanged(&mut self, one: &TreePath, other: &TreePath) {
        let (first, second) = (self.take_below(one), self.take_below(other));
        self.put_below(&first, one, other);
        self.put_below(&second, other, one);
    }

    fn take_below(&mut self, top: &TreePath) -> Vec<TreePath> {
        self.held.extract_if(.., |path| path.is_at_or_below(top)).collect()
    }

    fn put_below(&mut self, paths: &[TreePath], from: &TreePath, to: &TreePath) {
        if !paths.is_empty() {
            (self.is_changed, self.is_outdated) = (true, true);
        }
        self.held.extend(paths.iter().filter_map(|path| path.moved(from, to)));
    }

    /// Adds directories that stay since something below them does, to whatever that waits for.
    pub(super) fn join(&mut self, kept: BTreeSet<TreePath>) {
        for path in kept {
            if self.held.contains(&path) || self.gathered.contains_key(&path) {
                continue;
            }
            if path.is_above_any(&self.held) {
                self.held.insert(path);
                (self.is_changed, self.is_outdated) = (true, true);
            } else {
                self.gathered.insert(path, None);
            }
        }
    }

    /// Whether what waits, for more or for a person, is at `path` or below it.
    pub(super) fn concerns(&self, path: &TreePath) -> bool {
        self.held.contains(path)
            || self.gathered.contains_key(path)
            || path.is_above_any(&self.held)
            || path.below(&self.gathered).next().is_some()
    }

    /// When the flood is over, if nothing is added to it.
    pub(super) fn due(&self) -> Option<Stamp> {
        self.gathering.map(|gathering| {
            let quiet = if gathering.is_too_many { QUIET_IF_TOO_MANY } else { QUIET };
            gathering.last.plus(quiet).min(gathering.first.plus(GATHERING_MAX))
        })
    }

    /// When `path` is looked at again, if it is of a flood that may not be over.
    pub(super) fn due_of(&self, path: &TreePath) -> Option<Stamp> {
        self.due().filter(|_| self.gathered.contains_key(path))
    }

    /// The flood as a batch, once it is over; or once it has lasted too long, if `is_busy` says that more
    /// may be about to be added. The next plan is its judgement. It is owed since that batch.
    pub(super) fn take_over(&mut self, is_busy: bool, now: Stamp) -> Option<(Batch, u64)> {
        let gathering = self.gathering?;
        let end = if is_busy { Some(gathering.first.plus(GATHERING_MAX)) } else { self.due() };
        end.filter(|end| *end <= now)?;
        self.judging = Some(gathering.first);
        Some((self.take_gathered(now), gathering.owed_since))
    }

    /// What was gathered, as a batch: it is looked at again.
    pub(super) fn take_gathered(&mut self, now: Stamp) -> Batch {
        self.gathering = None;
        let look = |stamps| Look { depth: Depth::Entry, content: true, stamps };
        let looks = std::mem::take(&mut self.gathered).into_iter().map(|(path, stamps)| (path, look(stamps)));
        Batch { looks: looks.collect(), moves: Vec::new(), gaps: 0, closed: now }
    }

    /// The plan of the flood was made, or could not be.
    pub(super) fn judged(&mut self) {
        self.judging = None;
    }

    /// Holds these as well, if anything is held.
    pub(super) fn hold_too(&mut self, paths: impl IntoIterator<Item = TreePath>) {
        if !self.held.is_empty() {
            self.held.extend(paths);
            (self.is_changed, self.is_outdated) = (true, true);
        }
    }

    /// How many removals were on their way when a connection was lost: they are planned again.
    pub(super) fn lost(&mut self, count: usize) {
        self.recent.take_back(count);
    }

    /// The oldest batch that owes what is gathered.
    pub(super) fn owed_since(&self) -> Option<u64> {
        self.gathering.map(|gathering| gathering.owed_since)
    }

    pub(super) fn gathered(&self) -> impl ExactSizeIterator<Item = &TreePath> {
        self.gathered.keys()
    }

    pub(super) fn held(&self) -> &BTreeSet<TreePath> {
        &self.held
    }

    pub(super) fn held_since(&self) -> Option<Stamp> {
        self.held_since
    }

    /// What an earlier run has held.
    pub(super) fn restore(&mut self, held: BTreeSet<TreePath>, now: Stamp) {
        self.held_since = (!held.is_empty()).then_some(now);
        self.held = held;
    }

    /// Whether what is held has changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Whether it has to be stored.
    pub(super) fn take_outdated(&mut self) -> bool {
        std::mem::take(&mut self.is_outdated)
    }

    /// Lets these pass when they are planned next.
    pub(super) fn approve(&mut self, paths: impl IntoIterator<Item = TreePath>) {
        self.approved.extend(paths);
    }

    /// Takes out all that is held.
    pub(super) fn take_held(&mut self) -> BTreeSet<TreePath> {
        self.held_since = None;
        (self.is_changed, self.is_outdated) = (true, true);
        self.recent.forget_held();
        std::mem::take(&mut self.held)
    }
}

/// What became of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Made at the target.
    Added,
    /// Removed there.
    Gone,
    Held,
}

/// How many paths came and went of late. Those of half a second are one entry, so that there are
/// some thousand at most (I6).
#[derive(Debug, Default)]
struct Recent(VecDeque<(Stamp, Fate, usize)>);

impl Recent {
    fn note(&mut self, now: Stamp, fate: Fate, count: usize) {
        self.forget(now);
        if count == 0 {
            return;
        }
        let is_same = |(at, same, _): &&mut (Stamp, Fate, usize)| {
            *same == fate && now.since(*at) < Duration::from_millis(500)
        };
        match self.0.iter_mut().rev().take(3).find(is_same) {
            Some((.., sum)) => *sum += count,
            None => self.0.push_back((now, fate, count)),
        }
    }

    /// Forgets what is too long ago.
    fn forget(&mut self, now: Stamp) {
        while self.0.pop_front_if(|(at, ..)| now.since(*at) >= WINDOW).is_some() {}
    }

    /// How many since then.
    fn sum(&self, of: Fate, since: Stamp) -> usize {
        let late = self.0.iter().rev().take_while(|(at, ..)| *at >= since);
        late.filter(|(_, fate, _)| *fate == of).map(|(.., count)| count).sum()
    }

    fn forget_held(&mut self) {
        self.0.retain(|(_, fate, _)| *fate != Fate::Held);
    }

    fn take_back(&mut self, count: usize) {
        let mut left = count;
        for (.., sum) in self.0.iter_mut().rev().filter(|(_, fate, _)| *fate == Fate::Gone) {
            let back = left.min(*sum);
            *sum -= back;
            left -= back;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn paths(range: std::ops::Range<usize>) -> BTreeSet<TreePath> {
        range.map(|number| TreePath::new(format!("p/{number:04}").as_bytes()).unwrap()).collect()
    }

    /// What becomes of a plan with these removals at a target that holds 1,000 paths.
    fn judge(guard: &mut Guard, removals: &BTreeSet<TreePath>, seconds: u64) -> Verdict {
        judge_with(guard, (removals, 0), seconds)
    }

    fn judge_with(guard: &mut Guard, plan: (&BTreeSet<TreePath>, usize), seconds: u64) -> Verdict {
        guard.judge(plan, &BTreeMap::new(), 1_000, 1, Stamp(seconds * SECOND))
    }

    /// The judgement of what was gathered, once it is due.
    fn judge_gathered(guard: &mut Guard) -> Verdict {
        let due = guard.due().unwrap();
        assert!(guard.take_over(false, Stamp(due.0 - 1)).is_none());
        let (batch, _) = guard.take_over(false, due).unwrap();
        let removals = batch.looks.keys().cloned().collect();
        let verdict = guard.judge((&removals, 0), &batch.looks, 1_000, 1, due);
        guard.judged();
        verdict
    }

    #[test]
    fn few_removals_are_made_at_once() {
        let mut guard = Guard::new(25);
        for number in 0..1_000_u64 {
            let first = number as usize * 9;
            assert_eq!(judge(&mut guard, &paths(first..first + 9), number * 10), Verdict::default());
        }
        assert_eq!(guard.due(), None);
        // One after the other they are too many, too.
        let kept = (0..300).find(|number| {
            !judge(&mut guard, &paths(*number..number + 2), 20_000 + *number as u64).kept.is_empty()
        });
        assert_eq!(kept, Some(166));
    }

    #[test]
    fn what_comes_and_goes_all_the_time_is_no_flood() {
        let mut guard = Guard::new(25);
        for second in 0..1_000 {
            let plan = (&paths(0..90), 90);
            assert_eq!(judge_with(&mut guard, plan, second), Verdict::default(), "{second}");
        }
        // But what was made before makes up for nothing.
        let flood = paths(0..500);
        judge_with(&mut guard, (&BTreeSet::new(), 500), 1_010);
        assert_eq!(judge(&mut guard, &flood, 1_020).kept, flood);
        assert_eq!(judge_gathered(&mut guard).kept, flood);
    }

    #[test]
    fn a_flood_is_made_when_it_is_over_and_held_when_it_is_too_much() {
        let mut guard = Guard::new(25);
        let few = paths(0..200);
        assert_eq!(judge(&mut guard, &few, 10).kept, few);
        let more = paths(200..250);
        assert_eq!(judge(&mut guard, &more, 10).kept, more);
        assert_eq!(guard.due(), Some(Stamp(11 * SECOND)));
        assert_eq!(judge_gathered(&mut guard), Verdict::default(), "a quarter is allowed");
        // Soon after, it is the same flood.
        let next = paths(300..400);
        assert_eq!(judge(&mut guard, &next, 100).kept, next);
        assert_eq!(guard.due(), Some(Stamp(105 * SECOND)));
        let verdict = judge_gathered(&mut guard);
        assert_eq!((&verdict.kept, verdict.held), (&next, Some((100, 1_000))));
        assert_eq!((guard.held(), guard.held_since()), (&next, Some(Stamp(105 * SECOND))));
        assert!(guard.take_changed() && !guard.take_changed());
        // What is held stays so, whatever else there is, and few others are made.
        assert_eq!(judge(&mut guard, &paths(399..410), 200).kept, paths(399..400));
        // Much later, a flood stands for itself.
        let other = paths(500..600);
        assert_eq!(judge(&mut guard, &other, 900).kept, other);
        assert_eq!(judge_gathered(&mut guard), Verdict::default());
        let held = guard.take_held();
        guard.approve(held.clone());
        assert_eq!(judge(&mut guard, &held, 2_000), Verdict::default());
        assert_eq!(judge(&mut guard, &held, 2_000).kept, held, "approved once");
    }

    #[test]
    fn what_comes_back_is_no_removal() {
        let mut guard = Guard::new(25);
        let all = paths(0..1_000);
        assert_eq!(judge(&mut guard, &all, 10).kept, all);
        // A deployment writes most of it anew.
        for path in &paths(100..1_000) {
            guard.came_back(path, Stamp(12 * SECOND));
        }
        assert_eq!(guard.due(), Some(Stamp(17 * SECOND)));
        assert_eq!(judge_gathered(&mut guard), Verdict::default());

        let half = paths(0..500);
        judge(&mut guard, &half, 1_000);
        judge_gathered(&mut guard);
        assert_eq!(guard.held().len(), 500);
        for path in &paths(0..499) {
            guard.came_back(path, Stamp(2_000 * SECOND));
        }
        // Whoever puts back what was removed is not to find the rest gone.
        assert_eq!((guard.held().len(), guard.due()), (1, None));
        guard.retain(|_| false);
        assert_eq!((guard.held().len(), guard.held_since()), (0, None));
    }

    #[test]
    fn a_flood_that_does_not_end_is_judged_all_the_same() {
        let mut guard = Guard::new(99);
        for second in 0..60 {
            let first = second as usize * 10;
            judge(&mut guard, &paths(first..first + 210), second);
        }
        assert!(guard.take_over(true, Stamp(59 * SECOND)).is_none());
        assert!(guard.take_over(true, Stamp(60 * SECOND)).is_some());
        guard.judged();
    }

    #[test]
    fn removals_that_were_lost_on_their_way_count_once() {
        let mut guard = Guard::new(25);
        let some = paths(0..200);
        for round in 1..5 {
            judge(&mut guard, &some, round * 10);
            assert_eq!(judge_gathered(&mut guard), Verdict::default());
            guard.lost(200);
        }
    }

    #[test]
    fn a_rename_at_the_target_is_followed() {
        let mut guard = Guard::new(0);
        let all = paths(0..100);
        judge(&mut guard, &all, 1);
        assert!(guard.concerns(&TreePath::new(b"p").unwrap()) && guard.held().is_empty());
        judge_gathered(&mut guard);
        let (from, to) = (TreePath::new(b"p").unwrap(), TreePath::new(b"q").unwrap());
        guard.renamed(&from, &to);
        assert!(!guard.concerns(&from) && guard.concerns(&to));
        assert_eq!(guard.held().len(), 100);
    }
}
