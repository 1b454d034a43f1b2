//! Begins a connection: waits for the receiver, and sees whether it is where it should be.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, info};

use super::{NAP, Replica};
use crate::clock;
use crate::metrics::Connection;
use crate::model::Aspect;
use crate::ship::{Session, SessionError};
use crate::wire::ReceiverHello;

/// How long a receiver may take to say hello once its preamble has come.
const HELLO_MAX: Duration = Duration::from_secs(20);

impl Replica {
    /// Waits for the receiver's hello, and until it has claimed its root; `false` when the run is abandoned meanwhile.
    pub(super) fn greet(&mut self, session: &mut Session) -> Result<bool, SessionError> {
        let end = clock::now().plus(HELLO_MAX);
        while session.claimed().is_none() {
            if self.setup.abandon.requested() {
                return Ok(false);
            }
            if clock::now() > end {
                return Err(SessionError::Silent);
            }
            self.pump(session)?;
            if session.claimed().is_none() {
                session.wait(&[self.setup.abandon.as_fd()], NAP)?;
            }
        }
        if let Some(hello) = session.hello() {
            info!(target = %self.setup.target, receiver = hello.program, process = hello.process, "connected");
            self.check_place(hello)?;
            match &hello.unlocked {
                None => debug!(target = %self.setup.target, "the kernel locks the receiver into its root"),
                Some(cause) => {
                    debug!(target = %self.setup.target, "the receiver is not locked into its root by Landlock: {cause}");
                }
            }
            if hello.user != 0 && self.setup.tree.preserve().owner && self.unable.insert(Aspect::Owner) {
                info!(target = %self.setup.target, "files belong to the receiving user there: only root may give them to others");
            }
            self.connection(Connection::Comparing);
        }
        Ok(true)
    }

    /// A target that prescribes its receiver says where to, and that has to be where we mean.
    fn check_place(&self, hello: &ReceiverHello) -> Result<(), SessionError> {
        let directory = self.setup.target.directory();
        let [root, place] = [&hello.root, &hello.place].map(|bytes| Path::new(OsStr::from_bytes(bytes)));
        if !self.is_prescribed || directory.is_relative() || directory == root || directory == place {
            return Ok(());
        }
        Err(SessionError::Fatal {
            what: format!(
                "the target prescribes the directory {}, not {}",
                root.display(),
                directory.display()
            ),
            remedy: "name that one by --target, or change the command in authorized_keys on the target"
                .to_owned(),
        })
    }
}
