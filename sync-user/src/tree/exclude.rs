//! Decides what is left out, by rules as rsync reads them: the first that matches decides.

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::pattern::Pattern;
use super::rules::{Rule, Rules, Verdict};
use crate::home;
use crate::model::TreePath;

/// How receivers name temporary files outside of [`home::NAME`].
const STAGED_PREFIX: &[u8] = b".ksyncd.";

/// Memory that the compiled rules may take, in bytes; a thousand rules take some hundred KiB.
const COMPILED_BYTES_MAX: usize = 64 << 20;

/// Rules of what is replicated and what is not.
///
/// `foo` matches that name at any depth, `a/b` any path that ends so, `/foo` the one at the root,
/// `foo/` directories only. `*` and `?` do not match a slash, `**` does; `[a-z]` is one of these.
/// What is below a directory that is left out is left out too, whatever other rules say.
#[derive(Debug, Clone)]
pub struct Excludes {
    rules: Vec<Rule>,
    directories: Patterns,
    others: Patterns,
    /// What is left out with everything below it, by its whole path.
    literal: Vec<TreePath>,
}

/// A rule that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the rule {rule} cannot be read: {what}")]
pub struct PatternError {
    pub rule: String,
    pub what: String,
}

/// Why a path is replicated or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason<'a> {
    /// No rule matches it.
    NoRule,
    /// It, or a directory above it, is what receivers keep for themselves.
    Stage,
    /// The rule, and whether it was a directory above the path that it matched.
    Rule(&'a Rule, Option<TreePath>),
}

/// The expressions of some rules, with the place of each rule in the whole order.
#[derive(Debug, Clone)]
struct Patterns {
    set: RegexSet,
    places: Vec<usize>,
}

impl Patterns {
    fn new(expressions: Vec<(usize, String)>) -> Result<Self, regex::Error> {
        let (places, expressions): (Vec<usize>, Vec<String>) = expressions.into_iter().unzip();
        let mut builder = RegexSetBuilder::new(expressions);
        let set = builder.unicode(false).dot_matches_new_line(true).size_limit(COMPILED_BYTES_MAX).build()?;
        Ok(Self { set, places })
    }

    /// The place of the first rule that matches a path that begins with a slash.
    fn first(&self, path: &[u8]) -> Option<usize> {
        // Most paths match no rule, and this is the cheaper question.
        if self.places.is_empty() || !self.set.is_match(path) {
            return None;
        }
        self.set.matches(path).iter().next().map(|index| self.places[index])
    }
}

impl Excludes {
    pub fn new(rules: Rules) -> Result<Self, PatternError> {
        let Rules(rules) = rules;
        let (mut directories, mut others) = (Vec::new(), Vec::new());
        let mut literal: Vec<TreePath> = Vec::new();
        for (place, rule) in rules.iter().enumerate() {
            let pattern =
                Pattern::read(&rule.pattern).map_err(|what| PatternError { rule: rule.to_string(), what })?;
            directories.push((place, pattern.directories));
            others.extend(pattern.others.map(|others| (place, others)));
            literal.extend(pattern.literal.filter(|_| rule.verdict == Verdict::Exclude));
        }
        let failed = |error: regex::Error| PatternError {
            rule: format!("set, {} of them,", rules.len()),
            what: error.to_string(),
        };
        let directories = Patterns::new(directories).map_err(failed)?;
        let others = Patterns::new(others).map_err(failed)?;
        let mut excludes = Self { rules, directories, others, literal: Vec::new() };
        // One that an earlier rule includes is not left out.
        literal.retain(|path| excludes.excluded(path, true));
        literal.extend(TreePath::new(home::NAME.as_bytes()));
        excludes.literal = literal;
        Ok(excludes)
    }

    /// Paths below which everything is left out, whatever is there: those that a pattern names
    /// from the root on, without any wildcard.
    pub fn left_out_below(&self) -> &[TreePath] {
        &self.literal
    }

    /// Whether `path`, which is a directory or not, is left out.
    pub fn excluded(&self, path: &TreePath, directory: bool) -> bool {
        is_staged(path)
            || self.decide(path, directory).is_some_and(|(rule, _)| rule.verdict == Verdict::Exclude)
    }

    /// Whether `path` is left out, and why.
    pub fn explain(&self, path: &TreePath, directory: bool) -> (bool, Reason<'_>) {
        if is_staged(path) {
            return (true, Reason::Stage);
        }
        match self.decide(path, directory) {
            None => (false, Reason::NoRule),
            Some((rule, above)) => (rule.verdict == Verdict::Exclude, Reason::Rule(rule, above)),
        }
    }

    /// The rule that decides, and the directory above `path` that it matches, if it is that.
    fn decide(&self, path: &TreePath, directory: bool) -> Option<(&Rule, Option<TreePath>)> {
        if self.rules.is_empty() || path.is_root() {
            return None;
        }
        let path = [b"/", path.as_bytes()].concat();
        // From the root on: below a directory that is left out nothing is asked.
        for (end, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
            if let Some(place) = self.directories.first(&path[..end])
                && self.rules[place].verdict == Verdict::Exclude
            {
                return Some((&self.rules[place], TreePath::new(&path[1..end]).ok()));
            }
        }
        let patterns = if directory { &self.directories } else { &self.others };
        patterns.first(&path).map(|place| (&self.rules[place], None))
    }
}

fn is_staged(path: &TreePath) -> bool {
    path.components().next() == Some(home::NAME.as_bytes())
        || path.components().any(|name| name.starts_with(STAGED_PREFIX))
}
