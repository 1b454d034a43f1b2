//! Says in one sentence how a path is: pure, from what there is to tell of it.

use super::why::{LeftOut, Why, WhyState, WhyTarget};

/// How the path is, for people.
pub(super) fn sentence(why: &Why) -> String {
    let Why { path, targets, happenings, .. } = why;
    if let Some(LeftOut { rule, above }) = &why.left_out {
        let above =
            above.as_ref().map(|above| format!(", since its directory {above} is")).unwrap_or_default();
        return format!("{path} is left out{above}, by: {rule}");
    }
    let all = |state: WhyState| targets.iter().all(|target| target.state == state);
    if all(WhyState::Current) {
        return format!("{path} is at all targets{}", since_all(targets));
    }
    if all(WhyState::Gone) && !why.is_at_source {
        if happenings.is_empty() {
            return format!(
                "{path} was never seen: nothing is there, no target has it of us, and nothing is remembered of it"
            );
        }
        return format!("{path} is at neither end{}", since_all(targets));
    }
    let parts: Vec<String> = targets.iter().map(|target| one(target, why.is_at_source)).collect();
    format!("{path}: {}", parts.join("; "))
}

fn one(target: &WhyTarget, is_at_source: bool) -> String {
    let WhyTarget { name, state, detail, since, .. } = target;
    let detail = detail.as_deref().unwrap_or("nothing more is known");
    let since = since.as_deref().map(|since| format!(" since {}", clock(since))).unwrap_or_default();
    match state {
        WhyState::Current => format!("{name} has it{since}"),
        WhyState::Gone if is_at_source => format!("{name} does not have it"),
        WhyState::Gone => format!("{name} does not have it either{since}"),
        WhyState::Waiting => format!("{name} waits for it: {detail}"),
        WhyState::Different => format!("{name} does not have what the source has: {detail}"),
        WhyState::Unknown => format!("what {name} has cannot be told: {detail}"),
    }
}

/// Since when all targets are so.
fn since_all(targets: &[WhyTarget]) -> String {
    let since: Option<Vec<&str>> = targets.iter().map(|target| target.since.as_deref()).collect();
    // Of the same form, the later is the greater.
    match since.and_then(|since| since.into_iter().max()) {
        Some(last) => format!(" since {}", clock(last)),
        None => ", for longer than is remembered".to_owned(),
    }
}

/// The day and the second of an RFC 3339 time.
fn clock(time: &str) -> String {
    let second = time.split_once('.').map_or(time, |(second, _)| second);
    format!("{} UTC", second.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, state: WhyState, since: Option<&str>, detail: Option<&str>) -> WhyTarget {
        WhyTarget {
            name: name.to_owned(),
            state,
            detail: detail.map(str::to_owned),
            since: since.map(str::to_owned),
            ledger: String::new(),
            failures: 0,
        }
    }

    fn why(targets: Vec<WhyTarget>, is_at_source: bool) -> Why {
        Why {
            path: "news/page".to_owned(),
            sentence: String::new(),
            source: String::new(),
            is_at_source,
            left_out: None,
            happenings: Vec::new(),
            targets,
        }
    }

    #[test]
    fn each_state_has_its_words() {
        let (early, late) = ("2026-01-02T12:01:03.250Z", "2026-01-02T12:01:04.000Z");
        let current = |since| target("web2", WhyState::Current, since, None);
        let gone = || target("web2", WhyState::Gone, None, None);
        let waiting = target("web3", WhyState::Waiting, None, Some("a step is on its way"));
        let rule = LeftOut { rule: "news/ (file rules, line 3)".to_owned(), above: Some("news".to_owned()) };
        let left_out = Why { left_out: Some(rule), ..why(vec![gone()], true) };
        let sentences = [
            why(vec![current(Some(early)), current(Some(late))], true),
            why(vec![current(Some(early)), current(None)], true),
            why(vec![current(Some(early)), waiting], true),
            why(vec![gone()], false),
            why(vec![gone()], true),
            left_out,
        ]
        .map(|why| sentence(&why));
        insta::assert_snapshot!(sentences.join("\n"), @r"
        news/page is at all targets since 2026-01-02 12:01:04 UTC
        news/page is at all targets, for longer than is remembered
        news/page: web2 has it since 2026-01-02 12:01:03 UTC; web3 waits for it: a step is on its way
        news/page was never seen: nothing is there, no target has it of us, and nothing is remembered of it
        news/page: web2 does not have it
        news/page is left out, since its directory news is, by: news/ (file rules, line 3)
        ");
    }
}
