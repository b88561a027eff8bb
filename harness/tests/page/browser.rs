//! Chromium without a screen, driven over a pipe by the protocol of its developer tools: JSON messages, each ended by a zero byte.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Names under which it is installed, in the order in which they are tried.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// How long a browser has for one answer. A machine that is busy with a build takes its time.
const DEADLINE: Duration = Duration::from_secs(60);

/// The first browser of the search path.
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.is_file())
}

/// A browser with one open tab. Dropping it ends it.
pub struct Browser {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    errors: Arc<Mutex<Vec<u8>>>,
    session: String,
    last: u64,
    /// Whatever the page said that it should not have: messages of the console, exceptions, questions to the user, requests.
    pub complaints: Vec<String>,
    loads: usize,
    _profile: tempfile::TempDir,
}

type Answer<T = Value> = Result<T, String>;

impl Browser {
    /// Starts it, with an empty profile.
    #[expect(clippy::too_many_lines, reason = "a browser from its profile to its first page")]
    pub fn start(program: &Path) -> Answer<Self> {
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("failed to start {}: {error}", program.display());
        // The browser reads from 3 and writes to 4; the shell puts its own input and output there. It replaces itself, so that the process
        // to end is the browser.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args([
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let requests = process.stdin.take().ok_or("no pipe to the browser")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no pipe from the browser")?);
        let errors = Arc::new(Mutex::new(Vec::new()));
        let mut stderr = process.stderr.take().ok_or("no errors of the browser")?;
        let kept = Arc::clone(&errors);
        thread::spawn(move || {
            let mut bytes = [0u8; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        let mut browser = Self {
            process,
            requests,
            answers,
            errors,
            session: String::new(),
            last: 0,
            complaints: Vec::new(),
            loads: 0,
            _profile: profile,
        };
        let targets = browser.call("Target.getTargets", json!({}))?;
        let tab = targets["targetInfos"].as_array().into_iter().flatten().find(|target| target["type"] == "page").cloned();
        let tab = tab.ok_or("the browser has no tab")?;
        let attached = browser.call("Target.attachToTarget", json!({"targetId": tab["targetId"], "flatten": true}))?;
        browser.session = attached["sessionId"].as_str().ok_or("no session")?.to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        browser.media("light")?;
        // Keys go where they would go on a screen that is looked at.
        browser.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}))?;
        Ok(browser)
    }

    /// Sends a command, waits for its answer, and keeps what the page says meanwhile.
    pub fn call(&mut self, method: &str, parameters: Value) -> Answer {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let sent = self.requests.write_all(message.to_string().as_bytes()).and_then(|()| self.requests.write_all(&[0]));
        sent.and_then(|()| self.requests.flush()).map_err(|error| self.told(&format!("{method}: {error}")))?;
        loop {
            let message = self.receive().map_err(|error| self.told(&format!("{method}: {error}")))?;
            if message["id"] != json!(id) {
                self.note(&message);
                continue;
            }
            return match message.get("error") {
                Some(error) => Err(format!("{method}: {error}")),
                None => Ok(message["result"].clone()),
            };
        }
    }

    fn receive(&mut self) -> Answer {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).map_err(|error| error.to_string())?;
        if bytes.pop() != Some(0) {
            return Err("the browser ended".to_owned());
        }
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    fn note(&mut self, message: &Value) {
        let parameters = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loads += 1,
            "Runtime.exceptionThrown" => self.complaints.push(format!("exception: {}", parameters["exceptionDetails"])),
            "Runtime.consoleAPICalled" => self.complaints.push(format!("console: {parameters}")),
            "Log.entryAdded" => self.complaints.push(format!("log: {}", parameters["entry"])),
            "Page.javascriptDialogOpening" => self.complaints.push(format!("dialog: {}", parameters["message"])),
            "Network.requestWillBeSent" => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                if !url.starts_with("file:") && !url.starts_with("about:") {
                    self.complaints.push(format!("request: {url}"));
                }
            }
            _ => {}
        }
    }

    fn told(&self, error: &str) -> String {
        let errors = self.errors.lock().unwrap();
        let end = &errors[errors.len().saturating_sub(600)..];
        format!("{error}; the browser said: {}", String::from_utf8_lossy(end).escape_debug())
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&mut self, page: &Path, fragment: &str) -> Answer<()> {
        let loads = self.loads;
        // A page that differs in its fragment alone would not be loaded again.
        self.call("Page.navigate", json!({"url": "about:blank"}))?;
        self.until(|browser| Ok(browser.loads > loads))?;
        let loads = self.loads;
        let answer = self.call("Page.navigate", json!({"url": format!("file://{}{fragment}", page.display())}))?;
        if let Some(error) = answer["errorText"].as_str() {
            return Err(format!("{}: {error}", page.display()));
        }
        self.until(|browser| Ok(browser.loads > loads))
    }

    /// Asks again and again until the answer is yes.
    pub fn until(&mut self, mut is_so: impl FnMut(&mut Self) -> Answer<bool>) -> Answer<()> {
        let begin = Instant::now();
        while begin.elapsed() < DEADLINE {
            self.call("Target.getTargets", json!({}))?;
            if is_so(self)? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(self.told("it did not become so"))
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Answer {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true, "awaitPromise": true}))?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{expression}: {details}")),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// The same, as text.
    pub fn text(&mut self, expression: &str) -> Answer<String> {
        let value = self.value(expression)?;
        value.as_str().map(str::to_owned).ok_or_else(|| format!("{expression} is {value}, no text"))
    }

    /// Clicks with the mouse in the middle of the first element that the selector names.
    pub fn click(&mut self, selector: &str) -> Answer<()> {
        let at = self.value(&format!(
            "(() => {{ const e = document.querySelector({}); if (!e) return null; e.scrollIntoView({{block: 'center', inline: 'center', behavior: 'instant'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()",
            json!(selector)
        ))?;
        let (Some(x), Some(y)) = (at[0].as_f64(), at[1].as_f64()) else { return Err(format!("nothing is named {selector}")) };
        // A click is aimed at what the compositor shows, which learns of the scrolling with the next frame, under load a while later: a picture
        // of one point waits for that frame.
        self.call("Page.captureScreenshot", json!({"clip": {"x": 0, "y": 0, "width": 1, "height": 1, "scale": 1}}))?;
        for kind in ["mousePressed", "mouseReleased"] {
            self.call("Input.dispatchMouseEvent", json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}))?;
        }
        Ok(())
    }

    /// Presses and releases a key: `Enter`, `ArrowDown`, `Tab`, `n`.
    pub fn press(&mut self, key: &str) -> Answer<()> {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            letter if letter.chars().count() == 1 => letter,
            _ => "",
        };
        let event = |kind: &str| json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", event("keyDown"))?;
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code})).map(|_| ())
    }

    /// A screen of this size, in light or dark.
    pub fn screen(&mut self, width: u32, height: u32, scheme: &str) -> Answer<()> {
        let mobile = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}),
        )?;
        self.media(scheme)
    }

    /// The wishes of who looks: light or dark, and no motion, because a click is aimed at where a thing stands and not at where it passes.
    fn media(&mut self, scheme: &str) -> Answer<()> {
        let wish = |name: &str, value: &str| json!({"name": name, "value": value});
        let features = [wish("prefers-color-scheme", scheme), wish("prefers-reduced-motion", "reduce")];
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).map(|_| ())
    }

    /// A picture of the whole page, or of what is in sight.
    pub fn picture(&mut self, file: &Path, whole: bool) -> Answer<()> {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": whole}))?;
        let png = base64::decode(shot["data"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        if !png.starts_with(b"\x89PNG") {
            return Err("no picture".to_owned());
        }
        fs::write(file, png).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
