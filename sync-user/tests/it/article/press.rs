//! Prints pages, and knows every version that was ever printed: a page that anybody reads has to be
//! one of them, whole.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The versions of all pages.
#[derive(Default)]
pub(super) struct Press {
    printed: Mutex<HashMap<String, Vec<String>>>,
    next: AtomicU32,
}

impl Press {
    /// Publishes a new version of `page`, of about `size` bytes, as programs do that care for their
    /// readers: beside it, and then in its place. Gives its text.
    pub(super) fn publish(&self, root: &Path, page: &str, by: &str, size: usize) -> String {
        let text = self.text(page, by, size);
        let place = root.join(page);
        let name = place.file_name().unwrap().to_str().unwrap();
        let beside = place.with_file_name(format!(".{name}.{by}.tmp"));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&beside, &text).unwrap();
        fs::rename(&beside, &place).unwrap();
        text
    }

    /// Prints a version that is like no other.
    fn text(&self, page: &str, by: &str, size: usize) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = format!("<!doctype html><title>{page}, version {number}, by {by}</title>\n");
        while text.len() < size {
            writeln!(text, "<p>{number}: {:016x}</p>", fastrand::u64(..)).unwrap();
        }
        text.push_str("<p>the end\n");
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.entry(page.to_owned()).or_default().push(text.clone());
        text
    }

    /// Whether this is a version of the page.
    pub(super) fn has_printed(&self, page: &str, text: &[u8]) -> bool {
        self.any(page, |version| version == text)
    }

    /// Whether this is the beginning of a version of the page, as long as another one is. Apache looks
    /// at the name before it opens it, and sends as many bytes as it has seen there, though another file
    /// may have got the name in between. That can happen wherever files are replaced by renaming, and
    /// says nothing of what was under the name.
    pub(super) fn is_as_long_as_another(&self, page: &str, text: &[u8]) -> bool {
        self.any(page, |version| version.len() > text.len() && version.starts_with(text))
            && self.any(page, |version| version.len() == text.len())
    }

    fn any(&self, page: &str, mut is_it: impl FnMut(&[u8]) -> bool) -> bool {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.get(page).is_some_and(|versions| versions.iter().any(|version| is_it(version.as_bytes())))
    }
}
