//! A browser without a window, controlled through its debugging pipe. Commands go to its file 3 and answers come from
//! its file 4, as JSON with a zero byte behind each. The pipe needs no other program and opens no port.
//!
//! Keys and pointer events are sent like those of the system, so a test can only do what a person can do. Every message
//! of the console, every exception and every request is kept for the test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Names under which Chromium is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Time after which the browser counts as hanging.
const PATIENCE: Duration = Duration::from_secs(240);

pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last: u64,
    session: String,
    home: tempfile::TempDir,
    done: Arc<AtomicBool>,
    /// Errors and warnings of the page, and requests other than for the page itself.
    pub messages: Vec<String>,
}

/// Number of key presses that the page got, before any listener of its own.
const KEYS_PRESSED: &str = "window.keysPressed";
const COUNT_KEYS: &str =
    "window.keysPressed = 0; addEventListener('keydown', () => { window.keysPressed += 1; }, true);";

/// Returns the browser of this machine, if there is one.
pub fn find() -> Option<&'static str> {
    NAMES.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").stdin(Stdio::null()).output();
        version.is_ok_and(|output| output.status.success())
    })
}

impl Browser {
    pub fn start(program: &str) -> Browser {
        let home = tempfile::tempdir().expect("a directory");
        let flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                     --disable-background-networking --disable-component-update --remote-debugging-pipe";
        let shell =
            format!("exec {program} {flags} --user-data-dir=\"$0\" about:blank 3<&0 4>&1 >/dev/null 2>&1");
        let mut child = Command::new("sh")
            .args(["-c", &shell])
            .arg(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let done = Arc::new(AtomicBool::new(false));
        watch(child.id(), Arc::clone(&done));
        let from = BufReader::new(from);
        let mut browser =
            Browser { child, to, from, last: 0, session: String::new(), home, done, messages: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = target["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.call(domain, json!({}));
        }
        browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": COUNT_KEYS}));
        browser
    }

    /// Sends a command and waits for its answer.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message).expect("JSON");
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let answer = self.read();
            if answer["id"] == json!(self.last) {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).expect("the browser answers");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Log.entryAdded" | "Runtime.consoleAPICalled" => {
                self.messages.push(parameters.to_string());
            }
            "Network.requestWillBeSent" => {
                let address = parameters["request"]["url"].as_str().unwrap_or_default();
                if !address.starts_with("file:///") || parameters["type"] != "Document" {
                    self.messages.push(format!("request for {address}"));
                }
            }
            _ => {}
        }
    }

    /// Opens a page of `width` pixels, and waits until its script has shown everything. Returns the time that this
    /// took.
    pub fn open(&mut self, path: &std::path::Path, width: u32, dark: bool) -> Duration {
        self.open_until(path, width, dark, "document.documentElement.dataset.ready === 'yes'")
    }

    /// Opens a page without a script.
    #[cfg(feature = "validation")]
    pub fn open_plain(&mut self, path: &std::path::Path, width: u32, dark: bool) -> Duration {
        self.open_until(
            path,
            width,
            dark,
            "location.protocol === 'file:' && document.readyState === 'complete'",
        )
    }

    fn open_until(&mut self, path: &std::path::Path, width: u32, dark: bool, condition: &str) -> Duration {
        // A window that is not in front would take no keys.
        self.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", feature);
        self.call("Page.navigate", json!({"url": "about:blank"}));
        let began = Instant::now();
        self.call("Page.navigate", json!({"url": format!("file://{}", path.display())}));
        self.wait_for(condition);
        began.elapsed()
    }

    /// Returns the value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", asked);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    pub fn text(&mut self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({selector:?})?.textContent ?? null"));
        value.as_str().unwrap_or_else(|| panic!("nothing is {selector}")).to_owned()
    }

    pub fn number(&mut self, expression: &str) -> f64 {
        self.value(expression).as_f64().unwrap_or_else(|| panic!("{expression} is no number"))
    }

    pub fn wait_for(&mut self, condition: &str) {
        let began = Instant::now();
        // Between two pages there is none to ask.
        while self.value(&format!("Boolean(document.documentElement) && Boolean({condition})")) != json!(true)
        {
            assert!(began.elapsed() < PATIENCE, "never: {condition}; {:?}", self.messages);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn focus(&mut self, selector: &str) {
        self.value(&format!("document.querySelector({selector:?}).focus()"));
    }

    /// Presses the key with this name.
    pub fn key(&mut self, name: &str) {
        self.key_with(name, 0);
    }

    /// Presses a key as [`key`](Self::key) does, with modifiers held; 8 is Shift.
    pub fn key_with(&mut self, name: &str, modifiers: u32) {
        let code = match name {
            "Enter" => 13,
            "Backspace" => 8,
            "Escape" => 27,
            "Tab" => 9,
            "PageDown" => 34,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            "/" => 191,
            " " => 32,
            other => panic!("no code for {other}"),
        };
        let text = match name {
            "Enter" => "\r",
            " " | "/" => name,
            _ => "",
        };
        // A press that the page never got is made again: a busy browser drops one now and then.
        let pressed = self.number(KEYS_PRESSED);
        for _ in 0..3 {
            for kind in ["keyDown", "keyUp"] {
                let key = json!({"type": kind, "key": name, "windowsVirtualKeyCode": code, "modifiers": modifiers,
                    "text": if kind == "keyDown" { text } else { "" }});
                self.call("Input.dispatchKeyEvent", key);
            }
            if self.number(KEYS_PRESSED) > pressed {
                return;
            }
        }
        panic!("the page got no press of {name}");
    }

    /// Types into the focused element.
    pub fn type_in(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.place(selector, 0.5, 0.5);
        self.mouse("mousePressed", x, y, 1);
        self.mouse("mouseReleased", x, y, 0);
    }

    /// Drags across an element, between two positions given as shares of its width.
    pub fn drag(&mut self, selector: &str, from: f64, to: f64) {
        let (x, y) = self.place(selector, from, 0.5);
        let (end, _) = self.place(selector, to, 0.5);
        self.mouse("mouseMoved", x, y, 0);
        self.mouse("mousePressed", x, y, 1);
        for step in 1..=4 {
            self.mouse("mouseMoved", x + (end - x) * f64::from(step) / 4.0, y, 1);
        }
        self.mouse("mouseReleased", end, y, 0);
    }

    fn mouse(&mut self, kind: &str, x: f64, y: f64, buttons: u32) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let count = u32::from(kind != "mouseMoved");
        let event =
            json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": count});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Scrolls an element into view, and returns a point of it.
    fn place(&mut self, selector: &str, across: f64, down: f64) -> (f64, f64) {
        let code = format!(
            "(async () => {{ const one = document.querySelector({selector:?}); one.scrollIntoView({{ block: 'center' }}); \
             for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame); \
             const box = one.getBoundingClientRect(); \
             return [box.left + box.width * {across}, box.top + box.height * {down}]; }})()"
        );
        let point = self.value(&code);
        (point[0].as_f64().expect("a place"), point[1].as_f64().expect("a place"))
    }

    /// Returns a picture of the visible part, as a PNG in base64.
    pub fn picture(&mut self) -> String {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        shot["data"].as_str().expect("a picture").to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        drop(self.child.kill());
        drop(self.child.wait());
        // It is written to until the browser has ended.
        drop(std::fs::remove_dir_all(self.home.path()));
    }
}

/// Ends a browser that hangs, so that a reader of its output fails instead of waiting forever.
fn watch(process: u32, done: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let began = Instant::now();
        while began.elapsed() < PATIENCE * 2 {
            std::thread::sleep(Duration::from_millis(200));
            if done.load(Ordering::Relaxed) {
                return;
            }
        }
        drop(Command::new("kill").arg(process.to_string()).status());
    });
}
