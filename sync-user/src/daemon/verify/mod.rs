//! Compares the source with its targets by the hash of every content, while replication goes on.
//!
//! The source is walked in portions; each is one question to every target, and both ends hash it at
//! the same time: the target in a thread of its own, so that steps never wait, and the source in the
//! thread that calls. What does not look the same is settled behind a marker (`settle`). Nothing is
//! held but some portions, the names of one directory, and what is not settled yet (I6).

mod compare;
mod news;
mod settle;
mod source;
mod targets;
mod teller;
mod walk;

pub use news::{Differs, Found, News, Outcome, Unverified, Verification, Verified, VerifiedTarget};

use std::collections::VecDeque;

use super::Gauges;
use crate::model::{FileKind, Sight, TreePath, Version};
use crate::shutdown::Stop;
use crate::tree::Tree;
use crate::wire::{Answer, Question, Stretch};
use compare::{Verdict, compare};
use settle::{SUSPECTS_MAX, Suspect};
use targets::Targets;
use teller::Teller;
use walk::{Portion, Walk};

/// Portions that are on their way to the targets at a time: a distant one has the next when it is
/// done with one. A target's desk has room for twice as many.
const PORTIONS_MAX: usize = 4;

/// Why a verification came to no end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("another verification is under way: ask again when it has ended")]
    Busy,
    #[error("it is starting: ask again in a moment")]
    Starting,
    #[error("{0} is left out of replication; ksyncd explain-exclude says by which rule")]
    LeftOut(TreePath),
    #[error("nothing is at {0}, neither at the source nor at a target")]
    Nowhere(TreePath),
    #[error("{0}")]
    Source(String),
    /// Nobody wants to know any more, or the run ends.
    #[error("it was cancelled")]
    Cancelled,
}

/// Compares all at and below `top`, and has sent again what differs if `repair` says so, but for what
/// only a target has (I3). `listener` is told what is found, and gives `false` to have it end.
pub fn verify(
    gauges: &Gauges,
    top: &TreePath,
    repair: bool,
    listener: &mut dyn FnMut(&News) -> bool,
    stop: &Stop,
) -> Result<Verified, VerifyError> {
    let _alone = gauges.inquiry.begin().ok_or(VerifyError::Busy)?;
    let tree = gauges.inquiry.tree().ok_or(VerifyError::Starting)?;
    let mut teller = Teller::new(listener, stop);
    let targets = Targets::new(gauges, &mut teller)?;
    let count = |target: &crate::metrics::Target| VerifiedTarget {
        name: target.snapshot(crate::clock::now()).name,
        ..VerifiedTarget::default()
    };
    let counts = gauges.targets.iter().map(count).collect();
    let suspects = Vec::new();
    let mut run = Run { gauges, tree, repair, teller, targets, suspects, counts, unreadable: 0 };
    run.all(top)?;
    let Run { teller, targets, mut counts, unreadable, .. } = run;
    for (target, counts) in counts.iter_mut().enumerate() {
        counts.ended = targets.ended(target).map(str::to_owned);
    }
    Ok(Verified { compared: teller.so_far(), unreadable, targets: counts })
}

/// One verification.
struct Run<'a> {
    gauges: &'a Gauges,
    tree: &'a Tree,
    repair: bool,
    teller: Teller<'a>,
    targets: Targets<'a>,
    suspects: Vec<Suspect>,
    counts: Vec<VerifiedTarget>,
    /// Paths of the source.
    unreadable: u64,
}

/// A portion that targets were asked about.
struct Asked {
    portion: Portion,
    /// By target; `None` for those that are not asked any more.
    numbers: Vec<Option<u64>>,
}

impl Run<'_> {
    fn all(&mut self, top: &TreePath) -> Result<(), VerifyError> {
        self.check_root()?;
        let sight = source::look(self.tree, top).ok_or_else(|| VerifyError::LeftOut(top.clone()))?;
        let mut walk = Walk::new(self.tree, top, &sight);
        let is_absent = sight == Sight::Absent;
        let mut asked = VecDeque::from([self.ask(Portion::of(top, sight))?]);
        loop {
            let next = if asked.len() < PORTIONS_MAX { walk.next() } else { None };
            match next {
                Some(portion) => {
                    self.check_root()?;
                    let portion = self.ask(portion)?;
                    asked.push_back(portion);
                }
                None => match asked.pop_front() {
                    Some(first) => self.compare(first)?,
                    None => break,
                },
            }
        }
        if is_absent
            && self.suspects.is_empty()
            && (0..self.targets.len()).all(|target| self.targets.is_open(target))
        {
            return Err(VerifyError::Nowhere(top.clone()));
        }
        self.settle()
    }

    /// What is seen counts only if the root is the one that was opened (I3).
    fn check_root(&self) -> Result<(), VerifyError> {
        self.tree.identity_holds().map_err(|error| VerifyError::Source(error.to_string()))
    }

    /// Asks all targets about a portion, and hashes it here meanwhile.
    fn ask(&mut self, mut portion: Portion) -> Result<Asked, VerifyError> {
        self.teller.tick()?;
        if let Some(cause) = portion.unreadable.take() {
            self.unreadable_here(&portion.directory.clone(), cause)?;
            return Ok(Asked { portion, numbers: Vec::new() });
        }
        let mut numbers = Vec::new();
        for target in 0..self.targets.len() {
            numbers.push(self.ask_one(target, &portion, 0, portion.others.clone())?);
        }
        for index in 0..portion.sights.len() {
            let (name, sight) = &mut portion.sights[index];
            let Some(seen) = sight.take() else { continue };
            if let Sight::Present { version, .. } = &seen {
                self.teller.counts.paths += 1;
                self.teller.counts.files += u64::from(version.kind == FileKind::File);
            }
            let name = name.clone();
            let Some(path) = portion.path(&name) else { continue };
            let seen = source::hash(self.tree, &path, seen, &mut self.teller)?;
            if let Sight::Unreadable { cause } = &seen {
                self.unreadable_here(&path, cause.clone())?;
            }
            portion.sights[index].1 = Some(seen);
        }
        Ok(Asked { portion, numbers })
    }

    /// Asks one target about the names of a portion from `first` on, and about others.
    fn ask_one(
        &mut self,
        target: usize,
        portion: &Portion,
        first: usize,
        others: Option<Stretch>,
    ) -> Result<Option<u64>, VerifyError> {
        if !self.targets.is_open(target) {
            return Ok(None);
        }
        let number = self.gauges.inquiry.number();
        let wanted = || {
            let sights = portion.sights[first..].iter();
            sights.filter_map(|(name, sight)| Some((name, sight.as_ref()?)))
        };
        let names = wanted().map(|(name, _)| name.clone()).collect();
        let owners = wanted()
            .filter_map(|(name, sight)| source::owners(self.tree, &portion.path(name)?, sight))
            .collect();
        let directory = portion.directory.as_bytes().to_vec();
        let question = Question { number, directory, names, hashes: true, others };
        self.targets.ask(target, question, owners, &mut self.teller)?;
        Ok(Some(number))
    }

    fn compare(&mut self, Asked { portion, numbers }: Asked) -> Result<(), VerifyError> {
        for (target, number) in numbers.into_iter().enumerate() {
            let (mut number, mut first) = (number, 0);
            while let Some(asked) = number {
                let Some(answer) = self.targets.answer(target, asked, &mut self.teller)? else { break };
                let rest = answer.rest_after.clone();
                let end = match &rest {
                    Some(rest) => portion.sights.partition_point(|(name, _)| name <= rest),
                    None => portion.sights.len(),
                };
                self.compare_with(target, &portion, (first, end), answer)?;
                first = end;
                let up_to = portion.others.as_ref().map(|others| others.up_to.clone());
                number = match (rest, up_to) {
                    (Some(after), Some(up_to)) => {
                        self.ask_one(target, &portion, first, Some(Stretch { after, up_to }))?
                    }
                    _ => None,
                };
            }
        }
        Ok(())
    }

    /// Compares the names from `first` up to `end`, and finds what else the answer tells of.
    fn compare_with(
        &mut self,
        target: usize,
        portion: &Portion,
        (first, end): (usize, usize),
        answer: Answer,
    ) -> Result<(), VerifyError> {
        let mut entries = answer.entries.into_iter().peekable();
        let mut names = portion.sights[first..end].iter().peekable();
        loop {
            let next_is_extra = match (names.peek(), entries.peek()) {
                (None, None) => return Ok(()),
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some((name, _)), Some(entry)) => entry.name < *name,
            };
            if next_is_extra {
                let Some(entry) = entries.next() else { return Ok(()) };
                if let Some(path) = portion.path(&entry.name) {
                    self.extra(target, path, entry.sight)?;
                }
                continue;
            }
            let Some((name, source)) = names.next() else { return Ok(()) };
            let there = entries.next_if(|entry| entry.name == *name);
            let there = there.map_or(Sight::Absent, |entry| entry.sight);
            // What is left out here is not looked at there.
            if let (Some(source), Some(path)) = (source, portion.path(name)) {
                self.note(target, path, source, there)?;
            }
        }
    }

    /// What only the target has, unless it is left out.
    fn extra(&mut self, target: usize, path: TreePath, there: Sight) -> Result<(), VerifyError> {
        let is_directory =
            matches!(&there, Sight::Present { version: Version { kind: FileKind::Directory, .. }, .. });
        if self.tree.excludes_as(&path, is_directory) {
            return Ok(());
        }
        self.note(target, path, &Sight::Absent, there)
    }

    fn note(
        &mut self,
        target: usize,
        path: TreePath,
        source: &Sight,
        there: Sight,
    ) -> Result<(), VerifyError> {
        match compare(source, &there) {
            Verdict::Same => Ok(()),
            Verdict::Unknown => self.unverified(target, &path, source, &there),
            Verdict::Differs(_) | Verdict::Changing => {
                self.suspects.push(Suspect::new(target, path, source.clone(), there));
                if self.suspects.len() >= SUSPECTS_MAX { self.settle() } else { Ok(()) }
            }
        }
    }

    /// Tells of a path that cannot be read at a target. Of the source that was told before.
    fn unverified(
        &mut self,
        target: usize,
        path: &TreePath,
        source: &Sight,
        there: &Sight,
    ) -> Result<(), VerifyError> {
        let Sight::Unreadable { cause } = there else { return Ok(()) };
        if matches!(source, Sight::Unreadable { .. }) {
            return Ok(());
        }
        self.counts[target].unreadable += 1;
        let target = Some(self.counts[target].name.clone());
        let unverified = Unverified { target, path: path.to_string(), cause: cause.clone() };
        self.teller.tell(&News::Unverified(unverified))
    }

    fn unreadable_here(&mut self, path: &TreePath, cause: String) -> Result<(), VerifyError> {
        self.unreadable += 1;
        let unverified = Unverified { target: None, path: path.to_string(), cause };
        self.teller.tell(&News::Unverified(unverified))
    }
}
