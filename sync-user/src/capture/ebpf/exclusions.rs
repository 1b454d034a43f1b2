//! Tells the kernel side the directories below which nothing shall be told.

use aya::Ebpf;
use aya::maps::HashMap;
use sync_ebpf::{EXCLUDED_BYTES_MAX, EXCLUDED_LENGTHS_MAX, EXCLUDED_MAX};

use crate::capture::Error;
use crate::model::TreePath;

/// Excluded directories as the programs look for them. What does not fit is left to user space,
/// which leaves it out anyway.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Exclusions {
    ends: Vec<Vec<u8>>,
    /// In ascending order, with 0 where there is none.
    pub(super) lengths: [u32; EXCLUDED_LENGTHS_MAX],
}

impl Exclusions {
    pub(super) fn new(directories: &[TreePath]) -> Self {
        let mut ends: Vec<Vec<u8>> = directories.iter().map(end_of_names).collect();
        ends.retain(|end| end.len() <= EXCLUDED_BYTES_MAX);
        // The shortest lengths stay: what is near the root leaves out most.
        ends.sort_by_key(Vec::len);
        ends.truncate(EXCLUDED_MAX as usize);
        let mut lengths = [0; EXCLUDED_LENGTHS_MAX];
        let mut known: Vec<u32> = ends.iter().map(|end| end.len() as u32).collect();
        known.dedup();
        for (slot, length) in lengths.iter_mut().zip(known) {
            *slot = length;
        }
        ends.retain(|end| lengths.contains(&(end.len() as u32)));
        Self { ends, lengths }
    }

    /// To be called before the programs are attached.
    pub(super) fn set(&self, ebpf: &mut Ebpf) -> Result<(), Error> {
        let failed = |cause: &dyn std::fmt::Display| {
            Error::new("tell the kernel what is excluded", cause, "use --capture fanotify")
        };
        let map = ebpf.map_mut("EXCLUDED").ok_or_else(|| failed(&"there is no map for it"))?;
        let mut map: HashMap<_, [u8; EXCLUDED_BYTES_MAX], u8> =
            HashMap::try_from(map).map_err(|error| failed(&error))?;
        for end in &self.ends {
            let mut key = [0; EXCLUDED_BYTES_MAX];
            key[..end.len()].copy_from_slice(end);
            map.insert(key, 1, 0).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

/// How the names of anything below `directory` end: they stand from the leaf up, each with a NUL.
fn end_of_names(directory: &TreePath) -> Vec<u8> {
    let mut end = vec![0];
    let names: Vec<&[u8]> = directory.components().collect();
    for name in names.iter().rev() {
        end.extend_from_slice(name);
        end.push(0);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusions(directories: &[&str]) -> Exclusions {
        let paths: Vec<TreePath> =
            directories.iter().map(|path| TreePath::new(path.as_bytes()).unwrap()).collect();
        Exclusions::new(&paths)
    }

    #[test]
    fn names_stand_from_the_leaf_up() {
        let found = exclusions(&["var/cache", "tmp", "log"]);
        assert_eq!(found.ends, [&b"\0tmp\0"[..], b"\0log\0", b"\0cache\0var\0"]);
        assert_eq!(found.lengths, [5, 11, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_left_to_user_space() {
        let long = "x".repeat(EXCLUDED_BYTES_MAX);
        let of_many_lengths: Vec<String> = (1..20).map(|length| "y".repeat(length)).collect();
        let all: Vec<&str> = of_many_lengths.iter().map(String::as_str).chain([long.as_str()]).collect();
        let found = exclusions(&all);
        assert_eq!(found.ends.len(), EXCLUDED_LENGTHS_MAX);
        assert_eq!(found.lengths, [3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
