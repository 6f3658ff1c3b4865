//! Clients that call with tokens of an issuer instead of keys: PyJWT signs them, and the issuer's keys change, and go away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[path = "support/python.rs"]
mod python;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use house::Process;
use serde_json::{Value, json};

const PACKAGES: [&str; 2] = ["PyJWT==2.10.1", "cryptography==50.0.2"];

/// The issuer.
struct Issuer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    port: u16,
}

impl Issuer {
    fn start() -> Self {
        let python = python::environment("jwt-1", &PACKAGES).join("bin/python");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/issuer.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut issuer = Self { child, to, from: BufReader::new(from), port: 0 };
        issuer.port = issuer.line().trim().parse().unwrap();
        issuer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line
    }

    fn asks(&mut self, command: &Value) -> String {
        writeln!(self.to, "{command}").unwrap();
        serde_json::from_str::<Value>(&self.line()).unwrap().as_str().unwrap().to_owned()
    }

    fn token(&mut self, kid: &str, alg: &str, claims: &Value) -> String {
        self.asks(&json!({ "do": "token", "kid": kid, "alg": alg, "claims": claims }))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn seconds() -> i64 {
    schemas::time::now().as_micros() / 1_000_000
}

/// What a good token says, with some of it otherwise; nothing takes a claim out.
fn claims(other: Value) -> Value {
    let mut claims = json!({ "iss": "https://sso.test", "aud": ["other", "tollgate"], "sub": "ada", "exp": seconds() + 600,
        "org": { "tenant": "acme" }, "team": "search", "https://sso.test/env": "prod", "allowed": "sandbox/* lame" });
    for (name, value) in other.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// A house that takes the tokens of an issuer, and has its keys.
struct Stage {
    house: Process,
    issuer: Issuer,
    /// What the configuration says of the issuer.
    identity: String,
    /// A token that has been good.
    good: String,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut issuer = Issuer::start();
        for (kid, kind) in [("k1", "rsa"), ("e1", "ec"), ("d1", "ed"), ("stranger", "rsa")] {
            issuer.asks(&json!({ "do": "make", "kid": kid, "kind": kind }));
        }
        issuer.asks(&json!({ "do": "publish", "kids": ["k1", "e1", "d1"] }));
        let dir = tempfile::tempdir().unwrap();
        let mut house = Process::house(dir.path(), "[]");
        let identity = format!(
            "identity: {{ jwt: [ {{ name: sso, issuer: https://sso.test, audience: tollgate, jwks_url: \"http://127.0.0.1:{}/jwks\", \
             algorithms: [RS256, ES256, EdDSA], refresh: 1s, stale: 5s, leeway: 0s, claims: {{ tenant: org.tenant, team: team, \
             models: allowed, tags: {{ env: \"https://sso.test/env\" }} }} }} ] }}\n",
            issuer.port
        );
        house.edit("lake: {", &format!("{identity}lake: {{"));
        house.start();
        let good = issuer.token("k1", "RS256", &claims(json!({})));
        let stage = Self { house, issuer, identity, good, _dir: dir };
        stage.house.wait_for("the issuer's keys", || stage.is(&stage.good, 200, ""));
        stage
    }

    fn call(&self, token: &str) -> (u16, String) {
        let (status, _, body) = self.house.chat(token, 1).unwrap();
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    fn is(&self, token: &str, status: u16, code: &str) -> bool {
        self.call(token) == (status, code.to_owned())
    }
}

#[test]
fn tokens_of_an_issuer_are_keys_of_those_whom_they_name() {
    let mut stage = Stage::start();
    for (kid, alg) in [("k1", "RS256"), ("e1", "ES256"), ("d1", "EdDSA")] {
        let token = stage.issuer.token(kid, alg, &claims(json!({ "sub": alg })));
        assert_eq!(stage.call(&token), (200, String::new()), "{alg}");
    }
    if cfg!(feature = "query") {
        let sql = "SELECT tenant, team, user_id, key_name, tag('env') AS env FROM usage WHERE user_id = 'ES256'";
        stage.house.wait_for("the row", || !stage.house.rows(sql).is_empty());
        let wanted =
            json!({ "tenant": "acme", "team": "search", "user_id": "ES256", "key_name": "sso", "env": "prod" });
        assert_eq!(stage.house.rows(sql), [wanted]);
    }
    assert_eq!(stage.house.stop(), 0);
}

#[test]
fn a_token_is_refused_for_whatever_is_not_good_about_it() {
    let mut stage = Stage::start();
    let refused = [
        ("another audience", claims(json!({ "aud": "other" })), "TG3043"),
        ("no audience", claims(json!({ "aud": null })), "TG3043"),
        ("over", claims(json!({ "exp": seconds() - 1 })), "TG3043"),
        ("never over", claims(json!({ "exp": null })), "TG3043"),
        ("not yet", claims(json!({ "nbf": seconds() + 300 })), "TG3043"),
        ("no tenant", claims(json!({ "org": null })), "TG3043"),
        ("a tenant under its name and another by its path", claims(json!({ "org.tenant": "globex" })), "TG3043"),
        ("no user", claims(json!({ "sub": null })), "TG3043"),
        ("an empty user", claims(json!({ "sub": "" })), "TG3043"),
        ("no team", claims(json!({ "team": null })), "TG3043"),
        ("a tenant that is not here", claims(json!({ "org": { "tenant": "initech" } })), "TG3043"),
        ("a name that stands for others", claims(json!({ "team": "*" })), "TG3043"),
        ("no models", claims(json!({ "allowed": null })), "TG3043"),
        ("another issuer", claims(json!({ "iss": "https://other.test" })), "TG3002"),
    ];
    for (what, claims, code) in refused {
        let token = stage.issuer.token("k1", "RS256", &claims);
        assert_eq!(stage.call(&token), (401, code.to_owned()), "{what}");
    }
    let good_claims = claims(json!({}));
    for command in [
        json!({ "do": "token", "kid": "stranger", "as": "k1", "alg": "RS256", "claims": good_claims }),
        json!({ "do": "token", "kid": "stranger", "alg": "RS256", "claims": good_claims }),
        json!({ "do": "token", "kid": "e1", "as": "k1", "alg": "ES256", "claims": good_claims }),
        json!({ "do": "token", "kid": "k1", "alg": "RS384", "claims": good_claims }),
        json!({ "do": "token", "kid": "k1", "alg": "RS256", "claims": good_claims, "headers": { "crit": ["x-bound"], "x-bound": 1 } }),
        json!({ "do": "none", "kid": "k1", "claims": good_claims }),
        json!({ "do": "hs", "kid": "k1", "claims": good_claims }),
    ] {
        let token = stage.issuer.asks(&command);
        assert_eq!(stage.call(&token), (401, "TG3043".to_owned()), "{command}");
    }
    let (head, signature) = stage.good.rsplit_once('.').unwrap();
    assert_eq!(stage.call(&format!("{head}.{}", signature.to_ascii_lowercase())), (401, "TG3043".to_owned()));
    // A name with dots is one as well, and what is said twice alike is said.
    for named in [json!({ "org": null, "org.tenant": "acme" }), json!({ "org.tenant": "acme" })] {
        let token = stage.issuer.token("k1", "RS256", &claims(named.clone()));
        assert_eq!(stage.call(&token), (200, String::new()), "{named}");
    }
    let nobody = stage.issuer.token("k1", "RS256", &claims(json!({ "sub": null })));
    let (_, _, body) = stage.house.chat(&nobody, 1).unwrap();
    assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains("`sub`")), "{body}");
    let other_models = stage.issuer.token("k1", "RS256", &claims(json!({ "allowed": ["gpt-*"] })));
    assert_eq!(stage.call(&other_models), (403, "TG3042".to_owned()));
    assert_eq!(stage.house.stop(), 0);
}

#[test]
fn a_token_that_was_good_is_over_with_its_time_or_its_key() {
    let mut stage = Stage::start();
    let short = stage.issuer.token("k1", "RS256", &claims(json!({ "exp": seconds() + 3 })));
    assert_eq!(stage.call(&short), (200, String::new()));
    stage.house.wait_for("the end of a token", || !stage.is(&short, 200, ""));
    assert_eq!(stage.call(&short).0, 401);

    // The issuer takes a key back and has another.
    stage.issuer.asks(&json!({ "do": "make", "kid": "k2", "kind": "rsa" }));
    let next = stage.issuer.token("k2", "RS256", &claims(json!({})));
    assert_eq!(stage.call(&next), (401, "TG3043".to_owned()));
    stage.issuer.asks(&json!({ "do": "publish", "kids": ["k2", "e1"] }));
    assert_eq!(stage.call(&next), (200, String::new()), "it waits for the look that it calls for");
    assert_eq!(stage.call(&stage.good), (401, "TG3043".to_owned()), "its key is not published any more");
    assert_eq!(stage.house.stop(), 0);
}

#[test]
fn the_keys_of_an_issuer_that_is_away_are_good_for_a_while_and_no_longer() {
    let mut stage = Stage::start();
    stage.issuer.asks(&json!({ "do": "up", "is": false }));
    assert_eq!(stage.call(&stage.good), (200, String::new()));
    stage.house.wait_for("the end of the keys", || stage.is(&stage.good, 503, "TG3044"));
    assert_eq!(stage.call("tg-acme").0, 200, "keys do not need it");
    stage.issuer.asks(&json!({ "do": "up", "is": true }));
    stage.house.wait_for("its return", || stage.is(&stage.good, 200, ""));
    assert_eq!(stage.house.stop(), 0);
}

/// Of a token that was good nothing is remembered once the configuration is read again.
#[test]
fn what_is_wanted_of_tokens_is_what_the_configuration_says_now() {
    let mut stage = Stage::start();
    stage.house.edit("audience: tollgate", "audience: other-gate");
    stage.house.reload("the issuers of tokens are those");
    let moved = stage.issuer.token("k1", "RS256", &claims(json!({ "aud": "other-gate" })));
    stage.house.wait_for("the new audience", || stage.is(&moved, 200, ""));
    assert_eq!(stage.call(&stage.good), (401, "TG3043".to_owned()));
    stage.house.edit(&stage.identity.replace("audience: tollgate", "audience: other-gate"), "");
    stage.house.reload("the issuers of tokens are those");
    assert_eq!(stage.call(&moved), (401, "TG3002".to_owned()));
    assert_eq!(stage.house.stop(), 0);
}
