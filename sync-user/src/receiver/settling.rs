//! Lets receipts leave once the disk has what they vouch for, while the next steps are applied.
//!
//! A thread of its own waits for the disk: once for all receipts that are due. Behind a large file
//! that may take long, and a page does not wait for it to be seen.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::{Error, say};
use crate::model::Receipt;
use crate::receive::Disk;
use crate::wire::ToSource;

/// Messages full of receipts that may wait for the disk; about 300 KiB. Then steps wait, too (I6).
const DUE_MAX: usize = 64;

/// The receipts of one connection.
pub(super) struct Settling<'scope, 'env, W> {
    scope: &'scope Scope<'scope, 'env>,
    writer: &'env Mutex<W>,
    disk: Option<Disk>,
    worker: Option<Worker<'scope>>,
}

type Worker<'scope> = (SyncSender<Due>, ScopedJoinHandle<'scope, Result<(), Error>>);

/// Receipts, and whether anything was applied that they are about.
type Due = (Vec<Receipt>, bool);

impl<'scope, 'env, W: Write + Send> Settling<'scope, 'env, W> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, writer: &'env Mutex<W>) -> Self {
        Self { scope, writer, disk: None, worker: None }
    }

    /// From now on receipts wait for this disk.
    pub(super) fn wait_for(&mut self, disk: Disk) {
        self.disk = Some(disk);
    }

    /// Has receipts leave, in this order.
    pub(super) fn answer(&mut self, receipts: Vec<Receipt>, disturbed: bool) -> Result<(), Error> {
        let Some(disk) = &self.disk else { return say(self.writer, &ToSource::Receipts(receipts)) };
        let (sender, _) = match &self.worker {
            Some(worker) => worker,
            None => self.worker.insert(self.begin(disk.clone())?),
        };
        // It ends only if it has failed, and then says why.
        if sender.send((receipts, disturbed)).is_err() { self.finish() } else { Ok(()) }
    }

    fn begin(&self, disk: Disk) -> Result<Worker<'scope>, Error> {
        let (sender, due) = sync_channel(DUE_MAX);
        let writer = self.writer;
        let thread = thread::Builder::new().name("settle".to_owned());
        let work = move || {
            let result = settle(&due, &disk, writer);
            if let Err(error) = &result {
                // Nobody may be reading what the source sends, so it is told at once; if it still listens.
                let remedy = "see the log of the source".to_owned();
                let _gone = say(writer, &ToSource::Fatal { what: error.to_string(), remedy });
            }
            result
        };
        let worker = thread.spawn_scoped(self.scope, work).map_err(Error::Disk)?;
        Ok((sender, worker))
    }

    /// Waits until all receipts have left.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let Some((sender, worker)) = self.worker.take() else { return Ok(()) };
        drop(sender);
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Settles and answers until nothing follows.
fn settle<W: Write>(due: &Receiver<Due>, disk: &Disk, writer: &Mutex<W>) -> Result<(), Error> {
    while let Ok(first) = due.recv() {
        let all: Vec<Due> = std::iter::once(first).chain(due.try_iter()).collect();
        if all.iter().any(|(_, disturbed)| *disturbed) {
            disk.settle().map_err(Error::Disk)?;
        }
        for (receipts, _) in all {
            say(writer, &ToSource::Receipts(receipts))?;
        }
    }
    Ok(())
}
