//! Has both ends compared for somebody who asks, and tells what is found line by line.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::protocol::Reply;
use super::server::reply;
use super::wait::below;
use super::watched::Watched;
use crate::daemon::{self, News, Verified};
use crate::model::TreePath;
use crate::priority;
use crate::shutdown::Stop;

/// How long a client may leave what is told unread: a person may be looking at a page of it.
const PATIENCE: Duration = Duration::from_mins(10);

/// One line of what comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verifying {
    News(News),
    /// The last line.
    Verified(Verified),
}

/// Verifies all at and below `path`, and writes news of it to `stream`; an error says why it came to
/// no end.
pub(super) fn verify(
    watched: &Watched,
    path: Option<&str>,
    repair: bool,
    stream: &UnixStream,
    stop: &Stop,
) -> Result<Verifying, String> {
    let top = match path {
        Some(path) => below(Path::new(&watched.source), path)?,
        None => TreePath::root(),
    };
    if let Some(why) = watched.ended.get() {
        return Err(format!("it has ended: {why}"));
    }
    // Where that cannot be set, a slow reader is left sooner.
    let _unchanged = stream.set_write_timeout(Some(PATIENCE));
    // This connection has a thread of its own; what else is asked by it is not urgent either.
    priority::stand_back();
    let mut tell = |news: &News| reply(stream, &Reply::Answer(Verifying::News(news.clone()))).is_ok();
    daemon::verify(&watched.gauges, &top, repair, &mut tell, stop)
        .map(Verifying::Verified)
        .map_err(|error| error.to_string())
}
