//! Lists the whole tree of a target, several directories at a time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::failure::cause;
use super::packet::{Name, Request, Status};
use super::site::Site;
use super::voice::Voice;
use crate::home;
use crate::model::{FileKind, TreePath};
use crate::wire::{Listed, ToSource, Unreadable};

/// Directories that are open at once.
const OPEN_MAX: usize = 32;

/// Requests for more of one directory that are on their way: a server gives some 100 names at once.
const READS_MAX: usize = 4;

/// Entries of one message: under a frame's limit even if every name and link is as long as can be.
const PART_ENTRIES_MAX: usize = 100;

/// Places that are told of; past it the rest is told as one, the root.
const PLACES_MAX: usize = 100;

/// What the directories that are open have to do next.
#[derive(Debug, Default)]
struct Progress {
    waiting: VecDeque<TreePath>,
    unreadable: Vec<Unreadable>,
}

type Opened = Pin<Box<dyn Future<Output = ()>>>;

/// Tells the tree, parents first, beginning with the root itself, and then what could not be read.
pub(super) async fn list(site: Rc<Site>, voice: Voice) {
    let progress = Rc::new(RefCell::new(Progress::default()));
    if let Ok(attributes) = site.client.send(&Request::LookAt(&site.root)).attributes().await
        && let Some(version) = site.listed(&attributes)
    {
        voice.say(&ToSource::Listing(vec![Listed {
            path: Vec::new(),
            version,
            destination: None,
            inode: None,
        }]));
    }
    progress.borrow_mut().waiting.push_back(TreePath::root());
    let next = {
        let (site, voice, progress) = (Rc::clone(&site), voice.clone(), Rc::clone(&progress));
        move || -> Option<Opened> {
            let directory = progress.borrow_mut().waiting.pop_front()?;
            let (site, voice, progress) = (Rc::clone(&site), voice.clone(), Rc::clone(&progress));
            Some(Box::pin(async move { open(&site, &voice, &progress, &directory).await }))
        }
    };
    Together { open: Vec::new(), next: Box::new(next) }.await;
    let mut unreadable = std::mem::take(&mut progress.borrow_mut().unreadable);
    if unreadable.len() > PLACES_MAX {
        let rest = unreadable.len() - PLACES_MAX;
        unreadable.truncate(PLACES_MAX);
        unreadable.push(Unreadable { path: Vec::new(), cause: format!("{rest} more places") });
    }
    voice.say(&ToSource::ListingEnd { unreadable });
}

/// Works on as many directories at once as may be open.
struct Together {
    open: Vec<Opened>,
    next: Box<dyn FnMut() -> Option<Opened>>,
}

impl Future for Together {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.open.retain_mut(|directory| directory.as_mut().poll(context).is_pending());
            while self.open.len() < OPEN_MAX
                && let Some(directory) = (self.next)()
            {
                self.open.push(directory);
            }
            // One that has just been opened has asked nothing yet.
            let before = self.open.len();
            self.open.retain_mut(|directory| directory.as_mut().poll(context).is_pending());
            if self.open.is_empty() {
                return Poll::Ready(());
            }
            if self.open.len() == before {
                return Poll::Pending;
            }
        }
    }
}

async fn open(site: &Site, voice: &Voice, progress: &RefCell<Progress>, directory: &TreePath) {
    let fail = |path: &TreePath, cause: String| {
        progress.borrow_mut().unreadable.push(Unreadable { path: path.as_bytes().to_vec(), cause });
    };
    let at = site.at(directory);
    // A link in its place leads elsewhere.
    let (look, opened) =
        (site.client.send(&Request::LookAt(&at)), site.client.send(&Request::OpenDirectory(&at)));
    let look = look.attributes().await;
    let handle = match (look, opened.handle().await) {
        (Ok(attributes), Ok(handle)) if attributes.is_directory() => handle,
        (Ok(_), Ok(handle)) => return site.client.forget(&Request::Close(&handle)),
        (Ok(_), Err(status)) | (Err(status), _) if status.code != Status::NO_SUCH_FILE => {
            return fail(directory, cause(&status));
        }
        _ => return,
    };
    let mut reads = VecDeque::new();
    loop {
        while reads.len() < READS_MAX {
            reads.push_back(site.client.send(&Request::ReadDirectory(&handle)));
        }
        let Some(read) = reads.pop_front() else { break };
        match read.names().await {
            Ok(names) if names.is_empty() => break,
            Ok(names) => tell(site, voice, progress, directory, names).await,
            Err(status) => {
                fail(directory, cause(&status));
                break;
            }
        }
    }
    site.client.forget(&Request::Close(&handle));
}

/// Tells entries of a directory, and has those that are directories opened later.
async fn tell(
    site: &Site,
    voice: &Voice,
    progress: &RefCell<Progress>,
    directory: &TreePath,
    names: Vec<Name>,
) {
    let mut found = Vec::new();
    for Name { name, attributes } in names {
        let own = directory.is_root() && name == home::NAME.as_bytes();
        let Ok(path) = directory.join(&name) else { continue };
        if own || path.parent().as_ref() != Some(directory) {
            continue;
        }
        let Some(version) = site.listed(&attributes) else { continue };
        let is_link = version.kind == FileKind::Symlink;
        let leads = is_link.then(|| site.client.send(&Request::ReadLink(&site.at(&path))));
        found.push((path, version, leads));
    }
    let (mut listed, mut below) = (Vec::new(), Vec::new());
    for (path, version, leads) in found {
        let destination = match leads {
            Some(leads) => match leads.names().await.map(|names| names.into_iter().next()) {
                Ok(Some(name)) => Some(name.name),
                _ => continue,
            },
            None => None,
        };
        listed.push(Listed { path: path.as_bytes().to_vec(), version, destination, inode: None });
        if version.kind == FileKind::Directory {
            below.push(path);
        }
        if listed.len() == PART_ENTRIES_MAX {
            voice.say(&ToSource::Listing(std::mem::take(&mut listed)));
        }
    }
    if !listed.is_empty() {
        voice.say(&ToSource::Listing(listed));
    }
    progress.borrow_mut().waiting.extend(below);
}
