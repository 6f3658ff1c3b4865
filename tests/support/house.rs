//! The real binary, with every role, in a directory of its own; started, killed and started again.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Tollgate of a test.
pub(crate) struct House {
    /// Where everything is kept.
    pub(crate) dir: PathBuf,
    /// `127.0.0.1:port` of the gateway.
    pub(crate) gateway: String,
    /// Of the query service.
    pub(crate) query: String,
    ops: String,
    child: Option<Child>,
    client: reqwest::blocking::Client,
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl House {
    /// A house with these limits (a YAML list), not started.
    pub(crate) fn new(dir: &Path, limits: &str) -> Self {
        let (gateway, query, ops) = (free_address(), free_address(), free_address());
        let config = format!(
            "listen: {{ gateway: {gateway}, query: {query}, ops: {ops} }}\n\
             log: {{ kind: disk, dir: {0}/log }}\nlake: {{ url: {0}/lake }}\n\
             providers: [ {{ name: sandbox, dialect: sandbox, frame_delay: 2ms }} ]\n\
             models: [ {{ name: \"sandbox/*\", targets: [ {{ provider: sandbox }} ] }} ]\n\
             tenants:\n  - {{ name: acme, keys: [ {{ name: ci, key: tg-acme, team: t, user: u }} ] }}\n  \
             - {{ name: globex, keys: [ {{ name: ci, key: tg-globex }} ] }}\n\
             limits: {limits}\naccess: [ {{ token: tgq-all, tenants: [\"*\"] }}, {{ token: tgq-acme, tenants: [acme] }} ]\n",
            dir.display(),
        );
        fs::write(dir.join("tollgate.yaml"), config).unwrap();
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { dir: dir.to_owned(), gateway, query, ops, child: None, client }
    }

    /// Starts it and waits until every role can answer.
    pub(crate) fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("stderr.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["up", "--config"])
            .arg(self.dir.join("tollgate.yaml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let url = format!("http://{}/readyz", self.ops);
        let ready = || self.client.get(&url).send().is_ok_and(|answer| answer.status().is_success());
        self.wait_for("readiness", ready);
    }

    /// Waits until something is so; if it never is, shows what the process said.
    pub(crate) fn wait_for(&self, what: &str, mut until: impl FnMut() -> bool) {
        let since = Instant::now();
        while !until() {
            assert!(
                since.elapsed() < PATIENCE,
                "waited too long for {what}; the process said:\n{}",
                fs::read_to_string(self.dir.join("stderr.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it as an operator would; gives the exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        child.wait().unwrap().code().unwrap_or(-1)
    }

    /// A chat completion of so many tokens; gives status, call id and body, or nothing if the connection broke.
    pub(crate) fn chat(&self, key: &str, tokens: u32) -> Option<(u16, String, Value)> {
        let body =
            json!({ "model": format!("sandbox/{tokens}"), "messages": [{ "role": "user", "content": "hello" }] });
        let url = format!("http://{}/v1/chat/completions", self.gateway);
        let answer = self.client.post(url).bearer_auth(key).json(&body).send().ok()?;
        let (status, id) = (answer.status().as_u16(), answer.headers().get("x-tollgate-call-id").cloned());
        Some((status, id.map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default(), answer.json().ok()?))
    }

    /// The rows of a question asked with a token.
    pub(crate) fn ask(&self, token: &str, sql: &str) -> Result<Vec<Value>, String> {
        let url = format!("http://{}/v1/sql", self.query);
        let answer = self.client.post(url).bearer_auth(token).json(&json!({ "sql": sql })).send();
        let answer: Value = answer.and_then(reqwest::blocking::Response::json).map_err(|error| error.to_string())?;
        answer["rows"].as_array().cloned().ok_or_else(|| answer.to_string())
    }

    /// The rows of a question asked with the token that reads everything.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Value> {
        self.ask("tgq-all", sql).unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which the test has noticed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
