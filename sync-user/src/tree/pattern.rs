//! Reads one pattern as rsync does, and writes it as a regular expression.
//!
//! globset was tried and reads `**` only between slashes, and braces as alternatives; rsync does
//! neither. The expressions are for bytes, as names are: `?` is one byte.

use std::fmt::Write as _;

use crate::model::TreePath;

/// A pattern, ready to be matched against a whole path that begins with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Matches directories.
    pub(super) directories: String,
    /// Matches whatever is none; `None` of a pattern for directories only.
    pub(super) others: Option<String>,
    /// The one path that it names from the root on, when it has no wildcard.
    pub(super) literal: Option<TreePath>,
}

/// What a pattern consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// One byte of these, never a slash.
    Class(Box<[bool; 256]>),
    /// Any number of bytes but slashes.
    Star,
    /// Any number of bytes.
    Stars,
}

impl Pattern {
    /// An error says what is wrong with it.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let (body, directories_only) = match text.strip_suffix(b"/") {
            Some(body) => (body, true),
            None => (text, false),
        };
        if body.iter().all(|byte| *byte == b'/') {
            return Err("it names nothing below the root".to_owned());
        }
        let is_wild = body.iter().any(|byte| b"*?[".contains(byte));
        let (anchored, rest) = match body.strip_prefix(b"/") {
            Some(rest) => (true, rest),
            None => (false, body),
        };
        let parts = if is_wild { parts(rest)? } else { rest.iter().copied().map(Part::Byte).collect() };
        // Two stars in front may stand for the slash in front of the path as well.
        let from_start = anchored || body.starts_with(b"**");
        let start = match (anchored, from_start) {
            (true, _) => "^/",
            (false, true) => "^",
            (false, false) => "/",
        };
        let others = format!("{start}{}$", expression(&parts));
        let directories = match (parts.strip_suffix(&[Part::Byte(b'/'), Part::Stars]), body.ends_with(b"***"))
        {
            // `dir/***` is the directory and all that is below.
            (Some(before), true) => format!("{start}{}(?:/.*)?$", expression(before)),
            _ => others.clone(),
        };
        let literal = (anchored && !is_wild).then(|| TreePath::new(rest).ok()).flatten();
        Ok(Self { directories, others: (!directories_only).then_some(others), literal })
    }
}

fn parts(mut rest: &[u8]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        parts.push(match first {
            b'*' => {
                let more = rest.iter().take_while(|byte| **byte == b'*').count();
                rest = &rest[more..];
                if more > 0 { Part::Stars } else { Part::Star }
            }
            b'?' => Part::Class(class(&[], true)),
            b'[' => {
                let (set, after) = bracket(rest)?;
                rest = after;
                Part::Class(set)
            }
            b'\\' => {
                let (escaped, after) =
                    rest.split_first().ok_or("nothing follows the backslash at its end")?;
                rest = after;
                Part::Byte(*escaped)
            }
            byte => Part::Byte(*byte),
        });
    }
    Ok(parts)
}

/// What is between brackets, of which the first has been read, and what follows them.
fn bracket(text: &[u8]) -> Result<(Box<[bool; 256]>, &[u8]), String> {
    const OPEN: &str = "a bracket is never closed; write \\[ for a bracket in a name";
    let (negated, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut members = Vec::new();
    // Where a range may begin: no range begins where another ends.
    let mut before = None;
    let mut first = true;
    loop {
        match rest {
            [] => return Err(OPEN.to_owned()),
            [b']', after @ ..] if !first => return Ok((class(&members, negated), after)),
            [b'-', end, after @ ..] if before.is_some() && *end != b']' => {
                let (end, after) = match (end, after) {
                    (b'\\', [escaped, after @ ..]) => (escaped, after),
                    (b'\\', []) => return Err(OPEN.to_owned()),
                    _ => (end, after),
                };
                members.extend(before.unwrap_or(*end)..=*end);
                (before, rest) = (None, after);
            }
            [b'[', b':', after @ ..] if after.contains(&b']') => {
                let end = after.iter().position(|byte| *byte == b']').unwrap_or(0);
                let Some(name) = after[..end].strip_suffix(b":") else {
                    // No name of a class: a bracket like any other byte.
                    members.push(b'[');
                    (before, rest, first) = (Some(b'['), &rest[1..], false);
                    continue;
                };
                let belongs = named(name)
                    .ok_or_else(|| format!("there is no class [:{}:]", String::from_utf8_lossy(name)))?;
                members.extend((0..=u8::MAX).filter(belongs));
                (before, rest) = (None, &after[end + 1..]);
            }
            [b'\\', escaped, after @ ..] => {
                members.push(*escaped);
                (before, rest) = (Some(*escaped), after);
            }
            [byte, after @ ..] => {
                members.push(*byte);
                (before, rest) = (Some(*byte), after);
            }
        }
        first = false;
    }
}

fn named(class: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match class {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| b" \t".contains(byte),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"punct" => u8::is_ascii_punctuation,
        // With the vertical tab, which Rust does not count.
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

fn class(members: &[u8], negated: bool) -> Box<[bool; 256]> {
    let mut set = Box::new([negated; 256]);
    for member in members {
        set[usize::from(*member)] = !negated;
    }
    set[usize::from(b'/')] = false;
    set
}

fn expression(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Byte(byte) if byte.is_ascii_alphanumeric() || *byte == b'/' => text.push(char::from(*byte)),
            // Writing to a string does not fail.
            Part::Byte(byte) => drop(write!(text, "\\x{byte:02x}")),
            Part::Star => text.push_str("[^/]*"),
            Part::Stars => text.push_str(".*"),
            Part::Class(set) => {
                let members: Vec<u8> = (0..=u8::MAX).filter(|byte| set[usize::from(*byte)]).collect();
                if members.is_empty() {
                    // It matches nothing, as the class does.
                    text.push_str("[^\\x00-\\xff]");
                    continue;
                }
                text.push('[');
                for range in members.chunk_by(|one, next| one + 1 == *next) {
                    let _infallible = write!(text, "\\x{:02x}-\\x{:02x}", range[0], range[range.len() - 1]);
                }
                text.push(']');
            }
        }
    }
    text
}
