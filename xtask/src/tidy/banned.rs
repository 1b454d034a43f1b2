//! Checks that things are done only in the places that are meant for them.

use super::{Complaint, Source};

/// A text, the files that may have it (by the beginning of their path), and why others may not.
struct Ban {
    text: &'static str,
    within: &'static str,
    except: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban { text: "Instant::now", within: "sync-user/src/", except: &[], why: "only `clock` asks the time" },
    Ban { text: "SystemTime::now", within: "sync-user/src/", except: &[], why: "only `clock` asks the time" },
    Ban {
        text: "ssh2::",
        within: "sync-user/src/",
        except: &["sync-user/src/ship/ssh.rs", "sync-user/src/ship/auth.rs"],
        why: "only `ship/ssh.rs` and `ship/auth.rs` know libssh2",
    },
    Ban {
        text: "Command::new",
        within: "sync-user/src/",
        except: &["sync-user/src/demo/", "sync-user/src/ship/openssh.rs", "sync-user/src/ship/dial.rs"],
        why: "only what leads to a target starts programs",
    },
    Ban { text: "TODO", within: "", except: &["xtask/src/tidy/"], why: "write an issue instead" },
    Ban { text: "mod utils", within: "", except: &["xtask/src/tidy/"], why: "name it after what it does" },
    Ban { text: "mod helpers", within: "", except: &["xtask/src/tidy/"], why: "name it after what it does" },
    Ban { text: "mod common", within: "", except: &["xtask/src/tidy/"], why: "name it after what it does" },
];

pub(super) fn check(sources: &[Source]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for source in sources {
        for ban in BANS {
            let applies = source.path.starts_with(ban.within)
                && !ban.except.iter().any(|except| source.path.starts_with(except));
            if !applies {
                continue;
            }
            for (line, text) in source.lines_without_tests().filter(|(_, text)| text.contains(ban.text)) {
                if text.trim_start().starts_with("//") && ban.text != "TODO" {
                    continue;
                }
                let what = format!("`{}` does not belong here: {}", ban.text, ban.why);
                complaints.push(Complaint { file: source.path.clone(), line, what });
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_done_in_the_wrong_place() {
        let sources = [
            ("sync-user/src/batch/mod.rs", "//! x\nlet now = Instant::now();"),
            ("sync-user/src/ship/ssh.rs", "use ssh2::Session;"),
            ("perf/src/main.rs", "Instant::now()"),
            ("perf/src/a.rs", "// TODO: later"),
        ]
        .map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() });
        let found: Vec<String> = check(&sources)
            .iter()
            .map(|complaint| format!("{}:{}", complaint.file, complaint.line))
            .collect();
        assert_eq!(found, ["sync-user/src/batch/mod.rs:2", "perf/src/a.rs:1"]);
    }
}
