use proptest::prelude::*;

use super::{Outline, Outliner, Part, Recipe};

const LIMITS: (usize, u64) = (4_096, 64 << 10);

fn outline(content: &[u8], piece: usize) -> Outline {
    let mut outliner = Outliner::new(content.len() as u64);
    content.chunks(piece).for_each(|bytes| outliner.push(bytes));
    outliner.finish()
}

fn recipe(old: &[u8], new: &[u8], piece: usize) -> (Vec<Part>, Outline) {
    let mut recipe = Recipe::new(outline(old, 7_777), new.len() as u64, LIMITS);
    let mut parts = Vec::new();
    for bytes in new.chunks(piece) {
        recipe.push(bytes);
        parts.extend(std::iter::from_fn(|| recipe.next_part()));
    }
    let (rest, outline) = recipe.finish();
    parts.extend(rest);
    (parts, outline)
}

fn apply(old: &[u8], parts: &[Part]) -> Vec<u8> {
    let mut content = Vec::new();
    for part in parts {
        match part {
            Part::New(bytes) => content.extend(bytes),
            Part::Old { from, length } => {
                content.extend(&old[*from as usize..][..*length as usize]);
            }
        }
    }
    content
}

fn new_bytes(parts: &[Part]) -> usize {
    let lengths = parts.iter().map(|part| if let Part::New(bytes) = part { bytes.len() } else { 0 });
    lengths.sum()
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Overwrite(prop::sample::Index, Vec<u8>),
    /// Something from elsewhere, once more.
    Repeat(prop::sample::Index, prop::sample::Index, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..3_000);
    let place = any::<prop::sample::Index>;
    let edit = prop_oneof![
        (place(), bytes()).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (place(), 1..40_000_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (place(), bytes()).prop_map(|(at, bytes)| Edit::Overwrite(at, bytes)),
        (place(), place(), 1..100_000_usize).prop_map(|(at, of, length)| Edit::Repeat(at, of, length)),
    ];
    prop::collection::vec(edit, 0..6)
}

fn edited(old: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut new = old.to_vec();
    for edit in edits {
        match edit {
            Edit::Insert(at, bytes) => {
                let at = at.index(new.len() + 1);
                new.splice(at..at, bytes.iter().copied());
            }
            Edit::Remove(at, length) => {
                let at = at.index(new.len() + 1);
                new.drain(at..new.len().min(at + length));
            }
            Edit::Overwrite(at, bytes) => {
                let at = at.index(new.len() + 1);
                new.splice(at..new.len().min(at + bytes.len()), bytes.iter().copied());
            }
            Edit::Repeat(at, of, length) => {
                let of = of.index(new.len() + 1);
                let part = new[of..new.len().min(of + length)].to_vec();
                let at = at.index(new.len() + 1);
                new.splice(at..at, part);
            }
        }
    }
    new
}

/// Noise, zeros, or something that comes again and again.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let noise = (any::<u64>(), 0..400_000_usize).prop_map(|(seed, length)| random(seed, length));
    let zeros = (0..400_000_usize).prop_map(|length| vec![0; length]);
    let period = (any::<u64>(), 1..30_000_usize, 1..12_usize)
        .prop_map(|(seed, length, times)| random(seed, length).repeat(times));
    prop_oneof![3 => noise, 1 => zeros, 1 => period]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_recipe_makes_the_new_content_whatever_was_edited(
        old in content(),
        edits in edits(),
        piece in 1..200_000_usize,
    ) {
        let new = edited(&old, &edits);
        let (parts, outlined) = recipe(&old, &new, piece.max(997));
        prop_assert!(apply(&old, &parts) == new);
        for part in &parts {
            match part {
                Part::New(bytes) => prop_assert!(!bytes.is_empty() && bytes.len() <= LIMITS.0),
                Part::Old { length, .. } => prop_assert!(*length > 0 && *length <= LIMITS.1),
            }
        }
        prop_assert_eq!(outlined, outline(&new, 4_096), "it does not depend on the pieces");
    }

    #[test]
    fn an_unrelated_old_content_does_no_harm(old in content(), new in content()) {
        let (parts, _) = recipe(&old, &new, 65_536);
        prop_assert!(apply(&old, &parts) == new);
    }

    #[test]
    fn an_outline_is_read_as_it_was_written(content in content(), cut in any::<prop::sample::Index>()) {
        let outline = outline(&content, 10_000);
        let bytes = outline.to_bytes();
        prop_assert_eq!(Outline::from_bytes(&bytes), Some(outline));
        prop_assert_eq!(Outline::from_bytes(&bytes[..cut.index(bytes.len())]), None, "cut short");
    }

    #[test]
    fn no_bytes_make_a_wrong_outline(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if let Some(format) = bytes.first_mut() {
            *format = 1;
        }
        if let Some(outline) = Outline::from_bytes(&bytes) {
            prop_assert_eq!(outline.to_bytes(), bytes);
        }
    }
}

#[test]
fn small_changes_cost_about_their_size() {
    let old = random(1, 4 << 20);
    let cost = |new: &[u8]| {
        let (parts, _) = recipe(&old, new, 256 << 10);
        assert!(apply(&old, &parts) == new);
        new_bytes(&parts)
    };
    assert_eq!(cost(&old), 0, "nothing has changed");
    let mut inserted = old.clone();
    inserted.splice(2_000_001..2_000_001, random(2, 1_024));
    assert!(cost(&inserted) <= 3 * 1_024, "{}", cost(&inserted));
    let appended = [old.clone(), random(3, 64 << 10)].concat();
    assert_eq!(cost(&appended), 64 << 10, "the tail alone");
    assert_eq!(cost(&old[..3_333_333]), 3_333_333 % 1_024, "a shorter file is in the old one");
    let mut scattered = old.clone();
    let mut random_place = fastrand::Rng::with_seed(4);
    for _ in 0..40 {
        let at = random_place.usize(..old.len() / 1_024) * 1_024;
        scattered[at..at + 1_024].copy_from_slice(&random(at as u64, 1_024));
    }
    assert!(cost(&scattered) <= 40 * 1_024, "{}", cost(&scattered));
    let moved = [&old[1 << 20..], &old[..1 << 20]].concat();
    assert!(cost(&moved) <= 64 << 10, "{}", cost(&moved));
}

#[test]
fn a_file_that_has_outgrown_its_scale_still_sends_its_tail_alone() {
    let old = random(6, 500_001);
    let new = [old.as_slice(), b"more"].concat();
    let mut recipe = Recipe::new(outline(&old, 9_999), 9 << 30, (1 << 20, 8 << 20));
    recipe.push(&new);
    let parts = Vec::from(recipe.finish().0);
    assert!(apply(&old, &parts) == new);
    assert_eq!(new_bytes(&parts), 4);
}

#[test]
fn a_copy_is_recognised_by_its_ends() {
    let old = random(5, 300_001);
    let outline = outline(&old, 50_000);
    let ends = |content: &[u8]| {
        let sample = outline.sample_bytes();
        outline.resembles(&content[..sample], &content[content.len() - sample..])
    };
    assert!(ends(&old));
    for at in [0, old.len() - 1] {
        let mut other = old.clone();
        other[at] ^= 1;
        assert!(!ends(&other));
    }
    assert!(outline.resembles(&old, &old), "a whole content may be the sample of itself");
}
