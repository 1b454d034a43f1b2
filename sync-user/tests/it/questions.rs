//! I5 and I6: whatever a source asks, a receiver tells of nothing outside of its root, and holds no
//! more questions than it must.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use sync_user::model::{Durability, Preserve, Sight};
use sync_user::receiver::{self, Config, Error, Patient};
use sync_user::wire::{
    Answer, Decoder, PREAMBLE, QUESTIONS_MAX, Question, SourceHello, Stretch, ToReceiver, ToSource, VERSION,
    encode,
};

fn question(number: u64, directory: &str, names: &[&str]) -> Question {
    Question {
        number,
        directory: directory.into(),
        names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        hashes: true,
        others: Some(Stretch { after: Vec::new(), up_to: None }),
    }
}

/// What a receiver answers to these questions, and how it ends. Answers that nobody waits for any
/// more, since it was said goodbye, do not come.
fn ask(root: &Path, questions: &[Question]) -> (Vec<Answer>, Result<(), Error>) {
    let mut input = Vec::new();
    let hello = SourceHello {
        version: VERSION,
        source: [1; 16],
        name: String::new(),
        shares: false,
        preserve: Preserve::ALL,
        durability: Durability::None,
        publishes: false,
        two_way: None,
        trash: None,
        lanes: 0,
    };
    encode(&ToReceiver::Hello(hello), &mut input);
    for question in questions {
        encode(&ToReceiver::Examine(question.clone()), &mut input);
    }
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (mut output, answers) = std::io::pipe().unwrap();
    let count = questions.len();
    let collecting = std::thread::spawn(move || {
        let (mut decoder, mut taken, mut preamble) = (Decoder::default(), Vec::new(), PREAMBLE.len());
        let mut buffer = [0; 4096];
        loop {
            let read = std::io::Read::read(&mut output, &mut buffer).unwrap();
            let skipped = preamble.min(read);
            preamble -= skipped;
            decoder.extend(&buffer[skipped..read]);
            while let Some(message) = decoder.take::<ToSource>().unwrap() {
                if let ToSource::Examined(answer) = message {
                    taken.push(answer);
                }
            }
            if read == 0 || taken.len() == count {
                // Its input ends here, and with it the receiver.
                drop(writer);
                return taken;
            }
            if !input.is_empty() {
                std::io::Write::write_all(&mut writer, &input).unwrap();
                input.clear();
            }
        }
    });
    let result = receiver::serve(Config { root, lock_in: false }, Patient::new(reader.as_fd()), answers);
    (collecting.join().unwrap(), result)
}

#[test]
fn nothing_outside_of_the_root_is_told() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    fs::create_dir_all(root.join("in")).unwrap();
    fs::create_dir(place.path().join("outside")).unwrap();
    fs::write(place.path().join("outside/secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
    std::os::unix::fs::symlink("../outside/secret", root.join("in/secret")).unwrap();
    let questions =
        [question(1, "link", &["secret"]), question(2, ".ksyncd", &["x"]), question(3, "in", &["secret"])];
    let (answers, result) = ask(&root, &questions);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(answers[0].entries, [], "no link is followed");
    assert!(matches!(&answers[1].entries[0].sight, Sight::Unreadable { .. }), "{:?}", answers[1]);
    let content = match &answers[2].entries[0].sight {
        Sight::Present { content, .. } => content.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(content, sync_user::model::Content::of(b"../outside/secret"), "of the link itself");
}

#[test]
fn what_no_source_asks_ends_the_receiver() {
    let place = tempfile::tempdir().unwrap();
    for wrong in [
        question(1, "../outside", &[]),
        question(1, "/etc", &["passwd"]),
        question(1, "", &["../passwd"]),
        question(1, "", &["b", "a"]),
        question(1, "", &["a/b"]),
    ] {
        let (answers, result) = ask(place.path(), std::slice::from_ref(&wrong));
        assert_eq!(answers, [], "{wrong:?}");
        assert!(matches!(result, Err(Error::Protocol(_))), "{wrong:?} {result:?}");
    }
}

#[test]
fn more_questions_than_may_wait_end_the_receiver() {
    let place = tempfile::tempdir().unwrap();
    // It takes long to answer the first.
    fs::File::create(place.path().join("large")).unwrap().set_len(2 << 30).unwrap();
    let count = QUESTIONS_MAX as u64 + 2;
    let questions: Vec<Question> = (0..count).map(|number| question(number, "", &["large"])).collect();
    let (answers, result) = ask(place.path(), &questions);
    assert!(matches!(&result, Err(Error::Protocol(what)) if what.contains("questions")), "{result:?}");
    assert!(answers.len() < 2, "it ends at once, and does not hash on");
}
