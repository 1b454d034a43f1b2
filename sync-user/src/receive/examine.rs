//! Looks at what a directory of the target holds, and hashes it, to compare it with the source's.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::confine::{checked_or_root, open_directory};
use super::dress::Dress;
use super::list::version;
use crate::home;
use crate::model::{Content, FileKind, Sight, TreePath, Version};
use crate::wire::{Answer, EXAMINED_MAX, Examined, Question};

/// What is hashed for one answer, but for a last file that is larger: some 100 ms, after which the
/// source hears again.
const HASHED_BYTES_MAX: u64 = 64 << 20;

/// What is read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Answers questions about one root.
#[derive(Debug)]
pub struct Examiner {
    root: OwnedFd,
    buffer: Vec<u8>,
    /// The names of the directory that was asked about last, in order, until all were told of: the
    /// next question is about those that follow.
    listed: Option<(TreePath, Vec<Vec<u8>>)>,
}

/// Looking was given up, since nobody waits for it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp;

/// Whom entries belong to, as it is known when a question comes.
#[derive(Debug, Clone)]
pub struct Translation(pub(super) std::sync::Arc<Dress>);

impl Examiner {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, buffer: vec![0; BUFFER_BYTES], listed: None }
    }

    /// Answers `question`, which is in order. `goes_on` is asked again and again meanwhile.
    pub fn answer(
        &mut self,
        question: &Question,
        translation: &Translation,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Answer, GivenUp> {
        let number = question.number;
        let unreadable = |error: &dyn ToString| {
            let sight = Sight::Unreadable { cause: error.to_string() };
            let examined = |name: &Vec<u8>| Examined { name: name.clone(), sight: sight.clone() };
            Answer { number, entries: question.names.iter().map(examined).collect(), rest_after: None }
        };
        let opened = checked_or_root(&question.directory)
            .map_err(|failure| failure.to_string())
            .map(|path| (open_directory(&self.root, &path, OFlags::RDONLY), path));
        let (descriptor, directory) = match opened {
            Ok((Ok(descriptor), directory)) => (descriptor, directory),
            Ok((Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP), _)) => {
                return Ok(Answer { number, entries: Vec::new(), rest_after: None });
            }
            Ok((Err(error), _)) => return Ok(unreadable(&error)),
            Err(error) => return Ok(unreadable(&error)),
        };
        let listed = match &question.others {
            None => Vec::new(),
            Some(_) => match self.take_listed(&directory, &descriptor) {
                Ok(listed) => listed,
                Err(error) => return Ok(unreadable(&error)),
            },
        };
        let mut answer = Answer { number, entries: Vec::new(), rest_after: None };
        let mut hashed = 0;
        let mut last: &[u8] = &[];
        for (name, is_asked) in names(question, &listed) {
            if answer.entries.len() == EXAMINED_MAX || hashed >= HASHED_BYTES_MAX {
                answer.rest_after = Some(last.to_vec());
                break;
            }
            last = name;
            let sight =
                self.sight(&descriptor, name, is_asked && question.hashes, &translation.0, goes_on)?;
            if let Sight::Present { version: Version { kind: FileKind::File, size, .. }, content: Some(_) } =
                &sight
            {
                hashed += size;
            }
            if sight != Sight::Absent {
                answer.entries.push(Examined { name: name.to_vec(), sight });
            }
        }
        let is_last = question.others.as_ref().is_none_or(|stretch| stretch.up_to.is_none());
        if answer.rest_after.is_some() || !is_last {
            self.listed = Some((directory, listed));
        }
        Ok(answer)
    }

    /// The names in the directory, as they were when it was first asked about.
    fn take_listed(&mut self, path: &TreePath, directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
        if let Some((_, listed)) = self.listed.take().filter(|(at, _)| at == path) {
            return Ok(listed);
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let name = entry?.file_name().to_bytes().to_vec();
            let is_own = path.is_root() && name == home::NAME.as_bytes();
            if name != b"." && name != b".." && !is_own {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What `name` is in the directory; with the hash of its content, if that `is_hashed`.
    fn sight(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        is_hashed: bool,
        dress: &Dress,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Sight, GivenUp> {
        let name = if name.is_empty() { b".".as_slice() } else { name };
        let name = Path::new(std::ffi::OsStr::from_bytes(name));
        let looked = || version(dress, directory, name).map(|found| found.map(|(version, _)| version));
        let seen = match looked() {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(Sight::Foreign),
            Err(Errno::NOENT) => return Ok(Sight::Absent),
            Err(error) => return Ok(Sight::Unreadable { cause: error.to_string() }),
        };
        let content = match seen.kind {
            FileKind::Directory => return Ok(Sight::Present { version: seen, content: None }),
            _ if !is_hashed => return Ok(Sight::Present { version: seen, content: None }),
            FileKind::Symlink => rustix::fs::readlinkat(directory, name, Vec::new())
                .map(|destination| Some(Content::of(destination.to_bytes())))
                .map_err(io::Error::from),
            FileKind::File => self.hash(directory, name, seen.size, goes_on)?,
        };
        Ok(match (content, looked()) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Sight::Absent,
            (Err(error), Ok(Some(now))) if now == seen => Sight::Unreadable { cause: error.to_string() },
            (Ok(Some(content)), Ok(Some(now))) if now == seen => {
                Sight::Present { version: seen, content: Some(content) }
            }
            _ => Sight::Changing,
        })
    }

    /// `None` when it is no file of this size any more.
    fn hash(
        &mut self,
        directory: &OwnedFd,
        name: &Path,
        size: u64,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<io::Result<Option<Content>>, GivenUp> {
        // A fifo that took its name would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match open_file(directory, name, flags) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error.into())),
        };
        let mut hasher = blake3::Hasher::new();
        let mut left = size;
        loop {
            if !goes_on() {
                return Err(GivenUp);
            }
            match (&file).read(&mut self.buffer) {
                Ok(0) if left == 0 => return Ok(Ok(Some(Content(hasher.finalize().into())))),
                Ok(count) if count > 0 && count as u64 <= left => {
                    hasher.update(&self.buffer[..count]);
                    left -= count as u64;
                }
                Ok(_) => return Ok(Ok(None)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

fn open_file(directory: impl AsFd, name: &Path, flags: OFlags) -> Result<Option<File>, Errno> {
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        // Something else has taken its name.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    Ok(kind.is_file().then(|| File::from(file)))
}

/// The names to look at, in order, and whether each is asked for.
fn names<'a>(question: &'a Question, listed: &'a [Vec<u8>]) -> impl Iterator<Item = (&'a [u8], bool)> {
    let first = match &question.others {
        Some(stretch) => listed.partition_point(|name| *name <= stretch.after),
        None => listed.len(),
    };
    let others = listed[first..]
        .iter()
        .take_while(|name| question.others.as_ref().is_some_and(|stretch| stretch.contains(name)));
    let (mut asked, mut others) = (question.names.iter().peekable(), others.peekable());
    std::iter::from_fn(move || {
        let next_is_asked = match (asked.peek(), others.peek()) {
            (Some(one), Some(other)) => one <= other,
            (one, _) => one.is_some(),
        };
        if !next_is_asked {
            return others.next().map(|name| (name.as_slice(), false));
        }
        let name = asked.next()?;
        others.next_if(|other| *other == name);
        Some((name.as_slice(), true))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::model::Preserve;
    use crate::wire::Stretch;

    fn examiner(root: &Path) -> Examiner {
        Examiner::new(File::open(root).unwrap().into())
    }

    fn translation() -> Translation {
        Translation(Arc::new(Dress::new(Preserve::ALL)))
    }

    fn bytes(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    fn everything(directory: &str, names: &[&str], after: &str) -> Question {
        let others = Some(Stretch { after: after.into(), up_to: None });
        Question { number: 7, directory: directory.into(), names: bytes(names), hashes: true, others }
    }

    #[test]
    fn what_is_asked_for_is_hashed_and_the_rest_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("d/sub")).unwrap();
        fs::create_dir(root.join(home::NAME)).unwrap();
        fs::write(root.join("d/asked"), "one").unwrap();
        fs::write(root.join("d/other"), "two").unwrap();
        std::os::unix::fs::symlink("there", root.join("d/link")).unwrap();
        let mut examiner = examiner(root);
        let question = everything("d", &["asked", "gone", "link"], "");
        let answer = examiner.answer(&question, &translation(), &|| true).unwrap();
        assert_eq!((answer.fault(&question), &answer.rest_after), (None, &None));
        let seen: Vec<(&[u8], Option<Content>)> = answer
            .entries
            .iter()
            .map(|Examined { name, sight }| match sight {
                Sight::Present { content, .. } => (name.as_slice(), *content),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: [(&[u8], _); 4] = [
            (b"asked", Some(Content::of(b"one"))),
            (b"link", Some(Content::of(b"there"))),
            (b"other", None),
            (b"sub", None),
        ];
        assert_eq!(seen, expected);
        let at_root = examiner.answer(&everything("", &[""], ""), &translation(), &|| true).unwrap();
        let names: Vec<&[u8]> = at_root.entries.iter().map(|entry| entry.name.as_slice()).collect();
        assert_eq!(names, [b"".as_slice(), b"d"], "the stage is not told of");
        assert_eq!(examiner.answer(&question, &translation(), &|| false), Err(GivenUp));
        let nowhere = examiner.answer(&everything("no/such", &["a"], ""), &translation(), &|| true).unwrap();
        assert_eq!(nowhere.entries, []);
    }

    /// I6: however many names there are, each answer is one frame, and together they tell of all.
    #[test]
    fn a_large_directory_takes_several_answers() {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..1_000).map(|number| format!("{number:04}")).collect();
        for name in &names {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let mut examiner = examiner(directory.path());
        let (mut told, mut after) = (Vec::new(), String::new());
        loop {
            let question = everything("", &[], &after);
            let answer = examiner.answer(&question, &translation(), &|| true).unwrap();
            assert_eq!(answer.fault(&question), None);
            told.extend(answer.entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()));
            match answer.rest_after {
                Some(rest) => after = String::from_utf8(rest).unwrap(),
                None => break,
            }
        }
        assert_eq!(told, names);
        assert!(examiner.listed.is_none(), "nothing is kept once all was told of");
    }
}
