//! A browser without windows, driven by Chromium's protocol for developers' tools, over a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::host::PATIENCE;

const PROGRAM: &str = "/usr/bin/chromium-headless-shell";

/// How a browser is started. Its own sandbox refuses root, and there is one page, which is ours.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
];

/// It reads commands from descriptor 3 and answers at 4; the shell makes these of its standard streams.
const WITH_PIPES: &str = r#"exec "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#;

/// One browser with one page; dropping it ends it.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    told: Receiver<Value>,
    /// Of the page, once it is there.
    session: Option<String>,
    number: u64,
    /// What it has told without being asked.
    events: Vec<Value>,
    /// What it keeps; removed after it has ended.
    _profile: tempfile::TempDir,
}

/// How a page looks, and what it is.
pub(crate) struct Look {
    /// A picture of all of it, as PNG.
    pub(crate) png: Vec<u8>,
    pub(crate) html: String,
    /// What it says to people, as far as it is seen.
    pub(crate) text: String,
    /// How wide it is, in pixels of the page.
    pub(crate) width: u64,
    /// Of the letters in pictures, in pixels: the smallest.
    pub(crate) smallest_letters: f64,
    /// What went wrong, or was refused.
    pub(crate) complaints: Vec<Value>,
}

impl Browser {
    pub(crate) fn start() -> Self {
        assert!(
            std::path::Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: `cargo xtask test --only tests` installs it"
        );
        let profile = tempfile::Builder::new().prefix("ksyncd-browser-").tempdir().unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", WITH_PIPES, "sh", PROGRAM])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // Whatever it keeps elsewhere is in its folder, too.
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            // Messages end with a zero byte.
            while answers.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                if tell.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser =
            Self { child, commands, told, session: None, number: 0, events: Vec::new(), _profile: profile };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let session = json!({"targetId": browser.must(target)["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", &session);
        browser.session = browser.must(attached)["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Log.enable", "Runtime.enable"] {
            let enabled = browser.ask(domain, &json!({}));
            browser.must(enabled);
        }
        browser
    }

    /// Loads a page into a window of a size, and looks at all of it.
    pub(crate) fn look(&mut self, address: &str, width: u32, height: u32, scheme: &str) -> Look {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        let set = self.ask("Emulation.setDeviceMetricsOverride", &size);
        self.must(set);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        let set = self.ask("Emulation.setEmulatedMedia", &media);
        self.must(set);
        let began = Instant::now();
        loop {
            // It loads itself again every few seconds; what was asked for meanwhile is asked again.
            match self.try_look(address) {
                Ok(look) => return look,
                Err(error) => assert!(began.elapsed() < PATIENCE, "the page cannot be looked at: {error}"),
            }
        }
    }

    fn try_look(&mut self, address: &str) -> Result<Look, String> {
        self.events.clear();
        let navigated = self.ask("Page.navigate", &json!({"url": address}))?;
        if let Some(error) = navigated["errorText"].as_str() {
            return Err(error.to_owned());
        }
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            self.listen()?;
        }
        // The event may have been that of a page before.
        let shown = self.evaluate("`${document.readyState} ${location.href}`")?;
        if shown != format!("complete {address}") {
            return Err(format!("it shows {shown}"));
        }
        let html = self.evaluate("document.documentElement.outerHTML")?;
        let text = self.evaluate("document.body.innerText")?;
        let width = self.evaluate("document.documentElement.scrollWidth")?;
        let letters = self.evaluate(
            "Math.min(...[...document.querySelectorAll('svg text')].map(text => \
             parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))",
        )?;
        let png =
            self.ask("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": true}))?;
        let complaining = ["Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"];
        let is_complaint =
            |event: &&Value| event["method"].as_str().is_some_and(|method| complaining.contains(&method));
        Ok(Look {
            png: BASE64_STANDARD.decode(png["data"].as_str().ok_or("no picture")?).unwrap(),
            html: html.as_str().ok_or("no HTML")?.to_owned(),
            text: text.as_str().ok_or("no text")?.to_owned(),
            width: width.as_u64().ok_or("no width")?,
            smallest_letters: letters.as_f64().ok_or("no letters in pictures")?,
            complaints: self.events.iter().filter(is_complaint).cloned().collect(),
        })
    }

    fn evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let mut answer =
            self.ask("Runtime.evaluate", &json!({"expression": expression, "returnByValue": true}))?;
        Ok(answer["result"]["value"].take())
    }

    /// Sends a command, and waits for its answer.
    fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut command = serde_json::to_vec(&command).unwrap();
        command.push(0);
        self.commands.write_all(&command).map_err(|error| error.to_string())?;
        loop {
            let mut message = self.listen()?;
            if message["id"] == self.number {
                if !message["error"].is_null() {
                    return Err(format!("{method}: {}", message["error"]));
                }
                return Ok(message["result"].take());
            }
        }
    }

    /// Waits for what comes next.
    fn listen(&mut self) -> Result<Value, String> {
        let message = self.told.recv_timeout(PATIENCE).map_err(|error| error.to_string())?;
        if message["id"].is_null() {
            self.events.push(message.clone());
        }
        Ok(message)
    }

    fn must(&mut self, answer: Result<Value, String>) -> Value {
        match answer {
            Ok(answer) => answer,
            Err(error) => panic!("{error}; the browser: {:?}", self.child.try_wait()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
