//! Makes one section of several that differ in nothing but their targets, and tells the others apart.

use super::part::Part;

const TARGET: &str = "target";

/// The sections, in their order.
pub(super) fn merge(parts: Vec<Part>) -> Vec<Part> {
    let mut merged: Vec<Part> = Vec::new();
    for mut part in parts {
        leave_out_what_is_shared(&merged, &mut part);
        match merged.iter_mut().find(|earlier| is_alike(earlier, &part)) {
            Some(earlier) => join(earlier, part),
            None => merged.push(part),
        }
    }
    for index in 0..merged.len() {
        let (before, from) = merged.split_at_mut(index);
        name_apart(before, &mut from[0]);
    }
    merged
}

fn is_alike(one: &Part, other: &Part) -> bool {
    let but_target = |part: &Part| -> Vec<_> {
        part.settings.iter().filter(|(name, _)| *name != TARGET).cloned().collect()
    };
    !one.left_out && !other.left_out && but_target(one) == but_target(other) && one.proposed == other.proposed
}

fn join(earlier: &mut Part, later: Part) {
    let targets = later.values(TARGET).to_vec();
    if let Some((_, known)) = earlier.settings.iter_mut().find(|(name, _)| *name == TARGET) {
        for target in targets {
            if !known.contains(&target) {
                known.push(target);
            }
        }
    }
    for note in later.notes {
        if !earlier.notes.contains(&note) {
            earlier.notes.push(note);
        }
    }
}

/// No two sections share a source and a target.
fn leave_out_what_is_shared(before: &[Part], part: &mut Part) {
    let is_other = |other: &&Part| {
        !other.left_out && other.value("source") == part.value("source") && !is_alike(other, part)
    };
    let known: Vec<&String> = before.iter().filter(is_other).flat_map(|other| other.values(TARGET)).collect();
    let shared = part.values(TARGET).iter().find(|target| known.contains(target)).cloned();
    if let Some(shared) = shared.filter(|_| !part.left_out) {
        let what = "another section has this source and this target too: make one section of both";
        part.leave_out(&format!("{TARGET} = {shared:?}"), what);
    }
}

/// No two sections share a name, which is the source where none is given.
fn name_apart(before: &[Part], part: &mut Part) {
    if part.left_out {
        return;
    }
    let name = |part: &Part| part.value("name").or(part.value("source")).unwrap_or_default().to_owned();
    let own = name(part);
    let is_taken = |wanted: &str| before.iter().any(|other| !other.left_out && name(other) == wanted);
    if is_taken(&own) {
        let new = (2..=before.len() + 2)
            .map(|number| format!("{own} {number}"))
            .find(|new| !is_taken(new))
            .unwrap_or_default();
        part.settings.retain(|(name, _)| *name != "name");
        part.set_one("name", "name", &new);
        part.differs("name", "each section has a name of its own, in ksyncd status and in metrics");
    }
}
