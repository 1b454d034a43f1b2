//! Tells whoever asked for a verification how it goes, and learns when nobody wants it any more.

use std::time::Duration;

use super::VerifyError;
use super::news::{News, Verification};
use crate::clock;
use crate::model::Stamp;
use crate::shutdown::Stop;

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(1);

/// Takes news; `false` when nobody listens any more.
pub(super) type Listener<'a> = &'a mut dyn FnMut(&News) -> bool;

/// One verification, as it is told.
pub(super) struct Teller<'a> {
    listener: Listener<'a>,
    stop: &'a Stop,
    began: Stamp,
    told: Stamp,
    pub(super) counts: Verification,
}

impl<'a> Teller<'a> {
    pub(super) fn new(listener: Listener<'a>, stop: &'a Stop) -> Self {
        let now = clock::now();
        Self { listener, stop, began: now, told: now, counts: Verification::default() }
    }

    pub(super) fn tell(&mut self, news: &News) -> Result<(), VerifyError> {
        if (self.listener)(news) { Ok(()) } else { Err(VerifyError::Cancelled) }
    }

    /// To be called again and again; tells of progress when it is time to.
    pub(super) fn tick(&mut self) -> Result<(), VerifyError> {
        if self.stop.requested() {
            return Err(VerifyError::Cancelled);
        }
        let now = clock::now();
        if now.since(self.told) < EVERY {
            return Ok(());
        }
        self.told = now;
        let progress = News::Progress(self.so_far());
        self.tell(&progress)
    }

    /// Waits, and ticks.
    pub(super) fn pause(&mut self, span: Duration) -> Result<(), VerifyError> {
        self.stop.wait(span);
        self.tick()
    }

    pub(super) fn so_far(&self) -> Verification {
        Verification { seconds: clock::now().since(self.began).as_secs_f64(), ..self.counts }
    }
}
