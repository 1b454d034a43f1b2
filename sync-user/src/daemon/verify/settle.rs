//! Decides which paths that did not look the same are different: those that stay so.
//!
//! Both ends are looked at one after the other while the source changes, so that a first look proves
//! nothing. Whatever differs is looked at again behind a marker, as `ksyncd wait` places one: once
//! it has passed, what the source held before it is at the target. Who finds both ends as they were
//! before the marker, and not the same, has found a difference. Otherwise something has changed
//! meanwhile, and a later look decides; a path that changes all the time is told as such.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::debug;

use super::compare::{Verdict, compare};
use super::news::{Found, Outcome};
use super::{Run, VerifyError, source};
use crate::barrier::Marker;
use crate::clock;
use crate::daemon::inquiry::Mend;
use crate::model::{Sight, TreePath};
use crate::wire::{EXAMINED_MAX, Question};

/// Paths that are decided about together.
pub(super) const SUSPECTS_MAX: usize = EXAMINED_MAX;

/// Looks at a path that was not the same, until it counts as changing. Pauses before them double.
const LOOKS_MAX: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// How long a marker may take to pass. Where a target is so far behind, nothing can be said.
const PASSING_MAX: Duration = Duration::from_secs(20);

/// How often it is asked whether it has.
const INTERVAL: Duration = Duration::from_millis(5);

/// A path that does not look the same at a target.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    pub(super) target: usize,
    pub(super) path: TreePath,
    pub(super) source: Sight,
    pub(super) there: Sight,
    /// In what it differed when it was sent again.
    mended: Option<Vec<super::Differs>>,
}

impl Suspect {
    pub(super) fn new(target: usize, path: TreePath, source: Sight, there: Sight) -> Self {
        Self { target, path, source, there, mended: None }
    }

    fn is_extra(&self) -> bool {
        matches!(self.source, Sight::Absent | Sight::Foreign)
    }

    /// What is to be sent again: only what the source has.
    fn mend(&self, differs: &[super::Differs]) -> Option<Mend> {
        use super::Differs;
        if self.is_extra() {
            return None;
        }
        let is_other = |differs: &Differs| {
            matches!(differs, Differs::Missing | Differs::Kind | Differs::Content | Differs::LinkTarget)
        };
        let holds = match &self.there {
            Sight::Present { version, content } if !differs.iter().any(is_other) => {
                Some((*version, *content))
            }
            _ => None,
        };
        Some(Mend { path: self.path.clone(), holds })
    }
}

impl Run<'_> {
    /// Decides about all that has gathered.
    pub(super) fn settle(&mut self) -> Result<(), VerifyError> {
        let mut suspects = std::mem::take(&mut self.suspects);
        for look in 1..=LOOKS_MAX {
            if suspects.is_empty() {
                return Ok(());
            }
            if look > 1 {
                self.teller.pause(FIRST_PAUSE * 2_u32.pow(look - 1))?;
            }
            let mut mends: BTreeMap<usize, Vec<Mend>> = BTreeMap::new();
            let marker = self.gauges.barrier.place();
            self.wait_for(marker, &suspects)?;
            debug!(look, suspects = suspects.len(), "looking again at what is not the same");
            self.check_root()?;
            let (here, there) = self.look_again(&suspects)?;
            let is_last = look == LOOKS_MAX;
            let mut open = Vec::new();
            for mut suspect in suspects {
                let (target, path) = (suspect.target, &suspect.path.clone());
                // What is left out by now is nobody's business.
                let Some(Some(source)) = here.get(path) else { continue };
                let Some(seen) = there.get(&(target, path.clone())) else {
                    // Its target is not asked any more, which is told of the whole target.
                    continue;
                };
                let is_sure = self.gauges.barrier.is_carried(target, marker, None);
                let is_as_before = is_sure && *source == suspect.source && *seen == suspect.there;
                match compare(source, seen) {
                    Verdict::Same => {
                        if let Some(differs) = suspect.mended {
                            self.found(target, path, Outcome::Mended, differs)?;
                        }
                    }
                    Verdict::Unknown => self.unverified(target, path, source, seen)?,
                    Verdict::Differs(differs) if is_as_before => {
                        let mend = suspect.mend(&differs).filter(|_| self.repair && suspect.mended.is_none());
                        match mend {
                            Some(mend) if !is_last => {
                                mends.entry(target).or_default().push(mend);
                                suspect.mended = Some(differs);
                                open.push(suspect);
                            }
                            _ => self.found(target, path, Outcome::Different, differs)?,
                        }
                    }
                    verdict if is_last => {
                        let differs =
                            if let Verdict::Differs(differs) = verdict { differs } else { Vec::new() };
                        self.found(target, path, Outcome::Changing, differs)?;
                    }
                    _ => {
                        suspect.source = source.clone();
                        suspect.there = seen.clone();
                        open.push(suspect);
                    }
                }
            }
            for (target, paths) in mends {
                self.targets.mend(target, paths, &mut self.teller)?;
            }
            suspects = open;
        }
        Ok(())
    }

    /// Waits until `marker` has passed for all suspects, or will not soon.
    fn wait_for(&mut self, marker: Marker, suspects: &[Suspect]) -> Result<(), VerifyError> {
        let deadline = clock::now().plus(PASSING_MAX);
        let has_passed =
            |suspect: &Suspect| self.gauges.barrier.is_carried(suspect.target, marker, Some(&suspect.path));
        let mut waiting: Vec<&Suspect> = suspects.iter().collect();
        while clock::now() < deadline {
            waiting.retain(|suspect| self.targets.is_open(suspect.target) && !has_passed(suspect));
            if waiting.is_empty() {
                break;
            }
            self.teller.pause(INTERVAL)?;
        }
        Ok(())
    }

    /// What the source and the targets hold now, at each of the paths.
    fn look_again(&mut self, suspects: &[Suspect]) -> Result<(Here, There), VerifyError> {
        let mut here = Here::new();
        for Suspect { path, .. } in suspects {
            if here.contains_key(path) {
                continue;
            }
            let sight = match source::look(self.tree, path) {
                Some(sight) => Some(source::hash(self.tree, path, sight, &mut self.teller)?),
                None => None,
            };
            here.insert(path.clone(), sight);
        }
        // By target and directory; what only the target has need not be hashed.
        let mut groups: BTreeMap<(usize, TreePath, bool), BTreeSet<TreePath>> = BTreeMap::new();
        for suspect in suspects {
            let directory = suspect.path.parent().unwrap_or_else(TreePath::root);
            let group = (suspect.target, directory, !suspect.is_extra());
            groups.entry(group).or_default().insert(suspect.path.clone());
        }
        let mut there = There::new();
        for ((target, directory, hashes), paths) in groups {
            let owners = paths
                .iter()
                .filter_map(|path| source::owners(self.tree, path, here.get(path)?.as_ref()?))
                .collect();
            let names = paths.iter().map(|path| path.name().to_vec()).collect();
            self.ask_all(target, &directory, names, hashes, owners, |name, sight| {
                let path = if name.is_empty() { Ok(directory.clone()) } else { directory.join(name) };
                there.extend(path.ok().map(|path| ((target, path), sight)));
            })?;
        }
        Ok((here, there))
    }

    /// Asks a target about all these names, in as many questions as that takes.
    fn ask_all(
        &mut self,
        target: usize,
        directory: &TreePath,
        mut names: Vec<Vec<u8>>,
        hashes: bool,
        mut owners: Vec<(crate::model::Owner, Vec<crate::model::Xattr>)>,
        mut each: impl FnMut(&[u8], Sight),
    ) -> Result<(), VerifyError> {
        while !names.is_empty() {
            let number = self.gauges.inquiry.number();
            let directory = directory.as_bytes().to_vec();
            let question = Question { number, directory, names: names.clone(), hashes, others: None };
            self.targets.ask(target, question, std::mem::take(&mut owners), &mut self.teller)?;
            let Some(answer) = self.targets.answer(target, number, &mut self.teller)? else { break };
            let end = match &answer.rest_after {
                Some(rest) => names.partition_point(|name| name <= rest),
                None => names.len(),
            };
            let rest = names.split_off(end);
            let mut sights: BTreeMap<Vec<u8>, Sight> =
                answer.entries.into_iter().map(|entry| (entry.name, entry.sight)).collect();
            for name in std::mem::replace(&mut names, rest) {
                let sight = sights.remove(&name).unwrap_or(Sight::Absent);
                each(&name, sight);
            }
        }
        Ok(())
    }

    fn found(
        &mut self,
        target: usize,
        path: &TreePath,
        outcome: Outcome,
        differs: Vec<super::Differs>,
    ) -> Result<(), VerifyError> {
        let counts = &mut self.counts[target];
        match outcome {
            Outcome::Different => {
                counts.different += 1;
                for differs in &differs {
                    *counts.by_kind.entry(*differs).or_default() += 1;
                }
            }
            Outcome::Mended => counts.mended += 1,
            Outcome::Changing => counts.changing += 1,
        }
        let target = counts.name.clone();
        let found = Found { target, path: path.to_string(), outcome, differs };
        self.teller.tell(&super::News::Found(found))
    }
}

/// What the source holds; `None` where that is left out.
type Here = BTreeMap<TreePath, Option<Sight>>;

/// What each target holds.
type There = BTreeMap<(usize, TreePath), Sight>;
