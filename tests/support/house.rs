//! The real binary: processes of one role or of all, started, killed and started again; and a client for their surfaces.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long a start, or the coming true of anything else, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What every configuration of a test says of providers, models, tenants and access.
const COMMON: &str = "\
    providers:\n\
    \x20 - { name: sandbox, dialect: sandbox, frame_delay: 2ms }\n\
    \x20 - { name: dead, dialect: openai, base_url: \"http://127.0.0.1:1/v1\", api_key: sk }\n\
    models:\n\
    \x20 - { name: \"sandbox/*\", targets: [ { provider: sandbox } ] }\n\
    \x20 - { name: lame, targets: [ { provider: dead, model: gpt-4o-mini }, { provider: sandbox, model: sandbox/8 } ] }\n\
    \x20 - { name: full, targets: [ { provider: sandbox, model: sandbox/4 }, { provider: sandbox, model: sandbox/8 } ],\n\
    \x20     retry: { on: [ limit ] } }\n\
    \x20 - { name: slow, targets: [ { provider: dead, model: gpt-4o-mini } ], retry: { attempts: 2, backoff: 5s } }\n\
    tenants:\n\
    \x20 - { name: acme, keys: [ { name: ci, key: tg-acme, team: t, user: u } ] }\n\
    \x20 - { name: globex, keys: [ { name: ci, key: tg-globex } ] }\n\
    access: [ { token: tgq-all, tenants: [\"*\"] }, { token: tgq-acme, tenants: [acme] } ]\n\
    proxies: [ { name: edge, token: tgp-edge, tenants: [\"*\"] }, { name: narrow, token: tgp-narrow, tenants: [globex] } ]\n";

/// A process of a test.
pub(crate) struct Process {
    /// What it is called, in the names of its files too.
    pub(crate) name: String,
    dir: PathBuf,
    roles: Option<&'static str>,
    /// `127.0.0.1:port` of the gateway, if that is one of its roles.
    pub(crate) gateway: String,
    /// Of the query service.
    pub(crate) query: String,
    pub(crate) ops: String,
    pub(crate) child: Option<Child>,
    pub(crate) client: reqwest::blocking::Client,
}

/// Ends the load that looks at its flag when it goes, so that a wait that fails leaves no scope waiting for ever.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An address of this machine that nothing listens on, each time another: of a port that no client is given, so that none has it when it is
/// listened on, however much later.
pub(crate) fn free_address() -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    const PORTS: u32 = 12_000;
    let first = std::process::id().wrapping_mul(61);
    let mut addresses = (0..PORTS).map(|_| {
        let port = 20_000 + first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        format!("127.0.0.1:{port}")
    });
    addresses.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

impl Process {
    /// A process with this log (a YAML map) and these limits (a YAML list), not started; every role where none are named.
    pub(crate) fn new(name: &str, dir: &Path, log: &str, limits: &str, roles: Option<&'static str>) -> Self {
        Self::of(name, dir, log, &format!("{COMMON}limits: {limits}\n"), roles)
    }

    /// The same with all that its configuration says beside where things are.
    pub(crate) fn of(name: &str, dir: &Path, log: &str, rest: &str, roles: Option<&'static str>) -> Self {
        let (gateway, query, ops) = (free_address(), free_address(), free_address());
        let config = format!(
            "listen: {{ gateway: {gateway}, query: {query}, ops: {ops} }}\n\
             log: {log}\nlake: {{ url: {}/lake }}\nserver: {{ drain: 10s }}\n{rest}",
            dir.display(),
        );
        fs::write(dir.join(format!("{name}.yaml")), config).unwrap();
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { name: name.to_owned(), dir: dir.to_owned(), roles, gateway, query, ops, child: None, client }
    }

    /// Puts something else in the place of a part of its configuration.
    pub(crate) fn edit(&self, part: &str, with: &str) {
        let path = self.dir.join(format!("{}.yaml", self.name));
        let config = fs::read_to_string(&path).unwrap();
        assert!(config.contains(part), "{config}");
        fs::write(path, config.replace(part, with)).unwrap();
    }

    /// A process of all roles on a log on disk.
    pub(crate) fn house(dir: &Path, limits: &str) -> Self {
        Self::new("tollgate", dir, &format!("{{ kind: disk, dir: {}/log }}", dir.display()), limits, None)
    }

    /// Starts it and waits until every role of it can answer.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait_for("readiness", || self.is_ready());
    }

    /// Starts it.
    pub(crate) fn spawn(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.said()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["up", "--config"]).arg(self.dir.join(format!("{}.yaml", self.name)));
        if let Some(roles) = self.roles {
            command.args(["--roles", roles]);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Whether every role of it can answer.
    pub(crate) fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("http://{}/readyz", self.ops)).send();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Why it is not ready; nothing if it is, or does not listen yet.
    pub(crate) fn reasons(&self) -> String {
        let answer = self.client.get(format!("http://{}/readyz", self.ops)).send();
        let answer: Option<Value> = answer.ok().and_then(|answer| answer.json().ok());
        answer.map(|answer| answer["reasons"].to_string()).unwrap_or_default()
    }

    /// A gauge or counter without labels, as its metrics show it now.
    pub(crate) fn metric(&self, name: &str) -> Option<String> {
        let text = self.client.get(format!("http://{}/metrics", self.ops)).send().ok()?.text().ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
    }

    pub(crate) fn said(&self) -> PathBuf {
        self.dir.join(format!("{}.stderr", self.name))
    }

    /// Has it read its configuration again, and waits until it says this of it.
    pub(crate) fn reload(&self, until: &str) {
        let count = || fs::read_to_string(self.said()).unwrap_or_default().matches(until).count();
        let before = count();
        self.signal("-HUP");
        self.wait_for(until, || count() > before);
    }

    /// Waits until something is so; if it never is, shows what the process said.
    pub(crate) fn wait_for(&self, what: &str, mut until: impl FnMut() -> bool) {
        let since = Instant::now();
        while !until() {
            assert!(
                since.elapsed() < PATIENCE,
                "waited too long for {what}; {} is not ready because of {}, and said:\n{}",
                self.name,
                self.reasons(),
                fs::read_to_string(self.said()).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it without warning; may be called by another thread than the one that uses it.
    pub(crate) fn kill_9(&self) {
        self.signal("-9");
    }

    /// Sends it a signal, as `kill` names it.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Takes note that it was ended.
    pub(crate) fn ended(&mut self) {
        self.child.take().unwrap().wait().unwrap();
    }

    /// Ends it as an operator would; gives the exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Rebuilds the books from its log, which nothing may be using, and holds them against the live ones.
    pub(crate) fn prove(&self) {
        let said = self.command(&["replay"]);
        assert!(said.contains("equal, to the unit") && !said.contains(" 0 balances"), "{said}");
    }

    /// What a command that reads its log prints, which must succeed.
    pub(crate) fn command(&self, args: &[&str]) -> String {
        let config = self.dir.join(format!("{}.yaml", self.name));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let output = command.args(args).arg("--config").arg(config).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A chat completion of so many tokens; gives status, call id and body, or nothing if the connection broke.
    pub(crate) fn chat(&self, key: &str, tokens: u32) -> Option<(u16, String, Value)> {
        self.chat_with(key, &format!("sandbox/{tokens}"))
    }

    /// The same of a model.
    pub(crate) fn chat_with(&self, key: &str, model: &str) -> Option<(u16, String, Value)> {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] });
        let url = format!("http://{}/v1/chat/completions", self.gateway);
        let answer = self.client.post(url).bearer_auth(key).json(&body).send().ok()?;
        let (status, id) = (answer.status().as_u16(), answer.headers().get("x-tollgate-call-id").cloned());
        Some((status, id.map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default(), answer.json().ok()?))
    }

    /// A message of so many tokens, streamed.
    pub(crate) fn stream(&self, key: &str, tokens: u32) -> reqwest::blocking::Response {
        let body = json!({ "model": format!("sandbox/{tokens}"), "max_tokens": tokens, "stream": true,
            "messages": [{ "role": "user", "content": "hello" }] });
        let url = format!("http://{}/v1/messages", self.gateway);
        self.client.post(url).bearer_auth(key).header("anthropic-version", "2023-06-01").json(&body).send().unwrap()
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

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which the test has noticed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A whole number in a row; amounts in other units than dollars have zeros after the point.
pub(crate) fn number(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap_or_else(|| row[column].as_str().unwrap().split('.').next().unwrap().parse().unwrap())
}
