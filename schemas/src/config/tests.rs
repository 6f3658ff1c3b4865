//! What is refused, and what is said of it: one table a part of the file.
//!
//! Each case is one document with one mistake; the message is held to its line, its code and what it says. Secrets in the
//! documents hold the word "very", and no message may.

use super::*;
use crate::error_code::ErrorCode::{self, *};

mod accepted;

fn env(name: &str) -> Option<String> {
    Some(match name {
        "HOST" => "127.0.0.9".into(),
        "PORT" => "9000".into(),
        "SECRET" => "sk-very-secret".into(),
        "BROKEN" => "sk-very secret\n".into(),
        "EMPTY" => String::new(),
        _ => return None,
    })
}

fn parse(text: &str) -> Result<(Config, Vec<Warning>), Vec<Mistake>> {
    Config::parse(text, "t.yaml", &env)
}

#[track_caller]
fn good(text: &str) -> Config {
    match parse(text) {
        Ok((config, _)) => config,
        Err(mistakes) => panic!("{}", mistakes.iter().map(|mistake| format!("{mistake}\n")).collect::<String>()),
    }
}

#[test]
fn what_is_not_published_is_told_apart_by_section() {
    let told = |rest: &str| good(&format!("lake: {{ url: ./lake }}\n{rest}")).policy(BookHash::NONE).beside;
    let differ = |one: &str, other: &str| {
        let (one, other) = (told(one), told(other));
        one.into_iter()
            .filter(|(section, digest)| other[section] != *digest)
            .map(|(section, _)| section)
            .collect::<Vec<_>>()
    };
    let admin = |rest: &str| format!("listen: {{ admin: 127.0.0.1:9 }}\nadmins: [ {{ name: ops, {rest} }} ]\n");
    let read = admin("token: t, role: read, tenants: [\"*\"]");
    let provider = |rest: &str| format!("providers: [ {{ name: a, dialect: groq, {rest} }} ]\n");
    let (none, admins, providers): (&[&str], &[&str], &[&str]) = (&[], &["admins"], &["providers"]);
    for (one, other, wanted) in [
        (read.clone(), admin("tenants: [\"*\"],   role: 'read', token: t"), none),
        (read.clone(), admin("token: t, role: write, tenants: [\"*\"]"), admins),
        (read.clone(), admin("token: u, role: read, tenants: [\"*\"]"), admins),
        (read, String::new(), admins),
        (provider("api_key: sk-a"), provider("api_key: sk-b"), providers),
        (provider("api_key: sk-a"), provider("api_key: sk-a, http2: true"), providers),
        ("log: { kind: disk, dir: a }".into(), "log: { kind: disk, dir: b }".into(), none),
    ] {
        assert_eq!(differ(&one, &other), wanted, "{one} {other}");
    }
    // What a process keeps until it starts again is as it was.
    let (one, other) = (provider("api_key: sk-a"), provider("api_key: sk-b"));
    let (started, after) = (good(&one), good(&format!("{other}{}", admin("token: t, role: read, tenants: [\"*\"]"))));
    let kept = after.policy_after(&started, BookHash::NONE).beside;
    assert_eq!(kept["providers"], started.beside["providers"]);
    assert_eq!(kept["admins"], after.beside["admins"]);
}

fn places(remarks: &[Remark]) -> Vec<(usize, usize, ErrorCode)> {
    remarks.iter().map(|remark| (remark.at.line, remark.at.column, remark.code)).collect()
}

/// One mistake of `code` in line `line`, whose text holds `says`; the document has no secret that could be quoted.
#[track_caller]
fn check((text, line, code, says): (&str, usize, ErrorCode, &str)) {
    let mistakes = parse(text).expect_err(text);
    let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(mistakes.len(), 1, "{text}: {shown:#?}");
    let [mistake] = mistakes.as_slice() else { return };
    assert_eq!((mistake.at.line, mistake.code), (line, code), "{text}: {shown:#?}");
    assert!(shown[0].contains(says), "{text}: {shown:#?} does not say {says:?}");
    assert!(!shown[0].contains("very"), "a secret is shown: {shown:#?}");
}

/// A limit with one member more, or one other.
fn limit(member: &str) -> String {
    let default = [
        ("name", "name: l"),
        ("unit", "unit: usd"),
        ("amount", "amount: \"1.5\""),
        ("window", "window: day"),
        ("mode", "mode: hard"),
    ];
    let key = member.split(':').next().unwrap_or_default();
    let kept: Vec<&str> = default.iter().filter(|(name, _)| *name != key).map(|(_, text)| *text).collect();
    format!("limits:\n  - {{ {}, {member} }}", kept.join(", "))
}

fn provider(members: &str) -> String {
    format!("providers:\n  - {{ name: p, {members} }}")
}

#[test]
fn one_mistake_each() {
    let cases: &[(&str, usize, ErrorCode, &str)] = &[
        ("a: [", 2, ConfigUnreadable, "not YAML"),
        ("listen: {}\n---\nlog: {}", 2, ConfigUnreadable, "second document"),
        ("[1]", 1, BadConfigValue, "written as a list"),
        ("- 1: 2\n  ? [a]\n  : b", 2, ConfigUnreadable, "plain text"),
        ("limit: []", 1, UnknownConfigKey, "did you mean \"limits\"?"),
        ("key sk-very-secret: 1", 1, UnknownConfigKey, "(not shown)"),
        (
            "tenants: [ { name: a, keys: [ { name: k, key: very, sk-very-secret } ] } ]",
            1,
            UnknownConfigKey,
            "(not shown)",
        ),
        ("zzzzzzzzzz: []", 1, UnknownConfigKey, "knows listen, log"),
        ("server: { drain: 1s, drain: 2s }", 1, DuplicateConfig, "a key stands twice"),
        ("server: { drain: ten }", 1, BadConfigValue, "\"ten\" is not a time"),
        ("server: { drain: 5 }", 1, BadConfigValue, "100ms"),
        ("server: { drain: 99999999999d }", 1, BadConfigValue, "time"),
        ("server: { header_timeout: 0s }", 1, BadConfigValue, "longer than zero"),
        ("server: { max_body: 64mb }", 1, BadConfigValue, "64MiB"),
        ("server: { max_body: 2GiB }", 1, BadConfigValue, "larger than max_body_in_flight"),
        ("server: { cache: 0B }", 1, BadConfigValue, "size"),
        ("server: { max_connections: 0 }", 1, BadConfigValue, "from 1 to"),
        ("server: 5", 1, BadConfigValue, "a single value"),
        ("listen: { gateway: nowhere }", 1, BadConfigValue, "an IP address and a port"),
        ("listen:\n  gateway: 127.0.0.1:1\n  ops: 127.0.0.1:1", 3, DuplicateConfig, "same address"),
        ("listen:\n  gateway: 127.0.0.1:8081", 2, DuplicateConfig, "query and gateway"),
        ("listen: { gateway: \"${NOPE}\" }", 1, UnsetVariable, "NOPE is not set"),
        ("listen: { gateway: \"${HOST\" }", 1, UnsetVariable, "without"),
        ("listen: { gateway: \"${HO ST}\" }", 1, UnsetVariable, "does not name"),
        ("log: { dir: x }", 1, MissingConfigKey, "kind"),
        ("log: { kind: tape }", 1, BadConfigValue, "disk or kafka"),
        ("log: { kind: disk, brokers: x }", 1, UnknownConfigKey, "a log of kind disk knows"),
        ("log: { kind: disk, fsync: never }", 1, BadConfigValue, "group"),
        ("log: { kind: kafka }", 1, MissingConfigKey, "brokers"),
        ("log: { kind: kafka, brokers: host }", 1, BadConfigValue, "host:port"),
        ("log: { kind: kafka, brokers: \"h:1\", lanes: 0 }", 1, BadConfigValue, "from 1 to 1024"),
        ("log: { kind: kafka, brokers: \"h:1\", prefix: \"a b\" }", 1, BadConfigValue, "topic names"),
        ("lake: { url: gs://x/y }", 1, BadConfigValue, "s3://"),
        ("lake: { url: s3://B }", 1, BadConfigValue, "bucket"),
        ("lake: { url: \"./a%20b\" }", 1, BadConfigValue, "percent sign"),
        ("lake: { url: \"file:///a%C3%A9\" }", 1, BadConfigValue, "name another directory"),
        ("lake: {}", 1, MissingConfigKey, "url"),
        ("prices: x.yaml", 1, BadConfigValue, "a list"),
        ("cors: { origins: [app.example.com] }", 1, BadConfigValue, "origin"),
        ("metering: { dedup_days: -1 }", 1, BadConfigValue, "from 1"),
        ("metering: { outage_budget: 30d }", 1, BadConfigValue, "week"),
        ("metering: { promoted_tags: [\"a b\"] }", 1, BadConfigValue, "name of a tag"),
        ("metering: { promoted_tags: [env] }", 1, NotBuilt, "column for a tag"),
    ];
    cases.iter().copied().for_each(check);
}

#[test]
fn one_mistake_in_what_a_model_keeps_or_has_judged() {
    let cases: &[(&str, ErrorCode, &str)] = &[
        ("cache: { max_answer: 1MiB }", MissingConfigKey, "ttl"),
        ("cache: { ttl: 0s }", BadConfigValue, "longer than zero"),
        ("cache: { ttl: 1h, max_answer: 1GiB }", BadConfigValue, "more than server.cache"),
        ("judge: { provider: s }", MissingConfigKey, "model"),
        ("judge: { provider: t, model: j }", DanglingReference, "no provider"),
        ("judge: { provider: s, model: j, max_answer: 2MiB }", BadConfigValue, "max_answer"),
        ("judge: { provider: s, model: j }, cache: { ttl: 1h }", BadConfigValue, "not kept"),
    ];
    for (members, code, says) in cases {
        let model = format!("models: [ {{ name: m, targets: [ {{ provider: s }} ], {members} }} ]");
        check((&format!("providers: [ {{ name: s, dialect: sandbox }} ]\n{model}"), 2, *code, says));
    }
}

#[test]
fn one_mistake_in_a_provider() {
    let cases: &[(&str, ErrorCode, &str)] = &[
        ("base_url: https://x.com/v1", MissingConfigKey, "dialect"),
        ("dialect: openai", MissingConfigKey, "base_url"),
        ("dialect: coherent, base_url: https://x.com/v1", BadConfigValue, "openai or anthropic or sandbox"),
        ("dialect: cohere, base_url: https://x.com/v1", BadConfigValue, "has no path"),
        ("dialect: bedrock", MissingConfigKey, "base_url"),
        ("dialect: vllm", MissingConfigKey, "base_url"),
        ("dialect: groq, region: eu", BadConfigValue, "only with dialect bedrock"),
        ("dialect: groq, api_version: \"1\"", BadConfigValue, "only with dialect azure"),
        ("dialect: bedrock, base_url: https://x, access_key_id: a, secret_access_key: b", BadConfigValue, "region"),
        ("dialect: sandbox, passthrough: true", BadConfigValue, "calls nobody"),
        ("dialect: sandbox, credentials: gcp", BadConfigValue, "calls nobody"),
        ("dialect: groq, api_key: k, api_key_file: k.txt", BadConfigValue, "both api_key and api_key_file"),
        ("dialect: groq, api_key_file: \"\"", BadConfigValue, "names no file"),
        ("dialect: gemini, api_key: k, credentials: gcp", BadConfigValue, "both api_key and credentials"),
        ("dialect: gemini, api_key_file: k, credentials: gcp", BadConfigValue, "both api_key_file and credentials"),
        ("dialect: gemini, credentials: aws", BadConfigValue, "does not go with this dialect"),
        ("dialect: groq, credentials: azure", BadConfigValue, "does not go with this dialect"),
        ("dialect: gemini, credentials: ibm", BadConfigValue, "write aws or gcp or azure"),
        ("dialect: bedrock, base_url: https://x, credentials: aws", BadConfigValue, "region"),
        (
            "dialect: bedrock, base_url: https://x, region: eu-west-1, session_token: t, credentials: aws",
            BadConfigValue,
            "both session_token and credentials",
        ),
        (
            "dialect: bedrock, base_url: https://x, region: a.b/c, credentials: aws",
            BadConfigValue,
            "not the name of one",
        ),
        ("dialect: openai, base_url: https://x.com", BadConfigValue, "/v1"),
        ("dialect: anthropic, base_url: https://x.com/v1/", BadConfigValue, "take /v1 out"),
        ("dialect: openai, base_url: ftp://x.com/v1", BadConfigValue, "https://"),
        ("dialect: openai, base_url: \"https://u:very@x.com/v1\"", BadConfigValue, "password"),
        ("dialect: openai, base_url: \"https://x.com/v1?k=very\"", BadConfigValue, "query"),
        ("dialect: openai, base_url: \"https://x y/v1\"", BadConfigValue, "host or port"),
        ("dialect: openai, base_url: \"https://x.com:0/v1\"", BadConfigValue, "host or port"),
        ("dialect: openai, base_url: \"http://x.com/v1\"", AddressNotAllowed, "plain http"),
        ("dialect: openai, base_url: \"https://10.0.0.1/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://169.254.169.254/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://[fd00::1]/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://[::ffff:10.0.0.1]/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://2130706433/v1\"", BadConfigValue, "host or port"),
        ("dialect: openai, base_url: \"https://0x7f.1/v1\"", BadConfigValue, "host or port"),
        ("dialect: sandbox, base_url: https://x.com", BadConfigValue, "calls nobody"),
        ("dialect: anthropic, base_url: https://x.com, frame_delay: 5ms", BadConfigValue, "sandbox"),
        ("dialect: anthropic, base_url: https://x.com, api_key: \"${BROKEN}\"", BadConfigValue, "header cannot carry"),
        ("dialect: anthropic, base_url: https://x.com, api_key: [very]", BadConfigValue, "a single value"),
        ("dialect: anthropic, base_url: https://x.com, api_kee: very-bad", UnknownConfigKey, "\"api_key\"?"),
        ("dialect: anthropic, base_url: https://x.com, timeouts: { first: 1s }", UnknownConfigKey, "timeouts knows"),
        ("dialect: anthropic, base_url: https://x.com, http2: yes", BadConfigValue, "true or false"),
        ("dialect: anthropic, base_url: https://x.com, usage_in_stream: maybe", BadConfigValue, "ask or always"),
        ("dialect: anthropic, base_url: https://x.com, responses: native", BadConfigValue, "only with dialect openai"),
        ("dialect: groq, responses: none", BadConfigValue, "native or translated"),
        ("dialect: anthropic, base_url: https://x.com, forward: [\"a b\"]", BadConfigValue, "a header"),
        ("dialect: anthropic, base_url: https://x.com, forward: [Cookie]", BadConfigValue, "never forwarded"),
    ];
    for (members, code, says) in cases {
        check((&provider(members), 2, *code, says));
    }
}

#[test]
fn one_mistake_in_a_limit() {
    let cases: &[(&str, ErrorCode, &str)] = &[
        ("unit: ~", MissingConfigKey, "lacks \"unit\""),
        ("mode: medium", BadConfigValue, "hard or soft or observe"),
        ("unit: dollars", BadConfigValue, "requests or tokens"),
        ("window: year", BadConfigValue, "month or total"),
        ("amount: -1", BadConfigValue, "dollars"),
        ("amount: 1e3", BadConfigValue, "dollars"),
        ("amount: \"0.0000000000001\"", BadConfigValue, "12 decimals"),
        ("amount: 10000000000", BadConfigValue, "1000000000"),
        ("zone: Mars/Base", BadConfigValue, "time zone"),
        ("unbounded: maybe", BadConfigValue, "hold or refuse or admit"),
        ("on_exceed: { downgrade: gpt-5-mini }", DanglingReference, "no model serves"),
        ("on_exceed: { downgrade: ~ }", BadConfigValue, "single value"),
        ("on_exceed: { downgrade: a, upgrade: b }", BadConfigValue, "none of the choices"),
        ("stream: thin", BadConfigValue, "whole or slices"),
        ("on_exceed: explode", BadConfigValue, "none of the choices"),
        ("alerts: [80%]", BadConfigValue, "0.8"),
        ("alerts: [0]", BadConfigValue, "0.8"),
        ("alerts: [0.999]", BadConfigValue, "0.8"),
        ("alerts: 0.8", BadConfigValue, "list"),
        ("backfill: true", CannotBackfill, "names no tenant"),
        ("backfill: yes", BadConfigValue, "true or false"),
        ("scope: { tennant: a }", UnknownConfigKey, "did you mean \"tenant\"?"),
        ("scope: { tag.: a }", UnknownConfigKey, "tag."),
        ("scope: { user: \"a*b\" }", BadConfigValue, "before its end"),
        ("scope: { user: ~ }", BadConfigValue, "no value"),
        ("scope: { tag.env: \"*\" }", BadConfigValue, "max_instances"),
        ("scope: { tag.env: a, tags: { env: b } }", DuplicateConfig, "twice in the scope"),
        ("max_instances: 0, scope: { tag.env: \"*\" }", BadConfigValue, "from 1"),
        ("values: [a, a], scope: { tag.env: \"*\" }", DuplicateConfig, "defined twice"),
        ("alert: []", UnknownConfigKey, "\"alerts\"?"),
    ];
    for (member, code, says) in cases {
        check((&limit(member), 2, *code, says));
    }
    check((&limit("amount: 1.5").replace("unit: usd", "unit: tokens"), 2, BadConfigValue, "whole number"));
}

/// What a model says of its targets, and what is wrong with it.
#[test]
fn routing_is_checked() {
    let model = |members: &str| {
        format!(
            "limits: [ {{ name: l, unit: usd, amount: 1, window: day, mode: soft }} ]\nproviders: [ {{ name: s, dialect: sandbox }} ]\nmodels: [ {{ name: m, {members} }} ]"
        )
    };
    let two = "targets: [ { provider: s }, { provider: s, model: b } ]";
    let target = |members: &str| format!("targets: [ {{ provider: s, {members} }}, {{ provider: s, model: b }} ]");
    let cases: &[(String, ErrorCode, &str)] = &[
        (format!("{two}, strategy: random"), BadConfigValue, "least_latency"),
        (format!("{two}, sticky: {{ by: cookie }}"), BadConfigValue, "header:NAME"),
        (format!("{two}, sticky: {{}}"), MissingConfigKey, "\"by\""),
        (format!("{two}, retry: {{ attempts: 11 }}"), BadConfigValue, "from 1 to 10"),
        (format!("{two}, retry: {{ on: [ 200 ] }}"), BadConfigValue, "status of an error"),
        (format!("{two}, retry: {{ on: [ timeouts ] }}"), BadConfigValue, "timeout or"),
        (format!("{two}, retry: {{ tries: 3 }}"), UnknownConfigKey, "attempts"),
        (target("weight: 101"), BadConfigValue, "from 0 to 100"),
        (target("cooldown: soon"), BadConfigValue, "a time such as"),
        (target("timeouts: { first_frame: 5s }"), UnknownConfigKey, "first_byte"),
        (target("when: { model: m }"), UnknownConfigKey, "when knows"),
        (target("when: { header.: x }"), UnknownConfigKey, "when knows"),
        (target("when: { tenant: \"a*b\" }"), BadConfigValue, "before the end"),
        (target("when: { left.l: 20 }"), BadConfigValue, "such as 20%"),
        (
            target("weight: 0").replace("model: b", "model: b, weight: 0") + ", strategy: weighted",
            BadConfigValue,
            "above 0",
        ),
        (format!("targets: [ {} ]", vec!["{ provider: s }"; 17].join(", ")), BadConfigValue, "17 targets"),
    ];
    for (members, code, says) in cases {
        check((&model(members), 3, *code, says));
    }
}

const MODELS_TENANTS_TOKENS: &[(&str, usize, ErrorCode, &str)] = &[
    ("models: [ { name: m, targets: [ { provider: p } ] } ]", 1, DanglingReference, "no provider is called \"p\""),
    ("models: [ { name: m, targets: [] } ]", 1, BadConfigValue, "goes nowhere"),
    ("models: [ { name: m } ]", 1, MissingConfigKey, "targets"),
    (
        "providers: [ { name: sandbox } ]\nmodels: [ { name: \"m*x\", targets: [ { provider: sandbox } ] } ]",
        2,
        BadConfigValue,
        "before its end",
    ),
    (
        "providers: [ { name: sandbox } ]\nmodels: [ { name: m, targets: [ { provider: sandbox, model: \"a*\" } ] } ]",
        2,
        BadConfigValue,
        "one model",
    ),
    (
        "providers: [ { name: sandbox } ]\nmodels: [ { name: m, encoding: utf8, targets: [ { provider: sandbox } ] } ]",
        2,
        BadConfigValue,
        "o200k_base",
    ),
    (
        "providers: [ { name: sandbox } ]\nmodels: [ { name: m, prices: [ {} ], targets: [ { provider: sandbox } ] } ]",
        2,
        MissingConfigKey,
        "per_million",
    ),
    (
        "providers: [ { name: sandbox } ]\nmodels: [ { name: m, prices: [ { per_million: { inputs: 1 } } ], targets: [ { provider: sandbox } ] } ]",
        2,
        UnknownConfigKey,
        "\"input\"?",
    ),
    (
        "providers: [ { name: sandbox } ]\nmodels: [ { name: m, prices: [ { per_million: { input: 0.0000001 } } ], targets: [ { provider: sandbox } ] } ]",
        2,
        BadConfigValue,
        "6 decimals",
    ),
    (
        "providers: [ { name: a, dialect: sandbox }, { name: a, dialect: sandbox } ]",
        1,
        DuplicateConfig,
        "\"a\" is defined twice",
    ),
    ("tenants: [ { keys: [] } ]", 1, MissingConfigKey, "name"),
    ("tenants: [ { name: \"a*\" } ]", 1, BadConfigValue, "only limits"),
    ("tenants:\n - name: a\n - name: a", 3, DuplicateConfig, "first in line 2"),
    ("tenants: [ { name: a, keys: [ { name: k } ] } ]", 1, MissingConfigKey, "neither sha256 nor key"),
    ("tenants: [ { name: a, keys: [ { name: k, sha256: very-secret } ] } ]", 1, BadConfigValue, "not a SHA-256"),
    ("tenants: [ { name: a, keys: [ { name: k, key: \"\" } ] } ]", 1, BadConfigValue, "empty"),
    ("tenants: [ { name: a, keys: [ { name: k, key: \"very bad\" } ] } ]", 1, BadConfigValue, "header cannot carry"),
    (
        "tenants: [ { name: a, keys: [ { name: k, key: very1 }, { name: k, key: very2 } ] } ]",
        1,
        DuplicateConfig,
        "\"k\"",
    ),
    (
        "tenants:\n - { name: a, keys: [ { name: k, key: very1 } ] }\n - { name: b, keys: [ { name: k, key: very1 } ] }",
        3,
        DuplicateConfig,
        "line 2",
    ),
    (
        "tenants: [ { name: a, keys: [ { name: k, key: very, tags: { \"a b\": c } } ] } ]",
        1,
        BadConfigValue,
        "name of a tag",
    ),
    ("access: [ { token: very, tenants: [] } ]", 1, BadConfigValue, "may read no tenant"),
    ("access: [ { token: very } ]", 1, MissingConfigKey, "tenants"),
    ("access: [ { token: very, tenants: [\"*\", a] } ]", 1, BadConfigValue, "beside other tenants"),
    ("access: [ { token: very, tenants: [\"*\"] }, { token: very, tenants: [\"*\"] } ]", 1, DuplicateConfig, "line 1"),
    ("proxies: [ { name: e, token: very, tenants: [] } ]", 1, BadConfigValue, "may speak for no tenant"),
    ("proxies: [ { token: very, tenants: [\"*\"] } ]", 1, MissingConfigKey, "name"),
    ("proxies: [ { name: e, tenants: [\"*\"] } ]", 1, MissingConfigKey, "token_sha256"),
    (
        "proxies: [ { name: e, token: very, tenants: [\"*\"] }, { name: e, token: very2, tenants: [\"*\"] } ]",
        1,
        DuplicateConfig,
        "line 1",
    ),
    (
        "tenants: [ { name: a, keys: [ { name: k, key: very } ] } ]\nproxies: [ { name: e, token: very, tenants: [a] } ]",
        2,
        DuplicateConfig,
        "tenant's key",
    ),
];

#[test]
fn one_mistake_among_models_tenants_and_tokens() {
    MODELS_TENANTS_TOKENS.iter().copied().for_each(check);
    let hash = "a".repeat(64);
    let both = format!("tenants: [ {{ name: a, keys: [ {{ name: k, key: very, sha256: {hash} }} ] }} ]");
    check((&both, 1, BadConfigValue, "stand together"));
}

const OF_A_KEY: &[(&str, usize, ErrorCode, &str)] = &[
    ("expires: tomorrow", 1, BadConfigValue, "2026-12-31T23:00:00Z"),
    ("expires: 2026-12-31", 1, BadConfigValue, "an instant"),
    ("models: []", 1, BadConfigValue, "may use no model"),
    ("models: [ a*b ]", 1, BadConfigValue, "before its end"),
    ("disabled: maybe", 1, BadConfigValue, "true or false"),
    ("budget: { unit: usd, amount: \"1\", window: day, scope: {} }", 1, UnknownConfigKey, "scope"),
    ("budget: { unit: usd, window: day }", 1, MissingConfigKey, "amount"),
    (
        "budget: [ { unit: usd, amount: \"1\", window: day }, { unit: usd, amount: \"2\", window: day } ]",
        1,
        DuplicateConfig,
        "a/k/usd/day",
    ),
];

#[test]
fn one_mistake_in_what_a_key_is_good_for() {
    for (member, line, code, says) in OF_A_KEY {
        let text = format!(
            "{{ models: [ {{ name: m, targets: [ {{ provider: s }} ] }} ], providers: [ {{ name: s, dialect: sandbox }} ], \
             tenants: [ {{ name: a, keys: [ {{ name: k, key: very, {member} }} ] }} ] }}"
        );
        check((&text, *line, *code, says));
    }
}

#[test]
fn ten_mistakes_are_one_report() {
    let text = "\
listen: { gateway: here }          # 1
lgo: { kind: disk }                # 2
server:
  max_body: lots                   # 4
providers:
  - name: openai
    dialect: openai
    base_url: http://example.com/v1   # 8
    api_key: ${NOPE}               # 9
models:
  - { name: m, targets: [ { provider: nobody } ] }   # 11
tenants:
  - name: acme
    keys:
      - { name: ci, sha256: short }   # 15
  - name: acme                     # 16
limits:
  - { name: l, unit: tool_call, amount: 1, window: day, mode: hard }   # 18
  - name: m
    unit: tokens
    amount: 5.5                    # 21
    window: fortnight              # 22
";
    let mistakes = parse(text).expect_err("it is full of mistakes");
    let expected = [
        (1, 20, BadConfigValue),
        (2, 1, UnknownConfigKey),
        (4, 13, BadConfigValue),
        (8, 15, AddressNotAllowed),
        (9, 14, UnsetVariable),
        (11, 39, DanglingReference),
        (15, 29, BadConfigValue),
        (16, 11, DuplicateConfig),
        (18, 22, BadConfigValue),
        (19, 5, MissingConfigKey),
        (21, 13, BadConfigValue),
        (22, 13, BadConfigValue),
    ];
    assert_eq!(places(&mistakes), expected, "{mistakes:#?}");
    assert_eq!(
        mistakes[1].to_string(),
        "t.yaml:2:1: TG1002: unknown key \"lgo\" in the configuration; did you mean \"log\"?"
    );
}

#[test]
fn warnings_do_not_refuse() {
    let cases: &[(&str, usize, ErrorCode)] = &[
        ("access: [ { token_sha256: \"${EMPTY:-HASH}\", tenants: [gone] } ]", 1, DanglingReference),
        ("proxies: [ { name: e, token_sha256: \"${EMPTY:-HASH}\", tenants: [gone] } ]", 1, DanglingReference),
        ("proxies: [ { name: e, token: very, tenants: [\"*\"] } ]", 1, ClearSecret),
        ("tenants: [ { name: a, keys: [ { name: k, key: very } ] } ]", 1, ClearSecret),
        (
            "limits: [ { name: l, scope: { tenant: gone }, unit: usd, amount: 1, window: day, mode: soft } ]",
            1,
            DanglingReference,
        ),
        (
            "limits: [ { name: l, unit: usd, amount: 1, window: day, mode: soft, unbounded: admit } ]",
            1,
            ConfigHasNoEffect,
        ),
        ("limits: [ { name: l, unit: usd, amount: 1, window: day, mode: soft, values: [a] } ]", 1, ConfigHasNoEffect),
        (
            "limits: [ { name: l, unit: requests, amount: 1, window: day, mode: hard, unbounded: admit } ]",
            1,
            ConfigHasNoEffect,
        ),
        ("limits: [ { name: l, unit: concurrent, amount: 1, window: day, mode: hard } ]", 1, ConfigHasNoEffect),
        (
            "limits: [ { name: l, unit: usd, amount: 1, window: hour, mode: hard, stream: slices } ]",
            1,
            ConfigHasNoEffect,
        ),
        (
            "limits: [ { name: l, unit: requests, amount: 1, window: day, mode: hard, stream: slices } ]",
            1,
            ConfigHasNoEffect,
        ),
        (
            "limits: [ { name: l, unit: usd, amount: 1, window: day, mode: observe, stream: slices } ]",
            1,
            ConfigHasNoEffect,
        ),
        (
            "limits: [ { name: l, unit: usd, amount: 1, window: day, mode: hard, on_exceed: finish } ]",
            1,
            ConfigHasNoEffect,
        ),
        (
            "providers: [ { name: sandbox } ]\nmetering: { abandon_after: 1h }\n\
             limits: [ { name: l, unit: concurrent, amount: 1, mode: hard } ]",
            2,
            BadConfigValue,
        ),
        (
            "tenants: [ { name: a }, { name: b } ]\n\
             providers: [ { name: openai, dialect: openai, base_url: https://x.com/v1, api_key: very } ]",
            2,
            ShareStored,
        ),
        (
            "providers: [ { name: s, dialect: sandbox } ]\n\
             models: [ { name: m, targets: [ { provider: s, when: { left.x: 20% } } ] } ]",
            2,
            DanglingReference,
        ),
        (
            "tenants: [ { name: a, keys: [ { name: sso, sha256: HASH } ] }, { name: b } ]\n\
             identity: { jwt: [ { name: sso, issuer: i, audience: x, jwks_file: f, tenant: a },\
             { name: k, issuer: j, audience: x, jwks_file: f, tenant: b } ] }",
            2,
            DuplicateConfig,
        ),
        (
            "log: { kind: kafka, brokers: \"h:1\" }\nmodels: [ { name: m, targets: [ { provider: p } ] } ]",
            2,
            DanglingReference,
        ),
    ];
    for (text, line, code) in cases {
        let text = text.replace("HASH", &"0".repeat(64));
        let (_, warnings) = parse(&text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"));
        let found: Vec<_> = warnings.iter().map(|warning| (warning.at.line, warning.code)).collect();
        assert_eq!(found, [(*line, *code)], "{text}: {warnings:?}");
        assert!(warnings.iter().all(|warning| !warning.to_string().contains("very")), "{warnings:?}");
    }
}

/// Whatever is broken in the default file, the parser ends, and shows neither a key nor a token.
#[test]
fn a_broken_file_ends_and_tells_no_secret() {
    let text = include_str!("../../../tollgate.yaml");
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let hidden = ["tg-acme", "tg-birch", "tgq-every"];
    let mut refused = 0;
    for (number, (at, old)) in code.char_indices().enumerate().step_by(5) {
        let (before, after) = (&code[..at], &code[at + old.len_utf8()..]);
        let new = ["", "{", "}", "[", "]", ":", "\"", "*", "&a ", "\n", " ", "${", "\t", "\u{0}"][number % 14];
        for broken in
            [format!("{before}{new}{after}"), before.to_owned()].iter().take(if number % 200 == 0 { 2 } else { 1 })
        {
            let remarks = match parse(broken) {
                Ok((_, warnings)) => warnings,
                Err(mistakes) => {
                    refused += 1;
                    assert!(!mistakes.is_empty(), "refused without a reason: {broken}");
                    mistakes
                }
            };
            let said: String = remarks.iter().map(|remark| format!("{remark}\n")).collect();
            assert!(!hidden.iter().any(|secret| said.contains(secret)), "{said}");
        }
    }
    assert!(refused > 100, "{refused}");
}
