//! The admin API of the real binary: keys and limits that are made, changed and taken back while calls go on, and outlive a start.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[cfg(feature = "kafka")]
#[expect(dead_code, reason = "a broker of its own is for other tests")]
#[path = "support/kafka.rs"]
mod kafka;

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use house::{Process, free_address};
use reqwest::Method;
use serde_json::{Value, json};

const LIMITS: &str =
    "[ { name: calls, scope: { tenant: acme }, unit: requests, amount: 1000, window: total, mode: hard } ]";

const ADMINS: &str = "\nadmins: [ { name: ops, token: tga-ops, role: write, tenants: [\"*\"] }, \
    { name: eyes, token: tga-eyes, role: read, tenants: [\"*\"] }, { name: globex-ops, token: tga-globex, role: write, tenants: [globex] } ]\n";

/// A process with an admin API.
struct Office {
    house: Process,
    admin: String,
}

impl Office {
    fn start(dir: &std::path::Path) -> Self {
        Self::of(Process::house(dir, LIMITS))
    }

    fn of(mut house: Process) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let admin = free_address();
        house.edit("listen: {", &format!("listen: {{ admin: {admin},"));
        house.edit("lake: {", &format!("{}lake: {{", &ADMINS[1..]));
        house.start();
        Self { house, admin }
    }

    /// Status and body of a request, with its version if one is given.
    fn ask(
        &self,
        token: &str,
        method: &Method,
        path: &str,
        body: &Value,
        version: Option<&str>,
    ) -> (u16, Value, String) {
        let url = format!("http://{}{path}", self.admin);
        let mut request = self.house.client.request(method.clone(), url).bearer_auth(token);
        if !body.is_null() {
            request = request.json(body);
        }
        if let Some(version) = version {
            request = request.header("if-match", version);
        }
        let answer = request.send().unwrap();
        let etag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
        (answer.status().as_u16(), answer.json().unwrap(), etag)
    }

    fn ops(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let (status, body, _) = self.ask("tga-ops", method, path, body, None);
        (status, body)
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ops(&Method::POST, path, body)
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ops(&Method::GET, path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Status and code of a request.
    fn code(&self, token: &str, method: &Method, path: &str, body: &Value) -> (u16, String) {
        let (status, body, _) = self.ask(token, method, path, body, None);
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until a call with this key is answered so: a gateway follows the policy within a moment.
    #[track_caller]
    fn called(&self, key: &str, wanted: (u16, &str)) {
        let call = || {
            let (status, _, body) = self.house.chat(key, 1).unwrap();
            (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
        };
        let since = Instant::now();
        let wanted = (wanted.0, wanted.1.to_owned());
        loop {
            let now = call();
            if now == wanted {
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "{key}: {now:?} and not {wanted:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Exit code and output of `check --diff`, while the process runs or not.
    fn diff(&self, dir: &std::path::Path) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["check", "--diff", "--config"])
            .arg(dir.join(format!("{}.yaml", self.house.name)))
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

#[test]
fn a_key_lives_by_the_api_and_outlives_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let keys = "/v1/tenants/acme/keys";
    let asked = json!({ "name": "bot", "team": "search", "models": ["sandbox/*"], "tags": { "env": "prod" },
        "budget": { "unit": "requests", "amount": 3, "window": "total" } });
    let (status, made) = office.post(keys, &asked);
    assert_eq!(
        (status, &made["name"], &made["budget"][0]["name"]),
        (201, &json!("bot"), &json!("acme/bot/requests/total"))
    );
    let secret = made["key"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("tg-") && secret.len() == 67, "{secret}");
    assert_eq!(office.post(keys, &asked).1["error"]["code"], "TG7003", "a name is good for one key");
    let shown = office.get("/v1/tenants/acme/keys/bot");
    assert_eq!(
        (&shown["team"], &shown["disabled"], shown.get("key"), shown.get("sha256")),
        (&json!("search"), &json!(false), None, None)
    );

    // It calls, its own limit holds, and the limit changes in place: three calls passed, so two more do.
    office.called(&secret, (200, ""));
    let statuses = |count: usize| (0..count).map(|_| office.house.chat(&secret, 1).unwrap().0).collect::<Vec<_>>();
    assert_eq!(statuses(3), [200, 200, 429]);
    let limit = "/v1/limits/acme/bot/requests/total";
    let (status, raised) = office.ops(&Method::PATCH, limit, &json!({ "amount": 5, "alerts": ["0.8"] }));
    assert_eq!((status, &raised["amount"], &raised["mode"]), (200, &json!(5), &json!("hard")));
    office.called(&secret, (200, ""));
    assert_eq!(statuses(2), [200, 429]);
    assert_eq!(office.ops(&Method::PATCH, limit, &json!({ "window": "day" })).1["error"]["code"], "TG7005");

    // Rotated: both secrets are good for as long as was said.
    let (status, rotated) = office.post(&format!("{keys}/bot/rotate"), &json!({ "grace": "1h" }));
    let new = rotated["key"].as_str().unwrap().to_owned();
    assert!(status == 200 && new != secret && rotated["former_until"].is_string(), "{rotated}");
    office.called(&new, (429, "TG2001"));
    assert_eq!(office.ops(&Method::DELETE, limit, &Value::Null).0, 200);
    office.called(&new, (200, ""));
    office.called(&secret, (200, ""));
    // Again, at once this time: what was before is not known any more.
    let (_, rotated) = office.post(&format!("{keys}/bot/rotate"), &json!({ "grace": "0s" }));
    let newest = rotated["key"].as_str().unwrap().to_owned();
    office.called(&newest, (200, ""));
    for gone in [&secret, &new] {
        office.called(gone, (401, "TG3002"));
    }
    // How long the old one is good has to be said.
    let (status, told) = office.post(&format!("{keys}/bot/rotate"), &Value::Null);
    assert!(status == 400 && told["error"]["message"].as_str().unwrap().contains("lacks \"grace\""), "{told}");

    // A key of the file and one of the API are disabled, and the same file does not undo it.
    assert_eq!(office.post(&format!("{keys}/ci/disable"), &Value::Null).1["disabled"], true);
    assert_eq!(office.post(&format!("{keys}/bot/disable"), &Value::Null).0, 200);
    office.called("tg-acme", (401, "TG3040"));
    office.called(&newest, (401, "TG3040"));
    let over = ["= key acme/bot: created, by the admin API", "= key acme/ci: disabled, by the admin API"];
    let check = |office: &Office, code: i32, lines: &[&str]| {
        let (exit, said) = office.diff(dir.path());
        assert_eq!(exit, code, "{said}");
        lines.iter().for_each(|line| assert!(said.contains(line), "{said} does not say {line}"));
        assert!(!said.contains(&newest) && !said.contains("tga-"), "{said}");
    };
    check(&office, 0, &[&["nothing would change"], &over[..]].concat());
    assert_eq!(office.house.stop(), 0);
    check(&office, 0, &over);
    office.house.start();
    office.called("tg-acme", (401, "TG3040"));
    office.called(&newest, (401, "TG3040"));
    office.called("tg-globex", (200, ""));
    assert_eq!(office.post(&format!("{keys}/bot/enable"), &Value::Null).1["disabled"], false);
    office.called(&newest, (200, ""));

    // A file that says the same has it from then on.
    office.house.edit("key: tg-acme,", "key: tg-acme, disabled: true,");
    office.house.edit("team: t,", "team: tt,");
    office.house.edit("amount: 1000", "amount: 900");
    check(
        &office,
        1,
        &[
            "~ limit calls: amount 1000 → 900",
            "~ key acme/ci: team t → tt",
            "= key acme/ci: disabled, by the admin API: this file says the same",
        ],
    );
    office.house.reload("its policy is in force");
    check(&office, 0, &["nothing would change"]);
    assert_eq!(office.ops(&Method::DELETE, &format!("{keys}/bot"), &Value::Null).0, 200);
    office.called(&newest, (401, "TG3002"));
    tables(&office, &newest);
    assert_eq!(office.house.stop(), 0);
    office.house.prove();
    secrets_are_nowhere(dir.path(), &[&secret, &new, &newest]);
}

/// What the lake shows of it.
fn tables(office: &Office, secret: &str) {
    if !cfg!(feature = "query") {
        return;
    }
    let sql = "SELECT kind, name, changed_by, refused FROM policy_changes WHERE kind <> 'file' ORDER BY policy_offset";
    office.house.wait_for("the changes", || office.house.rows(sql).len() >= 10);
    let rows = office.house.rows(sql);
    let kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    let wanted = [
        "key.create",
        "key.create",
        "limit.change",
        "key.rotate",
        "limit.delete",
        "key.rotate",
        "key.disable",
        "key.disable",
        "key.enable",
        "key.delete",
    ];
    // A change that could not be made is shown with its reason.
    let made: Vec<&str> =
        rows.iter().filter(|row| row["refused"].is_null()).map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.len() - made.len(), 1, "{rows:?}");
    assert_eq!(kinds, wanted, "{rows:?}");
    assert!(rows.iter().all(|row| row["changed_by"] == "ops"), "{rows:?}");
    let keys = office
        .house
        .rows("SELECT key_name, disabled, valid_to IS NULL AS now FROM keys WHERE tenant = 'acme' ORDER BY valid_from");
    assert!(
        keys.iter().any(|row| row["key_name"] == "ci" && row["disabled"] == true && row["now"] == true),
        "{keys:?}"
    );
    assert!(keys.iter().all(|row| row["key_name"] != "bot" || row["now"] == false), "{keys:?}");
    let changes = office.get("/v1/policy/changes");
    assert_eq!(changes["changes"][0]["kind"], "key.delete");
    assert!(!changes.to_string().contains(secret));
}

/// No file that the process wrote has a secret in it.
fn secrets_are_nowhere(dir: &std::path::Path, secrets: &[&str]) {
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for secret in secrets {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{} is in {}",
                secret,
                path.display()
            );
        }
    }
}

#[test]
fn who_may_change_what() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let key = json!({ "name": "k" });
    let limit = |tenant: &str| {
        json!({ "name": format!("{tenant}-day"), "scope": { "tenant": tenant }, "unit": "usd", "amount": "1.5",
        "window": "day", "mode": "soft" })
    };
    let everyone = json!({ "name": "all", "unit": "requests", "amount": 1, "window": "day", "mode": "observe" });
    for (token, method, path, body, wanted) in [
        ("nobody", Method::GET, "/v1/tenants", &Value::Null, (401, "TG6003")),
        ("tg-acme", Method::GET, "/v1/tenants", &Value::Null, (401, "TG6003")),
        ("tga-eyes", Method::GET, "/v1/tenants/acme/keys", &Value::Null, (200, "")),
        ("tga-eyes", Method::POST, "/v1/tenants/acme/keys", &key, (403, "TG7001")),
        ("tga-globex", Method::POST, "/v1/tenants/acme/keys", &key, (404, "TG7002")),
        ("tga-globex", Method::GET, "/v1/tenants/acme/keys", &Value::Null, (404, "TG7002")),
        ("tga-globex", Method::POST, "/v1/tenants", &json!({ "name": "t" }), (403, "TG7001")),
        ("tga-globex", Method::POST, "/v1/limits", &limit("acme"), (404, "TG7002")),
        ("tga-globex", Method::POST, "/v1/limits", &everyone, (403, "TG7001")),
        ("tga-globex", Method::GET, "/v1/limits/calls", &Value::Null, (404, "TG7002")),
        ("tga-globex", Method::DELETE, "/v1/limits/calls", &Value::Null, (404, "TG7002")),
        ("tga-globex", Method::POST, "/v1/limits", &limit("globex"), (201, "")),
        ("tga-globex", Method::POST, "/v1/tenants/globex/keys", &key, (201, "")),
        ("tga-ops", Method::POST, "/v1/limits", &limit("globex"), (409, "TG7003")),
        ("tga-ops", Method::POST, "/v1/tenants/nobody/keys", &key, (404, "TG7002")),
        ("tga-ops", Method::POST, "/v1/tenants/acme/keys", &json!({ "name": "k", "teem": "x" }), (400, "TG7005")),
        ("tga-ops", Method::POST, "/v1/tenants/acme/keys", &json!({ "name": "k", "key": "tg-clear" }), (400, "TG7005")),
        ("tga-ops", Method::POST, "/v1/tenants/acme/keys/none/rotate", &json!({ "grace": "1h" }), (404, "TG7002")),
        ("tga-ops", Method::DELETE, "/v1/tenants/acme/keys/none", &Value::Null, (404, "TG7002")),
        ("tga-ops", Method::PUT, "/v1/tenants", &Value::Null, (405, "TG3010")),
        ("tga-ops", Method::GET, "/v1/keys", &Value::Null, (404, "TG3009")),
    ] {
        let asked = format!("{token} {method} {path} {body}");
        assert_eq!(office.code(token, &method, path, body), (wanted.0, wanted.1.to_owned()), "{asked}");
    }
    // What has no effect is taken, left away and told.
    let odd = json!({ "name": "odd", "scope": { "tenant": "acme" }, "unit": "requests", "amount": 9, "window": "day",
        "mode": "hard", "stream": "slices" });
    let (status, made) = office.post("/v1/limits", &odd);
    assert_eq!((status, &made["warnings"][0]["code"], made.get("stream")), (201, &json!("TG1014"), None), "{made}");
    let message = made["warnings"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("\"stream: slices\" has an effect only") && message.ends_with("; take it out"),
        "{made}"
    );
    assert_eq!(office.get("/v1/limits/odd").get("warnings"), None);
    // So is a key that has the name under which tokens call.
    let keys = dir.path().join("jwks.json");
    fs::write(&keys, r#"{"keys": []}"#).unwrap();
    let identity = format!(
        "identity: {{ jwt: [ {{ name: sso, issuer: sso.test, audience: a, jwks_file: {}, tenant: acme }} ] }}\nlake: {{",
        keys.display()
    );
    office.house.edit("lake: {", &identity);
    office.house.reload("its policy is in force");
    for (tenant, code) in [("acme", json!("TG1006")), ("globex", Value::Null)] {
        let (status, made) = office.post(&format!("/v1/tenants/{tenant}/keys"), &json!({ "name": "sso" }));
        assert_eq!((status, &made["warnings"][0]["code"]), (201, &code), "{made}");
    }
    assert_eq!(office.house.stop(), 0);
}

#[test]
fn of_two_that_saw_the_same_version_the_second_is_refused_whatever_it_wants() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let (_, _, seen) = office.ask("tga-ops", &Method::GET, "/v1/tenants", &Value::Null, None);
    let tenant = |name: &str, version: Option<&str>| {
        office.ask("tga-ops", &Method::POST, "/v1/tenants", &json!({ "name": name }), version)
    };
    let (status, _, now) = tenant("initech", Some(&seen));
    assert!(status == 201 && now != seen);
    assert_eq!((tenant("hooli", Some(&seen)).0, tenant("hooli", Some("oops")).0), (412, 400));
    assert_eq!(tenant("hooli", Some(&now)).0, 201);
    let names = |token: &str| {
        let (_, body, _) = office.ask(token, &Method::GET, "/v1/tenants", &Value::Null, None);
        body["tenants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tenant| tenant["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (names("tga-ops"), names("tga-globex")),
        (["acme", "globex", "hooli", "initech"].map(str::to_owned).to_vec(), vec!["globex".to_owned()])
    );
    assert_eq!(office.house.stop(), 0);
}

#[test]
fn a_token_that_is_taken_out_of_the_file_is_nobodys_as_soon_as_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    assert_eq!(office.code("tga-eyes", &Method::GET, "/v1/tenants", &Value::Null).0, 200);
    let differs = |line: &str| {
        let (code, said) = office.diff(dir.path());
        assert!(code == 1 && said.contains(line) && !said.contains("nothing would change"), "{code}: {said}");
    };
    office.house.edit("token: tga-eyes", "token: tga-other-eyes");
    differs("~ admins: takes effect when it is read");
    office.house.reload("the admins are those of the configuration that was read now");
    assert_eq!(office.code("tga-eyes", &Method::GET, "/v1/tenants", &Value::Null).0, 401);
    let told = || office.get("/v1/policy/changes")["changes"][0]["detail"].clone();
    office.house.wait_for("who may be admin", || told() == json!(["~ admins: takes effect when it is read"]));
    assert_eq!(office.diff(dir.path()).0, 0);
    // What the process keeps until its next start differs until then, whether it was read or not.
    office.house.edit("api_key: sk", "api_key: sk-other");
    differs("~ providers: takes effect at a start");
    office.house.reload("its policy was in force already");
    differs("~ providers: takes effect at a start");
    assert_eq!(office.house.stop(), 0);
    office.house.start();
    assert_eq!(office.diff(dir.path()).0, 0);
    assert_eq!(office.house.stop(), 0);
}

#[test]
fn a_file_that_gives_a_key_the_secret_of_another_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let (status, made) = office.post("/v1/tenants/acme/keys", &json!({ "name": "shared" }));
    assert_eq!(status, 201);
    let secret = made["key"].as_str().unwrap();
    office.called(secret, (200, ""));
    let hashed = format!("{{ name: ci, sha256: \"{}\" }}", schemas::policy::Digest::of(secret));
    office.house.edit("{ name: ci, key: tg-globex }", &hashed);
    office.house.edit("token: tga-eyes", "token: tga-others");
    assert_eq!(office.diff(dir.path()).0, 64);
    office.house.reload("nothing was changed");
    let said = fs::read_to_string(office.house.said()).unwrap();
    assert!(said.contains("TG1006: key globex/ci and key acme/shared have the same secret"), "{said}");
    // Not even who may say so.
    assert_eq!(office.code("tga-eyes", &Method::GET, "/v1/tenants", &Value::Null).0, 200);
    office.called("tg-globex", (200, ""));
    assert_eq!(office.post("/v1/tenants/acme/keys/shared/disable", &Value::Null).0, 200);
    office.called(secret, (401, "TG3040"));
    assert_eq!(office.house.stop(), 0);
}

#[test]
fn an_admin_of_a_tenant_keeps_no_file_from_being_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let of =
        |name: &str, secret: &str| json!({ "name": name, "sha256": schemas::policy::Digest::of(secret).to_string() });
    for (method, path, body, wanted) in [
        (Method::DELETE, "/v1/tenants/globex/keys/ci", Value::Null, 200),
        (Method::POST, "/v1/tenants/globex/keys", of("squat", "tg-globex"), 201),
        (Method::POST, "/v1/tenants/globex/keys", json!({ "name": "ci" }), 201),
    ] {
        assert_eq!(office.code("tga-globex", &method, path, &body).0, wanted, "{method} {path} {body}");
    }
    // What was rotated away is still that of the file's key.
    assert_eq!(office.post("/v1/tenants/acme/keys/ci/rotate", &json!({ "grace": "0s" })).0, 200);
    let stolen = office.code("tga-ops", &Method::POST, "/v1/tenants/acme/keys", &of("stolen", "tg-acme"));
    assert_eq!(stolen, (409, "TG7003".to_owned()));
    office.house.edit("amount: 1000", "amount: 999");
    office.house.edit(", { name: globex-ops, token: tga-globex, role: write, tenants: [globex] }", "");
    assert_eq!(office.diff(dir.path()).0, 1);
    office.house.reload("its policy is in force");
    assert_eq!(office.code("tga-globex", &Method::GET, "/v1/tenants", &Value::Null).0, 401);
    assert_eq!(office.diff(dir.path()).0, 0);
    assert_eq!(office.house.stop(), 0);
    office.house.edit("amount: 999", "amount: 998");
    office.house.start();
    office.called("tg-globex", (200, ""));
    assert_eq!(office.house.stop(), 0);
}

#[test]
fn a_tenant_that_was_made_anew_is_not_given_the_answers_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let house = Process::house(dir.path(), LIMITS);
    let model = "name: \"sandbox/*\", targets: [ { provider: sandbox } ]";
    house.edit(model, &format!("{model}, cache: {{ ttl: 1h }}"));
    let mut office = Office::of(house);
    let asked = json!({ "model": "sandbox/64", "messages": [{ "role": "user", "content": "hello" }] });
    let said = |key: &str| {
        let url = format!("http://{}/v1/chat/completions", office.house.gateway);
        let answer = office.house.client.post(url).bearer_auth(key).json(&asked).send().unwrap();
        let said = answer.headers()["x-tollgate-cache"].to_str().unwrap().to_owned();
        answer.bytes().unwrap();
        said
    };
    assert_eq!([said("tg-globex"), said("tg-globex")], ["miss", "hit"]);
    assert_eq!(office.ops(&Method::DELETE, "/v1/tenants/globex", &Value::Null).0, 200);
    assert_eq!(office.post("/v1/tenants", &json!({ "name": "globex" })).0, 201);
    let (status, made) = office.post("/v1/tenants/globex/keys", &json!({ "name": "ci" }));
    assert_eq!(status, 201);
    let secret = made["key"].as_str().unwrap();
    office.called(secret, (200, ""));
    assert_eq!([said(secret), said(secret)], ["miss", "hit"]);
    assert_eq!(office.house.stop(), 0);
}

#[test]
fn a_key_whose_time_is_over_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let expired = json!({ "name": "old", "expires": "2026-01-01T00:00:00Z", "sha256": "0a5f3ba5cc1a7e0bd3e0a2e2b8be6b2f0b4a1a3e6b7cf0c9f6f6f27e0d0a5d11" });
    assert_eq!(office.code("tga-ops", &Method::POST, "/v1/tenants/acme/keys", &expired).0, 201);
    let (_, made) =
        office.post("/v1/tenants/acme/keys", &json!({ "name": "older", "expires": "2026-01-01T00:00:00Z" }));
    office.called(made["key"].as_str().unwrap(), (401, "TG3041"));
    assert_eq!(office.house.stop(), 0);
}

/// A creation that is named, and whether it is answered as one that was made before.
fn named(office: &Office, name: &str, path: &str, body: &Value) -> (u16, Value, bool) {
    let url = format!("http://{}{path}", office.admin);
    let request = office.house.client.post(url).bearer_auth("tga-ops").header("idempotency-key", name).json(body);
    let answer = request.send().unwrap();
    let again = answer.headers().contains_key("idempotency-replayed");
    (answer.status().as_u16(), answer.json().unwrap(), again)
}

#[test]
fn a_tenant_is_made_once_changed_and_deleted_and_its_history_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let (tenant, keys) = (json!({ "name": "initech" }), "/v1/tenants/initech/keys");
    assert_eq!(named(&office, "one", "/v1/tenants", &tenant), (201, json!({ "name": "initech", "keys": [] }), false));
    let (status, made, again) = named(&office, "two", keys, &json!({ "name": "bot" }));
    let secret = made["key"].as_str().unwrap().to_owned();
    assert_eq!((status, again), (201, false));
    office.called(&secret, (200, ""));
    // The same again is answered as made, and tells no secret; another by that name is a mistake; and each outlives a start.
    for _ in 0..2 {
        let (status, made, again) = named(&office, "two", keys, &json!({ "name": "bot" }));
        assert_eq!((status, made.get("key"), again), (201, None, true));
        let (status, body, _) = named(&office, "two", keys, &json!({ "name": "other" }));
        assert_eq!((status, body["error"]["code"].as_str()), (409, Some("TG7006")));
        assert_eq!(office.get(keys)["keys"].as_array().unwrap().len(), 1);
        assert_eq!(office.house.stop(), 0);
        office.house.start();
    }
    let bot = "/v1/tenants/initech/keys/bot";
    // So is a rotation, or the second would end the grace of the first.
    let rotate = || named(&office, "three", &format!("{bot}/rotate"), &json!({ "grace": "1h" }));
    let ((first, rotated, again), (second, known, replayed)) = (rotate(), rotate());
    assert_eq!((first, again, second, known.get("key"), replayed), (200, false, 200, None, true));
    office.called(&secret, (200, ""));
    let secret = rotated["key"].as_str().unwrap().to_owned();
    office.called(&secret, (200, ""));
    let change = json!({ "team": "search", "models": ["other-*"], "expires": "2100-01-01T00:00:00Z" });
    let (status, changed) = office.ops(&Method::PATCH, bot, &change);
    assert_eq!((status, &changed["team"], &changed["models"]), (200, &json!("search"), &json!(["other-*"])));
    office.called(&secret, (403, "TG3042"));
    assert_eq!(office.ops(&Method::PATCH, bot, &json!({ "models": null, "expires": "2020-01-01T00:00:00Z" })).0, 200);
    office.called(&secret, (401, "TG3041"));
    assert_eq!(office.ops(&Method::PATCH, bot, &json!({ "expires": null })).0, 200);
    office.called(&secret, (200, ""));
    let (code, said) = office.diff(dir.path());
    assert!(code == 0 && said.contains("tenant initech: created"), "{said}");

    assert_eq!(office.ask("tga-globex", &Method::DELETE, "/v1/tenants/globex", &Value::Null, None).0, 403);
    for tenant in ["initech", "globex"] {
        let path = format!("/v1/tenants/{tenant}");
        assert_eq!(office.ops(&Method::DELETE, &path, &Value::Null).0, 200);
        assert_eq!(office.ops(&Method::GET, &path, &Value::Null).0, 404);
    }
    let (status, gone, _) = named(&office, "one", "/v1/tenants", &tenant);
    assert!(status == 404 && gone["error"]["message"].as_str().unwrap().ends_with("it is gone since"), "{gone}");
    office.called(&secret, (401, "TG3002"));
    office.called("tg-globex", (401, "TG3002"));
    let (code, said) = office.diff(dir.path());
    assert!(code == 0 && said.contains("tenant globex: deleted") && !said.contains("initech"), "{said}");
    if cfg!(feature = "query") {
        let sql = "SELECT count(*) AS n FROM usage WHERE tenant = 'initech'";
        // Two that had to be answered, and whatever came before the gateway knew of a change.
        office.house.wait_for("what it used", || house::number(&office.house.rows(sql)[0], "n") >= 2);
        let sql = "SELECT tenant FROM policy_changes WHERE kind = 'tenant.delete' ORDER BY tenant";
        assert_eq!(office.house.rows(sql), [json!({ "tenant": "globex" }), json!({ "tenant": "initech" })]);
    }
    assert_eq!(office.house.stop(), 0);
}

#[cfg(feature = "kafka")]
#[test]
fn two_admin_apis_on_one_log_agree_without_a_lock() {
    let Some(brokers) = kafka::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let prefix = format!("admin-{}", std::process::id());
    let office = |name: &str| {
        let outbox = dir.path().join(format!("outbox-{name}"));
        let log = format!(
            "{{ kind: kafka, brokers: \"{brokers}\", outbox: {}, prefix: {prefix}, lanes: 4 }}",
            outbox.display()
        );
        Office::of(Process::new(name, dir.path(), &log, LIMITS, Some("metering")))
    };
    let mut offices = [office("one"), office("two")];
    let both = |ask: &(dyn Fn(&Office, usize) -> u16 + Sync)| -> Vec<u16> {
        thread::scope(|scope| {
            let asked: Vec<_> =
                (0..8).map(|n| (&offices[n % 2], n)).map(|(office, n)| scope.spawn(move || ask(office, n))).collect();
            let mut statuses: Vec<u16> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
            statuses.sort_unstable();
            statuses
        })
    };
    // Of many that would make the same key one does; keys of other names are all made, and both tell of the same.
    let same = both(&|office, _| office.post("/v1/tenants/acme/keys", &json!({ "name": "bot" })).0);
    assert_eq!(same, [201, 409, 409, 409, 409, 409, 409, 409]);
    let others = both(&|office, n| office.post("/v1/tenants/acme/keys", &json!({ "name": format!("k{n}") })).0);
    assert_eq!(others, [201; 8]);
    let seen = |office: &Office| office.ask("tga-ops", &Method::GET, "/v1/tenants/acme/keys", &Value::Null, None);
    let (one, two) = (seen(&offices[0]), seen(&offices[1]));
    assert_eq!((one.1["keys"].as_array().unwrap().len(), &one), (10, &two));
    // Of many that saw the same version one is right.
    let version = one.2;
    let raced = both(&|office, n| {
        office.ask("tga-ops", &Method::POST, "/v1/tenants", &json!({ "name": format!("t{n}") }), Some(&version)).0
    });
    assert_eq!(raced, [201, 412, 412, 412, 412, 412, 412, 412]);
    let (exit, said) = offices[1].diff(dir.path());
    assert!(exit == 0 && said.contains("= key acme/bot: created"), "{exit}: {said}");
    for office in &mut offices {
        assert_eq!(office.house.stop(), 0);
    }
}

/// Without `backfill` a limit counts from when it is in force; what it had counted stays its own, and so does what corrects that.
#[test]
fn a_limit_that_is_deleted_and_made_again_has_what_was_amended_meanwhile() {
    if !cfg!(feature = "query") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut office = Office::start(dir.path());
    let house = &office.house;
    let make = |amount: u64| {
        let limit = json!({ "name": "again", "scope": { "tenant": "acme" }, "unit": "tokens", "amount": amount,
            "window": "month", "mode": "hard" });
        assert_eq!(office.post("/v1/limits", &limit).0, 201);
    };
    let change = |amount: u64| {
        assert_eq!(office.ops(&Method::PATCH, "/v1/limits/again", &json!({ "amount": amount })).0, 200);
    };
    // Calls until one is answered so; gives its id, and how many passed.
    let answers = |wanted: u16| {
        let (mut call, mut passed) = (String::new(), 0_i64);
        house.wait_for("an answer", || {
            let (status, id, _) = house.chat("tg-acme", 1).unwrap();
            (call, passed) = (id, passed + i64::from(status == 200));
            status == wanted
        });
        (call, passed)
    };
    // It is in force when nothing passes, and of what passed before it knows nothing.
    make(1);
    answers(429);
    change(90_000);
    let (call, passed) = answers(200);
    assert_eq!(passed, 1);
    let tokens = || {
        let row =
            house.rows(&format!("SELECT input_tokens, output_tokens FROM usage WHERE call_id = '{call}'")).pop()?;
        Some((house::number(&row, "input_tokens"), house::number(&row, "output_tokens")))
    };
    let settled = |wanted: i64| {
        house.wait_for("the balance", || {
            let rows = house.rows("SELECT settled FROM balances WHERE limit_name = 'again'");
            rows.last().is_some_and(|row| house::number(row, "settled") == wanted)
        });
    };
    house.wait_for("its row", || tokens().is_some());
    let (input, output) = tokens().unwrap();
    settled(input + output);

    change(1);
    let counted = 1 + answers(429).1;
    assert_eq!(office.ops(&Method::DELETE, "/v1/limits/again", &Value::Null).0, 200);
    answers(200);
    let event = json!({ "specversion": "1.0", "id": "1", "source": "urn:bill", "type": "tollgate.usage.amended.v1",
        "time": schemas::time::now().to_string(), "data": { "call_id": call, "was": { "input": input, "output": output },
        "tokens": { "input": input, "output": output + 500 } } });
    let told = house.client.post(format!("http://{}/v1/events", house.gateway)).bearer_auth("tg-acme");
    let told = told.header("content-type", "application/cloudevents+json").body(event.to_string()).send().unwrap();
    assert_eq!(told.status().as_u16(), 202, "{told:?}");
    let corrected = format!("SELECT entry FROM charges WHERE call_id = '{call}' AND entry = 'correction'");
    house.wait_for("the correction", || !house.rows(&corrected).is_empty());
    make(90_000);
    settled(counted * (input + output) + 500);
    assert_eq!(office.house.stop(), 0);
    office.house.prove();
}
