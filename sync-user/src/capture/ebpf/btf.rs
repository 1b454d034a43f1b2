//! Reads the running kernel's own description of its types (BTF): where structs have their
//! fields, what enums have for values, how many arguments functions take.
//!
//! The format is that of the kernel's `Documentation/bpf/btf.rst`. Only what is asked for is
//! read, and no length in it is trusted.

use std::collections::HashMap;

/// Where the kernel describes its own types.
pub(super) const PATH: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;

const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const TYPE_TAG: u32 = 18;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;

/// Unnamed structs and unions within each other; the kernel has three.
const NESTING_MAX: usize = 8;

/// The types of a kernel.
#[derive(Debug)]
pub(super) struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Where each type begins, by its id.
    types: Vec<usize>,
    named: HashMap<(u32, Vec<u8>), usize>,
}

/// The bytes are not BTF as we know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's type information cannot be understood")]
pub(super) struct Malformed;

impl Btf {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let at = |offset| u32_at(&bytes, offset).ok_or(Malformed).map(|value| value as usize);
        if bytes.first_chunk().map(|magic| u16::from_le_bytes(*magic)) != Some(MAGIC)
            || bytes.len() < HEADER_BYTES
        {
            return Err(Malformed);
        }
        let header = at(4)?;
        let (types_start, types_length, strings_start) = (header + at(8)?, at(12)?, header + at(16)?);
        let mut btf = Self { strings: strings_start, types: vec![usize::MAX], named: HashMap::new(), bytes };
        let mut offset = types_start;
        let end = types_start.checked_add(types_length).ok_or(Malformed)?;
        while offset < end {
            let info = u32_at(&btf.bytes, offset + 4).ok_or(Malformed)?;
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let extra = match kind {
                // Pointers, names for types, qualifiers, functions, floats, tags for types.
                2 | 7..=12 | 16 | 18 => 0,
                // Integers, variables, tags for declarations.
                1 | 14 | 17 => 4,
                3 => 12,
                STRUCT | UNION | 15 | 19 => count * 12,
                ENUM | FUNC_PROTO => count * 8,
                _ => return Err(Malformed),
            };
            if matches!(kind, STRUCT | UNION | ENUM | FUNC) {
                let name = btf.string(u32_at(&btf.bytes, offset).ok_or(Malformed)?).to_vec();
                btf.named.entry((kind, name)).or_insert(offset);
            }
            btf.types.push(offset);
            offset += TYPE_BYTES + extra;
        }
        Ok(btf)
    }

    /// Where a struct has a field, in bytes: a path of names, such as `d_name.name`. Fields of
    /// unnamed structs and unions inside count as the struct's own.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let mut at = *self.named.get(&(STRUCT, structure.as_bytes().to_vec()))?;
        let mut bits = 0;
        for name in field.split('.') {
            let (offset, kind) = self.member(at, name.as_bytes(), NESTING_MAX)?;
            bits += offset;
            at = self.unqualified(kind).unwrap_or(usize::MAX);
        }
        Some(bits / 8)
    }

    /// Where a type is described, without `const` and the like.
    fn unqualified(&self, mut kind: u32) -> Option<usize> {
        for _ in 0..NESTING_MAX {
            let at = *self.types.get(kind as usize)?;
            match (u32_at(&self.bytes, at + 4)? >> 24) & 0x1f {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => kind = u32_at(&self.bytes, at + 8)?,
                _ => return Some(at),
            }
        }
        None
    }

    /// The value of a name in any enum of this name.
    pub(super) fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let at = *self.named.get(&(ENUM, enumeration.as_bytes().to_vec()))?;
        let count = (u32_at(&self.bytes, at + 4)? & 0xffff) as usize;
        (0..count).map(|index| at + TYPE_BYTES + index * 8).find_map(|at| {
            let found = self.string(u32_at(&self.bytes, at)?);
            (found == name.as_bytes()).then(|| u32_at(&self.bytes, at + 4))?
        })
    }

    /// How many arguments a function takes; `None` when the kernel has it not, or inlined.
    pub(super) fn arguments(&self, function: &str) -> Option<usize> {
        let at = *self.named.get(&(FUNC, function.as_bytes().to_vec()))?;
        let prototype = *self.types.get(u32_at(&self.bytes, at + 8)? as usize)?;
        Some((u32_at(&self.bytes, prototype + 4)? & 0xffff) as usize)
    }

    /// The offset in bits, and the type, of a member.
    fn member(&self, at: usize, name: &[u8], nesting: usize) -> Option<(u32, u32)> {
        let info = u32_at(&self.bytes, at.checked_add(4)?)?;
        if !matches!((info >> 24) & 0x1f, STRUCT | UNION) || nesting == 0 {
            return None;
        }
        // With this bit the upper byte of an offset is the size of a bit field.
        let mask = if info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        (0..(info & 0xffff) as usize).map(|index| at + TYPE_BYTES + index * 12).find_map(|at| {
            let (found, kind) = (self.string(u32_at(&self.bytes, at)?), u32_at(&self.bytes, at + 4)?);
            let offset = u32_at(&self.bytes, at + 8)? & mask;
            if found == name {
                return Some((offset, kind));
            }
            if !found.is_empty() {
                return None;
            }
            let (inner, kind) = self.member(self.unqualified(kind)?, name, nesting - 1)?;
            Some((offset + inner, kind))
        })
    }

    fn string(&self, offset: u32) -> &[u8] {
        let rest = self.bytes.get(self.strings + offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_the_running_kernel() {
        let Ok(bytes) = std::fs::read(PATH) else {
            println!("skipped: this kernel has no type information");
            return;
        };
        let btf = Btf::parse(bytes).unwrap();
        assert_eq!(btf.offset("qstr", "name"), Some(8));
        assert!(btf.offset("dentry", "d_name.name").is_some());
        assert!(btf.offset("inode", "i_nlink").is_some(), "inside of an unnamed union");
        assert_eq!(btf.offset("dentry", "no_such_field"), None);
        assert_eq!(btf.arguments("fsnotify"), Some(7));
        assert!(btf.enumerator("fsnotify_data_type", "FSNOTIFY_EVENT_PATH").is_some());
    }

    #[test]
    fn refuses_what_is_not_type_information() {
        assert_eq!(Btf::parse(b"garbage".to_vec()).err(), Some(Malformed));
        let mut cut = vec![0; 40];
        cut[..2].copy_from_slice(&MAGIC.to_le_bytes());
        cut[12..16].copy_from_slice(&1000_u32.to_le_bytes());
        assert_eq!(Btf::parse(cut).err(), Some(Malformed));
    }
}
