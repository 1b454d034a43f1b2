//! Remembers the steps that are on their way, what each would undo, and the change behind it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::catching_up::CatchingUp;
use super::crossed::Crossed;
use crate::ledger::{Doubts, Held, Known, Ledger, Undo};
use crate::metrics::Progress;
use crate::model::{Content, Depth, Look, Stamp, Stamps, Step, TreePath};
use crate::plan::Planned;
use crate::ship::Ticket;

/// A step on its way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) planned: Planned,
    /// The way of the change that this step completes; `None` for all other steps.
    pub(super) stamps: Option<Stamps>,
    pub(super) closed: Stamp,
    /// What the target was told to build the file from.
    pub(super) built_from: Option<(TreePath, Content)>,
    /// Where the target has changed something meanwhile (two-way).
    pub(super) crossed: Crossed,
}

impl Flight {
    pub(super) fn new(planned: Planned, stamps: Option<Stamps>, closed: Stamp) -> Self {
        Self { planned, stamps, closed, built_from: None, crossed: Crossed::default() }
    }

    pub(super) fn step(&self) -> &Step {
        &self.planned.step
    }
}

/// Steps by ticket; tickets count up, so the order is that of sending.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_ticket: BTreeMap<Ticket, Flight>,
    /// Those that rename: what was planned after one may build on it.
    renames: BTreeSet<Ticket>,
    /// Those that link, by what to.
    links: BTreeMap<TreePath, BTreeSet<Ticket>>,
    /// How many concern each path: of renames all that are below, too.
    by_path: BTreeMap<TreePath, usize>,
    /// Steps of the target itself that came meanwhile: they wait for no answer, and only keep their
    /// place among the others.
    foreign: BTreeSet<Ticket>,
    /// What is left of the last comparison.
    catching_up: CatchingUp,
    next: u64,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.by_ticket.len() - self.foreign.len()
    }

    /// Keeps the place of a step that the target has sent here, as long as earlier ones may be
    /// refused, and then be taken back out of the ledger from under it.
    pub(super) fn add_foreign(&mut self, flight: Flight) {
        let ticket = self.add(flight);
        self.foreign.insert(ticket);
        self.land_foreign();
    }

    fn land_foreign(&mut self) {
        while let Some(first) = self.first().filter(|first| self.foreign.remove(first)) {
            self.take_out(first);
        }
    }

    pub(super) fn add(&mut self, flight: Flight) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        if matches!(flight.step(), Step::Rename { .. } | Step::Exchange { .. }) {
            self.renames.insert(ticket);
        }
        if let Step::Link { to, .. } = flight.step() {
            self.links.entry(to.clone()).or_default().insert(ticket);
        }
        count(&mut self.by_path, &flight.planned.undo);
        self.by_ticket.insert(ticket, flight);
        ticket
    }

    /// All that is on its way came of a comparison, or is done with it.
    pub(super) fn begin_catching_up(&mut self) {
        let steps = self.by_ticket.values().map(Flight::step);
        self.catching_up.begin(Ticket(self.next), steps);
    }

    /// What is done of what the last comparison found, and of how much; `None` when all is.
    pub(super) fn catching_up(&self) -> Option<(Progress, Progress)> {
        self.catching_up.progress()
    }

    /// The last ticket that was given out.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.next)
    }

    /// The first step that is not answered yet.
    pub(super) fn first(&self) -> Option<Ticket> {
        self.by_ticket.first_key_value().map(|(ticket, _)| *ticket)
    }

    /// Whether a step on its way concerns `path`, so that nothing is sure of it.
    pub(super) fn concern(&self, path: &TreePath) -> bool {
        self.by_path.contains_key(path)
    }

    /// Whether one concerns anything below `path`.
    pub(super) fn concern_below(&self, path: &TreePath) -> bool {
        path.below(&self.by_path).next().is_some()
    }

    fn count_of(&self, path: &TreePath) -> usize {
        self.by_path.get(path).copied().unwrap_or(0)
    }

    /// All but those of the target itself.
    pub(super) fn own_mut(&mut self) -> impl Iterator<Item = &mut Flight> {
        let Self { by_ticket, foreign, .. } = self;
        by_ticket.iter_mut().filter(|(ticket, _)| !foreign.contains(ticket)).map(|(_, flight)| flight)
    }

    /// Whether a step of ours concerns `path`.
    pub(super) fn own_concern(&self, path: &TreePath) -> bool {
        let mut flights = self.by_ticket.iter().filter(|(ticket, _)| !self.foreign.contains(ticket));
        self.concern(path)
            && flights.any(|(_, flight)| flight.planned.undo.paths().any(|concerned| concerned == path))
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Flight> {
        self.by_ticket.get_mut(&ticket)
    }

    /// Content was sent, which may be another than was planned, and what is linked to it holds that
    /// too. If something else was planned since at one of these names, it is followed anew.
    pub(super) fn amend(&mut self, ticket: Ticket, held: Held, ledger: &mut Ledger) {
        let Some(flight) = self.by_ticket.get_mut(&ticket) else { return };
        flight.planned.becomes = Some(held);
        let path = flight.step().path().clone();
        let links = self.links.get(&path).cloned().unwrap_or_default();
        let is_linked_only = self.count_of(&path) == 1 + links.len()
            && links.first().is_none_or(|first| *first > ticket)
            && links.iter().all(|link| self.count_of(self.by_ticket[link].step().path()) == 1);
        if !is_linked_only {
            self.take_back_since(ticket, ledger);
            return self.follow_since(ticket, ledger);
        }
        let twin = if links.is_empty() { held.twin } else { ledger.held(&path).and_then(|held| held.twin) };
        let held = Held { twin, ..held };
        for link in &links {
            let Some(Flight { planned, .. }) = self.by_ticket.get_mut(link) else { continue };
            planned.undo.amend(&path, held);
            ledger.set(planned.step.path().clone(), Known::Holds(held));
        }
        ledger.set(path, Known::Holds(held));
    }

    /// Takes `ticket`, if it is on its way, and all later steps back out of the ledger.
    fn take_back_since(&self, ticket: Ticket, ledger: &mut Ledger) {
        for (_, later) in self.by_ticket.range(ticket..).rev() {
            ledger.take_back(&later.planned.undo);
        }
    }

    /// Has the ledger follow them anew, on what it knows by now.
    fn follow_since(&mut self, ticket: Ticket, ledger: &mut Ledger) {
        for (_, later) in self.by_ticket.range_mut(ticket..) {
            let Planned { step, becomes, undo, .. } = &mut later.planned;
            let before = std::mem::replace(undo, ledger.follow(step, *becomes));
            discount(&mut self.by_path, &before);
            count(&mut self.by_path, undo);
        }
    }

    /// Takes out a step that was applied.
    pub(super) fn land(&mut self, ticket: Ticket) -> Option<Flight> {
        let flight = self.take_out(ticket);
        self.land_foreign();
        flight
    }

    fn take_out(&mut self, ticket: Ticket) -> Option<Flight> {
        self.renames.remove(&ticket);
        let flight = self.by_ticket.remove(&ticket)?;
        if let Step::Link { to, .. } = flight.step()
            && let Entry::Occupied(mut links) = self.links.entry(to.clone())
        {
            links.get_mut().remove(&ticket);
            if links.get().is_empty() {
                links.remove();
            }
        }
        discount(&mut self.by_path, &flight.planned.undo);
        self.catching_up.ended(ticket, flight.step());
        Some(flight)
    }

    /// Takes out a step that was not applied, also out of the ledger: what was planned after it
    /// is followed anew, on what the target really holds. `learned` is called in between, and
    /// notes what its failure tells.
    pub(super) fn withdraw(
        &mut self,
        ticket: Ticket,
        ledger: &mut Ledger,
        learned: impl FnOnce(&Step, &mut Ledger),
    ) -> Option<Flight> {
        let is_rename = self.renames.contains(&ticket);
        let flight = self.take_out(ticket)?;
        let Planned { step, undo, .. } = &flight.planned;
        // What an inode shows it shows under names that the step does not name, too; and which these are
        // is known once all that was planned since is taken back.
        let had_twins = undo
            .paths()
            .any(|path| matches!(undo.before(path), Some(Known::Holds(Held { twin: Some(_), .. }))));
        let stands_alone = !is_rename
            && !had_twins
            && self.renames.range(ticket..).next().is_none()
            && step.paths().chain(undo.paths()).all(|path| !self.concern(path));
        if stands_alone {
            ledger.take_back(undo);
            learned(step, ledger);
        } else {
            self.take_back_since(ticket, ledger);
            ledger.take_back(undo);
            learned(step, ledger);
            self.follow_since(ticket, ledger);
        }
        self.land_foreign();
        Some(flight)
    }

    /// What `path` is called by the renames that were planned after this step, one after the other.
    pub(super) fn later_names(&self, ticket: Ticket, path: &TreePath) -> Vec<TreePath> {
        let later = self.renames.range((Bound::Excluded(ticket), Bound::Unbounded));
        let mut names: Vec<TreePath> = Vec::new();
        for step in later.filter_map(|later| self.by_ticket.get(later)).map(Flight::step) {
            let name = names.last().unwrap_or(path);
            let next = match step {
                Step::Rename { from, to, .. } => name.moved(from, to),
                Step::Exchange { one, other, .. } => {
                    name.moved(one, other).or_else(|| name.moved(other, one))
                }
                _ => None,
            };
            names.extend(next);
        }
        names
    }

    /// Takes out all steps where the target may change by itself. What was agreed on before them
    /// stays known, and what each may have made of its paths is told. What the target has sent
    /// here is certain, and stays.
    pub(super) fn abandon_in_doubt(&mut self, ledger: &mut Ledger, doubts: &mut Doubts) -> Vec<Flight> {
        for flight in self.by_ticket.values().rev() {
            ledger.take_back(&flight.planned.undo);
        }
        let mut undone = Vec::new();
        for (ticket, Flight { planned, .. }) in &self.by_ticket {
            let undo = ledger.follow(&planned.step, planned.becomes);
            for path in undo.paths().filter(|_| !self.foreign.contains(ticket)) {
                doubts.add(path, ledger.get(path));
            }
            undone.push(undo);
        }
        undone.iter().rev().for_each(|undo| ledger.take_back(undo));
        let foreign = std::mem::take(&mut self.foreign);
        let (sent, own): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.by_ticket).into_iter().partition(|(ticket, _)| foreign.contains(ticket));
        for (_, Flight { planned, .. }) in sent {
            ledger.follow(&planned.step, planned.becomes);
        }
        self.renames.clear();
        self.links.clear();
        self.by_path.clear();
        self.catching_up.forget();
        own.into_iter().map(|(_, flight)| flight).collect()
    }

    /// Takes out all steps, since nothing is known of them any more: whatever each concerns is
    /// unsure from now on.
    pub(super) fn abandon(&mut self, ledger: &mut Ledger) -> Vec<Flight> {
        self.renames.clear();
        self.links.clear();
        self.by_path.clear();
        self.catching_up.forget();
        let flights: Vec<Flight> = std::mem::take(&mut self.by_ticket).into_values().collect();
        for flight in flights.iter().rev() {
            ledger.take_back(&flight.planned.undo);
        }
        for path in flights.iter().flat_map(|flight| flight.planned.undo.paths()) {
            ledger.set(path.clone(), Known::Unsure);
        }
        flights
    }
}

fn count(by_path: &mut BTreeMap<TreePath, usize>, undo: &Undo) {
    for path in undo.paths() {
        *by_path.entry(path.clone()).or_default() += 1;
    }
}

fn discount(by_path: &mut BTreeMap<TreePath, usize>, undo: &Undo) {
    for path in undo.paths() {
        if let Entry::Occupied(mut count) = by_path.entry(path.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Gives each change that asked for a look to the step that completes it: the last one at its
/// path, or below it when the look goes below. One change, one latency.
pub(super) fn attribute(steps: Vec<Planned>, looks: &BTreeMap<TreePath, Look>, closed: Stamp) -> Vec<Flight> {
    let mut last: BTreeMap<&TreePath, usize> = BTreeMap::new();
    for (index, Planned { step, .. }) in steps.iter().enumerate() {
        // Times of directories follow from other steps: no change waits for them.
        if !matches!(step, Step::SetDirectoryTime { .. }) {
            last.insert(step.path(), index);
            if let Step::Exchange { other, .. } = step {
                last.insert(other, index);
            }
        }
    }
    let mut stamps: BTreeMap<usize, Stamps> = BTreeMap::new();
    for (path, look) in looks {
        let Some(waited) = look.stamps else { continue };
        let index = match (last.get(path), look.depth) {
            (Some(index), _) => Some(*index),
            (None, Depth::Entry) => None,
            (None, Depth::Below | Depth::Content) => last
                .range::<&TreePath, _>(path..)
                .take_while(|(other, _)| other.is_at_or_below(path))
                .map(|(_, index)| *index)
                .max(),
        };
        if let Some(index) = index {
            stamps.entry(index).and_modify(|before| *before = before.oldest(waited)).or_insert(waited);
        }
    }
    let flight = |(index, planned)| Flight::new(planned, stamps.get(&index).copied(), closed);
    steps.into_iter().enumerate().map(flight).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::Twin;
    use crate::model::{Entry, Expected, FileKind, Inode, Mode, Owner, Time, Version, XattrHash};

    fn held(size: u64) -> Held {
        let mtime = Time { seconds: 1, nanoseconds: 0 };
        Held {
            version: Version {
                kind: FileKind::File,
                size,
                mtime,
                mode: Mode(0o644),
                owner: Owner::NOBODY,
                xattrs: XattrHash::NONE,
            },
            content: None,
            settled: true,
            twin: None,
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for at in ["a", "a/x", "a/y", "b", "b/x"] {
            ledger.set(path(at), Known::Holds(held(at.len() as u64)));
        }
        for at in ["d", "e"] {
            ledger.set(path(at), Known::Holds(Held { twin: Some(Twin(1)), ..held(1) }));
        }
        ledger
    }

    fn rename(from: &str, to: &str) -> Step {
        let (expects, replaces) = (held(1).version, Expected::Anything);
        Step::Rename { from: path(from), to: path(to), expects, replaces }
    }

    fn planned(planned: Planned) -> Flight {
        Flight::new(planned, None, Stamp(0))
    }

    fn steps() -> impl Strategy<Value = Vec<(Step, Option<Held>)>> {
        let name = || prop::sample::select(vec!["a", "b", "c", "a/x", "b/x", "c/x", "d", "e"]);
        let twin = || prop::option::of((1..3_u64).prop_map(Twin));
        let put = (name(), 1..99_u64, twin()).prop_map(|(at, size, twin)| {
            let (version, expects) = (held(size).version, Expected::Anything);
            (Step::SetAttributes { path: path(at), version, expects }, Some(Held { twin, ..held(size) }))
        });
        let link = (name(), name(), 1..3_u64).prop_map(|(at, to, twin)| {
            let (expects, replaces) = (held(1).version, Expected::Anything);
            let becomes = Held { twin: Some(Twin(twin)), ..held(1) };
            (Step::Link { path: path(at), to: path(to), expects, replaces }, Some(becomes))
        });
        let put_file = (name(), 1..99_u64, twin()).prop_map(|(at, size, twin)| {
            let version = held(size).version;
            let inode = Inode { device: 1, number: size };
            let entry = Entry { version, inode, links: 1, destination: None };
            let step = Step::PutFile { path: path(at), entry, expects: Expected::Anything };
            (step, Some(Held { twin, ..held(size) }))
        });
        let remove =
            name().prop_map(|at| (Step::RemoveFile { path: path(at), expects: Expected::Anything }, None));
        let rename = prop::sample::select(vec![("a", "b"), ("b", "c"), ("c", "a"), ("a/x", "b/x")])
            .prop_map(|(from, to)| (rename(from, to), None));
        prop::collection::vec(prop_oneof![put, put_file, link, remove, rename], 1..10)
    }

    proptest! {
        /// I4: a step that was refused leaves the ledger as if it had never been planned, and content
        /// that was sent as if it had been planned, even if what was planned since builds on them.
        #[test]
        fn the_ledger_ends_as_if_refused_steps_had_never_been(
            mut steps in steps(),
            refused in prop::collection::vec(any::<bool>(), 10),
            sent in prop::collection::vec(prop::option::of(100..199_u64), 10),
        ) {
            let (mut ledger, mut flights) = (ledger(), Flights::default());
            let mut tickets = Vec::new();
            for (step, becomes) in steps.clone() {
                let undo = ledger.follow(&step, becomes);
                tickets.push(flights.add(planned(Planned { step, becomes, undo, old_files: Vec::new() })));
            }
            for ((ticket, (step, becomes)), sent) in tickets.iter().zip(&mut steps).zip(sent) {
                if let (Step::PutFile { .. }, Some(becomes), Some(sent)) = (step, becomes, sent) {
                    *becomes = Held { twin: becomes.twin, ..held(sent) };
                    flights.amend(*ticket, *becomes, &mut ledger);
                }
            }
            let mut expected = self::ledger();
            for ((ticket, refused), (step, becomes)) in tickets.into_iter().zip(refused).zip(&steps) {
                if refused {
                    prop_assert!(flights.withdraw(ticket, &mut ledger, |_, _| ()).is_some());
                } else {
                    prop_assert!(flights.land(ticket).is_some());
                    expected.follow(step, *becomes);
                }
            }
            let all = TreePath::root();
            prop_assert_eq!(ledger.at_or_below(&all), expected.at_or_below(&all));
        }
    }

    #[test]
    fn a_path_is_known_by_the_names_that_later_renames_give_it() {
        let (mut ledger, mut flights) = (ledger(), Flights::default());
        let remove = Step::RemoveFile { path: path("e"), expects: Expected::Anything };
        let first = flights.add(flight(rename("a", "c"), None, &mut ledger));
        let second = flights.add(flight(remove, None, &mut ledger));
        flights.add(flight(rename("c/x", "e"), None, &mut ledger));
        flights.add(flight(rename("b", "a"), None, &mut ledger));
        let (one, other) = (path("e"), path("d"));
        let (expects_one, expects_other) = (held(1).version, held(1).version);
        let exchange = Step::Exchange { one, other, expects_one, expects_other };
        flights.add(flight(exchange, None, &mut ledger));
        assert_eq!(flights.later_names(second, &path("c/x")), [path("e"), path("d")]);
        assert_eq!(flights.later_names(first, &path("c/y")), []);
        assert_eq!(flights.later_names(first, &path("b/x")), [path("a/x")]);
    }

    fn flight(step: Step, becomes: Option<Held>, ledger: &mut Ledger) -> Flight {
        let undo = ledger.follow(&step, becomes);
        planned(Planned { step, becomes, undo, old_files: Vec::new() })
    }

    /// I4: what is sent of a file is in its links too, and what was planned at their names since
    /// expects it there, once it is taken back.
    #[test]
    fn links_hold_what_was_sent_and_not_what_was_planned() {
        let (mut ledger, mut flights) = (ledger(), Flights::default());
        let twin = Some(ledger.new_twin());
        let [planned, touched, sent] = [1, 2, 3].map(|size| Held { twin, ..held(size) });
        let change = |at: &str, size| {
            let (version, expects) = (held(size).version, Expected::Anything);
            Step::SetAttributes { path: path(at), version, expects }
        };
        let (expects, replaces) = (planned.version, Expected::Absent);
        let link = Step::Link { path: path("c"), to: path("b"), expects, replaces };
        let leader = flights.add(flight(change("b", 1), Some(planned), &mut ledger));
        flights.add(flight(link, Some(planned), &mut ledger));
        let last = flights.add(flight(change("c", 2), Some(touched), &mut ledger));
        flights.amend(leader, sent, &mut ledger);
        assert_eq!(ledger.held(&path("c")), Some(touched));
        flights.withdraw(last, &mut ledger, |_, _| ());
        assert_eq!(ledger.held(&path("c")), Some(sent));
    }

    /// I4: a link may fail because of the name that it leads to, and what is known of that is judged
    /// without the steps that come after.
    #[test]
    fn a_link_that_was_refused_is_judged_by_what_was_known_of_both_names() {
        let (mut ledger, mut flights) = (ledger(), Flights::default());
        let (expects, replaces) = (held(1).version, Expected::Absent);
        let link = Step::Link { path: path("c"), to: path("b"), expects, replaces };
        let link = flights.add(flight(link, Some(held(1)), &mut ledger));
        let remove = Step::RemoveFile { path: path("b"), expects: Expected::Anything };
        flights.add(flight(remove, None, &mut ledger));
        let before = self::ledger().get(&path("b"));
        flights.withdraw(link, &mut ledger, |_, ledger| assert_eq!(ledger.get(&path("b")), before));
        assert_eq!(ledger.get(&path("b")), None, "the removal is still on its way");
    }

    #[test]
    fn a_step_concerns_what_it_takes_out_of_a_directory_until_it_is_answered() {
        let (mut ledger, mut flights) = (ledger(), Flights::default());
        let ticket = flights.add(flight(rename("a", "c"), None, &mut ledger));
        let concerned = ["a", "b", "c"].map(|at| flights.concern_below(&path(at)));
        assert_eq!((concerned, ledger.has_below(&path("a"))), ([true, false, true], false));
        flights.withdraw(ticket, &mut ledger, |_, _| ());
        assert!(!flights.concern_below(&path("a")) && ledger.has_below(&path("a")));
    }

    #[test]
    fn after_a_lost_connection_every_name_of_a_rename_is_unsure() {
        let (mut ledger, mut flights) = (ledger(), Flights::default());
        let step = rename("a", "c");
        let undo = ledger.follow(&step, None);
        flights.add(planned(Planned { step, becomes: None, undo, old_files: Vec::new() }));
        assert_eq!(flights.abandon(&mut ledger).len(), 1);
        for at in ["a", "a/x", "a/y", "c", "c/x", "c/y"] {
            assert_eq!(ledger.get(&path(at)), Some(Known::Unsure), "{at}");
        }
        assert!(matches!(ledger.get(&path("b")), Some(Known::Holds(_))));
    }
}
