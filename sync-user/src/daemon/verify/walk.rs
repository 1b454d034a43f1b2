//! Walks the source, directory by directory, in portions that fit into one question.
//!
//! Only the names of one directory are held at a time, and the directories that wait.

use super::source;
use crate::model::{FileKind, Sight, TreePath, Version};
use crate::tree::Tree;
use crate::wire::{EXAMINED_MAX, Stretch};

/// Content of the files of one portion, but for its last one: both ends hash it at the same time, and
/// should not wait for each other for long.
const PORTION_BYTES_MAX: u64 = 32 << 20;

/// Some names of one directory.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) directory: TreePath,
    /// In the order of the names, without the content of files; `None` stands for what is left out.
    pub(super) sights: Vec<(Vec<u8>, Option<Sight>)>,
    /// Where the target may have others.
    pub(super) others: Option<Stretch>,
    /// Why the directory cannot be read.
    pub(super) unreadable: Option<String>,
}

/// What is still to be walked.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    waiting: Vec<TreePath>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    directory: TreePath,
    names: Vec<Vec<u8>>,
    next: usize,
}

impl Portion {
    /// `top` alone, and what it is.
    pub(super) fn of(top: &TreePath, sight: Sight) -> Self {
        let directory = top.parent().unwrap_or_else(TreePath::root);
        let sights = vec![(top.name().to_vec(), Some(sight))];
        Self { directory, sights, others: None, unreadable: None }
    }

    /// The path of one of its names.
    pub(super) fn path(&self, name: &[u8]) -> Option<TreePath> {
        if name.is_empty() { Some(self.directory.clone()) } else { self.directory.join(name).ok() }
    }
}

impl<'a> Walk<'a> {
    /// Walks what is below `top`, if that is a directory.
    pub(super) fn new(tree: &'a Tree, top: &TreePath, sight: &Sight) -> Self {
        let waiting = if is_directory(sight) { vec![top.clone()] } else { Vec::new() };
        Self { tree, waiting, current: None }
    }

    pub(super) fn next(&mut self) -> Option<Portion> {
        let mut current = if let Some(current) = self.current.take() {
            current
        } else {
            let directory = self.waiting.pop()?;
            match self.tree.names(&directory) {
                Ok(names) => Current { directory, names, next: 0 },
                Err(error) => {
                    let (sights, unreadable) = (Vec::new(), Some(error.to_string()));
                    return Some(Portion { directory, sights, others: None, unreadable });
                }
            }
        };
        let after = current.next.checked_sub(1).map(|last| current.names[last].clone()).unwrap_or_default();
        let (mut sights, mut bytes) = (Vec::new(), 0);
        while let Some(name) = current.names.get(current.next)
            && sights.len() < EXAMINED_MAX
            && bytes < PORTION_BYTES_MAX
        {
            current.next += 1;
            // A name that makes the path too long is not replicated either.
            let path = current.directory.join(name);
            let sight = path.as_ref().ok().and_then(|path| source::look(self.tree, path));
            if let (Ok(path), Some(sight)) = (path, &sight) {
                bytes += source::size(sight);
                if is_directory(sight) {
                    self.waiting.push(path);
                }
            }
            sights.push((name.clone(), sight));
        }
        let directory = current.directory.clone();
        let is_last = current.next == current.names.len();
        let up_to = (!is_last).then(|| current.names[current.next - 1].clone());
        self.current = (!is_last).then_some(current);
        Some(Portion { directory, sights, others: Some(Stretch { after, up_to }), unreadable: None })
    }
}

fn is_directory(sight: &Sight) -> bool {
    matches!(sight, Sight::Present { version: Version { kind: FileKind::Directory, .. }, .. })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::Preserve;
    use crate::tree::{Excludes, Rules};

    /// I6: a directory of any size is walked in portions, and these leave no name between them.
    #[test]
    fn portions_join_each_other() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("d/empty")).unwrap();
        for number in 0..300 {
            fs::write(root.path().join(format!("d/{number:03}")), "").unwrap();
        }
        let tree = Tree::open(root.path(), Excludes::new(Rules::default()).unwrap(), Preserve::ALL).unwrap();
        let top = TreePath::root();
        let mut walk = Walk::new(&tree, &top, &source::look(&tree, &top).unwrap());
        let (mut paths, mut last) = (Vec::new(), None);
        while let Some(portion) = walk.next() {
            let Stretch { after, up_to } = portion.others.clone().unwrap();
            assert!(portion.sights.len() <= EXAMINED_MAX);
            assert_eq!(after, last.take().unwrap_or_default(), "{portion:?}");
            assert!(portion.sights.iter().all(|(name, _)| up_to.as_ref().is_none_or(|end| name <= end)));
            last = up_to;
            paths.extend(portion.sights.iter().map(|(name, _)| portion.path(name).unwrap().to_string()));
        }
        let mut expected: Vec<String> = (0..300).map(|number| format!("d/{number:03}")).collect();
        expected.insert(0, "d".to_owned());
        expected.push("d/empty".to_owned());
        assert_eq!((paths, last), (expected, None));
    }
}
