//! Bounds what lanes have on their way, by how long it takes: in the manner of LEDBAT (RFC 6817).
//!
//! Large files fill whatever queue stands before the narrowest place of the way. Small changes go by another
//! connection, but through the same place, and would wait in that queue: for most of a second on a line of
//! 100 Mbit/s. What takes longer than it has to has waited, and then less is sent ahead.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Stamp;

/// What may wait before the narrowest place: two pieces of a large file on a line of 100 Mbit/s. With less to wait,
/// the pieces themselves would look like a queue there.
const QUEUE: Duration = Duration::from_millis(25);

/// While less than this waits at first, the line is taken to be far from full.
const EMPTY: Duration = Duration::from_millis(12);

/// How fast the window follows.
const GAIN: f64 = 0.15;

/// Bytes on their way at first, which doubling makes as many as a line of 1 Gbit/s to another continent holds within
/// four round trips.
const FIRST: f64 = 524_288.0;

/// Bytes that may always be on their way: two pieces, so that a slow line has one while the other is answered.
const LEAST: f64 = 262_144.0;

/// More than SSH lets be on its way on as many connections as there may usefully be.
const MOST: f64 = 33_554_432.0;

/// The window changes no more often than this, however short the way is: answers come every few milliseconds.
const TICK: Duration = Duration::from_millis(20);

/// What the way takes without any queue is believed for ten of these; then it may have become another way.
const AGE: Duration = Duration::from_mins(1);
const AGES: u64 = 10;

/// At the beginning of each age lanes make way for so long, so that the queue is empty and what the way takes
/// without it can be seen. By the clock, so that the lanes to all targets do it together.
const PAUSE: Duration = Duration::from_millis(100);

/// What all lanes to a target have on their way: one for all of them, since pieces are taken in their order, and each
/// would wait for the one that is slowest.
#[derive(Debug)]
pub(super) struct Window {
    /// In bytes.
    size: f64,
    on_the_way: u64,
    /// The least time that the way took, by age.
    least: VecDeque<(u64, Duration)>,
    /// Whether the line has never been full.
    starts: bool,
    /// Whether somebody waits for room.
    has_refused: bool,
    tick: Tick,
}

/// What one lane was given, and has delivered.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    sent: u64,
    came: u64,
    /// When the bytes up to each of these were sent.
    marks: VecDeque<(u64, Stamp)>,
}

impl Deliveries {
    /// So many bytes were sent.
    pub(super) fn sent(&mut self, bytes: usize, now: Stamp) {
        self.sent += bytes as u64;
        self.marks.push_back((self.sent, now));
    }

    /// The far end says that so many bytes have come in all: says how many have come since it said so last, and how
    /// long the last of them took, if that is known; nothing where it cannot be.
    pub(super) fn came(&mut self, bytes: u64, now: Stamp) -> Option<(u64, Option<Duration>)> {
        if bytes < self.came || bytes > self.sent {
            return None;
        }
        let since = bytes - std::mem::replace(&mut self.came, bytes);
        let mut taken = None;
        while let Some((_, sent)) = self.marks.pop_front_if(|(end, _)| *end <= bytes) {
            taken = Some(now.since(sent));
        }
        Some((since, taken))
    }
}

/// What was seen since the window changed last.
#[derive(Debug)]
struct Tick {
    since: Stamp,
    least: Option<Duration>,
    /// Whether more would have been sent.
    was_full: bool,
}

impl Tick {
    fn new(since: Stamp) -> Self {
        Self { since, least: None, was_full: false }
    }
}

impl Window {
    pub(super) fn new(now: Stamp) -> Self {
        Self {
            size: FIRST,
            on_the_way: 0,
            least: VecDeque::new(),
            starts: true,
            has_refused: false,
            tick: Tick::new(now),
        }
    }

    /// Whether more may be sent.
    pub(super) fn has_room(&mut self, now: Stamp) -> bool {
        let has_room = self.on_the_way < self.limit(now);
        self.tick.was_full |= !has_room;
        self.has_refused |= !has_room;
        has_room
    }

    fn limit(&self, now: Stamp) -> u64 {
        (if self.pauses(now) { LEAST } else { self.size }) as u64
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.on_the_way += bytes as u64;
    }

    /// So many bytes have come, and the last of them took so long. Says whether there is room again for
    /// who was refused.
    pub(super) fn came(&mut self, bytes: u64, took: Option<Duration>, now: Stamp) -> bool {
        self.on_the_way = self.on_the_way.saturating_sub(bytes);
        if let Some(time) = took {
            self.took(time, now);
        }
        let is_again = self.has_refused && self.on_the_way < self.limit(now);
        self.has_refused &= !is_again;
        is_again
    }

    fn took(&mut self, time: Duration, now: Stamp) {
        let age = age(now);
        match self.least.back_mut() {
            Some((current, least)) if *current == age => *least = time.min(*least),
            _ => self.least.push_back((age, time)),
        }
        while self.least.pop_front_if(|(old, _)| *old + AGES <= age).is_some() {}
        self.tick.least = Some(self.tick.least.map_or(time, |least| least.min(time)));
        if now.since(self.tick.since) < TICK.max(self.way()) {
            return;
        }
        let tick = std::mem::replace(&mut self.tick, Tick::new(now));
        // What is not sent says nothing of what could be.
        if let Some(least) = tick.least
            && !self.pauses(tick.since)
            && !self.pauses(now)
        {
            self.follow(least.saturating_sub(self.way()), tick.was_full);
        }
    }

    /// The window follows the time that its bytes have waited.
    fn follow(&mut self, waited: Duration, was_full: bool) {
        self.starts &= waited < EMPTY;
        let factor = if self.starts {
            2.0
        } else {
            let target = QUEUE.as_secs_f64();
            1.0 + GAIN * ((target - waited.as_secs_f64()) / target).clamp(-1.0, 1.0)
        };
        if factor < 1.0 || was_full {
            self.size = (self.size * factor).clamp(LEAST, MOST);
        }
    }

    /// The time that the way takes without any queue, as far as is known.
    fn way(&self) -> Duration {
        self.least.iter().map(|(_, least)| *least).min().unwrap_or_default()
    }

    /// Whether lanes make way.
    fn pauses(&self, now: Stamp) -> bool {
        now.since(Stamp(age(now) * AGE.as_nanos() as u64)) < PAUSE.max(2 * self.way())
    }
}

fn age(now: Stamp) -> u64 {
    now.0 / AGE.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that several targets share: bytes pass the narrowest place one after the other.
    struct Line {
        bytes_a_second: f64,
        /// What the way takes, in both directions.
        way: Duration,
        free: Stamp,
        targets: Vec<(Window, Deliveries)>,
        /// What has yet to be told: when, of which target, and how many bytes have come by then.
        answers: VecDeque<(Stamp, usize, u64)>,
    }

    /// What happened on a line in some time.
    struct Seen {
        /// The part of the line that was used.
        used: f64,
        /// The median of what something small would have waited.
        waits: Duration,
    }

    impl Line {
        fn new(bytes_a_second: f64, way: Duration, targets: usize, now: Stamp) -> Self {
            let target = || (Window::new(now), Deliveries::default());
            let targets = (0..targets).map(|_| target()).collect();
            Self { bytes_a_second, way, free: now, targets, answers: VecDeque::new() }
        }

        fn sent(&self) -> u64 {
            self.targets.iter().map(|(_, deliveries)| deliveries.sent).sum()
        }

        /// Sends as much as is allowed.
        fn run(&mut self, from: Stamp, time: Duration) -> Seen {
            const STEP: Duration = Duration::from_millis(1);
            const PIECE: usize = 128 << 10;
            let (mut now, before, mut waits) = (from, self.sent(), Vec::new());
            while now.since(from) < time {
                now = now.plus(STEP);
                while let Some((_, index, bytes)) = self.answers.pop_front_if(|(due, ..)| *due <= now) {
                    let (window, deliveries) = &mut self.targets[index];
                    let (came, taken) = deliveries.came(bytes, now).unwrap();
                    window.came(came, taken, now);
                }
                for (index, (window, deliveries)) in self.targets.iter_mut().enumerate() {
                    while window.has_room(now) {
                        // Now and then a file ends.
                        let piece = if deliveries.marks.len() == 3 { PIECE / 64 } else { PIECE };
                        window.sent(piece);
                        deliveries.sent(piece, now);
                        let takes = Duration::from_secs_f64(piece as f64 / self.bytes_a_second);
                        self.free = self.free.max(now).plus(takes);
                        self.answers.push_back((self.free.plus(self.way), index, deliveries.sent));
                    }
                }
                waits.push(self.free.since(now));
            }
            waits.sort();
            let used = (self.sent() - before) as f64 / (self.bytes_a_second * time.as_secs_f64());
            Seen { used, waits: waits[waits.len() / 2] }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const WAY: Duration = Duration::from_millis(45);

    /// In the middle of an age.
    const START: Stamp = Stamp(3_630_000_000_000);

    #[test]
    fn the_line_is_full_and_nothing_waits_long() {
        for (mbit, targets, longest) in [(1_000.0, 1, 40), (1_000.0, 3, 40), (100.0, 1, 40), (20.0, 1, 200)] {
            let mut line = Line::new(mbit * 125_000.0, WAY, targets, START);
            let begun = line.run(START, SECOND);
            let later = line.run(START.plus(SECOND), 20 * SECOND);
            let (used, waits) = (later.used, later.waits);
            assert!(begun.used > 0.6, "{mbit} Mbit/s, {targets} targets: {} of it at first", begun.used);
            assert!(used > 0.95, "{mbit} Mbit/s, {targets} targets: {used} of it");
            assert!(waits < Duration::from_millis(longest), "{mbit} Mbit/s, {targets} targets: {waits:?}");
        }
    }

    #[test]
    fn the_queue_does_not_creep_up_however_long_it_goes_on() {
        let mut line = Line::new(12.5e6, WAY, 2, START);
        let time = AGE * AGES as u32 * 3 / 2;
        let first = line.run(START, time);
        assert!(first.used > 0.95, "{}", first.used);
        let last = line.run(START.plus(time), 20 * SECOND);
        assert!(last.waits < Duration::from_millis(60), "{:?}", last.waits);
    }

    #[test]
    fn a_way_that_has_become_longer_is_believed_in_the_end() {
        let mut line = Line::new(12.5e6, WAY, 1, START);
        line.run(START, 10 * SECOND);
        line.way = 3 * WAY;
        let time = AGE * AGES as u32;
        line.run(START.plus(10 * SECOND), time);
        let later = line.run(START.plus(10 * SECOND + time), 30 * SECOND);
        assert!(later.used > 0.9, "{}", later.used);
    }

    #[test]
    fn lanes_with_little_to_carry_gain_no_window() {
        let mut window = Window::new(START);
        for number in 1..1000 {
            let now = START.plus(number * TICK);
            assert!(window.has_room(now));
            window.sent(1000);
            window.came(1000, Some(TICK / 4), now.plus(TICK / 4));
        }
        assert!((window.size - FIRST).abs() < 1.0);
    }

    /// Also when it is time that has made room.
    #[test]
    fn who_was_refused_is_told_of_room() {
        let age = Stamp(AGE.as_nanos() as u64 * 7);
        for (now, later) in [(START, START.plus(SECOND)), (age, age.plus(SECOND))] {
            let mut window = Window::new(now);
            while window.has_room(now) {
                window.sent(60_000);
            }
            let before = window.on_the_way;
            assert!(window.came(60_000, None, later), "{before}");
            assert!(!window.came(60_000, None, later), "nobody waits any more");
        }
    }

    #[test]
    fn nothing_comes_that_was_not_sent() {
        let mut deliveries = Deliveries::default();
        deliveries.sent(1000, START);
        let later = START.plus(SECOND);
        assert_eq!(deliveries.came(600, later), Some((600, None)));
        assert_eq!(deliveries.came(1000, later), Some((400, Some(SECOND))));
        assert_eq!((deliveries.came(999, later), deliveries.came(1001, later)), (None, None));
    }
}
