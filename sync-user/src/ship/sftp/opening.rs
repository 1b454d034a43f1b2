//! Opens the target's root: what a receiver does when it starts, by SFTP.

use std::cell::Cell;

use super::attributes::Attributes;
use super::client::Client;
use super::failure::cause;
use super::packet::{Body, MAKE, READ, Request, Status};
use super::site::{Abilities, Site, below};
use crate::home::{self, id, sources};
use crate::model::Inode;
use crate::wire::{Claimed, ReceiverHello, SourceHello, VERSION};

/// What is read of a note at once, and at most.
const NOTE_BYTES_MAX: u32 = 128 << 10;

/// Names in `.ksyncd`, or in a stage, that are looked at when it is cleaned.
const NAMES_MAX: usize = 100_000;

/// Requests for what an earlier connection has left that are on their way at once.
const CLEANING_MAX: usize = 256;

/// What a person can do about a root that cannot be used.
const REMEDY: &str = "let the user of the SFTP server write there; in a chroot, name the directory as it is \
                      seen from inside";

/// Stands for the start of the target's machine, which SFTP does not tell: the target is listed at the
/// beginning of each connection, so nothing depends on it.
const BOOT: &str = "sftp";

/// A root that cannot be replicated into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fatal {
    pub(super) what: String,
    pub(super) remedy: String,
}

/// A root that is open, and what is to be said of it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) site: Site,
    pub(super) hello: ReceiverHello,
    pub(super) claimed: Claimed,
}

/// Opens `root`, and makes it if only its last component is missing.
pub(super) async fn open(
    client: Client,
    can: Abilities,
    root: Vec<u8>,
    source: SourceHello,
) -> Result<Opened, Fatal> {
    let shown = String::from_utf8_lossy(&root).into_owned();
    let unwritable = |status: Status| Fatal {
        what: format!("the target {shown} cannot be written by SFTP: {}", cause(&status)),
        remedy: REMEDY.to_owned(),
    };
    let place = find(&client, &root, &shown).await?;
    let home = below(&place, home::NAME.as_bytes());
    // It may be there already.
    client.forget(&Request::MakeDirectory { path: &home, attributes: Attributes::of_mode(0o700) });
    let look = client.send(&Request::LookAt(&home)).attributes().await.map_err(unwritable)?;
    if !look.is_directory() {
        return Err(Fatal {
            what: format!("{} in the target {shown} is not a directory", home::NAME),
            remedy: "remove it there: ksyncd keeps its own files in a directory of that name".to_owned(),
        });
    }

    let note = below(&home, sources::NAME.as_bytes());
    let mut known = sources::Sources::of_note(&read(&client, &note).await.map_err(unwritable)?);
    let is_new = known
        .admit(&source.source, &source.name, source.shares)
        .map_err(|what| Fatal { what, remedy: sources::REMEDY.to_owned() })?;
    let id_note = below(&home, id::NAME.as_bytes());
    let before = id::Id::of_bytes(&read(&client, &id_note).await.map_err(unwritable)?);
    let now = id::next(before).map_err(|error| Fatal {
        what: format!("no name can be given to the root: {error}"),
        remedy: "let this user read /dev/urandom".to_owned(),
    })?;

    let prefix = home::sftp_stage(&source.source);
    clean(&client, &home, &prefix).await;
    let stage = below(&home, format!("{prefix}{}", hex(&now.visit)).as_bytes());
    let own = Attributes::of_mode(0o700);
    let made = client.send(&Request::MakeDirectory { path: &stage, attributes: own });
    let look = client.send(&Request::LookAt(&stage));
    // Without `/proc` the C library of the far end cannot.
    let probe = client.send(&Request::SetHere { path: &stage, attributes: own });
    made.done().await.map_err(unwritable)?;
    let look = look.attributes().await.ok().filter(Attributes::is_directory);
    let (user, group) = look.and_then(|look| look.owner).ok_or_else(|| Fatal {
        what: "the SFTP server does not tell owners and kinds of files".to_owned(),
        remedy: "use the SFTP server of OpenSSH on the target, or let the receiver run there".to_owned(),
    })?;
    let sets_here = probe.done().await.is_ok() && can.sets_links;
    let SourceHello { preserve, durability, .. } = source;
    let (root_name, count) = (place.clone(), Cell::new(0));
    let site =
        Site { client, root: root_name, stage, preserve, durability, user, group, can, sets_here, count };
    if is_new {
        // What cannot be written down has to be said again.
        let _unwritten = write(&site, &note, &known.note()).await;
    }
    // As a receiver does it: where it cannot be noted, what is told now will not be found again.
    let _unmarked = write(&site, &id_note, &now.bytes()).await;
    let claimed = Claimed {
        root: Inode { device: file_system(&site).await, number: 0 },
        id: now.root,
        last_visit: before.map(|id| id.visit),
        visit: now.visit,
        boot: BOOT.to_owned(),
        is_shared: known.len() > 1,
    };
    let hello = ReceiverHello {
        version: VERSION,
        program: "the target's SFTP server".to_owned(),
        process: 0,
        user,
        root,
        place,
        unlocked: Some("nothing of ours runs there".to_owned()),
    };
    Ok(Opened { site, hello, claimed })
}

/// The whole name of the root, which is made if it is missing.
async fn find(client: &Client, root: &[u8], shown: &str) -> Result<Vec<u8>, Fatal> {
    let made = client.send(&Request::MakeDirectory { path: root, attributes: Attributes::of_mode(0o755) });
    let whole = client.send(&Request::WholeName(root));
    let made = made.done().await;
    let place = whole.names().await.ok().and_then(|names| names.into_iter().next()).map(|name| name.name);
    let place = place.unwrap_or_else(|| root.to_vec());
    let is_there = client.send(&Request::LookAt(&place)).attributes().await;
    if is_there.is_ok_and(|attributes| attributes.is_directory()) {
        return Ok(place);
    }
    let cause = made.map_err(|status| cause(&status)).err().unwrap_or_default();
    let what = format!("the target {shown} cannot be opened by SFTP: {cause}");
    Err(Fatal { what, remedy: format!("make it on the target, and {REMEDY}") })
}

fn hex(number: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*number))
}

/// The number of the file system that the root is on, if it is told: a root that was set up anew may
/// have it all the same, and then differs in its name.
async fn file_system(site: &Site) -> u64 {
    const BEFORE: usize = 8 * 8;
    if !site.can.tells_file_system {
        return 0;
    }
    let answer = site.client.send(&Request::FileSystem(&site.root)).other().await.unwrap_or_default();
    answer.get(BEFORE..).and_then(|rest| Body(rest).long().ok()).unwrap_or(0)
}

/// What a note holds; nothing if it is not there.
async fn read(client: &Client, path: &[u8]) -> Result<Vec<u8>, Status> {
    let open = Request::Open { path, flags: READ, attributes: Attributes::default() };
    let handle = match client.send(&open).handle().await {
        Ok(handle) => handle,
        Err(Status { code: Status::NO_SUCH_FILE, .. }) => return Ok(Vec::new()),
        Err(status) => return Err(status),
    };
    let mut bytes = Vec::new();
    let result = loop {
        let (offset, length) = (bytes.len() as u64, NOTE_BYTES_MAX - bytes.len() as u32);
        match client.send(&Request::Read { handle: &handle, offset, length }).data().await {
            Ok(more) if more.is_empty() || bytes.len() + more.len() >= NOTE_BYTES_MAX as usize => {
                break Ok(());
            }
            Ok(more) => bytes.extend_from_slice(&more),
            Err(status) => break Err(status),
        }
    };
    client.forget(&Request::Close(&handle));
    result.map(|()| bytes)
}

/// Replaces a note in one act, which is on the disk then if the server can do that.
async fn write(site: &Site, path: &[u8], bytes: &[u8]) -> Result<(), Status> {
    let (client, name) = (&site.client, site.new_name());
    let open = Request::Open { path: &name, flags: MAKE, attributes: Attributes::of_mode(0o600) };
    let handle = client.send(&open).handle().await?;
    let write = client.send(&Request::Write { handle: &handle, offset: 0, bytes });
    let synced = site.can.syncs.then(|| client.send(&Request::Sync(&handle)));
    let close = client.send(&Request::Close(&handle));
    write.done().await?;
    if let Some(synced) = synced {
        synced.done().await?;
    }
    close.done().await?;
    client.do_it(&Request::Replace { from: &name, to: path }).await
}

/// Removes the stages that earlier connections of this source have left. Each is renamed first: what of
/// them may still be on its way at the server finds no stage, and puts and removes nothing any more (I4).
async fn clean(client: &Client, home: &[u8], prefix: &str) {
    for name in names(client, home).await {
        if !name.starts_with(prefix.as_bytes()) {
            continue;
        }
        let (stage, away) = (below(home, &name), below(home, &[&name, &b"-over"[..]].concat()));
        let renamed = !name.ends_with(b"-over")
            && client.do_it(&Request::Replace { from: &stage, to: &away }).await.is_ok();
        empty(client, if renamed { &away } else { &stage }).await;
    }
}

/// Removes a stage with all that is in it: files, links and empty directories.
pub(super) async fn empty(client: &Client, stage: &[u8]) {
    // A link in its place leads elsewhere.
    let look = client.send(&Request::LookAt(stage)).attributes().await;
    if !look.is_ok_and(|attributes| attributes.is_directory()) {
        return;
    }
    let names = names(client, stage).await;
    for some in names.chunks(CLEANING_MAX) {
        let whole: Vec<Vec<u8>> = some.iter().map(|name| below(stage, name)).collect();
        let removed: Vec<_> = whole
            .iter()
            .map(|path| (client.send(&Request::Remove(path)), client.send(&Request::RemoveDirectory(path))))
            .collect();
        for (file, directory) in removed {
            // It is one of the two.
            let _kind = (file.await, directory.await);
        }
    }
    // Whatever stays is removed by the next one.
    let _stale = client.do_it(&Request::RemoveDirectory(stage)).await;
}

/// The names in a directory, as far as they can be read.
async fn names(client: &Client, directory: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let Ok(handle) = client.send(&Request::OpenDirectory(directory)).handle().await else { return all };
    while all.len() < NAMES_MAX
        && let Ok(names) = client.send(&Request::ReadDirectory(&handle)).names().await
        && !names.is_empty()
    {
        let is_one = |name: &Vec<u8>| name != b"." && name != b".." && !name.contains(&b'/');
        all.extend(names.into_iter().map(|name| name.name).filter(is_one));
    }
    client.forget(&Request::Close(&handle));
    all
}
