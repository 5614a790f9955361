//! Chromium without a window, driven by chromedriver over the WebDriver protocol.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::{ask_with, http, read};

/// A browser. Dropping it ends it.
pub struct Browser {
    driver: Child,
    /// What it prints: once nobody could read that, it would end.
    _stdout: BufReader<ChildStdout>,
    /// Where chromedriver listens.
    url: String,
    session: String,
}

impl Browser {
    /// Starts one, if both programs are installed.
    pub fn start() -> Option<Self> {
        let is_there =
            |name: &str| Command::new(name).arg("--version").output().is_ok_and(|ran| ran.status.success());
        if !is_there("chromium") || !is_there("chromedriver") {
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is there");
        let mut stdout = BufReader::new(driver.stdout.take().expect("it is piped"));
        // "ChromeDriver was started successfully on port 12345."
        let port = stdout.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let digits = line.split("on port ").nth(1)?.trim_end_matches('.').to_owned();
            digits.parse::<u16>().ok().filter(|port| *port != 0)
        });
        let mut browser = Self {
            driver,
            _stdout: stdout,
            url: format!("http://127.0.0.1:{}", port.expect("it says where it listens")),
            session: String::new(),
        };
        // A sandbox of its own needs privileges that containers do not give.
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.post("/session", &wanted);
        browser.session =
            made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        Some(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let text = body.to_string();
        let more = format!("content-type: application/json\r\ncontent-length: {}\r\n", text.len());
        let answer = read(ask_with(&self.url, &format!("POST {path}"), &more, text.as_bytes()));
        let value = answer.json()["value"].clone();
        assert_eq!(answer.status, 200, "{path}: {value}");
        value
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}/{name}", self.session), body)
    }

    /// Opens a page and waits until it is there.
    pub fn open(&mut self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// What a script in the page returns.
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    /// What a person reads in an element.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return document.querySelector('{selector}').innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The number of an element.
    fn element(&self, selector: &str) -> String {
        let found = self.command("element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no {selector}: {found}")).to_owned()
    }

    /// Clicks on an element.
    pub fn click(&self, selector: &str) {
        let id = self.element(selector);
        self.command(&format!("element/{id}/click"), &json!({}));
    }

    /// Chooses files for a field that takes several.
    pub fn choose(&self, selector: &str, files: &[PathBuf]) {
        let id = self.element(selector);
        let paths: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
        self.command(&format!("element/{id}/value"), &json!({"text": paths.join("\n")}));
    }

    /// Has the page be so wide, also where that is less than windows may be.
    pub fn resize(&self, width: u32) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.command("goog/cdp/execute", &command);
    }

    /// What the console has of errors.
    pub fn errors(&self) -> Vec<Value> {
        let log = self.command("se/log", &json!({"type": "browser"}));
        let all = log.as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|entry| entry["level"] == "SEVERE").collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its browser ends with the session, and would outlive a driver that is killed.
        if !self.session.is_empty() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                http(&self.url, &format!("DELETE /session/{}", self.session), "")
            }));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
